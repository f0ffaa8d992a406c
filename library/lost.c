/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/lost.h"

#include "common/page.h"
#include "library/mappings.h"
#include "library/region.h"
#include "library/view.h"

/** Whether a page of the store is what is mapped there, which begins at @offset of a file. */
static bool is_at(const struct region *region, uint64_t index, uint64_t offset)
{
	return offset == (region->state[index] & PAGE_SLOT_MASK) % VIEW_SEGMENT_SLOTS * PAGE_BYTES;
}

bool lost_any(const struct part *part)
{
	uint64_t offset;

	for (uint64_t i = part->index; i < part->index + part->count; i++)
		if (part->region->state[i] & PAGE_IN_STORE)
			return mappings_file_offset(region_hva(part->region, i), &offset) < 0 ||
			       !is_at(part->region, i, offset);
	return false;
}

/** A walk over pages of a region: those before @at have been settled. */
struct walk {
	struct region *region;
	uint64_t at;
};

static void lose(const struct walk *walk)
{
	const struct part page = { .region = walk->region, .index = walk->at, .count = 1 };

	part_unmapped(&page);
}

static bool is_in_store(const struct walk *walk)
{
	return (walk->region->state[walk->at] & PAGE_IN_STORE) != 0;
}

/** Nothing is mapped up to @end. */
static void settle_hole(struct walk *walk, uint64_t end)
{
	for (; walk->at < end; walk->at++)
		if (is_in_store(walk))
			lose(walk);
}

static void settle_mapping(void *context, uint64_t start, uint64_t end, uint64_t offset)
{
	struct walk *walk = context;

	settle_hole(walk, (start - walk->region->start) / PAGE_BYTES);
	for (; region_hva(walk->region, walk->at) < end; walk->at++) {
		uint64_t into = region_hva(walk->region, walk->at) - start;

		if (is_in_store(walk) &&
		    (offset == MAPPINGS_NO_OFFSET || !is_at(walk->region, walk->at, offset + into)))
			lose(walk);
	}
}

static void settle_without_proc(struct walk *walk, uint64_t end)
{
	for (; walk->at < end; walk->at++)
		if (is_in_store(walk) && mappings_have_holes(region_hva(walk->region, walk->at), PAGE_BYTES))
			lose(walk);
}

void lost_settle(uint64_t start, uint64_t length)
{
	for (unsigned i = 0; i < REGIONS_MAX; i++) {
		struct part part;
		struct walk walk;
		uint64_t end;

		if (!part_find(region_at(i), start, length, &part))
			continue;
		walk = (struct walk){ part.region, part.index };
		end = part.index + part.count;
		if (mappings_each(region_hva(part.region, part.index), part.count * PAGE_BYTES, settle_mapping,
				  &walk) == 0)
			settle_hole(&walk, end);
		else
			settle_without_proc(&walk, end);
	}
}
