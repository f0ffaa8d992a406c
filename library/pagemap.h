/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernel's view of our own pages (/proc/self/pagemap). It decides every question of fact: which pages are present,
 * which have been written, and which a failed move has really moved. Worker thread, or with the memory lock held.
 */
#ifndef PAGEFUSE_LIBRARY_PAGEMAP_H
#define PAGEFUSE_LIBRARY_PAGEMAP_H

#include <stdint.h>

#include "library/kernel.h"

/** Opens the pagemap. @return 0, -errno of open, or -ENOTTY if the kernel has no PAGEMAP_SCAN (Linux 6.7). */
int pagemap_open(void);
void pagemap_close(void);

/**
 * Finds the present pages of [start, end), as ranges of equal categories (PAGE_IS_FILE, PFNZERO, HUGE, SWAPPED).
 * @return number of ranges, at most @max, with the end of the walk in *ret_walked; or -errno.
 */
int pagemap_scan(uint64_t start, uint64_t end, struct page_region *ranges, unsigned max, uint64_t *ret_walked);

/** Reads the @count entries (PAGEMAP_* bits) from @start on. @return 0 or -errno. */
int pagemap_read(uint64_t start, unsigned count, uint64_t *ret_entries);

#endif
