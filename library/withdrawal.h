/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Giving everything back, for good. Before a system call filter comes into force that does not let through what the
 * library calls, all memory becomes plain and leaves its regions, the worker tells the daemon why and ends, all of the
 * library's descriptors are closed, and from then on no call is made (visits.h).
 *
 * What cannot be made plain, as a pin cannot be excluded or there is no memory, stays in mappings of the store, with
 * copies of its own. Calls on such pages go on being bracketed, but without the lock, as that takes calls, and without
 * anything that the VMM does not call itself.
 */
#ifndef PAGEFUSE_LIBRARY_WITHDRAWAL_H
#define PAGEFUSE_LIBRARY_WITHDRAWAL_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>

#include "library/memory.h"

/**
 * A filter is about to come into force, in whatever thread: @program, or NULL for strict mode. If the library cannot go
 * on under it, withdraws; can take long then. Any VMM thread, without the lock, before the VMM's call.
 * @return whether the filter counts as known now: withdrawal_filter_failed(), if it does not come into force after all.
 */
bool withdrawal_before_filter(const struct sock_fprog *program);
void withdrawal_filter_failed(void);

/** Nothing more is taken in, and nothing is held. Any thread; with the lock held it does not change to true. */
bool withdrawal_has_begun(void);

/** The brackets of memory.h once visits_are_over(). */
int withdrawal_change_begin(enum memory_change change, uint64_t start, uint64_t length, int detail);
void withdrawal_change_end(enum memory_change change, uint64_t start, uint64_t length, bool succeeded);

/** In the child of a fork. */
void withdrawal_forget(void);

#endif
