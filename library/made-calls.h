/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every system call that the library makes, in whatever thread, with the arguments that do not vary: what a system call
 * filter (seccomp) has to let through. A test runs the library under a filter that lets nothing else through.
 */
#ifndef PAGEFUSE_LIBRARY_MADE_CALLS_H
#define PAGEFUSE_LIBRARY_MADE_CALLS_H

#include <stdbool.h>
#include <stdint.h>

struct made_call {
	int number;
	uint32_t varies;    /* a bit for each argument that can be anything */
	uint64_t values[6]; /* the others */
	/**
	 * What has been begun is brought to its end by it: a page that is held is put back, a lock is let go. An
	 * error in its place can come between any two calls, and would leave the VMM without the page, or waiting.
	 */
	bool ends_something;
};

#define MADE_CALL_ANY UINT32_C(0x3f)

extern const struct made_call made_calls[];
extern const unsigned made_calls_count;

/**
 * Makes them all, in a way that does nothing. A filter that does not let one of them through may end the process: for a
 * child made to find that out. @return if not.
 */
void made_calls_try(void);

#endif
