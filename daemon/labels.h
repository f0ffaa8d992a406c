/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which module each page of a VM is part of: two bytes for each page, or one, in blocks that are there as soon as one
 * of their pages has been named. So who names one page of each block makes the daemon pay no more than that for each
 * of the VM's pages. Plain code; event loop only.
 */
#ifndef PAGEFUSE_DAEMON_LABELS_H
#define PAGEFUSE_DAEMON_LABELS_H

#include <stdbool.h>
#include <stdint.h>

#define LABELS_BLOCK 16384u /* pages */
#define LABELS_MODULES_MAX (UINT16_MAX - 1u)
#define LABELS_NARROW_MODULES_MAX (UINT8_MAX - 1u)

struct labels_block;

/** All zero, but for @narrow: no page is named. */
struct labels {
	struct labels_block *blocks; /* by page */
	uint32_t count, room;
	uint64_t named; /* pages */
	bool narrow;    /* a byte for each page, so modules are below LABELS_NARROW_MODULES_MAX */
};

/** No page is named. */
void labels_done(struct labels *labels);
/**
 * Pages [page, page + count) are part of @module, below LABELS_MODULES_MAX; [page, page + count) does not wrap around.
 * Those for which there is no memory stay what they were.
 */
void labels_set(struct labels *labels, uint32_t page, uint32_t count, uint32_t module);
/** They are part of nothing that is known. @return how many were named. */
uint64_t labels_clear(struct labels *labels, uint32_t page, uint32_t count);
/** The same of pages that will not be named again: their memory is given back. */
void labels_drop(struct labels *labels, uint32_t page, uint32_t count);

/** Where named pages can be, from @page on: at @page itself, or else where a block begins. UINT64_MAX: nowhere. */
uint64_t labels_seek(const struct labels *labels, uint64_t page);
/** What pages [page, page + count), of one block, are part of: 1 more than their modules, 0: nothing that is known. */
void labels_read(const struct labels *labels, uint64_t page, uint32_t count, uint16_t *ret);

#endif
