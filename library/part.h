/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The part of a region that a range of addresses covers. Memory lock held. */
#ifndef PAGEFUSE_LIBRARY_PART_H
#define PAGEFUSE_LIBRARY_PART_H

#include <stdbool.h>
#include <stdint.h>

#include "library/refusals.h"
#include "library/region.h"

struct part {
	struct region *region;
	uint64_t index, count;
	bool whole;
};

/** Rounds a range of bytes to the pages it touches, and cuts it to the region. @return whether anything is left. */
bool part_find(struct region *region, uint64_t start, uint64_t length, struct part *ret);

/** The part's pages no longer belong to the region; when the last of its pages is gone, the region leaves. */
void part_unmapped(const struct part *part);

/** Leaves the part's pages alone for a reason, or no longer. */
static inline void part_exclude(const struct part *part, enum excluded why, bool on)
{
	refusals_exclude(part->region, part->index, part->count, why, on);
}

/**
 * The next piece of [*start, end), whole pages, that is not in the store. Moves *start up to it. @return whether there
 * is any.
 */
bool part_outside_store(uint64_t *start, uint64_t end, uint64_t *ret_end);

#endif
