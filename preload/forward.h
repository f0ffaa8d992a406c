/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How the preload stands between the VMM and its libc.
 *
 * Theory of Operation. Each interposed call is first described, by a function of calls.h that only looks at the
 * arguments: does it touch memory of ours, and what does it do to it? Nearly every call does not, and goes straight on.
 * One that does is bracketed:
 *
 *	struct change change = unmap_change(address, length);
 *
 *	if (change_begin(&change) != 0)
 *		return -1;
 *	result = next.munmap(address, length);
 *	change_end(&change, result == 0);
 *
 * A discard can come back from begin already done by the library, and is then not made again. Between begin and end the
 * library's lock is held, so that no page of the range is on its way between two places. Only
 * the real call may happen there. (Locking memory is the exception, see library/memory.h.)
 *
 * A call that the kernel will refuse for its arguments (not aligned, wraps around) is not bracketed: begin may already
 * drop or copy pages, and a refused call must leave everything as it was.
 *
 * Nothing before init. Until the preload's constructor has run, every call goes straight on as the bare system call.
 * The runtime of a sanitizer, for one, maps memory before any instrumented code can work.
 *
 * Re-entry. The real call may be another library's wrapper that comes back here (libnuma's mbind() calls syscall()),
 * and the library below may call what libc implements by an interposed call. The thread is inside then: such a call
 * goes straight on. Signal handlers are kept out between begin and end, but for those of faults, whose calls go
 * straight on, too.
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

/** What a call is about to do to memory of ours; tell == false: nothing that the library has to know. */
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

/** Of the pages that a call with these arguments means: @length rounded up. 0: none, or the kernel refuses it. */
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
 * Excludes holds on the range and makes it ready for the change. Without tell it does nothing.
 * @return 0; or -1 with errno set: the call has to fail; or, for CHANGE_DISCARD only, 1: the library has done the call,
 * which has to succeed. There is no change_end() after these two.
 */
int change_begin(const struct change *change);
/** Ends what change_begin() began. @succeeded: what the real call said. Leaves errno as it is. */
void change_end(const struct change *change, bool succeeded);

/**
 * Whether @length bytes (8 at least) at @address can be read, so that a wild pointer given to a system call ends as
 * EFAULT, as without the preload, and not as a crash of ours. Asks the kernel, which the library must be allowed to:
 * else the answer is no. Leaves errno as it is.
 */
bool readable(const void *address, size_t length);

#endif
