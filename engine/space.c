/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/space.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/array.h"

/* Marks a chunk whose region is gone. */
static char gone_mark;
#define GONE ((struct region *)(void *)&gone_mark)

/* ---- what is free ---- */

static void count_block(struct space *space, uint32_t number)
{
	struct region *const *chunks = &space->chunks[(size_t)number * SPACE_BLOCK];
	struct space_block block = { 0 };
	uint32_t run = 0;

	for (uint32_t i = 0; i < SPACE_BLOCK; i++) {
		run = chunks[i] == NULL ? run + 1 : 0;
		if (run == i + 1)
			block.first = (uint16_t)run;
		if (run > block.longest)
			block.longest = (uint16_t)run;
	}
	block.last = (uint16_t)run;
	space->blocks[number] = block;
}

static void set_chunks(struct space *space, uint32_t first, uint32_t count, struct region *region)
{
	const uint16_t whole = region == NULL ? SPACE_BLOCK : 0;
	uint32_t end = first + count;

	for (uint32_t at = first; at < end; at++)
		space->chunks[at] = region;
	for (uint32_t block = first / SPACE_BLOCK; block * SPACE_BLOCK < end; block++) {
		if (block * SPACE_BLOCK >= first && end - block * SPACE_BLOCK >= SPACE_BLOCK)
			space->blocks[block] = (struct space_block){ whole, whole, whole };
		else
			count_block(space, block);
	}
}

int space_init(struct space *space)
{
	memset(space, 0, sizeof(*space));
	space->chunks = array_new(SPACE_CHUNKS, sizeof(*space->chunks));
	space->blocks = array_new(SPACE_BLOCKS, sizeof(*space->blocks));
	if (space->chunks == NULL || space->blocks == NULL) {
		space_done(space);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < SPACE_BLOCKS; i++)
		space->blocks[i] = (struct space_block){ SPACE_BLOCK, SPACE_BLOCK, SPACE_BLOCK };
	set_chunks(space, 0, 1, GONE); /* number 0 is no page: a reference of 0 is an empty place in the table */
	space->top = 1;
	return 0;
}

void space_done(struct space *space)
{
	array_free(space->chunks, SPACE_CHUNKS, sizeof(*space->chunks));
	array_free(space->blocks, SPACE_BLOCKS, sizeof(*space->blocks));
	free(space->gone.list);
	free(space->swept.list);
}

static uint32_t chunks_for(uint32_t pages)
{
	return pages / SPACE_CHUNK_PAGES + (pages % SPACE_CHUNK_PAGES != 0);
}

uint64_t space_numbers(uint32_t pages)
{
	return (uint64_t)chunks_for(pages) * SPACE_CHUNK_PAGES;
}

/* The first of @count free chunks in a block that has them. */
static uint32_t search_block(const struct space *space, uint32_t block, uint32_t count)
{
	uint32_t at = block * SPACE_BLOCK, run = 0;

	while (run < count)
		run = space->chunks[at++] == NULL ? run + 1 : 0;
	return at - count;
}

/* The first of @count free chunks, 0 if there are none. */
static uint32_t search(const struct space *space, uint32_t count)
{
	uint32_t run = 0; /* free ones in front of the block */

	for (uint32_t i = 0; i < SPACE_BLOCKS; i++) {
		const struct space_block *block = &space->blocks[i];

		if (run + block->first >= count)
			return i * SPACE_BLOCK - run;
		if (block->longest >= count)
			return search_block(space, i, count);
		run = block->first == SPACE_BLOCK ? run + SPACE_BLOCK : block->last;
	}
	return 0;
}

uint32_t space_take(struct space *space, struct region *region, uint32_t pages)
{
	uint32_t count = chunks_for(pages), first = search(space, count);

	if (first == 0)
		return 0;
	set_chunks(space, first, count, region);
	if (first + count > space->top)
		space->top = first + count;
	return first * SPACE_CHUNK_PAGES;
}

/* ---- what was used ---- */

static void remember(struct space *space, struct space_range range)
{
	struct space_ranges *gone = &space->gone;

	if (gone->count == gone->capacity) {
		uint32_t capacity = gone->capacity ? gone->capacity * 2 : 64;
		struct space_range *list = realloc(gone->list, capacity * sizeof(*list));

		if (list == NULL) /* its numbers are lost, with no other effect */
			return;
		gone->list = list;
		gone->capacity = capacity;
	}
	gone->list[gone->count++] = range;
	space->gone_chunks += range.count;
}

void space_leave(struct space *space, uint32_t global, uint32_t pages, void *account)
{
	uint32_t first = global / SPACE_CHUNK_PAGES, count = chunks_for(pages);

	set_chunks(space, first, count, GONE);
	remember(space, (struct space_range){ first, count, account });
}

struct region *space_find(const struct space *space, uint32_t global)
{
	struct region *region = space->chunks[global / SPACE_CHUNK_PAGES];

	return region == GONE ? NULL : region;
}

bool space_has_gone(const struct space *space)
{
	return space->gone.count > 0 || space->swept.count > 0;
}

void space_sweep_begins(struct space *space)
{
	struct space_ranges empty = space->swept;

	assert(empty.count == 0);
	space->swept = space->gone;
	space->gone = empty;
}

void space_sweep_ended(struct space *space)
{
	space->frees = true;
}

/* @most chunks of it. @return how many were freed. */
static uint32_t free_range(struct space *space, struct space_range *range, uint32_t most)
{
	uint32_t count = range->count < most ? range->count : most;

	range->count -= count;
	set_chunks(space, range->chunk + range->count, count, NULL);
	space->gone_chunks -= count;
	if (space->freed)
		space->freed(space->context, range->account, (uint64_t)count * SPACE_CHUNK_PAGES);
	return count;
}

bool space_free(struct space *space)
{
	uint32_t left = SPACE_FREED_CHUNKS, ranges = SPACE_FREED_RANGES;
	struct space_ranges *swept = &space->swept;

	for (; space->frees && swept->count > 0 && left > 0 && ranges > 0; ranges--) {
		struct space_range *range = &swept->list[swept->count - 1];

		left -= free_range(space, range, left);
		if (range->count == 0)
			swept->count--;
	}
	if (swept->count == 0)
		space->frees = false;
	return space->frees;
}

uint64_t space_bytes(const struct space *space)
{
	return (uint64_t)space->top * sizeof(*space->chunks) + SPACE_BLOCKS * sizeof(*space->blocks) +
	       ((uint64_t)space->gone.capacity + space->swept.capacity) * sizeof(struct space_range);
}
