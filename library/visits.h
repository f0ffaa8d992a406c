/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which of the VMM's threads are in the library just now, and whether it may make system calls.
 *
 * Theory of Operation. Under a system call filter that does not let through what the library calls, the next of these
 * ends the process. So before such a filter comes into force the library falls silent (withdrawal.h), for good and in
 * all threads; and it begins silent where a filter is in force that nobody has seen coming (confinement.h), which is
 * asked before anything else is called. Every way in is a visit, from before its first system call to behind its last;
 * one that comes too late is turned away, and has to do without any call. Visitors wait for nothing but the kernel and
 * each other, so whoever wants silence gets it soon. But a signal handler that runs in a visit may leave it by
 * longjmp(), and such a visit never ends. So the wait is bounded.
 */
#ifndef PAGEFUSE_LIBRARY_VISITS_H
#define PAGEFUSE_LIBRARY_VISITS_H

#include <stdbool.h>

/**
 * Any VMM thread; visits nest. @return false: no call may be made, and there is no visit_end(). For now, if it cannot
 * be told whether a filter is in force; for good if visits_are_over().
 */
bool visit_begin(void);
void visit_end(void);

/** No call is made any more, in this process. Cheap. */
bool visits_are_over(void);
/**
 * From now on. Waits until nobody is inside but the calling thread; or, where somebody does not come out, until nobody
 * has come or gone for 5 s.
 */
void visits_end_all(void);

/** In the child of a fork, which is its only thread. */
void visits_in_child(void);

#endif
