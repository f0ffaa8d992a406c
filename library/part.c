/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/part.h"

#include "common/page.h"

bool part_find(struct region *region, uint64_t start, uint64_t length, struct part *ret)
{
	uint64_t end = length > UINT64_MAX - start - PAGE_BYTES ? UINT64_MAX & ~(PAGE_BYTES - 1)
								: (start + length + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
	uint64_t from = start & ~(PAGE_BYTES - 1);

	if (region == NULL || region->leaving || end <= region->start || from >= region_end(region))
		return false;
	from = from < region->start ? region->start : from;
	end = end > region_end(region) ? region_end(region) : end;
	*ret = (struct part){ .region = region,
			      .index = (from - region->start) / PAGE_BYTES,
			      .count = (end - from) / PAGE_BYTES };
	ret->whole = ret->count == region->pages;
	return ret->count > 0;
}

void part_unmapped(const struct part *part)
{
	struct region *region = part->region;

	refusals_clear(region, part->index, part->count);
	region_mark(region, part->index, part->count, MARK_FILLED, false);
	for (uint64_t i = part->index; i < part->index + part->count; i++) {
		if (!(region->excluded[i] & EXCLUDED_UNMAPPED))
			region->unmapped_pages++;
		region->excluded[i] = EXCLUDED_UNMAPPED; /* and what else was said of it is over */
		if (page_reads_slot(region->state[i]))
			page_set_state(region, i, PAGE_UNREPORTED);
		else if (region->state[i] != PAGE_ANONYMOUS && region->state[i] != PAGE_UNREPORTED)
			page_set_state(region, i, PAGE_DROPPED);
	}
	region_note_change(region, part->index, part->count);
	if (region->unmapped_pages == region->pages)
		region_leave(region);
}
