/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The global page numbers, 1 to 2^31-1, and whose they are: given to regions in chunks, looked up by hints. Numbers of
 * a region that is gone stay taken until the table has been swept of hints that name them.
 */
#ifndef PAGEFUSE_ENGINE_SPACE_H
#define PAGEFUSE_ENGINE_SPACE_H

#include <stdbool.h>
#include <stdint.h>

struct region;

#define SPACE_CHUNK_PAGES 512u
#define SPACE_CHUNKS (UINT32_C(1) << 22)

struct space_range {
	uint32_t chunk, count;
	void *account; /* whose numbers they are */
};

struct space {
	struct region **chunks;   /* by chunk: NULL if free */
	uint32_t next;            /* where the search begins */
	uint32_t top;             /* no chunk from here on was ever used */
	struct space_range *gone; /* ranges of regions that are gone, oldest first */
	uint32_t gone_count, gone_capacity;
	uint32_t sweeping; /* of these, the first so many will be free when the sweep under way is over */
	uint64_t gone_chunks;
	/** @pages numbers of @account are free again. NULL: nobody is told. */
	void (*freed)(void *context, void *account, uint64_t pages);
	void *context;
};

int space_init(struct space *space);
void space_done(struct space *space);

/** Numbers that a region of @pages pages takes. */
uint64_t space_numbers(uint32_t pages);
/** Numbers for @pages pages of @region. @return the first, 0 if there are none to be had (sweep, and try again). */
uint32_t space_take(struct space *space, struct region *region, uint32_t pages);
/**
 * The region of the @pages numbers from @global on, which are @account's, is gone; they are free after the next sweep
 * that begins from now on.
 */
void space_leave(struct space *space, uint32_t global, uint32_t pages, void *account);
/** The region of the number @global, NULL if it is gone. */
struct region *space_find(const struct space *space, uint32_t global);

void space_sweep_begins(struct space *space);
void space_sweep_ended(struct space *space);
uint64_t space_bytes(const struct space *space);

#endif
