/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Calls that close or replace descriptors, which a VMM may make for numbers that it does not know: the library's
 * descriptors are left alone, and the results are as if they were not open. Images that the VMM has read by the closed
 * or replaced numbers (library/images.h) are forgotten.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "library/descriptors.h"
#include "library/images.h"
#include "preload/calls.h"
#include "preload/next.h"

/**
 * Whether @fd is open for the VMM. A number that is not must not be closed, as the library could open it at any moment.
 */
static bool is_vmms(int fd)
{
	int saved = errno;
	bool is = !forward_ready || fd < 0 || descriptors_is_vmms(fd);

	errno = saved;
	return is;
}

typedef int close_range_function(unsigned first, unsigned last, int flags);
typedef int replace_function(int from, int to, int flags);

static int not_open(void)
{
	errno = EBADF;
	return -1;
}

/** Finds the first piece of [*first, last] with none of ours: [*first, *ret_last]. @return whether there is any. */
static bool next_piece(unsigned *first, unsigned last, unsigned *ret_last)
{
	int saved = errno, found = -1;
	bool had;

	do {
		found = -1;
		if (descriptors_concern(*first, last) && descriptors_begin(&had)) {
			found = descriptors_first(*first, last);
			descriptors_end(had);
		}
		if (found < 0 || (unsigned)found != *first)
			break;
		(*first)++;
	} while (*first <= last);
	*ret_last = found < 0 ? last : (unsigned)found - 1;
	errno = saved;
	return *first <= last;
}

INTERPOSED int close(int fd)
{
	images_forget((unsigned)fd, (unsigned)fd);
	return is_vmms(fd) ? next.close(fd) : not_open();
}

static int close_pieces(close_range_function *real, unsigned first, unsigned last)
{
	unsigned piece_last;

	while (next_piece(&first, last, &piece_last)) {
		if (real(first, piece_last, 0) != 0)
			return -1;
		if (piece_last == last)
			break;
		first = piece_last + 1;
	}
	return 0;
}

/*
 * CLOSE_RANGE_CLOEXEC closes nothing. CLOSE_RANGE_UNSHARE gives the thread its own copy of the table, but if the table
 * is not shared, as in a forked child, the kernel makes none: so check whose table it is after that.
 */
static int closing_range(close_range_function *real, unsigned first, unsigned last, int flags)
{
	int result;

	if (!forward_ready || (flags & ~(int)CLOSE_RANGE_UNSHARE) != 0 || first > last)
		return real(first, last, flags);
	images_forget(first, last);
	descriptors_closing(true);
	if (!descriptors_concern(first, last))
		result = real(first, last, flags);
	else if (flags != 0 && real(~0u, ~0u, flags) != 0)
		result = -1;
	else
		result = close_pieces(real, first, last);
	descriptors_closing(false);
	return result;
}

int close_range(unsigned first, unsigned last, int flags);

INTERPOSED int close_range(unsigned first, unsigned last, int flags)
{
	return closing_range(next.close_range, first, last, flags);
}

void closefrom(int first);

INTERPOSED void closefrom(int first)
{
	unsigned from = first < 0 ? 0 : (unsigned)first, last;

	images_forget(from, ~0u);
	descriptors_closing(true);
	while (forward_ready && next_piece(&from, ~0u, &last) && last != ~0u) {
		if (next.close_range(from, last, 0) != 0)
			for (unsigned fd = from; fd <= last; fd++)
				next.close((int)fd);
		from = last + 1;
	}
	next.closefrom((int)from);
	descriptors_closing(false);
}

/*
 * Our file gets another number before the call is made, which then closes the old one; meanwhile no unused number
 * becomes ours.
 */
static int closing_replace(replace_function *real, int from, int to, int flags)
{
	int saved = errno, result;
	bool had;

	if (from == to) {
		bool concerns = forward_ready && from >= 0 && descriptors_concern((unsigned)from, (unsigned)from);

		return concerns && !is_vmms(from) ? not_open() : real(from, to, flags);
	}
	if (!is_vmms(from))
		return not_open();
	images_forget((unsigned)to, (unsigned)to);
	if (is_vmms(to) || !descriptors_begin(&had)) {
		errno = saved;
		return real(from, to, flags);
	}
	descriptors_make_way(to);
	errno = saved;
	result = real(from, to, flags);
	saved = errno;
	if (result < 0)
		descriptors_take_back(to);
	descriptors_end(had);
	errno = saved;
	return result;
}

static int replace_plainly(int from, int to, int flags)
{
	(void)flags;
	return next.dup2(from, to);
}

INTERPOSED int dup2(int from, int to)
{
	return closing_replace(replace_plainly, from, to, 0);
}

int dup3(int from, int to, int flags);

/** Whether the kernel refuses a dup3() before it looks at the descriptors. */
static bool refuses(int from, int to, int flags)
{
	return from == to || (flags & ~O_CLOEXEC) != 0;
}

INTERPOSED int dup3(int from, int to, int flags)
{
	return refuses(from, to, flags) ? next.dup3(from, to, flags) : closing_replace(next.dup3, from, to, flags);
}

/* ---- by number ---- */

static int range_by_number(unsigned first, unsigned last, int flags)
{
	return (int)next.syscall(SYS_close_range, (long)first, (long)last, (long)flags);
}

static int dup3_by_number(int from, int to, int flags)
{
	return (int)next.syscall(SYS_dup3, (long)from, (long)to, (long)flags);
}

#ifdef SYS_dup2
static int dup2_by_number(int from, int to, int flags)
{
	(void)flags;
	return (int)next.syscall(SYS_dup2, (long)from, (long)to);
}
#endif

bool closing_concerns_number(long number, long a, long b)
{
	switch ((int)number) {
	case SYS_close:
		return !is_vmms((int)a);
	case SYS_close_range: /* numbers may become ours during the call */
		return true;
#ifdef SYS_dup2
	case SYS_dup2:
#endif
	case SYS_dup3:
		return !is_vmms((int)a) || !is_vmms((int)b);
	default:
		return false;
	}
}

long closing_by_number(long number, long a, long b, long c)
{
	switch ((int)number) {
	case SYS_close:
		return is_vmms((int)a) ? next.syscall(number, a) : not_open();
	case SYS_close_range:
		return closing_range(range_by_number, (unsigned)a, (unsigned)b, (int)c);
#ifdef SYS_dup2
	case SYS_dup2:
		return closing_replace(dup2_by_number, (int)a, (int)b, 0);
#endif
	default:
		if (refuses((int)a, (int)b, (int)c))
			return dup3_by_number((int)a, (int)b, (int)c);
		return closing_replace(dup3_by_number, (int)a, (int)b, (int)c);
	}
}
