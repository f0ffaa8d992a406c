/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Gives everything back, for good. Before a system call filter comes into force that does not let the library's calls
 * through, all memory becomes plain and leaves its regions, the worker tells the daemon why and ends, all of the
 * library's descriptors are closed, and from then on the library makes no calls (visits.h).
 *
 * Pages that cannot be made plain, as a pin cannot be excluded or there is no memory, stay in mappings of the store,
 * with copies of their own. Calls on such pages are still bracketed, but without the lock, which takes system calls,
 * and without any call that the VMM does not make itself.
 */
#ifndef PAGEFUSE_LIBRARY_WITHDRAWAL_H
#define PAGEFUSE_LIBRARY_WITHDRAWAL_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>

#include "library/memory.h"

/**
 * A filter is about to come into force, in any thread: @program, or NULL for strict mode. If the library cannot go on
 * under it, withdraws, which can take long. Any VMM thread, without the lock, before the VMM's call.
 * @return whether the filter counts as known now: withdrawal_filter_failed(), if it does not come into force after all.
 */
bool withdrawal_before_filter(const struct sock_fprog *program);
void withdrawal_filter_failed(void);

/**
 * Whether a withdrawal has begun: no more memory is registered, and no page is held. Any thread; does not become true
 * while the lock is held.
 */
bool withdrawal_has_begun(void);

/** The brackets of memory.h once visits_are_over(). */
int withdrawal_change_begin(enum memory_change change, uint64_t start, uint64_t length, int detail);
void withdrawal_change_end(enum memory_change change, uint64_t start, uint64_t length, int detail, bool succeeded);

/** In the child of a fork. */
void withdrawal_forget(void);

#endif
