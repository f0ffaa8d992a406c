/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mprotect(), pkey_mprotect(), mbind(). */
#include <sys/mman.h>

#include "preload/calls.h"
#include "preload/next.h"

/** libnuma's, which may not be there: then this is the system call. */
long mbind(void *address, unsigned long length, int mode, const unsigned long *nodes, unsigned long nodes_max,
	   unsigned flags);

struct change protect_change(void *address, size_t length, int prot, int pkey)
{
	/* A protection key is not kept by what replaces the memory: such a range is no longer shared. */
	return change_of(pkey > 0 ? CHANGE_ATTRIBUTE : CHANGE_PROTECT, address, length, prot);
}

struct change policy_change(void *address, size_t length, int mode)
{
	return change_of(CHANGE_POLICY, address, length, mode);
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

INTERPOSED long mbind(void *address, unsigned long length, int mode, const unsigned long *nodes,
		      unsigned long nodes_max, unsigned flags)
{
	struct change change = policy_change(address, length, mode);
	long result;

	if (change_begin(&change) != 0)
		return -1;
	result = next.mbind(address, length, mode, nodes, nodes_max, flags);
	change_end(&change, result == 0);
	return result;
}
