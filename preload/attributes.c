/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mprotect(), pkey_mprotect(), mseal(), mbind(). */
#include <errno.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "library/mappings.h"
#include "library/part.h"
#include "preload/calls.h"
#include "preload/next.h"

/** From libnuma, which may not be loaded: then this is the system call. */
long mbind(void *address, unsigned long length, int mode, const unsigned long *nodes, unsigned long nodes_max,
	   unsigned flags);

struct change protect_change(void *address, size_t length, int prot, int pkey)
{
	/* Memory that replaces the range would not keep a protection key: such a range is no longer shared. */
	return change_of(pkey > 0 ? CHANGE_ATTRIBUTE : CHANGE_PROTECT, address, length, prot);
}

INTERPOSED int mprotect(void *address, size_t length, int prot)
{
	struct change change = protect_change(address, length, prot, -1);
	int result;

	if (change_begin(&change) != 0)
		return -1;
	result = next.mprotect(address, length, prot);
	change_end(&change, result == 0);
	return result;
}

INTERPOSED int pkey_mprotect(void *address, size_t length, int prot, int pkey)
{
	struct change change = protect_change(address, length, prot, pkey);
	int result;

	if (change_begin(&change) != 0)
		return -1;
	result = next.pkey_mprotect(address, length, prot, pkey);
	change_end(&change, result == 0);
	return result;
}

/** Whether this kernel seals memory: makes an empty call, which changes nothing. Leaves errno as it is. */
static bool kernel_seals(void)
{
	int saved = errno;
	bool seals = next.syscall(SYS_mseal, 0L, 0L, 0L) == 0;

	errno = saved;
	return seals;
}

struct change seal_change(void *address, size_t length, unsigned long flags)
{
	struct change change = change_of(CHANGE_SEAL, address, length, 0);

	return change.tell && (flags != 0 || !kernel_seals()) ? change_none() : change;
}

/* Since glibc 2.41. */
int mseal(void *address, size_t length, unsigned long flags);

INTERPOSED int mseal(void *address, size_t length, unsigned long flags)
{
	struct change change = seal_change(address, length, flags);
	int result;

	if (change_begin(&change) != 0)
		return -1;
	result = next.mseal(address, length, flags);
	change_end(&change, result == 0);
	return result;
}

/**
 * Pages that could not be made plain stay in the store, where a policy would apply to the store, and are not moved:
 * they are pinned, as far as is known, and the kernel does not move pinned pages either, which is an error only if the
 * VMM asks for it.
 */
static long bind_outside_store(bind_function *real, const struct change *change, const unsigned long *nodes,
			       unsigned long nodes_max, unsigned flags)
{
	uint64_t at = (uint64_t)change->address, end = at + change->length, bound = 0, to;
	long result = 0;

	for (; result == 0 && part_outside_store(&at, end, &to); bound += to - at, at = to)
		result = real((void *)at, to - at, change->detail, nodes, nodes_max, flags);
	if (result == 0 && bound == 0)
		result = real(change->address, 0, change->detail, nodes, nodes_max, flags); /* checks the arguments */
	if (result == 0 && bound < change->length && (flags & MPOL_MF_STRICT) != 0) {
		errno = EIO;
		result = -1;
	}
	return result;
}

long policy_forward(bind_function *real, void *address, unsigned long length, int mode, const unsigned long *nodes,
		    unsigned long nodes_max, unsigned flags)
{
	struct change change = change_of(CHANGE_POLICY, address, length, mode);
	long result;

	if (change_begin(&change) != 0)
		return -1;
	if (change.tell && memory_is_inside() && mappings_has_policy(mode))
		result = bind_outside_store(real, &change, nodes, nodes_max, flags);
	else
		result = real(address, length, mode, nodes, nodes_max, flags);
	change_end(&change, result == 0);
	return result;
}

INTERPOSED long mbind(void *address, unsigned long length, int mode, const unsigned long *nodes,
		      unsigned long nodes_max, unsigned flags)
{
	return policy_forward(next.mbind, address, length, mode, nodes, nodes_max, flags);
}
