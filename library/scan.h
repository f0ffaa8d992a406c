/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Carries out SCAN and AUDIT orders: finds present pages, reports changes, hashes in place. Worker thread, lock held.
 */
#ifndef PAGEFUSE_LIBRARY_SCAN_H
#define PAGEFUSE_LIBRARY_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/ring.h"

/** Pages handled at once, without releasing the lock: some 50 µs, if at most SCAN_CHUNK_READS are read. */
#define SCAN_CHUNK_PAGES 512u
#define SCAN_CHUNK_READS 128u
/** The most reports on one chunk. */
#define SCAN_REPORTS_MAX (SCAN_CHUNK_PAGES * 2)

struct scan {
	enum ring_order what; /* ORDER_SCAN, ORDER_SCAN_ZERO or ORDER_AUDIT */
	bool noted;           /* only pages in `notes` are hashed, and reported as RING_NOTED */
	uint64_t notes;       /* a bit for each page, from the first page on */
	bool may_sample;      /* samples suffice for pages that have been read before */
	uint64_t seed;
	uint64_t hashed; /* in, out: the number of pages read is added */
	unsigned report_count;
	struct ring_record reports[SCAN_REPORTS_MAX];
};

/**
 * Looks at pages [page, page+count), at most SCAN_CHUNK_PAGES, and adds the reports to scan->reports. @return how many
 * pages it has looked at: all, or those up to the SCAN_CHUNK_READS-th page that was read.
 */
unsigned scan_chunk(struct scan *scan, uint32_t page, unsigned count);

#endif
