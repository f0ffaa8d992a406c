/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A test that is stopped all the time, and has to go on as if it had not been. */
#ifndef PAGEFUSE_TESTS_SUPPORT_STOPS_H
#define PAGEFUSE_TESTS_SUPPORT_STOPS_H

#include <stdbool.h>

/**
 * Returns in a child of this process, which stops the child at random moments and has it go on, again and again until
 * it ends, and ends like it then. @freezer: by a control group's freezer, in place of SIGSTOP. Skips the test where
 * such a group cannot be made. @all_complete: a thread that cannot be stopped, but goes on using the CPU, is damage.
 * To be called after test_begin(), before there is another thread.
 */
void stops_begin(bool freezer, bool all_complete);

#endif
