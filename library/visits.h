/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tracks which of the VMM's threads are in the library now, and whether it may make system calls.
 *
 * Theory of Operation. Under a system call filter that does not let the library's calls through, the next such call
 * ends the process. So before such a filter comes into force the library stops making calls (withdrawal.h), for good
 * and in all threads. It makes none from the start if an unknown filter is in force (confinement.h), which is checked
 * before any other call. Every entry into the library is a visit, from before its first system call until after its
 * last; a visit that comes too late is refused, and has to do without any call. Visitors wait only for the kernel and
 * each other, so a thread that ends all visits does not wait for long. But a signal handler that runs in a visit may
 * leave it by longjmp(), and such a visit never ends. So the wait is bounded.
 */
#ifndef PAGEFUSE_LIBRARY_VISITS_H
#define PAGEFUSE_LIBRARY_VISITS_H

#include <stdbool.h>

/**
 * Any VMM thread; visits nest. @return false: no call may be made, and there is no visit_end(). This holds for now, if
 * it is not known whether a filter is in force; for good if visits_are_over().
 */
bool visit_begin(void);
void visit_end(void);

/** Whether the library makes no more calls in this process. Cheap. */
bool visits_are_over(void);
/**
 * Ends all visits for good. Waits until no thread except the calling one is inside; or, if a visit does not end, until
 * none has begun or ended for 5 s.
 */
void visits_end_all(void);

/** In the only thread of a forked child. */
void visits_in_child(void);

#endif
