/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory maps as a VMM sends them: whatever comes in whatever chunks, both directions agree, and nothing grows beyond
 * the bounds. Each message begins with its length, two bytes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/guest-map.h"
#include "tests/support/fuzz.h"

static void check(const struct guest_map *map)
{
	uint64_t gfn;

	must(map->count <= WIRE_RANGES_MAX && map->next_count <= WIRE_RANGES_MAX);
	for (uint32_t i = 0; i < map->count; i++) {
		const struct wire_range *range = &map->ranges[i];

		must(guest_map_page(map, range->gfn) == range->page);
		must(guest_map_page(map, range->gfn + range->pages - 1) == range->page + (range->pages - 1));
		must(guest_map_next_frame(map, range->page, range->gfn, &gfn) && gfn == range->gfn);
	}
}

static void take(struct guest_map *map, const uint8_t *data, size_t size)
{
	struct wire_memory_map *message = malloc(sizeof(*message) + size);
	int r;

	must(message != NULL);
	memcpy(message->ranges, data + (size > 0), size - (size > 0));
	wire_header_init(&message->header, WIRE_MEMORY_MAP, sizeof(*message) + (size - (size > 0)) / 16 * 16);
	message->header.flags = size > 0 ? data[0] & 3 : 0;
	if (wire_check(message, message->header.length) == 0) {
		r = guest_map_take(map, message->ranges,
				   (uint32_t)((message->header.length - sizeof(*message)) / sizeof(*message->ranges)),
				   (message->header.flags & WIRE_FIRST) != 0, (message->header.flags & WIRE_MORE) == 0);
		must(r == 0 || r == -EPROTO || r == -ENOSPC);
		check(map);
	}
	free(message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct guest_map map = { 0 };

	while (size >= 2) {
		size_t length = data[0] | (size_t)data[1] << 8;

		length = length < size - 2 ? length : size - 2;
		take(&map, data + 2, length);
		data += 2 + length;
		size -= 2 + length;
	}
	guest_map_done(&map);
	return 0;
}
