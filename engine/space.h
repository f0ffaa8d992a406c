/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The global page numbers, 1 to 2^31-1, and the regions that have them: given out in chunks, looked up by hints.
 * Numbers of a region that is gone stay taken until the table has been swept of hints that name them.
 */
#ifndef PAGEFUSE_ENGINE_SPACE_H
#define PAGEFUSE_ENGINE_SPACE_H

#include <stdbool.h>
#include <stdint.h>

struct region;

#define SPACE_CHUNK_PAGES 512u
#define SPACE_CHUNKS (UINT32_C(1) << 22)

/* Free chunks are looked for by blocks of them, so that a search is bounded however they lie. */
#define SPACE_BLOCK 1024u
#define SPACE_BLOCKS (SPACE_CHUNKS / SPACE_BLOCK)
/* Of numbers that have been swept, how many become free at once: chunks, and ranges of them. */
#define SPACE_FREED_CHUNKS 65536u
#define SPACE_FREED_RANGES 256u

/** Free chunks of a block: at its beginning, at its end, and the longest run of them. */
struct space_block {
	uint16_t first, last, longest;
};

struct space_range {
	uint32_t chunk, count;
	void *account; /* whose numbers they are */
};

struct space_ranges {
	struct space_range *list;
	uint32_t count, capacity;
};

struct space {
	struct region **chunks; /* by chunk: NULL if free */
	struct space_block *blocks;
	uint32_t top;              /* no chunk from here on was ever used */
	struct space_ranges gone;  /* of regions that are gone since the last sweep began */
	struct space_ranges swept; /* of those that were before; when that sweep is over, they become free bit by bit */
	bool frees;
	uint64_t gone_chunks; /* of both */
	/** @pages numbers of @account are free again. NULL: nobody is told. */
	void (*freed)(void *context, void *account, uint64_t pages);
	void *context;
};

int space_init(struct space *space);
void space_done(struct space *space);

/** Numbers that a region of @pages pages takes. */
uint64_t space_numbers(uint32_t pages);
/** Finds numbers for @pages pages of @region. @return the first, 0 if there are none (sweep, and try again). */
uint32_t space_take(struct space *space, struct region *region, uint32_t pages);
/**
 * The region of the @pages numbers from @global on, which are @account's, is gone; they are free after the next sweep
 * that begins from now on.
 */
void space_leave(struct space *space, uint32_t global, uint32_t pages, void *account);
/** The region of the number @global, NULL if it is gone. */
struct region *space_find(const struct space *space, uint32_t global);

/** Whether there are numbers that will be free after a sweep. */
bool space_has_gone(const struct space *space);
/** A sweep begins: not before space_free() has freed all that the last one was for. */
void space_sweep_begins(struct space *space);
void space_sweep_ended(struct space *space);
/** Frees some of the numbers that were swept. @return whether there are more; else the next sweep may begin. */
bool space_free(struct space *space);
uint64_t space_bytes(const struct space *space);

#endif
