/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Slots are staged before a hold: mapped somewhere, in the way that guest pages will map them. The hold moves this
 * mapping into place. So it needs no memory, and no descriptor, which the VMM might have closed at that moment.
 *
 * Worker thread, memory lock held; template_forget() in the child of a fork.
 */
#ifndef PAGEFUSE_LIBRARY_TEMPLATE_H
#define PAGEFUSE_LIBRARY_TEMPLATE_H

#include <stdbool.h>
#include <stdint.h>

#include "library/region.h"

/** What stays mapped for this at most: seeds of two pages, and templates. Nothing if the VMM's memory is limited. */
#define SEEDS_MAX 64u
#define TEMPLATES_MAX 8u

/**
 * Slots staged from here on, and not put into place, stay mapped until the next call of this, or until they are
 * unstaged.
 */
void template_begin(void);
/**
 * Maps slots [slot, slot+count), which are in use, privately, readable and writable. @count: at most HOLD_PAGES, all in
 * the VIEW_WINDOW_SLOTS of the first. @return an address, -ENOENT (no descriptor), or -errno.
 */
long template_stage(const struct region *region, uint32_t slot, unsigned count);
/**
 * Maps the slots staged at @staged over the memory at @to, with @region's advice. @return 0, or -errno: nothing has
 * changed.
 */
int template_put(const struct region *region, uint64_t staged, uint64_t length, uint64_t to);
/** Whether a page that was staged, and not put, has to be unstaged. */
bool template_is_left(uint64_t staged);
void template_unstage(uint64_t start, unsigned count);

/** Unmaps the seed and templates of a segment that is closed, or of all. Mappings that were split off stay. */
void template_drop(uint32_t segment);
void template_drop_all(void);
/** In the child of a fork, which has not inherited them. */
void template_forget(void);

#endif
