/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/labels.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct labels_block {
	uint32_t number;   /* of its first page, in blocks */
	uint16_t *modules; /* by page: 1 more than its module's number; 0: not named */
};

void labels_done(struct labels *labels)
{
	for (uint32_t i = 0; i < labels->count; i++)
		free(labels->blocks[i].modules);
	free(labels->blocks);
	*labels = (struct labels){ 0 };
}

/* The place of the first block from @number on. */
static uint32_t seek(const struct labels *labels, uint32_t number)
{
	uint32_t low = 0, high = labels->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (labels->blocks[middle].number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool grow(struct labels *labels)
{
	uint32_t room = labels->room == 0 ? 8 : 2 * labels->room;
	struct labels_block *blocks = reallocarray(labels->blocks, room, sizeof(*blocks));

	if (blocks == NULL)
		return false;
	labels->blocks = blocks;
	labels->room = room;
	return true;
}

/* The modules of block @number; NULL: it is not there, or without memory cannot be with @make. */
static uint16_t *find(struct labels *labels, uint32_t number, bool make)
{
	uint32_t at = seek(labels, number);
	struct labels_block *block;
	uint16_t *modules;

	if (at < labels->count && labels->blocks[at].number == number)
		return labels->blocks[at].modules;
	if (!make || (labels->count == labels->room && !grow(labels)))
		return NULL;
	modules = calloc(LABELS_BLOCK, sizeof(*modules));
	if (modules == NULL)
		return NULL;
	block = &labels->blocks[at];
	memmove(block + 1, block, (labels->count - at) * sizeof(*block));
	*block = (struct labels_block){ .number = number, .modules = modules };
	labels->count++;
	return modules;
}

static void fill(struct labels *labels, uint32_t page, uint32_t count, uint16_t value)
{
	uint64_t before, after;

	while (count > 0) {
		uint32_t first = page % LABELS_BLOCK;
		uint32_t some = count < LABELS_BLOCK - first ? count : LABELS_BLOCK - first;
		uint16_t *modules = find(labels, page / LABELS_BLOCK, value != 0);

		before = after = 0;
		for (uint32_t i = 0; modules != NULL && i < some; i++) {
			before += modules[first + i] != 0;
			after += value != 0;
			modules[first + i] = value;
		}
		labels->named += after - before;
		page += some;
		count -= some;
	}
}

void labels_set(struct labels *labels, uint32_t page, uint32_t count, uint32_t module)
{
	fill(labels, page, count, (uint16_t)(module + 1));
}

uint64_t labels_clear(struct labels *labels, uint32_t page, uint32_t count)
{
	uint64_t before = labels->named;

	fill(labels, page, count, 0);
	return before - labels->named;
}

int labels_next(const struct labels *labels, uint64_t page, uint32_t room, uint32_t *ret_pages, uint32_t *ret_modules,
		uint64_t *ret_next)
{
	uint32_t at = seek(labels, (uint32_t)(page / LABELS_BLOCK)), i, found = 0;
	const struct labels_block *block;

	if (at == labels->count)
		return -1;
	block = &labels->blocks[at];
	i = block->number == page / LABELS_BLOCK ? (uint32_t)(page % LABELS_BLOCK) : 0;
	for (; i < LABELS_BLOCK && found < room; i++) {
		if (block->modules[i] == 0)
			continue;
		ret_pages[found] = block->number * LABELS_BLOCK + i;
		ret_modules[found++] = block->modules[i] - 1u;
	}
	*ret_next = (uint64_t)block->number * LABELS_BLOCK + i;
	return (int)found;
}
