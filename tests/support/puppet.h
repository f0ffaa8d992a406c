/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VMM that is a process of its own, as what the director maps or calls in the test's process would get in the way. It
 * is a fork that calls functions of the test's when it is told to.
 */
#ifndef PAGEFUSE_TESTS_SUPPORT_PUPPET_H
#define PAGEFUSE_TESTS_SUPPORT_PUPPET_H

/** Marks what runs in the puppet. */
#define PUPPET

typedef long puppet_function(long a, long b, long c);

/** Forks it; one at a time. What is in MAP_SHARED memory by then is both's. */
void puppet_start(void);
/** Has it call a function, and waits. @return what that returned. If it ends on that, so does the test. */
long puppet_call(puppet_function *function, long a, long b, long c);
/** The same, for what it may die of. @return whether it lives; if not, *ret_status is as of waitpid(). */
int puppet_survives(puppet_function *function, long a, long b, long c, long *ret_result, int *ret_status);
/** Lets it end. */
void puppet_end(void);

#endif
