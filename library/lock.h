/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The lock of this whole folder: it excludes holds, and guards the tables.
 *
 * Theory of locking. The worker takes it around each short piece of work, VMM threads around each call that changes the
 * mapping of a region. Its owner waits only for the kernel, so a thread that waits for the lock gets it soon. No thread
 * touches guest memory that could be held while it waits for the lock. The range of a VMM's call is handled in one go,
 * as the kernel does; all other work releases the lock after REGION_PIECE_PAGES.
 *
 * Forks. A fork has to exclude the worker, which may have moved pages away; the worker stays out from before the VMM's
 * handlers run until the fork is over. The lock itself is not held meanwhile: the VMM's handlers may wait for a thread
 * that is in the middle of a call that changes a mapping, or make such a call themselves. So the fork can cut another
 * thread's call in two; the child then finds the state that the owner of the lock left, see memory_after_fork().
 *
 * Signals. A VMM thread that has the lock runs no signal handler: a handler that made such a call would wait for its
 * own thread. The handler runs when the lock is released. Signals that a fault of the thread itself raises are not
 * blocked.
 */
#ifndef PAGEFUSE_LIBRARY_LOCK_H
#define PAGEFUSE_LIBRARY_LOCK_H

#include <stdbool.h>
#include <stdint.h>

/** Any thread except the worker; it must not have the lock already. */
void memory_lock(void);
/** The same, but does not wait. @return whether the lock was taken; false if the calling thread has it already. */
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
/** After the fork, in parent and child. */
void memory_lock_after_fork(void);
/** Whether a fork is under way, in any thread. With the lock held. */
bool memory_lock_has_fork(void);
/** The worker no longer waits for forks: it is about to end, and holds no page. Any VMM thread, without the lock. */
void memory_lock_ignore_forks(void);
/**
 * In the only thread of the child, before everything else. Locks and forks of this thread are kept. @return whether
 * another thread, which the child does not have, had the lock.
 */
bool memory_lock_in_child(void);

#endif
