/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory that was offered and is left alone: which, for what reason, and so how much of it there is now. Parts of
 * regions are marked page by page (struct region, excluded); what never became a region is kept as ranges. Each byte
 * that comes to be left alone for a reason, or is no longer, changes what announce.h tells.
 *
 * With the memory lock held, unless said otherwise.
 */
#ifndef PAGEFUSE_LIBRARY_REFUSALS_H
#define PAGEFUSE_LIBRARY_REFUSALS_H

#include <stdbool.h>
#include <stdint.h>

#include "library/region.h"

/** Leaves pages [index, index+count) alone for a reason, or no longer; those unmapped are not the region's. */
void refusals_exclude(struct region *region, uint64_t index, uint64_t count, enum excluded why, bool on);

/** The same for all reasons at once: the pages are about to be no longer the region's. */
void refusals_clear(struct region *region, uint64_t index, uint64_t count);

/**
 * [start, start+length) was offered and is left alone for @reason (enum wire_reason). Takes the place of what was known
 * of that range. Beyond REFUSED_MAX ranges it is forgotten: told of nowhere, and left alone all the same.
 */
void refusals_note(uint64_t start, uint64_t length, uint32_t reason);
/** It is gone, or no longer offered, or a region now. */
void refusals_forget(uint64_t start, uint64_t length);
/** The lowest piece of [start, start+length) that is left alone for @reason. @return whether there is one. */
bool refusals_find(uint64_t start, uint64_t length, uint32_t reason, uint64_t *ret_start, uint64_t *ret_length);
/** Whether any piece of it is left alone. Cheap, without the lock. */
bool refusals_overlap(uint64_t start, uint64_t length);

#define REFUSED_MAX 256u

#endif
