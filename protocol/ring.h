/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The memory that a VMM's worker and the daemon share: two one-way rings of 16-byte records, a staging area for page
 * contents, and the worker's statistics. The daemon creates it as a memfd sealed against resizing.
 *
 *   +---------------------------+ 0
 *   | ring_page: cursors, stats |
 *   +---------------------------+ RING_UP_OFFSET
 *   | up: worker -> daemon      |   hashes, answers
 *   +---------------------------+ RING_DOWN_OFFSET
 *   | down: daemon -> worker    |   orders
 *   +---------------------------+ RING_STAGING_OFFSET
 *   | staging pages             |   contents that the daemon asked for (FETCH)
 *   +---------------------------+ RING_BYTES
 *
 * Theory of Operation. A ring has one producer and one consumer. The producer owns `tail`, the consumer owns `head`;
 * both only grow, and 0 <= tail - head <= size holds. Each side keeps its own cursor privately and publishes a copy, so
 * that the other side's writes can never move it; what it reads of the other's cursor is checked against that equation,
 * and a violation is -EPROTO: the peer is hostile or broken. A record is copied out before it is looked at.
 *
 * A consumer that is about to sleep sets `waiting`, then looks once more; a producer that has published looks at
 * `waiting` and rings the doorbell on the socket. Both have a full fence between, so one of the two sees the other.
 *
 * A staging page belongs to the worker until it posts FETCHED with its index, then to the daemon until the daemon has
 * consumed that record. The daemon copies the page before it looks at it.
 */
#ifndef PAGEFUSE_PROTOCOL_RING_H
#define PAGEFUSE_PROTOCOL_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "common/page.h"

#define RING_UP_RECORDS 8192u
#define RING_DOWN_RECORDS 4096u
#define RING_STAGING_PAGES 64u

/** Longest run in one MERGE or ZERO order, pages: what is held at once. */
#define RING_RUN_PAGES_MAX 64u
/** Longest SCAN or AUDIT order, pages; it makes at most two records for each, and one more. */
#define RING_SCAN_PAGES_MAX 2048u

/** Disk images of a VM have numbers from 1 to this one. */
#define RING_IMAGES_MAX 63u

/** Pages of a 2 MiB page. */
#define RING_BLOCK_PAGES 512u

/** Orders, daemon to worker. Each but NOTES is answered; page, count and slot of the answers repeat the order's. */
enum ring_order {
	/**
	 * Hash present private pages, and tell what changed: HASH*, ZERO*, DIVERGED*, SCANNED. With RING_MAY_SAMPLE
	 * also SAME*.
	 */
	ORDER_SCAN = 1,
	/** The same, but tell only of zero pages. */
	ORDER_SCAN_ZERO,
	/** Only tell of pages that no longer share: DIVERGED*, SCANNED. */
	ORDER_AUDIT,
	/** Copy the page to staging: FETCHED, or BUSY, GONE. */
	ORDER_FETCH,
	/** Map the run to slots [slot, slot+count): MERGED, DIFFERS, BUSY, GONE, FULL, which together cover the run. */
	ORDER_MERGE,
	/** Give zero pages back: ZEROED, DIFFERS, BUSY, GONE, FULL, which together cover the run. */
	ORDER_ZERO,
	/**
	 * Give each page memory of its own again, shared or zero: DIVERGED for those that got it, then UNSHARED for the
	 * run. What cannot be done now stays as it is, and may be ordered again.
	 */
	ORDER_UNSHARE,
	/**
	 * value: whether to look at pages that the VMM reads into, soon after, and to tell of them as HASH and ZERO
	 * with RING_NOTED. Until the first one comes they are not told of. Without an answer.
	 */
	ORDER_NOTES,
	/**
	 * The run is what a region has of one block, which may be a 2 MiB page again: WHOLE. value: of its pages, that
	 * are shared or zero still, how many may get memory of their own for that. RING_COLLAPSE: it is to be one now.
	 */
	ORDER_WHOLE,
	ORDER_END
};

/** Answers and reports, worker to daemon. */
enum ring_report {
	/**
	 * value: pages. Page numbers [page, page+value) exist from here on. count: 1, and by how many pages the first
	 * one is behind a place where a 2 MiB page begins.
	 */
	REPORT_REGION_ADD = 64,
	/** The region that starts at page is gone with all its references; later answers about it are GONE. */
	REPORT_REGION_REMOVE,
	/** After reconnecting to the same store: the run already maps slots [slot, slot+count). */
	REPORT_ADOPT,
	/** The same for pages already given back as zero pages; the store does not matter. */
	REPORT_ADOPT_ZERO,
	/** All regions and adopted runs are told: orders may come. */
	REPORT_READY,
	/** value: hash of one private page. */
	REPORT_HASH,
	/** A run of pages that are full of zeros (at most RING_RUN_PAGES_MAX). */
	REPORT_ZERO,
	/** End of a SCAN or AUDIT; value: pages of the whole VM that were present when last looked at. */
	REPORT_SCANNED,
	/** value: index of the staging page. */
	REPORT_FETCHED,
	REPORT_MERGED,
	REPORT_ZEROED,
	/** The content was not equal. */
	REPORT_DIFFERS,
	/** Could not be held: pinned, swapped, locked, out of memory. */
	REPORT_BUSY,
	/** No such page (any more), not present, or the VMM asked to leave it alone. */
	REPORT_GONE,
	/** The mapping limit is reached. */
	REPORT_FULL,
	/**
	 * The run no longer reads its slots, or is no longer zero: written, discarded, unshared. Or, for pages told so
	 * earlier: they are no copies any more. Comes before a HASH or ZERO of the same page in the same look.
	 */
	REPORT_DIVERGED,
	/** An UNSHARE order is done. */
	REPORT_UNSHARED,
	/**
	 * value: number of the disk image, see IMAGE in wire.h, that the run was read from. Behind a HASH or ZERO of
	 * the pages with RING_NOTED, which says that they are of no image that is known.
	 */
	REPORT_SOURCE,
	/**
	 * The block that page is in is kept from collapsing: after reconnecting, and where what was merged in it has
	 * broken a 2 MiB page that no scan had told of.
	 */
	REPORT_BROKEN,
	/** A WHOLE order is done. value: enum ring_whole. */
	REPORT_WHOLE,
	/** Of a SCAN with RING_MAY_SAMPLE: a run of private pages that seem to be what HASH or ZERO has told. */
	REPORT_SAME,
	REPORT_END
};

/** What has become of a block that was to be whole. */
enum ring_whole {
	WHOLE_KEPT,     /* nothing: too much of it is shared or zero, or it could not be had */
	WHOLE_RELEASED, /* it is what the VMM wants it to be; the kernel may make it a 2 MiB page */
	WHOLE_IS,       /* it is a 2 MiB page */
	WHOLE_END
};

/** What a report says of its pages besides, and what an order allows. */
enum ring_flag {
	/**
	 * They are private copies inside a mapping of the store now: diverged. In HASH, ZERO, SAME, FETCHED, DIVERGED,
	 * and in the answers to MERGE and ZERO that say that nothing was done.
	 */
	RING_PRIVATE_COPY = 1 << 0,
	/** They are parts of 2 MiB pages now. In HASH, ZERO, SAME, and BUSY where the order does not allow a split. */
	RING_INSIDE_HUGE = 1 << 1,
	/** In MERGE and ZERO: 2 MiB pages that the run is part of may be split. Without it their pages are BUSY. */
	RING_MAY_SPLIT = 1 << 2,
	/** In HASH and ZERO: not a SCAN's, but of pages that the VMM has read into, as ORDER_NOTES wants it. */
	RING_NOTED = 1 << 3,
	/** In WHOLE: the kernel is asked to make a 2 MiB page, and not just allowed to. */
	RING_COLLAPSE = 1 << 4,
	/** In SCAN: what has been read before need not be read again where samples of it are as they were. */
	RING_MAY_SAMPLE = 1 << 5,
};

struct ring_record {
	uint8_t op;     /* enum ring_order or enum ring_report */
	uint8_t flags;  /* enum ring_flag */
	uint16_t count; /* pages; at least 1 */
	uint32_t page;  /* page number of the first */
	union {
		uint64_t value;
		struct {
			uint32_t slot; /* of the first page, in MERGE and its answers, and ADOPT */
			uint32_t unused;
		};
	};
};
_Static_assert(sizeof(struct ring_record) == 16, "records are 16 bytes");

/** What the worker says of itself. Plain numbers that nothing depends on. */
struct ring_stats {
	uint64_t cpu_nsec;           /* CPU time of the worker thread */
	uint64_t busy_pages;         /* refused by the kernel (pinned or shared by fork), total */
	uint64_t kept_private_pages; /* diverged, and no safe hold was to be had, total */
	uint64_t mappings;           /* of the whole process, at the last count */
	uint64_t mappings_limit;     /* vm.max_map_count */
	uint64_t holds;              /* total */
	uint64_t hold_p50_usec;      /* time from the first page held to the last page released */
	uint64_t hold_p99_usec;
	uint64_t hold_max_usec;
	uint64_t scanned_pages;  /* hashed, total */
	uint64_t repaired_moves; /* UFFDIO_MOVE results that pagemap proved wrong, total */
	uint64_t noted_pages;    /* notes taken of pages that the VMM has read into, total */
	uint64_t noted_hashed;   /* of these, hashed or found full of zeros */
};

/** One direction's cursors, each on a cache line of its own. */
struct ring_cursors {
	_Alignas(64) _Atomic uint32_t head;    /* written by the consumer */
	_Alignas(64) _Atomic uint32_t tail;    /* written by the producer */
	_Alignas(64) _Atomic uint32_t waiting; /* the consumer sleeps or is about to: ring the doorbell */
	_Alignas(64) _Atomic uint32_t starved; /* the producer waits for room: ring the doorbell after consuming */
};

struct ring_page {
	struct ring_cursors up, down;
	struct ring_stats stats;
};
_Static_assert(sizeof(struct ring_page) <= PAGE_BYTES, "cursors and statistics fit a page");

#define RING_UP_OFFSET PAGE_BYTES
#define RING_DOWN_OFFSET (RING_UP_OFFSET + RING_UP_RECORDS * sizeof(struct ring_record))
#define RING_STAGING_OFFSET (RING_DOWN_OFFSET + RING_DOWN_RECORDS * sizeof(struct ring_record))
#define RING_BYTES (RING_STAGING_OFFSET + RING_STAGING_PAGES * PAGE_BYTES)

/** One side's view of one direction. `mine` is the own cursor: head for the consumer, tail for the producer. */
struct ring_end {
	struct ring_cursors *cursors;
	struct ring_record *records;
	uint32_t size; /* records, a power of two */
	uint32_t mine;
};

/** Sets up views of the mapping at @base (RING_BYTES, writable). Nothing is owned. One thread per ring_end. */
void ring_attach_worker(void *base, struct ring_end *ret_up, struct ring_end *ret_down);
void ring_attach_daemon(void *base, struct ring_end *ret_up, struct ring_end *ret_down);

/** Producer: free places, or -EPROTO if the consumer's cursor is impossible. */
int ring_room(struct ring_end *producer);
/** Producer: writes a record at the tail, unpublished. The caller has checked ring_room(). */
void ring_put(struct ring_end *producer, const struct ring_record *record);
/** Producer: publishes all that was put. @return whether the consumer sleeps and wants a doorbell. */
bool ring_publish(struct ring_end *producer);
/** Producer: says that it waits for room; look at ring_room() once more before sleeping. */
void ring_set_starved(struct ring_end *producer, bool starved);

/** Consumer: copies out the next record. @return 1, 0 if the ring is empty, or -EPROTO. */
int ring_get(struct ring_end *consumer, struct ring_record *ret_record);
/** Consumer: gives the places of all records got back. @return whether the producer waits for room and wants a
 * doorbell. */
bool ring_release(struct ring_end *consumer);
/** Consumer: says that it is about to sleep; look once more with ring_get() before sleeping. */
void ring_set_waiting(struct ring_end *consumer, bool waiting);

/**
 * Checks what a worker may post, by itself: op, count, flags, limits; what depends on state the engine checks.
 * @return 0 or -EPROTO.
 */
int ring_check_report(const struct ring_record *record);
/** The same for what a daemon may post. */
int ring_check_order(const struct ring_record *record);

/** Staging page @index of the mapping at @base. */
static inline void *ring_staging(void *base, uint32_t index)
{
	return (char *)base + RING_STAGING_OFFSET + (index % RING_STAGING_PAGES) * PAGE_BYTES;
}

#endif
