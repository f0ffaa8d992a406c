/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/device-maps.h"

#include "library/part.h"

static unsigned under_way;

/** The range of the latest call, if nothing in it was pinned before and no other call was under way; else empty. */
static struct {
	uint64_t start, length;
} only;

static bool is_excluded(const struct part *part)
{
	for (uint64_t i = part->index; i < part->index + part->count; i++)
		if (part->region->excluded[i] & EXCLUDED_DEVICE)
			return true;
	return false;
}

/** @return whether one of the pages was left alone before. */
static bool exclude(uint64_t start, uint64_t length, bool on)
{
	bool any = false;

	for (unsigned i = 0; i < REGIONS_MAX; i++) {
		struct part part;

		if (!part_find(region_at(i), start, length, &part))
			continue;
		any = is_excluded(&part) || any;
		part_exclude(&part, EXCLUDED_DEVICE, on);
	}
	return any;
}

void device_maps_begin(uint64_t start, uint64_t length)
{
	bool others = exclude(start, length, true) || under_way > 0;

	only.start = others ? 0 : start;
	only.length = others ? 0 : length;
	under_way++;
}

void device_maps_end(uint64_t start, uint64_t length, bool succeeded)
{
	under_way--;
	if (succeeded || start != only.start || length != only.length)
		return;
	only.length = 0;
	exclude(start, length, false);
}
