/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pages of a region become plain anonymous memory again: empty, or with the bytes that they have. Memory lock held.
 */
#ifndef PAGEFUSE_LIBRARY_PLAIN_H
#define PAGEFUSE_LIBRARY_PLAIN_H

#include <stdint.h>

#include "library/region.h"

/** Length of the run of pages from @index on that agree in being in the store, locked and protected. */
uint64_t plain_same_kind(const struct region *region, uint64_t index, uint64_t end);

/**
 * Pages become anonymous memory of the same content again. @return 0; -EBUSY: all except pages that are protected, or
 * have copies of their own that a device may be writing; -ENOMEM (also for lack of mappings) or another -errno: done in
 * part.
 */
int plain_make(struct region *region, uint64_t index, uint64_t count);

/**
 * The same for pages that read their slots, for instance before they get copies of their own inside the mapping of the
 * store. Pages for which mappings or memory are lacking stay as they are. @count: at most HOLD_PAGES.
 */
void plain_make_shared(struct region *region, uint64_t index, unsigned count);

/**
 * A read into these pages is about to begin: does the same. Pages of the mask @covered, which the read covers wholly,
 * become plain even if they have copies, unless memory may be pinned for longer than a request or another read into the
 * same page may be under way. Pages that stay in the store are marked as being read into. @count: at most HOLD_PAGES.
 */
void plain_before_read(struct region *region, uint64_t index, unsigned count, uint64_t covered);

/**
 * Pages become anonymous memory, or else get copies of their own inside the mapping. @return 0 or -ENOMEM: done in
 * part.
 */
int plain_make_or_copy(struct region *region, uint64_t index, uint64_t count);
/** The same for as many pages as possible: a range that cannot be made plain at once is tried in small pieces. */
void plain_leave_store(struct region *region, uint64_t index, uint64_t count);

/**
 * Pages of the store, all of one kind, become empty anonymous memory; the VMM's own call has to follow. @return 0, or
 * -ENOMEM: then some are still in the store.
 */
int plain_drop(struct region *region, uint64_t index, uint64_t count);

/**
 * The same for pages that stayed in the store when they were protected (EXCLUDED_PROTECTED): they keep their
 * protection, which is PROT_NONE, PROT_READ, or reading and writing. @return 0 or -errno: done in part, and nothing
 * else can be done.
 */
int plain_drop_protected(struct region *region, uint64_t index, uint64_t count);

/**
 * For pages that cannot be dropped for lack of mappings: writes zeros instead. Costs the memory that the discard meant
 * to free.
 */
void plain_fill(struct region *region, uint64_t index, uint64_t count);
/**
 * Filled pages that are anonymous by now, and still full of zeros, become missing, as the discard would have made them.
 * Pages that are being read into are left, and all pages if none may be moved away (hold_may_move()).
 */
void plain_empty_filled(struct region *region, uint64_t index, uint64_t count);

/**
 * Pages of the store become plain in @place, as in hold_make_plain(); @count: at most HOLD_PAGES. The change is soon
 * reported to the daemon. @return 0, -errno: nothing has changed.
 */
int plain_make_in(struct region *region, uint64_t index, unsigned count, uint64_t place);

/**
 * Pages of zeros that were given back are holes where the VMM had pages: maps the kernel's zero page there. A VMM that
 * fetches missing pages would wait for ever for a page that it already has.
 */
void plain_show_zeros(const struct region *region, uint64_t index, uint64_t count);

/**
 * The same if such pages are about to be moved elsewhere: the VMM gets pages of its own there, except under its
 * userfaultfd, where it has seen them already. We no longer count them. @return 0 or -ENOMEM: done in part.
 */
int plain_put_zeros(struct region *region, uint64_t index, uint64_t count);

#endif
