/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/own.h"

#include <sys/mman.h>
#include <sys/resource.h>

#include "common/hash.h"
#include "common/page.h"
#include "library/protections.h"
#include "library/sys.h"

/** The kernel populates a locked mapping when it is made, unless it is PROT_NONE. */
long own_map(uint64_t bytes, int prot, int flags, int fd, uint64_t offset)
{
	long address;
	int r;

	if (!PROTECTED(PROTECT_OWN_UNLOCKED))
		return sys_mmap(0, bytes, prot, flags, fd, offset);
	address = sys_mmap(0, bytes, PROT_NONE, flags, fd, offset);
	if (sys_is_error(address))
		return address;
	r = sys_munlock((uint64_t)address, bytes);
	if (r == 0)
		r = sys_mprotect((uint64_t)address, bytes, prot);
	if (r < 0)
		sys_munmap((uint64_t)address, bytes);
	return r < 0 ? r : address;
}

static bool limited;

bool own_addresses_are_limited(void)
{
	return limited;
}

void own_look_at_limits(void)
{
	struct rlimit all, data;

	limited = getrlimit(RLIMIT_AS, &all) < 0 || all.rlim_cur != RLIM_INFINITY ||
		  getrlimit(RLIMIT_DATA, &data) < 0 || data.rlim_cur != RLIM_INFINITY;
}

void own_unlock(uint64_t start, uint64_t bytes)
{
	if (PROTECTED(PROTECT_OWN_UNLOCKED))
		sys_munlock(start, bytes);
}

void own_unlock_table(uint64_t start, uint64_t bytes)
{
	uint64_t end = start + bytes / PAGE_BYTES * PAGE_BYTES, empty;

	own_unlock(start, bytes);
	for (uint64_t at = start; at < end; at += empty + PAGE_BYTES) {
		for (empty = 0; at + empty < end && page_is_zero((const void *)(at + empty)); empty += PAGE_BYTES)
			;
		if (empty > 0)
			sys_madvise(at, empty, MADV_DONTNEED);
	}
}
