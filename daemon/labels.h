/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The module that each page of a VM belongs to: two bytes for each page, or one, in blocks that are allocated when one
 * of their pages is labelled. So an agent that labels one page of each block makes the daemon pay for that block's
 * pages, and no more. Plain code; event loop only.
 */
#ifndef PAGEFUSE_DAEMON_LABELS_H
#define PAGEFUSE_DAEMON_LABELS_H

#include <stdbool.h>
#include <stdint.h>

#define LABELS_BLOCK 16384u /* pages */
#define LABELS_MODULES_MAX (UINT16_MAX - 1u)
#define LABELS_NARROW_MODULES_MAX (UINT8_MAX - 1u)

struct labels_block;

/** All zero, but for @narrow: no page is labelled. */
struct labels {
	struct labels_block *blocks; /* by page */
	uint32_t count, room;
	uint64_t named; /* pages */
	bool narrow;    /* a byte for each page, so modules are below LABELS_NARROW_MODULES_MAX */
};

/** No page is named. */
void labels_done(struct labels *labels);
/**
 * Labels pages [page, page + count) with @module, below LABELS_MODULES_MAX; [page, page + count) does not wrap around.
 * Pages for which there is no memory keep the label that they had.
 */
void labels_set(struct labels *labels, uint32_t page, uint32_t count, uint32_t module);
/** Removes their labels. @return how many had one. */
uint64_t labels_clear(struct labels *labels, uint32_t page, uint32_t count);
/** The same for pages that will not be labelled again: their memory is freed. */
void labels_drop(struct labels *labels, uint32_t page, uint32_t count);

/**
 * The next place, from @page on, where labelled pages can be: @page itself, or the beginning of a block. UINT64_MAX:
 * none.
 */
uint64_t labels_seek(const struct labels *labels, uint64_t page);
/** The modules of pages [page, page + count), all of one block: plus 1, 0: none. */
void labels_read(const struct labels *labels, uint64_t page, uint32_t count, uint16_t *ret);

#endif
