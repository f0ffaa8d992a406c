/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A test that is stopped all the time, and has to go on as if it had not been. */
#ifndef PAGEFUSE_TESTS_SUPPORT_STOPS_H
#define PAGEFUSE_TESTS_SUPPORT_STOPS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum stops_way {
	STOPS_SIGNAL,
	STOPS_FREEZER,
	STOPS_TRACE, /* all threads, as by a debugger */
	STOPS_WAYS
};

/**
 * Returns in a child of this process, which stops the child at random moments and has it go on, again and again until
 * it ends, and ends like it then. @freezer: by a control group's freezer, in place of SIGSTOP. Skips the test where
 * such a group cannot be made. @all_complete: a thread that cannot be stopped, but goes on using the CPU, is damage.
 * To be called after test_begin(), before there is another thread.
 */
void stops_begin(bool freezer, bool all_complete);

/** Whether a control group with a freezer can be had, which is made then. */
bool stops_have_freezer(void);

/**
 * The same, but stopped are the processes that @which names one after the other (0: none for now), each in the way that
 * it says, and not the child that this returns in.
 */
void stops_begin_others(pid_t (*which)(uint64_t *random, enum stops_way *ret_way));

#endif
