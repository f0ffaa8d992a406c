/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The unit of everything: a 4 KiB page.
 *
 * A "page number" counts a VM's pages in the order in which their regions were registered: the region that came first
 * starts at 1, the next one where it ended. Number 0 is no page. Numbers are never given twice in a session, so an
 * order that is under way when its region goes away can never hit another one.
 */
#ifndef PAGEFUSE_COMMON_PAGE_H
#define PAGEFUSE_COMMON_PAGE_H

#include <stdint.h>

#define PAGE_SHIFT_BITS 12
#define PAGE_BYTES (UINT64_C(1) << PAGE_SHIFT_BITS)
#define HUGE_BYTES (UINT64_C(2) << 20)
#define LINE_BYTES 64u /* of a cache line */

/** Begins to bring a page into the cache, which the hardware does not do by itself across pages. Never faults. */
static inline void page_prefetch(const void *page)
{
	for (unsigned at = 0; at < 512; at += 64)
		__builtin_prefetch((const char *)page + at);
}

#endif
