/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The lock of everything in this folder: it excludes every hold, and guards the tables.
 *
 * Theory of locking. The worker takes it around each short piece of work, VMM threads around each call that changes the
 * mapping of a region. Its owner waits for nothing but the kernel, so whoever waits for it gets it soon. No one touches
 * guest memory that could be held while waiting for it. What a call of the VMM concerns is looked at in one go, as the
 * kernel does; all else lets the lock go after REGION_PIECE_PAGES.
 *
 * Forks. What a fork has to exclude is the worker, which may have moved pages away; it stays out from before the VMM's
 * handlers run until the fork is over. The lock itself is not held meanwhile: the VMM's handlers may wait for a thread
 * that is in the middle of such a call, or make one themselves. So a call of another thread can be cut in two by the
 * fork; the child then finds what the owner of the lock left, see memory_after_fork().
 *
 * Signals. A VMM thread that has the lock runs no signal handler: one that made such a call would wait for itself. It
 * runs when the lock is given back. Those that a fault of the thread's own raises are let through.
 */
#ifndef PAGEFUSE_LIBRARY_LOCK_H
#define PAGEFUSE_LIBRARY_LOCK_H

#include <stdbool.h>
#include <stdint.h>

/** Any thread but the worker, that does not have the lock. */
void memory_lock(void);
/** The same, if nobody has it just now. @return whether it was taken; not if the calling thread has it already. */
bool memory_trylock(void);
/** The worker lets VMM threads go first, and waits for forks to be over, see memory_lock_ignore_forks(). */
void memory_lock_worker(void);
/** Whichever of the two fits the calling thread. */
void memory_lock_any(void);
void memory_unlock(void);
#ifdef PAGEFUSE_TEST_CONTROLS
extern _Atomic uint64_t memory_locks; /* how often it was taken */
#endif

/** Whether the calling thread has the lock. Anywhere, also in a signal handler. */
bool memory_lock_is_mine(void);

/** Before a fork: no hold is under way on return, and none begins before the matching call below. They nest. */
void memory_lock_before_fork(void);
/** After it, in parent and child. */
void memory_lock_after_fork(void);
/** Whether one is under way, of whatever thread. With the lock held. */
bool memory_lock_has_fork(void);
/** The worker waits for none any more: it is to end, and holds nothing. Any VMM thread, without the lock. */
void memory_lock_ignore_forks(void);
/**
 * In the child, which is its only thread, before all else. What the thread had it keeps.
 * @return whether another thread, that is not here, had the lock.
 */
bool memory_lock_in_child(void);

#endif
