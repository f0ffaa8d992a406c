/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/space.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/array.h"

/* Marks a chunk whose region is gone. */
static char gone_mark;
#define GONE ((struct region *)(void *)&gone_mark)

int space_init(struct space *space)
{
	memset(space, 0, sizeof(*space));
	space->chunks = array_new(SPACE_CHUNKS, sizeof(*space->chunks));
	if (space->chunks == NULL)
		return -ENOMEM;
	space->chunks[0] = GONE; /* number 0 is no page: a reference of 0 is an empty place in the table */
	space->next = space->top = 1;
	return 0;
}

void space_done(struct space *space)
{
	array_free(space->chunks, SPACE_CHUNKS, sizeof(*space->chunks));
	free(space->gone);
}

static uint32_t chunks_for(uint32_t pages)
{
	return pages / SPACE_CHUNK_PAGES + (pages % SPACE_CHUNK_PAGES != 0);
}

uint64_t space_numbers(uint32_t pages)
{
	return (uint64_t)chunks_for(pages) * SPACE_CHUNK_PAGES;
}

/* First of @count free chunks in [@from, @to), 0 if there are none. */
static uint32_t search(const struct space *space, uint32_t from, uint32_t to, uint32_t count)
{
	uint32_t free = 0;

	for (uint32_t at = from; at < to; at++) {
		free = space->chunks[at] == NULL ? free + 1 : 0;
		if (free == count)
			return at + 1 - count;
	}
	return 0;
}

uint32_t space_take(struct space *space, struct region *region, uint32_t pages)
{
	uint32_t count = chunks_for(pages);
	uint32_t first = search(space, space->next, space->top, count);

	if (first == 0 && count <= SPACE_CHUNKS - space->top)
		first = space->top;
	if (first == 0)
		first = search(space, 1, space->top, count);
	if (first == 0)
		return 0;
	for (uint32_t i = 0; i < count; i++)
		space->chunks[first + i] = region;
	space->next = first + count;
	if (space->next > space->top)
		space->top = space->next;
	return first * SPACE_CHUNK_PAGES;
}

static void remember(struct space *space, struct space_range range)
{
	if (space->gone_count == space->gone_capacity) {
		uint32_t capacity = space->gone_capacity ? space->gone_capacity * 2 : 64;
		struct space_range *gone = realloc(space->gone, capacity * sizeof(*gone));

		if (gone == NULL) /* its numbers are lost, nothing else */
			return;
		space->gone = gone;
		space->gone_capacity = capacity;
	}
	space->gone[space->gone_count++] = range;
	space->gone_chunks += range.count;
}

void space_leave(struct space *space, uint32_t global, uint32_t pages, void *account)
{
	uint32_t first = global / SPACE_CHUNK_PAGES, count = chunks_for(pages);

	for (uint32_t i = 0; i < count; i++)
		space->chunks[first + i] = GONE;
	remember(space, (struct space_range){ first, count, account });
}

struct region *space_find(const struct space *space, uint32_t global)
{
	struct region *region = space->chunks[global / SPACE_CHUNK_PAGES];

	return region == GONE ? NULL : region;
}

void space_sweep_begins(struct space *space)
{
	space->sweeping = space->gone_count;
}

void space_sweep_ended(struct space *space)
{
	uint32_t left = space->gone_count - space->sweeping;

	for (uint32_t i = 0; i < space->sweeping; i++) {
		struct space_range range = space->gone[i];

		for (uint32_t at = range.chunk; at < range.chunk + range.count; at++)
			space->chunks[at] = NULL;
		if (space->freed)
			space->freed(space->context, range.account, (uint64_t)range.count * SPACE_CHUNK_PAGES);
		space->gone_chunks -= range.count;
		if (range.chunk < space->next)
			space->next = range.chunk;
	}
	if (left > 0)
		memmove(space->gone, space->gone + space->sweeping, left * sizeof(*space->gone));
	space->gone_count = left;
	space->sweeping = 0;
}

uint64_t space_bytes(const struct space *space)
{
	return (uint64_t)space->top * sizeof(*space->chunks) + space->gone_capacity * sizeof(*space->gone);
}
