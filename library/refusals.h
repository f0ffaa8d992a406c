/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory that was offered and is left alone: its addresses, the reasons, and so its current size. Parts of regions are
 * marked page by page (struct region, excluded); memory that never became a region is kept as ranges. Each byte that
 * begins or ceases to be left alone for a reason changes the figures that announce.h reports.
 *
 * With the memory lock held, unless said otherwise.
 */
#ifndef PAGEFUSE_LIBRARY_REFUSALS_H
#define PAGEFUSE_LIBRARY_REFUSALS_H

#include <stdbool.h>
#include <stdint.h>

#include "library/region.h"

/** Leaves pages [index, index+count) alone for a reason, or no longer; unmapped pages are not part of the region. */
void refusals_exclude(struct region *region, uint64_t index, uint64_t count, enum excluded why, bool on);

/** Ends all reasons at once: the pages are about to leave the region. */
void refusals_clear(struct region *region, uint64_t index, uint64_t count);

/**
 * [start, start+length) was offered and is left alone for @reason (enum wire_reason). Replaces earlier refusals of that
 * range. Beyond REFUSED_MAX ranges the refusal is forgotten: it is not reported, but the memory is still left alone.
 */
void refusals_note(uint64_t start, uint64_t length, uint32_t reason);
/** The range is gone, or no longer offered, or a region now. */
void refusals_forget(uint64_t start, uint64_t length);
/** The lowest piece of [start, start+length) that is left alone for @reason. @return whether there is one. */
bool refusals_find(uint64_t start, uint64_t length, uint32_t reason, uint64_t *ret_start, uint64_t *ret_length);
/** Whether any piece of the range is left alone. Cheap, without the lock. */
bool refusals_overlap(uint64_t start, uint64_t length);

#define REFUSED_MAX 256u

#endif
