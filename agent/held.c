/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/held.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

int held_init(struct held *held, unsigned pages_max)
{
	*held = (struct held){ .size = pages_max, .pages_max = pages_max };
	held->mappings = calloc(pages_max, sizeof(*held->mappings)); /* each has one page at least */
	return held->mappings == NULL ? -ENOMEM : 0;
}

void held_done(struct held *held)
{
	held_release_all(held);
	free(held->mappings);
	held->mappings = NULL;
}

unsigned held_room(const struct held *held)
{
	return held->count < held->size ? held->pages_max - held->pages : 0;
}

void held_add(struct held *held, void *mapping, size_t bytes, unsigned pages, uint32_t batch)
{
	assert(pages > 0 && pages <= held_room(held));
	held->mappings[(held->first + held->count++) % held->size] =
		(struct held_mapping){ .mapping = mapping, .bytes = bytes, .pages = pages, .batch = batch };
	held->pages += pages;
}

static void release_first(struct held *held)
{
	const struct held_mapping *mapping = &held->mappings[held->first];

	munmap(mapping->mapping, mapping->bytes);
	held->pages -= mapping->pages;
	held->first = (held->first + 1) % held->size;
	held->count--;
}

void held_release(struct held *held, uint32_t batch)
{
	while (held->count > 0 && (int32_t)(held->mappings[held->first].batch - batch) <= 0)
		release_first(held);
}

void held_release_all(struct held *held)
{
	while (held->count > 0)
		release_first(held);
}
