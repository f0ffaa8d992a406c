/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of Operation. A core dump contains a private mapping of a file as a whole if it was ever written to, and not
 * at all otherwise (as long as bit 2 of /proc/PID/coredump_filter is off). Guest RAM was anonymous, so a core dump
 * contains it, and has to contain pages that became shared, too. So staged mappings have to count as written to.
 *
 * The kernel records this in a structure (anon_vma), and merges neighbouring mappings only if they have the same one.
 * So all staged mappings of a segment get the same one: a segment is mapped once, one page of it is written and dropped
 * again, and all except the first two pages are unmapped. These two are the seed; mappings that mremap() makes of it
 * still count as written to:
 *
 *   seed     |01|                      stays
 *            |0|                       split off by MREMAP_DONTUNMAP
 *            |0123456789ABCDEF|        grown up to the last wanted slot: takes only addresses, for a moment
 *                        |CDEF|        slots before the first wanted one unmapped
 *
 * This takes several calls. So longer pieces are kept, the templates, from which a hold takes pages by a single call.
 */
#include "library/template.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>

#include "common/page.h"
#include "library/descriptors.h"
#include "library/hold-steps.h"
#include "library/kernel.h"
#include "library/mappings.h"
#include "library/own.h"
#include "library/protections.h"
#include "library/sys.h"
#include "library/view.h"

#define SEGMENT_BYTES (VIEW_SEGMENT_SLOTS * PAGE_BYTES)
#define WINDOW_BYTES (VIEW_WINDOW_SLOTS * PAGE_BYTES)
#define SEED_BYTES (2 * PAGE_BYTES) /* if a whole mapping is split off the kernel forgets that it was written */
#define ADVICE_ATTEMPTS 8

struct kept {
	uint64_t base;   /* 0: free */
	uint32_t number; /* of the segment; of the template, counted over all segments */
	uint64_t batch;  /* the last one that wanted it */
	uint64_t torn;   /* address of the part of a template that had to be given away; 0: none */
	uint64_t torn_bytes;
};

static struct kept seeds[SEEDS_MAX], templates[TEMPLATES_MAX];
static uint64_t batch = 1; /* of template_begin() */

/* ---- seeds and templates ---- */

static void unmap(struct kept *kept, uint64_t bytes)
{
	uint64_t end = kept->base + bytes;

	if (kept->torn != 0) { /* the memory there is the VMM's now */
		sys_munmap(kept->torn + kept->torn_bytes, end - kept->torn - kept->torn_bytes);
		end = kept->torn;
	}
	if (kept->base != 0 && end > kept->base)
		sys_munmap(kept->base, end - kept->base);
	*kept = (struct kept){ 0 };
}

/** The entry with @number, or a place for it: a free one, or the least recently wanted one. */
static struct kept *find(struct kept *all, unsigned count, uint32_t number)
{
	struct kept *oldest = &all[0];

	for (unsigned i = 0; i < count; i++) {
		if (all[i].base != 0 && all[i].number == number)
			return &all[i];
		if (all[i].batch < oldest->batch)
			oldest = &all[i];
	}
	return oldest;
}

/** Marks an entry as wanted. @return whether it is there. */
static bool want(struct kept *kept, uint32_t number)
{
	if (kept->base == 0 || kept->number != number)
		return false;
	kept->batch = batch;
	return true;
}

/**
 * Makes a mapping count as written to. @page: the page of a slot in use, as a free slot would get memory. @return
 * whether it worked.
 */
static bool mark_written(uint64_t page)
{
	if (!PROTECTED(PROTECT_CORES))
		return true;
	return sys_madvise(page, PAGE_BYTES, MADV_POPULATE_WRITE) == 0 &&
	       sys_madvise(page, PAGE_BYTES, MADV_DONTNEED) == 0;
}

static bool sow(struct kept *seed, uint32_t slot)
{
	const struct descriptor *file;
	uint64_t offset;
	long base;

	if (own_addresses_are_limited() || view_place(slot, &file, &offset) < 0)
		return false;
	unmap(seed, SEED_BYTES);
	base = own_map(SEGMENT_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, descriptor_number(file), 0);
	if (sys_is_error(base))
		return false;
	if (descriptor_is_there(file) && sys_madvise((uint64_t)base, SEGMENT_BYTES, MADV_DONTFORK) == 0 &&
	    sys_madvise((uint64_t)base, SEGMENT_BYTES, MADV_DONTDUMP) == 0 &&
	    mark_written((uint64_t)base + offset) &&
	    sys_munmap((uint64_t)base + SEED_BYTES, SEGMENT_BYTES - SEED_BYTES) == 0) {
		*seed = (struct kept){ .base = (uint64_t)base, .number = slot / VIEW_SEGMENT_SLOTS, .batch = batch };
		return true;
	}
	sys_munmap((uint64_t)base, SEGMENT_BYTES);
	return false;
}

/* ---- staged mappings ---- */

static long split_off(uint64_t from, uint64_t length)
{
	return sys_mremap(from, length, length, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0);
}

/** Maps @length bytes from @offset on of the segment of @seed. @return an address or -errno. */
static long grow(const struct kept *seed, uint64_t offset, uint64_t length)
{
	long sprout = split_off(seed->base, PAGE_BYTES), grown;

	if (sys_is_error(sprout))
		return sprout;
	grown = sys_mremap((uint64_t)sprout, PAGE_BYTES, offset + length, MREMAP_MAYMOVE, 0);
	if (sys_is_error(grown)) {
		sys_munmap((uint64_t)sprout, PAGE_BYTES);
		return grown;
	}
	if (offset > 0 && sys_munmap((uint64_t)grown, offset) < 0) {
		sys_munmap((uint64_t)grown, offset + length);
		return -ENOMEM;
	}
	return grown + (long)offset;
}

static uint64_t offset_of(uint32_t slot)
{
	return slot % VIEW_SEGMENT_SLOTS * PAGE_BYTES;
}

/** The template that has the slot, or NULL, for instance if this batch wants as many others as there may be. */
static const struct kept *template_of(const struct kept *seed, uint32_t slot)
{
	uint32_t number = slot / VIEW_WINDOW_SLOTS;
	struct kept *template = find(templates, TEMPLATES_MAX, number);
	long base;

	if (want(template, number))
		return template;
	if (template->batch == batch || own_addresses_are_limited() || !mappings_allow(VIEW_WINDOW_SLOTS))
		return NULL;
	unmap(template, WINDOW_BYTES);
	base = grow(seed, offset_of(number * VIEW_WINDOW_SLOTS), WINDOW_BYTES);
	if (sys_is_error(base))
		return NULL;
	*template = (struct kept){ .base = (uint64_t)base, .number = number, .batch = batch };
	return template;
}

/** Sets the region's advice: mappings made from a seed are DONTFORK and DONTDUMP, as they are not guest RAM yet. */
static int advise(const struct region *region, uint64_t start, uint64_t length)
{
	int fork = region->dont_fork ? 0 : sys_madvise(start, length, MADV_DOFORK);
	int dump = region->dont_dump ? 0 : sys_madvise(start, length, MADV_DODUMP);

	return fork < 0 ? fork : dump;
}

static long stage_from_seed(const struct region *region, uint32_t slot, uint64_t length)
{
	struct kept *seed = find(seeds, SEEDS_MAX, slot / VIEW_SEGMENT_SLOTS);
	const struct kept *template;
	long start;
	int r;

	if (!want(seed, slot / VIEW_SEGMENT_SLOTS) && !sow(seed, slot))
		return -ENOENT;
	template = template_of(seed, slot);
	if (template != NULL)
		return (long)(template->base + slot % VIEW_WINDOW_SLOTS * PAGE_BYTES);
	start = grow(seed, offset_of(slot), length);
	if (sys_is_error(start))
		return start;
	r = advise(region, (uint64_t)start, length);
	if (r < 0)
		sys_munmap((uint64_t)start, length);
	return r < 0 ? r : start;
}

/** Maps only the wanted slots, if there is no seed: this does not count as written to, so core dumps lack it. */
static long stage_alone(const struct region *region, uint32_t slot, uint64_t length)
{
	const struct descriptor *file;
	uint64_t offset;
	long start = view_place(slot, &file, &offset);
	int r = 0;

	if (start == 0)
		start = sys_mmap(0, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE,
				 descriptor_number(file), offset);
	if (sys_is_error(start))
		return start;
	if (!descriptor_is_there(file))
		r = -ENOENT;
	if (r == 0 && region->dont_fork)
		r = sys_madvise((uint64_t)start, length, MADV_DONTFORK);
	if (r == 0 && region->dont_dump)
		r = sys_madvise((uint64_t)start, length, MADV_DONTDUMP);
	if (r < 0)
		sys_munmap((uint64_t)start, length);
	return r < 0 ? r : start;
}

long template_stage(const struct region *region, uint32_t slot, unsigned count)
{
	long start = stage_from_seed(region, slot, count * PAGE_BYTES);

	return sys_is_error(start) ? stage_alone(region, slot, count * PAGE_BYTES) : start;
}

/** The template that has @address, or NULL. */
static struct kept *holder_of(uint64_t address)
{
	for (unsigned i = 0; i < TEMPLATES_MAX; i++)
		if (templates[i].base != 0 && address - templates[i].base < WINDOW_BYTES)
			return &templates[i];
	return NULL;
}

int template_put(const struct region *region, uint64_t staged, uint64_t length, uint64_t to)
{
	struct kept *template = holder_of(staged);
	long r;

	if (template == NULL)
		r = hold_replace(staged, length, to);
	else if (template->torn != 0 && PROTECTED(PROTECT_TORN))
		r = -ENOMEM; /* the part given away may be this one */
	else
		r = sys_mremap(staged, length, length, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, to);
	if (sys_is_error(r) && template != NULL && PROTECTED(PROTECT_PLACE) && !hold_is_mapped(to, length)) {
		template->torn = staged; /* a move needs only the addresses that were unmapped */
		template->torn_bytes = length;
		r = hold_replace(staged, length, to);
	}
	if (sys_is_error(r))
		return (int)r;
	for (int i = 0; template != NULL && i < ADVICE_ATTEMPTS && advise(region, to, length) < 0; i++)
		;
	return 0;
}

bool template_is_left(uint64_t staged)
{
	return staged != 0 && holder_of(staged) == NULL;
}

void template_unstage(uint64_t start, unsigned count)
{
	sys_munmap(start, count * PAGE_BYTES);
}

void template_drop_all(void)
{
	for (unsigned i = 0; i < SEEDS_MAX; i++)
		unmap(&seeds[i], SEED_BYTES);
	for (unsigned i = 0; i < TEMPLATES_MAX; i++)
		unmap(&templates[i], WINDOW_BYTES);
}

void template_begin(void)
{
	batch++;
	if (own_addresses_are_limited())
		template_drop_all();
	for (unsigned i = 0; i < TEMPLATES_MAX; i++)
		if (templates[i].torn != 0)
			unmap(&templates[i], WINDOW_BYTES);
}

void template_drop(uint32_t segment)
{
	for (unsigned i = 0; i < SEEDS_MAX; i++)
		if (seeds[i].number == segment)
			unmap(&seeds[i], SEED_BYTES);
	for (unsigned i = 0; i < TEMPLATES_MAX; i++)
		if (templates[i].number / (VIEW_SEGMENT_SLOTS / VIEW_WINDOW_SLOTS) == segment)
			unmap(&templates[i], WINDOW_BYTES);
}

void template_forget(void)
{
	for (unsigned i = 0; i < SEEDS_MAX; i++)
		seeds[i] = (struct kept){ 0 };
	for (unsigned i = 0; i < TEMPLATES_MAX; i++)
		templates[i] = (struct kept){ 0 };
}
