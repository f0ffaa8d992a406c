/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/guest-map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A range in the order of pages. */
struct guest_map_page {
	uint32_t page, end;    /* [page, end) */
	uint32_t range;        /* its place in the order of frames */
	uint32_t furthest_end; /* the highest end of this range and all before it: a backward search stops there */
};

void guest_map_done(struct guest_map *map)
{
	free(map->ranges);
	free(map->pages);
	free(map->next);
	*map = (struct guest_map){ 0 };
}

static void begin_anew(struct guest_map *map)
{
	free(map->next);
	map->next = NULL;
	map->next_count = 0;
	map->coming = false;
}

/* ---- taking in ---- */

static int by_page(const void *left, const void *right)
{
	const struct guest_map_page *a = left, *b = right;

	if (a->page != b->page)
		return a->page < b->page ? -1 : 1;
	return a->range < b->range ? -1 : a->range > b->range;
}

static struct guest_map_page *sort_by_page(const struct wire_range *ranges, uint32_t count)
{
	struct guest_map_page *pages = calloc(count, sizeof(*pages));
	uint32_t end = 0;

	if (pages == NULL)
		return NULL;
	for (uint32_t i = 0; i < count; i++)
		pages[i] = (struct guest_map_page){
			.page = ranges[i].page, .end = ranges[i].page + ranges[i].pages, .range = i
		};
	qsort(pages, count, sizeof(*pages), by_page);
	for (uint32_t i = 0; i < count; i++) {
		end = pages[i].end > end ? pages[i].end : end;
		pages[i].furthest_end = end;
	}
	return pages;
}

/* Now the new one counts. */
static int change_over(struct guest_map *map)
{
	struct wire_range *ranges = map->next;
	uint32_t count = map->next_count;
	struct guest_map_page *pages = NULL;

	if (count > 0) {
		pages = sort_by_page(ranges, count);
		if (pages == NULL)
			return -ENOMEM;
	}
	map->next = NULL;
	begin_anew(map);
	free(map->ranges);
	free(map->pages);
	map->ranges = ranges;
	map->pages = pages;
	map->count = count;
	return 0;
}

static int append(struct guest_map *map, const struct wire_range *ranges, uint32_t count)
{
	const struct wire_range *last = map->next_count > 0 ? &map->next[map->next_count - 1] : NULL;
	struct wire_range *grown;

	if (count == 0)
		return 0;
	if (last != NULL && ranges[0].gfn < last->gfn + last->pages)
		return -EPROTO;
	if (count > WIRE_RANGES_MAX - map->next_count)
		return -ENOSPC;
	grown = realloc(map->next, (map->next_count + count) * sizeof(*grown));
	if (grown == NULL)
		return -ENOMEM;
	memcpy(grown + map->next_count, ranges, count * sizeof(*grown));
	map->next = grown;
	map->next_count += count;
	return 0;
}

int guest_map_take(struct guest_map *map, const struct wire_range *ranges, uint32_t count, bool first, bool last)
{
	int r = 0;

	if (first) {
		begin_anew(map);
		map->left_out = false;
	}
	if (map->left_out)
		return 0;
	if (!first && !map->coming)
		r = -EPROTO;
	map->coming = true;
	if (r == 0)
		r = append(map, ranges, count);
	if (r == 0 && last)
		r = change_over(map);
	if (r < 0)
		begin_anew(map);
	return r;
}

uint64_t guest_map_bytes(const struct guest_map *map)
{
	return map->count * (sizeof(*map->ranges) + sizeof(*map->pages)) + map->next_count * sizeof(*map->next);
}

void guest_map_leave_out(struct guest_map *map)
{
	guest_map_done(map);
	map->left_out = true;
}

/* ---- looking up ---- */

uint32_t guest_map_page(const struct guest_map *map, uint64_t gfn)
{
	uint32_t low = 0, high = map->count;
	const struct wire_range *range;

	while (low < high) { /* the last range that begins at or before gfn is at low - 1 */
		uint32_t middle = (low + high) / 2;

		if (map->ranges[middle].gfn <= gfn)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0)
		return 0;
	range = &map->ranges[low - 1];
	return gfn - range->gfn < range->pages ? range->page + (uint32_t)(gfn - range->gfn) : 0;
}

bool guest_map_next_frame(const struct guest_map *map, uint32_t page, uint64_t gfn, uint64_t *ret_gfn)
{
	uint32_t low = 0, high = map->count;
	uint64_t found = WIRE_GFN_END;

	while (low < high) { /* ranges from low on begin behind page */
		uint32_t middle = (low + high) / 2;

		if (map->pages[middle].page <= page)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low > 0 && map->pages[low - 1].furthest_end > page; low--) {
		const struct guest_map_page *at = &map->pages[low - 1];
		uint64_t frame = map->ranges[at->range].gfn + (page - at->page);

		if (page < at->end && frame >= gfn && frame < found)
			found = frame;
	}
	if (found == WIRE_GFN_END)
		return false;
	*ret_gfn = found;
	return true;
}
