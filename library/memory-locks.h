/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The VMM locks memory, or unlocks it. The memory lock (lock.h) is held, except during the VMM's call itself. */
#ifndef PAGEFUSE_LIBRARY_MEMORY_LOCKS_H
#define PAGEFUSE_LIBRARY_MEMORY_LOCKS_H

#include <stdbool.h>
#include <stdint.h>

#include "library/memory.h"

/**
 * Whether the memory lock is not held during the VMM's call: locking populates memory, which may wait for a hold or for
 * the VMM's own userfaultfd.
 */
bool memory_locks_let_go(enum memory_change change);
/** Before CHANGE_LOCK: the pages are left alone from here on, as the lock does not protect them. */
void memory_locks_begin(uint64_t start, uint64_t length);
/**
 * Locks have changed, maybe in part only; under mlockall(MCL_FUTURE) nothing may be mapped over the other pages either.
 */
void memory_locks_end(enum memory_change change, uint64_t start, uint64_t length, bool succeeded);

#endif
