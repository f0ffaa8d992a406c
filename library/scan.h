/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Carrying out SCAN and AUDIT orders: find present pages, tell what changed, hash in place. Worker thread, lock held.
 */
#ifndef PAGEFUSE_LIBRARY_SCAN_H
#define PAGEFUSE_LIBRARY_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/ring.h"

/** Pages in one go, what is done without letting the lock go: some 50 µs, if so many at most are read. */
#define SCAN_CHUNK_PAGES 512u
#define SCAN_CHUNK_READS 128u
/** Reports that one go can make. */
#define SCAN_REPORTS_MAX (SCAN_CHUNK_PAGES * 2)

struct scan {
	enum ring_order what; /* ORDER_SCAN, ORDER_SCAN_ZERO or ORDER_AUDIT */
	bool noted;           /* only pages in `notes` are hashed, and told as RING_NOTED */
	uint64_t notes;       /* a bit for each page, from the first one on */
	bool may_sample;      /* of pages that have been read before, samples do */
	uint64_t seed;
	uint64_t hashed; /* out: pages that were read, added to */
	unsigned report_count;
	struct ring_record reports[SCAN_REPORTS_MAX];
};

/**
 * Looks at pages [page, page+count), at most SCAN_CHUNK_PAGES, and puts what there is to tell into scan->reports.
 * @return how many of them it has looked at: all, or those up to the SCAN_CHUNK_READS-th that was read.
 */
unsigned scan_chunk(struct scan *scan, uint32_t page, unsigned count);

#endif
