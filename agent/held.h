/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mappings that keep pages in memory and in their place while the host deals with the batch that names them. */
#ifndef PAGEFUSE_AGENT_HELD_H
#define PAGEFUSE_AGENT_HELD_H

#include <stddef.h>
#include <stdint.h>

struct held_mapping {
	void *mapping;
	size_t bytes;
	unsigned pages; /* of it, in memory */
	uint32_t batch; /* the last one that names pages of it */
};

struct held {
	struct held_mapping *mappings; /* a ring, in the order of their batches */
	unsigned size, first, count;
	unsigned pages, pages_max;
};

/** Room for @pages_max pages. @return 0, -ENOMEM. */
int held_init(struct held *held, unsigned pages_max);
void held_done(struct held *held);

/** How many pages one more mapping can have; 0: there can be none. */
unsigned held_room(const struct held *held);

/** Takes over a mapping with @pages pages, of @batch. There has to be room. */
void held_add(struct held *held, void *mapping, size_t bytes, unsigned pages, uint32_t batch);

/** Unmaps what no batch after @batch names. Batches are numbered without gaps, and may wrap. */
void held_release(struct held *held, uint32_t batch);

void held_release_all(struct held *held);

#endif
