/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/labels.h"

#include <stdlib.h>
#include <string.h>

struct labels_block {
	uint32_t number; /* of its first page, in blocks */
	uint32_t named;  /* of its pages */
	void *modules;   /* by page: 1 more than its module's number; 0: not named */
};

static uint16_t get(const struct labels *labels, const void *modules, uint32_t page)
{
	return labels->narrow ? ((const uint8_t *)modules)[page] : ((const uint16_t *)modules)[page];
}

static void put(const struct labels *labels, void *modules, uint32_t page, uint16_t value)
{
	if (labels->narrow)
		((uint8_t *)modules)[page] = (uint8_t)value;
	else
		((uint16_t *)modules)[page] = value;
}

void labels_done(struct labels *labels)
{
	for (uint32_t i = 0; i < labels->count; i++)
		free(labels->blocks[i].modules);
	free(labels->blocks);
	*labels = (struct labels){ .narrow = labels->narrow };
}

/* The place of the first block from @number on. */
static uint32_t seek(const struct labels *labels, uint64_t number)
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

/* Block @number. NULL: it is not there, or without memory cannot be with @make. */
static struct labels_block *find(struct labels *labels, uint32_t number, bool make)
{
	uint32_t at = seek(labels, number);
	struct labels_block *block;
	void *modules;

	if (at < labels->count && labels->blocks[at].number == number)
		return &labels->blocks[at];
	if (!make || (labels->count == labels->room && !grow(labels)))
		return NULL;
	modules = calloc(LABELS_BLOCK, labels->narrow ? 1 : 2);
	if (modules == NULL)
		return NULL;
	block = &labels->blocks[at];
	memmove(block + 1, block, (labels->count - at) * sizeof(*block));
	*block = (struct labels_block){ .number = number, .modules = modules };
	labels->count++;
	return block;
}

static void fill_block(struct labels *labels, struct labels_block *block, uint32_t first, uint32_t count,
		       uint16_t value)
{
	uint32_t before = block->named;

	for (uint32_t i = first; i < first + count; i++) {
		block->named -= get(labels, block->modules, i) != 0;
		block->named += value != 0;
		put(labels, block->modules, i, value);
	}
	labels->named += (uint64_t)block->named - before;
}

static void fill(struct labels *labels, uint32_t page, uint32_t count, uint16_t value)
{
	while (count > 0) {
		uint32_t first = page % LABELS_BLOCK;
		uint32_t some = count < LABELS_BLOCK - first ? count : LABELS_BLOCK - first;
		struct labels_block *block = find(labels, page / LABELS_BLOCK, value != 0);

		if (block != NULL)
			fill_block(labels, block, first, some, value);
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

	if (before > 0)
		fill(labels, page, count, 0);
	return before - labels->named;
}

/* Whole blocks, of which there may be many, are not searched page by page. */
void labels_drop(struct labels *labels, uint32_t page, uint32_t count)
{
	uint64_t end = (uint64_t)page + count;
	uint32_t from = seek(labels, (page + (uint64_t)LABELS_BLOCK - 1) / LABELS_BLOCK);
	uint32_t to = seek(labels, end / LABELS_BLOCK);

	if (end / LABELS_BLOCK <= page / LABELS_BLOCK) { /* in one block */
		labels_clear(labels, page, count);
		return;
	}
	if (page % LABELS_BLOCK != 0)
		labels_clear(labels, page, LABELS_BLOCK - page % LABELS_BLOCK);
	labels_clear(labels, (uint32_t)(end - end % LABELS_BLOCK), (uint32_t)(end % LABELS_BLOCK));
	if (from == to)
		return;
	for (uint32_t i = from; i < to; i++) {
		labels->named -= labels->blocks[i].named;
		free(labels->blocks[i].modules);
	}
	memmove(&labels->blocks[from], &labels->blocks[to], (labels->count - to) * sizeof(*labels->blocks));
	labels->count -= to - from;
}

uint64_t labels_seek(const struct labels *labels, uint64_t page)
{
	uint32_t at = seek(labels, page / LABELS_BLOCK);

	if (at == labels->count)
		return UINT64_MAX;
	if (labels->blocks[at].number == page / LABELS_BLOCK)
		return page;
	return (uint64_t)labels->blocks[at].number * LABELS_BLOCK;
}

void labels_read(const struct labels *labels, uint64_t page, uint32_t count, uint16_t *ret)
{
	uint32_t at = seek(labels, page / LABELS_BLOCK);
	bool there = at < labels->count && labels->blocks[at].number == page / LABELS_BLOCK;

	for (uint32_t i = 0; i < count; i++)
		ret[i] = there ? get(labels, labels->blocks[at].modules, (uint32_t)(page % LABELS_BLOCK) + i) : 0;
}
