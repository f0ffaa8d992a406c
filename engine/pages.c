/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/pages.h"

#include <stdlib.h>

#include "engine/array.h"

static uint32_t parts_of(const struct region *region)
{
	return (region->pages - 1) / REGION_BLOCK + 1;
}

struct region *region_new(struct engine_vm *vm, struct page_counts *all, struct page_counts *counts,
			  struct block_counts *blocks, uint32_t first, uint32_t pages, uint32_t before)
{
	struct region *region = calloc(1, sizeof(*region));

	if (region == NULL)
		return NULL;
	*region = (struct region){ .vm = vm, .all = all, .counts = counts, .first = first, .pages = pages };
	region->state = array_new(pages, sizeof(*region->state));
	region->stability = array_new(pages, sizeof(*region->stability));
	region->touched = array_new(parts_of(region), sizeof(*region->touched));
	if (region->state == NULL || region->stability == NULL || region->touched == NULL ||
	    blocks_init(&region->blocks, pages, before, blocks) < 0) {
		region_free(region);
		return NULL;
	}
	return region;
}

void region_free(struct region *region)
{
	if (region == NULL)
		return;
	array_free(region->state, region->pages, sizeof(*region->state));
	array_free(region->stability, region->pages, sizeof(*region->stability));
	array_free(region->touched, parts_of(region), sizeof(*region->touched));
	blocks_done(&region->blocks);
	free(region);
}

void page_count(struct page page, uint32_t before, uint32_t after)
{
	struct region *region = page.region;
	struct page_counts *counts[] = { region->all, region->counts, &region->own };
	uint64_t known = state_is_known(after) - (uint64_t)state_is_known(before);
	enum page_class from = state_class(before), to = state_class(after);

	for (unsigned i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
		counts[i]->of[from]--;
		counts[i]->of[to]++;
		counts[i]->known += known;
	}
	if (state_kind(after) != KIND_PRIVATE)
		blocks_unready(&region->blocks, page.index);
}

static void uncount(struct page_counts *counts, const struct page_counts *less)
{
	for (unsigned i = 0; i < PAGE_CLASSES; i++)
		counts->of[i] -= less->of[i];
	counts->known -= less->known;
}

void region_uncount(const struct region *region)
{
	uncount(region->all, &region->own);
	uncount(region->counts, &region->own);
	blocks_uncount(&region->blocks);
}
