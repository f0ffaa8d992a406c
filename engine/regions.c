/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/regions.h"

#include <errno.h>
#include <string.h>

struct region *regions_search(struct regions *regions, uint32_t page)
{
	uint32_t low = 0, high = regions->count;

	while (low < high) { /* the last region that starts at or before page is at low - 1 */
		uint32_t middle = (low + high) / 2;

		if (regions->list[middle]->first <= page)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0 || page - regions->list[low - 1]->first >= regions->list[low - 1]->pages)
		return NULL;
	regions->last = low - 1;
	return regions->list[low - 1];
}

struct region *regions_from(const struct regions *regions, uint32_t page)
{
	uint32_t low = 0, high = regions->count;

	while (low < high) { /* the first region that ends after page */
		uint32_t middle = (low + high) / 2;
		const struct region *region = regions->list[middle];

		if (page >= region->first && page - region->first >= region->pages)
			low = middle + 1;
		else
			high = middle;
	}
	return low < regions->count ? regions->list[low] : NULL;
}

int regions_find_run(struct regions *regions, uint32_t page, uint32_t count, struct region **ret_region)
{
	struct region *region;

	if (page == 0 || page >= regions->next_page || count > regions->next_page - page)
		return -EPROTO;
	region = regions_find(regions, page);
	if (region != NULL && count > region->pages - (page - region->first))
		return -EPROTO;
	if (region == NULL && regions_find(regions, page + count - 1) != NULL)
		return -EPROTO;
	*ret_region = region;
	return 0;
}

int regions_may_add(const struct regions *regions, uint32_t page, uint64_t pages)
{
	/* Numbers may be skipped: for regions that were gone before this daemon knew the VM. */
	if (page < regions->next_page || pages == 0 || pages > UINT32_MAX - page)
		return -EPROTO;
	return regions->count + regions->beyond_count == REGIONS_MAX ? -ENOMEM : 0;
}

void regions_add(struct regions *regions, struct region *region)
{
	regions->list[regions->count++] = region;
	regions->next_page = region->first + region->pages;
	regions->pages += region->pages;
}

void regions_insert(struct regions *regions, struct region *region)
{
	uint32_t index = regions->count;

	while (index > 0 && regions->list[index - 1]->first > region->first)
		index--;
	memmove(&regions->list[index + 1], &regions->list[index],
		(regions->count++ - index) * sizeof(struct region *));
	regions->list[index] = region;
	regions->pages += region->pages;
}

void regions_take(struct regions *regions, struct region *region)
{
	uint32_t index = 0;

	while (regions->list[index] != region)
		index++;
	memmove(&regions->list[index], &regions->list[index + 1],
		(--regions->count - index) * sizeof(struct region *));
	regions->pages -= region->pages;
}

void regions_done(struct regions *regions)
{
	while (regions->count > 0)
		region_free(regions->list[--regions->count]);
}

/* ---- regions beyond the limits ---- */

static int find_beyond(const struct regions *regions, uint32_t page)
{
	for (uint32_t i = 0; i < regions->beyond_count; i++)
		if (page - regions->beyond[i] < regions->beyond_length[i])
			return (int)i;
	return -ENOENT;
}

bool regions_is_beyond(const struct regions *regions, uint32_t page)
{
	return find_beyond(regions, page) >= 0;
}

void regions_add_beyond(struct regions *regions, uint32_t page, uint32_t pages, uint32_t before, bool waits)
{
	regions->beyond_waits[regions->beyond_count] = waits;
	regions->waiting_count += waits;
	regions->beyond[regions->beyond_count] = page;
	regions->beyond_before[regions->beyond_count] = (uint16_t)before;
	regions->beyond_length[regions->beyond_count++] = pages;
	regions->next_page = page + pages;
	regions->beyond_pages += pages;
}

void regions_wait_no_more(struct regions *regions, uint32_t index)
{
	regions->waiting_count -= regions->beyond_waits[index];
	regions->beyond_waits[index] = false;
}

int regions_remove_beyond(struct regions *regions, uint32_t page)
{
	int i = find_beyond(regions, page);

	if (i < 0 || regions->beyond[i] != page)
		return -EPROTO;
	regions_wait_no_more(regions, (uint32_t)i);
	regions->beyond_pages -= regions->beyond_length[i];
	regions->beyond_count--;
	regions->beyond[i] = regions->beyond[regions->beyond_count];
	regions->beyond_length[i] = regions->beyond_length[regions->beyond_count];
	regions->beyond_before[i] = regions->beyond_before[regions->beyond_count];
	regions->beyond_waits[i] = regions->beyond_waits[regions->beyond_count];
	return 0;
}

const struct region *regions_largest(const struct regions *regions)
{
	const struct region *largest = NULL;

	for (uint32_t i = 0; i < regions->count; i++)
		if (largest == NULL || regions->list[i]->pages > largest->pages)
			largest = regions->list[i];
	return largest;
}
