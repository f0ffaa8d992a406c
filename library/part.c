/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/part.h"

#include "common/page.h"
#include "library/plain.h"

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

/** The first part of [@at, @end) that belongs to a region. @return its start; @end: there is none. */
static uint64_t find_first(uint64_t at, uint64_t end, struct part *ret)
{
	uint64_t first = end;

	for (unsigned i = 0; i < REGIONS_MAX; i++) {
		struct part part;
		uint64_t start;

		if (!part_find(region_at(i), at, end - at, &part))
			continue;
		start = region_hva(part.region, part.index);
		if (start >= first)
			continue;
		first = start;
		*ret = part;
	}
	return first;
}

/** Whether the page at @at is in the store; *ret_next: the end of the run for which this is the same. */
static bool is_in_store(uint64_t at, uint64_t end, uint64_t *ret_next)
{
	struct part part = { 0 };
	uint64_t run;

	*ret_next = find_first(at, end, &part);
	if (*ret_next > at)
		return false;
	run = plain_same_kind(part.region, part.index, part.index + part.count);
	*ret_next = run * PAGE_BYTES < end - at ? at + run * PAGE_BYTES : end;
	return (part.region->state[part.index] & PAGE_IN_STORE) != 0;
}

bool part_outside_store(uint64_t *start, uint64_t end, uint64_t *ret_end)
{
	uint64_t next;

	while (*start < end && is_in_store(*start, end, &next))
		*start = next;
	for (*ret_end = *start; *ret_end < end && !is_in_store(*ret_end, end, &next);)
		*ret_end = next;
	return *start < end;
}

void part_unmapped(const struct part *part)
{
	struct region *region = part->region;

	refusals_clear(region, part->index, part->count);
	region_mark(region, part->index, part->count, MARK_FILLED, false);
	for (uint64_t i = part->index; i < part->index + part->count; i++) {
		if (!(region->excluded[i] & EXCLUDED_UNMAPPED))
			region->unmapped_pages++;
		region->excluded[i] = EXCLUDED_UNMAPPED; /* all other reasons no longer apply */
		if (page_reads_slot(region->state[i]))
			page_set_state(region, i, PAGE_UNREPORTED);
		else if (region->state[i] != PAGE_ANONYMOUS && region->state[i] != PAGE_UNREPORTED)
			page_set_state(region, i, PAGE_DROPPED);
	}
	region_note_change(region, part->index, part->count);
	if (region->unmapped_pages == region->pages)
		region_leave(region);
}
