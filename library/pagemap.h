/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the kernel says of our own pages (/proc/self/pagemap). It is the judge of every question of fact: what is
 * present, what has been written, what a failed move has really moved. Worker thread, or with the memory lock held.
 */
#ifndef PAGEFUSE_LIBRARY_PAGEMAP_H
#define PAGEFUSE_LIBRARY_PAGEMAP_H

#include <stdint.h>

#include "library/kernel.h"

/** Opens it. @return 0, -errno of open, or -ENOTTY if the kernel has no PAGEMAP_SCAN (Linux 6.7). */
int pagemap_open(void);
void pagemap_close(void);

/**
 * Finds the present pages of [start, end), as ranges of equal categories (PAGE_IS_FILE, PFNZERO, HUGE, SWAPPED).
 * @return number of ranges, at most @max; then *ret_walked says how far it came; or -errno.
 */
int pagemap_scan(uint64_t start, uint64_t end, struct page_region *ranges, unsigned max, uint64_t *ret_walked);

/** Reads the @count entries (PAGEMAP_* bits) from @start on. @return 0 or -errno. */
int pagemap_read(uint64_t start, unsigned count, uint64_t *ret_entries);

#endif
