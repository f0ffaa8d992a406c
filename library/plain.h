/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pages of a region become plain anonymous memory again: empty, or with the bytes that they have. Memory lock held.
 */
#ifndef PAGEFUSE_LIBRARY_PLAIN_H
#define PAGEFUSE_LIBRARY_PLAIN_H

#include <stdint.h>

#include "library/region.h"

/** Length of the run of pages from @index on that are alike: inside store mappings, locked, protected, or not. */
uint64_t plain_same_kind(const struct region *region, uint64_t index, uint64_t end);

/**
 * Back to anonymous memory of the same content. @return 0; -EBUSY: all but some that are protected, or have copies of
 * their own, as it cannot be excluded that a device is writing these; -ENOMEM (also mappings) or another -errno: done
 * in part.
 */
int plain_make(struct region *region, uint64_t index, uint64_t count);

/**
 * The same for those that read their slots, for instance before they get copies of their own inside the mapping of the
 * store. What cannot be had for want of mappings or memory stays as it is. @count: at most HOLD_PAGES.
 */
void plain_make_shared(struct region *region, uint64_t index, unsigned count);

/**
 * A read into these pages is about to begin: the same, and for pages of the mask @covered, which it covers wholly, also
 * if they have got copies, unless memory may be pinned for longer than a request or another read into the same page may
 * be under way. What stays in the store is marked as being read into. @count: at most HOLD_PAGES.
 */
void plain_before_read(struct region *region, uint64_t index, unsigned count, uint64_t covered);

/** Back to anonymous memory, or else copies of its own inside the mapping. @return 0 or -ENOMEM: done in part. */
int plain_make_or_copy(struct region *region, uint64_t index, uint64_t count);
/** The same of as much as can be had, for good: what cannot be made plain together is tried in small pieces. */
void plain_leave_store(struct region *region, uint64_t index, uint64_t count);

/**
 * Pages of the store, all of one kind, become empty anonymous memory; the VMM's own call has to follow. @return 0, or
 * -ENOMEM: then some still are of the store.
 */
int plain_drop(struct region *region, uint64_t index, uint64_t count);

/**
 * The same of such as have stayed there when they were protected (EXCLUDED_PROTECTED): they keep their protection, if
 * it is PROT_NONE, PROT_READ, or none. @return 0 or -errno: done in part, and nothing else can be done.
 */
int plain_drop_protected(struct region *region, uint64_t index, uint64_t count);

/** For these no mapping is to be had: zeros are written instead. Costs the memory that the discard meant to free. */
void plain_fill(struct region *region, uint64_t index, uint64_t count);
/**
 * Those that are anonymous by now, and still full of zeros, become missing, as the discard would have made them; but
 * for such as are being read into, or where no page may be moved away (hold_may_move()).
 */
void plain_empty_filled(struct region *region, uint64_t index, uint64_t count);

/**
 * Pages of the store become plain in @place, as hold_make_plain() has it; @count: at most HOLD_PAGES. What the daemon
 * counts there is told to it soon. @return 0, -errno: nothing has changed.
 */
int plain_make_in(struct region *region, uint64_t index, unsigned count, uint64_t place);

/**
 * Pages of zeros that were given back are holes, where the VMM had pages: it gets the kernel's zero page there. A VMM
 * that fetches what is missing would wait for ever for a page that it knows to have.
 */
void plain_show_zeros(const struct region *region, uint64_t index, uint64_t count);

/**
 * The same where such pages are to be moved elsewhere: the VMM gets pages of its own there, but under its userfaultfd,
 * where it has seen them already. They are not ours to count any more. @return 0 or -ENOMEM: done in part.
 */
int plain_put_zeros(struct region *region, uint64_t index, uint64_t count);

#endif
