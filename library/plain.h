/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pages of the store become plain again: anonymous memory with the same bytes, as the VMM made it. Memory lock held;
 * any thread.
 */
#ifndef PAGEFUSE_LIBRARY_PLAIN_H
#define PAGEFUSE_LIBRARY_PLAIN_H

#include <stdint.h>

#include "library/region.h"

/** Length of the run of pages from @index on, below @end, that are alike: of the store or not, locked or not. */
uint64_t plain_same_kind(const struct region *region, uint64_t index, uint64_t end);

/** Notes that these pages are anonymous memory now, whatever they were; the daemon is told of what left the store. */
void plain_leave_slots(struct region *region, uint64_t index, uint64_t count);

/**
 * Makes all of [index, index+count) plain. @return 0; -EBUSY: all but some that have copies of their own, as it cannot
 * be excluded that a device is writing these; -ENOMEM or another -errno: not all.
 */
int plain_make(struct region *region, uint64_t index, uint64_t count);

/**
 * Makes those plain that read their slots, for instance before they get copies of their own inside the mapping of the
 * store. What cannot be made plain for want of mappings or memory stays as it is. @count: at most HOLD_PAGES.
 */
void plain_make_shared(struct region *region, uint64_t index, unsigned count);

#endif
