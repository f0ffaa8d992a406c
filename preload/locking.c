/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mlock(), mlock2(), munlock(), mlockall(), munlockall(). */
#include <sys/mman.h>

#include "preload/calls.h"
#include "preload/next.h"

/* These take addresses that are not aligned and mean all pages that the range touches. */
struct change lock_change(enum memory_change what, const void *address, size_t length)
{
	size_t before = (uintptr_t)address & (PAGE_BYTES - 1);

	if (length == 0 || length > SIZE_MAX - before)
		return change_none();
	return change_of(what, (char *)address - before, length + before, 0);
}

INTERPOSED int mlock(const void *address, size_t length)
{
	struct change change = lock_change(CHANGE_LOCK, address, length);
	int result;

	if (change_begin(&change) != 0)
		return -1;
	result = next.mlock(address, length);
	change_end(&change, result == 0);
	return result;
}

INTERPOSED int mlock2(const void *address, size_t length, unsigned flags)
{
	struct change change = lock_change(CHANGE_LOCK, address, length);
	int result;

	if (change_begin(&change) != 0)
		return -1;
	result = next.mlock2(address, length, flags);
	change_end(&change, result == 0);
	return result;
}

INTERPOSED int munlock(const void *address, size_t length)
{
	struct change change = lock_change(CHANGE_UNLOCK, address, length);
	int result;

	if (change_begin(&change) != 0)
		return -1;
	result = next.munlock(address, length);
	change_end(&change, result == 0);
	return result;
}

/* With MCL_FUTURE alone, too: what is mapped over the region from now on would be locked. */
INTERPOSED int mlockall(int flags)
{
	struct change change = change_of_all(CHANGE_LOCK, flags);
	int result;

	if (change_begin(&change) != 0)
		return -1;
	result = next.mlockall(flags);
	change_end(&change, result == 0);
	return result;
}

INTERPOSED int munlockall(void)
{
	struct change change = change_of_all(CHANGE_UNLOCK, 0);
	int result;

	if (change_begin(&change) != 0)
		return -1;
	result = next.munlockall();
	change_end(&change, result == 0);
	return result;
}
