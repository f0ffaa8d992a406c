/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which module a guest has named each of its pages as part of: two bytes for each page, in blocks that are there as
 * soon as one of their pages has been named. So a guest that names one page of each block makes the daemon pay no more
 * than two bytes for each of its pages. Plain code; event loop only.
 */
#ifndef PAGEFUSE_DAEMON_LABELS_H
#define PAGEFUSE_DAEMON_LABELS_H

#include <stdint.h>

#define LABELS_BLOCK 16384u /* pages */
#define LABELS_MODULES_MAX (UINT16_MAX - 1u)

struct labels_block;

/** All zero: no page is named. */
struct labels {
	struct labels_block *blocks; /* by page */
	uint32_t count, room;
	uint64_t named; /* pages */
};

void labels_done(struct labels *labels);
/**
 * Pages [page, page + count) are part of @module, below LABELS_MODULES_MAX; [page, page + count) does not wrap around.
 * Those for which there is no memory stay what they were.
 */
void labels_set(struct labels *labels, uint32_t page, uint32_t count, uint32_t module);
/** They are part of nothing that is known. @return how many were named. */
uint64_t labels_clear(struct labels *labels, uint32_t page, uint32_t count);
/**
 * Finds named pages, from @page on, in the order of their numbers: at most @room of them into @ret_pages and
 * @ret_modules. Looks at no more than one block. @ret_next: where to go on. @return how many; -1: there are no more.
 */
int labels_next(const struct labels *labels, uint64_t page, uint32_t room, uint32_t *ret_pages, uint32_t *ret_modules,
		uint64_t *ret_next);

#endif
