/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What each page is, in a word of 32 bits:
 *
 *   kind      bits 31-30  bits 29-0
 *   PRIVATE   00          bit 29: the table has a hint of it; bit 28: a copy inside a mapping of the store (diverged);
 *                         bits 27-0: checksum of the content seen last, or CHECK_
 *   SHARED    01          slot that it maps
 *   ORDERED   10          slot that a MERGE order under way names
 *   OTHER     11          PAGE_ZERO, PAGE_ZERO_ORDERED, PAGE_FETCHING, PAGE_FETCHING_SEEN
 *
 * The words of a region are one array, of which only what is touched costs memory. How many pages are of which kind is
 * counted where a word changes. What a slot or a VM is means nothing here.
 */
#ifndef PAGEFUSE_ENGINE_PAGES_H
#define PAGEFUSE_ENGINE_PAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/blocks.h"

enum page_kind {
	KIND_PRIVATE,
	KIND_SHARED,
	KIND_ORDERED,
	KIND_OTHER,
};
#define STATE_SHIFT 30
#define STATE_VALUE ((UINT32_C(1) << STATE_SHIFT) - 1)
#define STATE(kind, value) ((uint32_t)(kind) << STATE_SHIFT | (value))
#define PAGE_ZERO STATE(KIND_OTHER, 0)
#define PAGE_ZERO_ORDERED STATE(KIND_OTHER, 1)
#define PAGE_FETCHING STATE(KIND_OTHER, 2)
#define PAGE_FETCHING_SEEN STATE(KIND_OTHER, 3) /* and a requested pass has seen it meanwhile */
#define PRIVATE_HINTED (UINT32_C(1) << 29)
#define PRIVATE_COPY (UINT32_C(1) << 28)
#define PRIVATE_CHECK (PRIVATE_COPY - 1)
/* Checksums that no content has. */
#define CHECK_NEVER 0u   /* not seen yet */
#define CHECK_WRITTEN 1u /* shared until it was written: as if it had been seen with another content */
#define CHECK_ZERO 2u

/*
 * A page that was never touched is PRIVATE and CHECK_NEVER: walks over all pages cost no more than the reported ones.
 */
#define REGION_BLOCK 1024u

enum page_class {
	PAGES_PRIVATE,
	PAGES_DIVERGED, /* private copies inside a mapping of the store */
	PAGES_SHARED,
	PAGES_ORDERED,  /* KIND_ORDERED, PAGE_ZERO_ORDERED */
	PAGES_FETCHING, /* PAGE_FETCHING, PAGE_FETCHING_SEEN */
	PAGES_ZERO,
	PAGE_CLASSES,
};

/** How many pages of a VM, or of all, are of each class; of PAGES_PRIVATE, how many fewer than at first. */
struct page_counts {
	uint64_t of[PAGE_CLASSES];
	uint64_t known; /* PAGES_PRIVATE and PAGES_DIVERGED with another checksum than CHECK_NEVER */
};

struct engine_vm;

struct region {
	struct engine_vm *vm;       /* whose it is */
	struct page_counts *all;    /* of the regions of all VMs */
	struct page_counts *counts; /* of all of the VM's regions */
	struct page_counts own;     /* of this one */
	uint32_t first;             /* page number */
	uint32_t pages;
	uint32_t global;     /* global number of the first page, see space.h */
	uint32_t *state;     /* by page */
	uint16_t *stability; /* by page, see stability.h */
	struct blocks blocks;
	bool *touched;       /* by REGION_BLOCK pages: whether page_state() ever read the state of one of them */
	struct region *next; /* that is leaving, too, see leaving.h */
	uint32_t left;       /* pages that have given back their slots by then */
};

/** One page: what most functions work on. */
struct page {
	struct region *region;
	uint32_t index;
};

/**
 * A region of @pages pages, all of them private and not seen yet; it has no global numbers. @before: pages of its first
 * block that are before it. @all: of all VMs; @counts, @blocks: the VM's. @return NULL: no memory.
 */
struct region *region_new(struct engine_vm *vm, struct page_counts *all, struct page_counts *counts,
			  struct block_counts *blocks, uint32_t first, uint32_t pages, uint32_t before);
/** Frees a region's memory, and counts nothing. NULL and half-built ones, too. */
void region_free(struct region *region);

/** @page was in state @before and is in state @after now. A page that is not private is not READY. */
void page_count(struct page page, uint32_t before, uint32_t after);
/** The pages of @region count no more among the VM's, and among all. */
void region_uncount(const struct region *region);

static inline enum page_kind state_kind(uint32_t state)
{
	return (enum page_kind)(state >> STATE_SHIFT);
}

static inline enum page_class state_class(uint32_t state)
{
	switch (state_kind(state)) {
	case KIND_PRIVATE:
		return state & PRIVATE_COPY ? PAGES_DIVERGED : PAGES_PRIVATE;
	case KIND_SHARED:
		return PAGES_SHARED;
	case KIND_ORDERED:
		return PAGES_ORDERED;
	default:
		break;
	}
	if (state == PAGE_ZERO)
		return PAGES_ZERO;
	return state == PAGE_ZERO_ORDERED ? PAGES_ORDERED : PAGES_FETCHING;
}

static inline bool state_is_known(uint32_t state)
{
	return state_kind(state) == KIND_PRIVATE && (state & PRIVATE_CHECK) != CHECK_NEVER;
}

/** For looking at a page's state, and for changing what is not counted: PRIVATE_HINTED. */
static inline uint32_t *page_state(struct page page)
{
	page.region->touched[page.index / REGION_BLOCK] = true;
	return &page.region->state[page.index];
}

/** The first page from @index on whose state may be another than that of a page never seen; region->pages: none. */
static inline uint32_t region_next(const struct region *region, uint32_t index)
{
	while (index < region->pages && !region->touched[index / REGION_BLOCK])
		index = index - index % REGION_BLOCK + REGION_BLOCK;
	return index < region->pages ? index : region->pages;
}

/** Changes the state of @page, and counts; most often a page is private and stays so. */
static inline void page_set(struct page page, uint32_t state)
{
	uint32_t *now = page_state(page);

	if ((*now | state) > (PRIVATE_HINTED | PRIVATE_COPY | PRIVATE_CHECK) || ((*now ^ state) & PRIVATE_COPY) != 0 ||
	    state_is_known(*now) != state_is_known(state))
		page_count(page, *now, state);
	*now = state;
}

static inline uint32_t page_number(struct page page)
{
	return page.region->first + page.index;
}

static inline uint32_t page_global(struct page page)
{
	return page.region->global + page.index;
}

static inline bool state_is_copy(uint32_t state)
{
	return state_kind(state) == KIND_PRIVATE && (state & PRIVATE_COPY) != 0;
}

/** The checksum of a content with @tag in the table. */
static inline uint32_t check_of(uint32_t tag)
{
	uint32_t check = tag & PRIVATE_CHECK;

	return check > CHECK_ZERO ? check : check + CHECK_ZERO + 1;
}

#endif
