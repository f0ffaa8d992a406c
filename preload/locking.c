/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mlock(), mlock2(), munlock(), mlockall(), munlockall(). */
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "library/visits.h"
#include "preload/calls.h"
#include "preload/next.h"

/* An empty call shows whether the process may lock at all, before begin gives up shared pages. */
static bool may_lock(void)
{
	int saved = errno;
	bool may = visits_are_over() || next.syscall(SYS_mlock, 0L, 0L) == 0 || errno != EPERM;

	errno = saved;
	return may;
}

/*
 * These calls take addresses that are not aligned, and affect all pages that the range touches; also the one that an
 * empty range lies in. The kernel adds with a carry that is lost, too.
 */
static struct change range_change(enum memory_change what, const void *address, size_t length)
{
	size_t before = (uintptr_t)address & (PAGE_BYTES - 1);

	return change_of(what, (char *)address - before, length + before, 0);
}

struct change lock_change(const void *address, size_t length, unsigned flags)
{
	struct change change = range_change(CHANGE_LOCK, address, length);

	return (flags & ~(unsigned)MLOCK_ONFAULT) != 0 || (change.tell && !may_lock()) ? change_none() : change;
}

struct change unlock_change(const void *address, size_t length)
{
	return range_change(CHANGE_UNLOCK, address, length);
}

/* Also with MCL_FUTURE alone: memory mapped over the region from now on would be locked. */
struct change lock_all_change(int flags)
{
	struct change change = change_of_all(CHANGE_LOCK, flags);

	if ((flags & (MCL_CURRENT | MCL_FUTURE)) == 0 || (flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) != 0)
		return change_none();
	return change.tell && !may_lock() ? change_none() : change;
}

INTERPOSED int mlock(const void *address, size_t length)
{
	struct change change = lock_change(address, length, 0);
	int result;

	if (change_begin(&change) != 0)
		return -1;
	result = next.mlock(address, length);
	change_end(&change, result == 0);
	return result;
}

INTERPOSED int mlock2(const void *address, size_t length, unsigned flags)
{
	struct change change = lock_change(address, length, flags);
	int result;

	if (change_begin(&change) != 0)
		return -1;
	result = next.mlock2(address, length, flags);
	change_end(&change, result == 0);
	return result;
}

INTERPOSED int munlock(const void *address, size_t length)
{
	struct change change = unlock_change(address, length);
	int result;

	if (change_begin(&change) != 0)
		return -1;
	result = next.munlock(address, length);
	change_end(&change, result == 0);
	return result;
}

INTERPOSED int mlockall(int flags)
{
	struct change change = lock_all_change(flags);
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
