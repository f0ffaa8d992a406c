/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The 2 MiB pages of a region, as its VM's worker last saw them, and the hashes of the pages inside them: ready to be
 * matched, without another look, once such a page may be split.
 *
 * Per page 16 bits, in an array of which only what is touched costs memory; with the checksum in the page's state they
 * are the key of its content in the table:
 *
 *   bit 15      READY: it was seen inside a 2 MiB page, and the rest counts
 *   bits 14-13  READY_TWIN: when it was looked up the table knew its content from elsewhere, or it is full of zeros:
 *               one page would be saved; READY_NAMED: a twin has found it in the table, since the last pass came by or,
 *               READY_AGED, before; or none of these
 *   bit 12      FRESH: it was seen since the last pass came by
 *   bits 11-8   bits 31-28 of the key's tag
 *   bits 7-0    the key's partition
 *
 * Where blocks begin in the region its VMM tells (REPORT_REGION_ADD).
 */
#ifndef PAGEFUSE_ENGINE_BLOCKS_H
#define PAGEFUSE_ENGINE_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"
#include "engine/table.h"

#define READY_VALID (1u << 15)
#define READY_MARK (3u << 13)
#define READY_TWIN (1u << 13)
#define READY_NAMED (2u << 13)
#define READY_AGED (3u << 13)
#define READY_FRESH (1u << 12)
#define READY_TAG_BITS 28u /* of the tag, that the page's state has */

enum block_flag {
	BLOCK_LARGE = 1,  /* one 2 MiB page, when it was last looked at */
	BLOCK_BROKEN = 2, /* it was one until something in it was merged */
	BLOCK_OPEN = 4,   /* it was dense enough to be split: the rest of it may follow */
	BLOCK_ASKED = 8,  /* since the last pass something in it was ordered that may split it */
	/* Something in it is said to be as it was, and what that is is not known: the next look reads it. */
	BLOCK_UNKNOWN = 16,
};

struct block {
	uint16_t ready, matching; /* pages READY; of these marked */
	uint16_t flags;
};

/** How many pages are READY, how many of them TWIN; how many blocks are LARGE, and BROKEN. */
struct block_counts {
	uint64_t ready, twins, large, broken;
};

struct blocks {
	uint16_t *ready; /* by page */
	struct block *list;
	uint32_t pages, count;
	uint32_t before;             /* pages of the first block that are before the region */
	struct block_counts *counts; /* of all of the VM's regions */
	struct block_counts own;
};

/** @before: see there. @return 0, -ENOMEM. */
int blocks_init(struct blocks *blocks, uint32_t pages, uint32_t before, struct block_counts *counts);
void blocks_done(struct blocks *blocks);
/** None of them counts any more among the VM's. */
void blocks_uncount(const struct blocks *blocks);

static inline uint32_t blocks_index(const struct blocks *blocks, uint32_t page)
{
	return (blocks->before + page) / ENGINE_BLOCK_PAGES;
}

static inline struct block *blocks_of(const struct blocks *blocks, uint32_t page)
{
	return &blocks->list[blocks_index(blocks, page)];
}

static inline uint32_t blocks_word(const struct blocks *blocks, uint32_t page)
{
	return blocks->own.ready > 0 ? blocks->ready[page] : 0; /* untouched memory stays so */
}

static inline bool blocks_has_twin(const struct blocks *blocks, uint32_t page)
{
	return (blocks_word(blocks, page) & READY_MARK) == READY_TWIN;
}

/** @page was seen inside a 2 MiB page, with the content under @key. @same: it has the content that it had before. */
void blocks_set_ready(struct blocks *blocks, uint32_t page, struct table_key key, bool same);
/** @page was seen as it was before: READY, or not. */
static inline void blocks_refresh(struct blocks *blocks, uint32_t page)
{
	if (blocks_word(blocks, page) & READY_VALID)
		blocks->ready[page] |= READY_FRESH;
}
/** @page was seen, and is a small page. */
void blocks_set_small(struct blocks *blocks, uint32_t page);
/** Gives @page the mark READY_TWIN or READY_NAMED, or 0, if it is READY. */
void blocks_mark(struct blocks *blocks, uint32_t page, uint32_t mark);
/** Of blocks_unready(): @page is READY. */
void blocks_clear(struct blocks *blocks, uint32_t page);
/** @page is not READY any more. */
static inline void blocks_unready(struct blocks *blocks, uint32_t page)
{
	if (blocks_word(blocks, page) != 0)
		blocks_clear(blocks, page);
}
/** The content of @page, READY, stands in the table under this key. @check: the checksum in its state. */
struct table_key blocks_key(const struct blocks *blocks, uint32_t page, uint32_t check);
/** @page was ordered and may be split off. @dense: its block is dense, and so what else is in it may follow. */
void blocks_open(struct blocks *blocks, uint32_t page, bool dense);
/** @page was merged. @return whether its block was LARGE until then. */
bool blocks_broke(struct blocks *blocks, uint32_t page);
/** The next look at the block of @page is to read it. */
void blocks_set_unknown(struct blocks *blocks, uint32_t page);
/** Whether one of the blocks of [@first, @first + @count) is to be read. */
bool blocks_any_unknown(const struct blocks *blocks, uint32_t first, uint32_t count);
/** They are read: none of them is to be any more. */
void blocks_clear_unknown(struct blocks *blocks, uint32_t first, uint32_t count);
/** Pages of [@first, @first + @count) until the last block that ends in there; @count if none does. */
uint32_t blocks_until_end(const struct blocks *blocks, uint32_t first, uint32_t count);
/** Its worker keeps the block of @page from collapsing. */
void blocks_set_broken(struct blocks *blocks, uint32_t page);
/** It does so no more. */
void blocks_mended(struct blocks *blocks, uint32_t page);
/** A pass has looked at all of [@first, @first + @count): what it has not seen there is gone. */
void blocks_passed(struct blocks *blocks, uint32_t first, uint32_t count);
/** Memory that is in use for what @counts counts, of regions with @pages pages; bytes. */
uint64_t blocks_bytes(const struct block_counts *counts, uint64_t pages);

#endif
