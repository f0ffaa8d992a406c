/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/blocks.h"

#include <errno.h>
#include <stddef.h>

#include "engine/array.h"

int blocks_init(struct blocks *blocks, uint32_t pages, uint32_t before, struct block_counts *counts)
{
	*blocks = (struct blocks){ .pages = pages, .before = before % ENGINE_BLOCK_PAGES, .counts = counts };
	blocks->count = blocks_index(blocks, pages - 1) + 1;
	blocks->ready = array_new(pages, sizeof(*blocks->ready));
	blocks->list = array_new(blocks->count, sizeof(*blocks->list));
	return blocks->ready && blocks->list ? 0 : -ENOMEM;
}

void blocks_done(struct blocks *blocks)
{
	array_free(blocks->ready, blocks->pages, sizeof(*blocks->ready));
	array_free(blocks->list, blocks->count, sizeof(*blocks->list));
}

void blocks_uncount(const struct blocks *blocks)
{
	blocks->counts->ready -= blocks->own.ready;
	blocks->counts->twins -= blocks->own.twins;
	blocks->counts->large -= blocks->own.large;
	blocks->counts->broken -= blocks->own.broken;
}

/* ---- flags of blocks ---- */

static void count_flags(struct block_counts *counts, uint32_t before, uint32_t after)
{
	counts->large += ((after & BLOCK_LARGE) != 0) - (uint64_t)((before & BLOCK_LARGE) != 0);
	counts->broken += ((after & BLOCK_BROKEN) != 0) - (uint64_t)((before & BLOCK_BROKEN) != 0);
}

static void set_flags(struct blocks *blocks, struct block *block, uint32_t flags)
{
	flags |= block->flags & BLOCK_UNKNOWN; /* whatever else becomes of the block */
	if (flags == block->flags)
		return;
	count_flags(blocks->counts, block->flags, flags);
	count_flags(&blocks->own, block->flags, flags);
	block->flags = (uint16_t)flags;
}

/* ---- words of pages ---- */

static void count_ready(struct blocks *blocks, uint32_t page, uint32_t before, uint32_t after)
{
	uint64_t more = ((after & READY_VALID) != 0) - (uint64_t)((before & READY_VALID) != 0);

	blocks->counts->ready += more;
	blocks->own.ready += more;
	blocks_of(blocks, page)->ready += (uint16_t)more;
}

static void count_mark(struct blocks *blocks, uint32_t page, uint32_t before, uint32_t after)
{
	uint64_t twins = (after == READY_TWIN) - (uint64_t)(before == READY_TWIN);

	blocks->counts->twins += twins;
	blocks->own.twins += twins;
	blocks_of(blocks, page)->matching += (uint16_t)((after != 0) - (before != 0));
}

static void set_word(struct blocks *blocks, uint32_t page, uint32_t word)
{
	uint32_t before = blocks_word(blocks, page);

	if (((word ^ before) & READY_VALID) != 0)
		count_ready(blocks, page, before, word);
	if (((word ^ before) & READY_MARK) != 0)
		count_mark(blocks, page, before & READY_MARK, word & READY_MARK);
	if (word != before) /* untouched memory stays so */
		blocks->ready[page] = (uint16_t)word;
}

void blocks_set_ready(struct blocks *blocks, uint32_t page, struct table_key key, bool same)
{
	struct block *block = blocks_of(blocks, page);
	uint32_t marks = same ? blocks_word(blocks, page) & READY_MARK : 0;

	set_word(blocks, page, READY_VALID | READY_FRESH | marks | key.tag >> READY_TAG_BITS << 8 | key.partition);
	if ((block->flags & BLOCK_LARGE) == 0)
		set_flags(blocks, block, BLOCK_LARGE);
}

void blocks_set_small(struct blocks *blocks, uint32_t page)
{
	struct block *block = blocks_of(blocks, page);

	blocks_unready(blocks, page);
	if (block->flags & BLOCK_LARGE)
		set_flags(blocks, block, 0);
}

void blocks_mark(struct blocks *blocks, uint32_t page, uint32_t mark)
{
	uint32_t word = blocks_word(blocks, page);

	if (word & READY_VALID)
		set_word(blocks, page, (word & ~READY_MARK) | mark);
}

void blocks_clear(struct blocks *blocks, uint32_t page)
{
	set_word(blocks, page, 0);
}

struct table_key blocks_key(const struct blocks *blocks, uint32_t page, uint32_t check)
{
	uint32_t word = blocks_word(blocks, page);

	return (struct table_key){ .tag = (word >> 8 & 15) << READY_TAG_BITS | check,
				   .partition = word % TABLE_PARTITIONS };
}

void blocks_open(struct blocks *blocks, uint32_t page, bool dense)
{
	struct block *block = blocks_of(blocks, page);

	if (block->flags & BLOCK_LARGE)
		block->flags |= BLOCK_ASKED | (dense ? BLOCK_OPEN : 0);
}

bool blocks_broke(struct blocks *blocks, uint32_t page)
{
	struct block *block = blocks_of(blocks, page);
	bool was_large = (block->flags & BLOCK_LARGE) != 0;

	if (was_large)
		set_flags(blocks, block, BLOCK_BROKEN);
	return was_large;
}

void blocks_set_broken(struct blocks *blocks, uint32_t page)
{
	struct block *block = blocks_of(blocks, page);

	if ((block->flags & BLOCK_LARGE) == 0)
		set_flags(blocks, block, BLOCK_BROKEN);
}

void blocks_mended(struct blocks *blocks, uint32_t page)
{
	struct block *block = blocks_of(blocks, page);

	set_flags(blocks, block, block->flags & ~(uint32_t)BLOCK_BROKEN);
}

void blocks_set_unknown(struct blocks *blocks, uint32_t page)
{
	blocks_of(blocks, page)->flags |= BLOCK_UNKNOWN;
}

bool blocks_any_unknown(const struct blocks *blocks, uint32_t first, uint32_t count)
{
	uint32_t end = blocks_index(blocks, first + count - 1) + 1, any = 0;

	for (uint32_t i = blocks_index(blocks, first); i < end; i++)
		any |= blocks->list[i].flags & BLOCK_UNKNOWN;
	return any != 0;
}

void blocks_clear_unknown(struct blocks *blocks, uint32_t first, uint32_t count)
{
	uint32_t end = blocks_index(blocks, first + count - 1) + 1;

	for (uint32_t i = blocks_index(blocks, first); i < end; i++)
		blocks->list[i].flags &= (uint16_t)~BLOCK_UNKNOWN;
}

uint32_t blocks_until_end(const struct blocks *blocks, uint32_t first, uint32_t count)
{
	uint32_t end = first + count, beyond = (blocks->before + end) % ENGINE_BLOCK_PAGES;

	return end < blocks->pages && beyond < count ? count - beyond : count;
}

/* ---- passes ---- */

/* What a twin does not find again until the next pass but one has none any more. */
static uint32_t pass_word(uint32_t word)
{
	if ((word & READY_FRESH) == 0)
		return 0;
	if ((word & READY_MARK) == READY_NAMED)
		word |= READY_AGED;
	else if ((word & READY_MARK) == READY_AGED)
		word &= ~READY_MARK;
	return word & ~READY_FRESH;
}

static void pass_words(struct blocks *blocks, uint32_t first, uint32_t end)
{
	const struct block *block = blocks_of(blocks, first);

	for (uint32_t i = first; i < end && block->ready > 0; i++) {
		uint32_t word = blocks_word(blocks, i);

		if (word & READY_VALID)
			set_word(blocks, i, pass_word(word));
	}
}

/*
 * The pass has seen all of @block. If something in it is ordered it may break yet, so it stays what it is until the
 * next pass. If not, it is judged anew, by what is in it; and if nothing is READY, it is gone.
 */
static void pass_block(struct blocks *blocks, struct block *block)
{
	if (block->flags & BLOCK_ASKED)
		block->flags = (uint16_t)(block->flags & ~BLOCK_ASKED);
	else if (block->ready == 0)
		set_flags(blocks, block, block->flags & BLOCK_BROKEN);
	else
		block->flags = (uint16_t)(block->flags & ~BLOCK_OPEN);
}

void blocks_passed(struct blocks *blocks, uint32_t first, uint32_t count)
{
	uint32_t end = first + count;

	if (blocks->own.ready == 0 && blocks->own.large == 0)
		return;
	while (first < end) {
		uint32_t next = first + ENGINE_BLOCK_PAGES - (blocks->before + first) % ENGINE_BLOCK_PAGES;
		struct block *block = blocks_of(blocks, first);

		pass_words(blocks, first, next < end ? next : end);
		if (next <= end || end == blocks->pages)
			pass_block(blocks, block);
		first = next;
	}
}

uint64_t blocks_bytes(const struct block_counts *counts, uint64_t pages)
{
	return counts->large * ENGINE_BLOCK_PAGES * sizeof(uint16_t) +
	       pages / ENGINE_BLOCK_PAGES * sizeof(struct block);
}
