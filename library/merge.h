/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Carries out MERGE and ZERO orders: sorts the pages, drops those that differ, holds the rest. Worker thread, lock
 * held.
 */
#ifndef PAGEFUSE_LIBRARY_MERGE_H
#define PAGEFUSE_LIBRARY_MERGE_H

#include <stdbool.h>
#include <stdint.h>

#include "library/hold.h"

#define MERGES_MAX 16u

/**
 * Pages [page, page + count), the target of each (slot or HOLD_ZERO), and its outcome. Unless @may_split is set, pages
 * inside a 2 MiB page are left alone: OUTCOME_HUGE.
 */
struct merge {
	uint32_t page;
	unsigned count;
	bool may_split;
	const uint32_t *targets;
	enum outcome *outcomes;
};

/** At most MERGES_MAX, of HOLD_PAGES pages in all, and no page twice. All outcomes are set. */
void merge_pages(const struct merge *merges, unsigned count);

/** Gives each page of the run its own copy. Cheap for pages that have one. @return 0 or -ENOMEM. */
int merge_unshare(struct region *region, uint64_t index, uint64_t count);

#endif
