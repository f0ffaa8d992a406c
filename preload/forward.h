/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How the preload stands between the VMM and its libc.
 *
 * Theory of Operation. Each interposed call is first described, by a function of calls.h that only looks at the
 * arguments: whether it touches memory of ours, and what it does to it. Nearly all calls do not, and are passed on. A
 * call that does is bracketed:
 *
 *	struct change change = unmap_change(address, length);
 *
 *	if (change_begin(&change) != 0)
 *		return -1;
 *	result = next.munmap(address, length);
 *	change_end(&change, result == 0);
 *
 * The library can have done a discard already when begin returns; the call is then not made again. Between begin and
 * end the library's lock is held, so that no page of the range is being moved. Only the real call may be made there.
 * (Locking memory is the exception, see library/memory.h.)
 *
 * A call that the kernel will refuse for its arguments (not aligned, wraps around) is not bracketed: begin may already
 * drop or copy pages, and a refused call must leave everything as it was.
 *
 * Nothing before init. Until the preload's constructor has run, every call is passed on as the bare system call. The
 * runtime of a sanitizer, for example, maps memory before any instrumented code can work.
 *
 * Re-entry. The real call may be another library's wrapper that calls us again (libnuma's mbind() calls syscall()), and
 * the library below may call functions that libc implements by an interposed call. The thread is inside then: such a
 * call is passed on. Signal handlers do not run between begin and end, except those of faults, whose calls are passed
 * on, too.
 */
#ifndef PAGEFUSE_PRELOAD_FORWARD_H
#define PAGEFUSE_PRELOAD_FORWARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/page.h"
#include "library/memory.h"

/** Marks the definitions that the preload exports; exports.map lists them again. */
#define INTERPOSED __attribute__((visibility("default")))

/** What a call is about to do to memory of ours; tell == false: the library need not know of it. */
struct change {
	enum memory_change what;
	int detail;
	void *address;
	size_t length;
	bool tell;
};

/** Set by the preload's constructor. */
extern bool forward_ready;

/** Whether this thread may call the library. */
static inline bool forward_may_tell(void)
{
	return forward_ready && !memory_is_inside();
}

static inline struct change change_none(void)
{
	return (struct change){ .tell = false };
}

/**
 * The length of the pages that a call with these arguments means: @length rounded up. 0: none, or the kernel refuses
 * it.
 */
static inline size_t change_length(const void *address, size_t length)
{
	size_t rounded = (length + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);

	if (((uintptr_t)address & (PAGE_BYTES - 1)) != 0 || rounded - 1 > UINTPTR_MAX - (uintptr_t)address)
		return 0;
	return rounded;
}

/** Describes a change of the pages of [@address, @address + @length). */
static inline struct change change_of(enum memory_change what, void *address, size_t length, int detail)
{
	size_t rounded = change_length(address, length);

	if (rounded == 0)
		return change_none();
	return (struct change){
		.what = what,
		.detail = detail,
		.address = address,
		.length = rounded,
		.tell = forward_may_tell() && memory_concerns(what, address, rounded),
	};
}

/** Describes a change of the whole process's memory. */
static inline struct change change_of_all(enum memory_change what, int detail)
{
	return (struct change){
		.what = what,
		.detail = detail,
		.address = NULL,
		.length = SIZE_MAX,
		.tell = forward_may_tell() && memory_in_use(),
	};
}

/**
 * Excludes holds on the range and prepares it for the change. Does nothing without tell.
 * @return 0; or -1 with errno set: the call has to fail; or, for CHANGE_DISCARD only, 1: the library has done the call,
 * which has to succeed. Call no change_end() after these two.
 */
int change_begin(const struct change *change);
/** Ends the bracket of change_begin(). @succeeded: whether the real call did. Leaves errno as it is. */
void change_end(const struct change *change, bool succeeded);

/**
 * Whether @length bytes (8 at least) at @address can be read, so that a wild pointer given to a system call ends in
 * EFAULT, as without the preload, and not in a crash of ours. Asks the kernel; if the library is not allowed to make
 * calls, the answer is no. Leaves errno as it is.
 */
bool readable(const void *address, size_t length);
/**
 * Whether the 8 bytes at @address can be written. Asks the kernel, which writes something there. If the library is not
 * allowed to make calls, the answer is no. Leaves errno as it is.
 */
bool word_writable(void *address);

#endif
