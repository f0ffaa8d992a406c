/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every system call that the library makes, in any thread, with the arguments that do not vary: a system call filter
 * (seccomp) has to let these through. A test runs the library under a filter that lets nothing else through.
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
	 * The call completes an operation that was begun: it puts a held page back, or releases a lock. An error in its
	 * place can come between any two calls, and would leave the VMM without the page, or waiting.
	 */
	bool ends_something;
};

#define MADE_CALL_ANY UINT32_C(0x3f)

extern const struct made_call made_calls[];
extern const unsigned made_calls_count;

/**
 * Makes all of these calls, with arguments for which they have no effect. A filter that does not let one of them
 * through may kill the process, so call this in a child forked for the purpose. Returns if all went through.
 */
void made_calls_try(void);

#endif
