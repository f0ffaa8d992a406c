/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/region.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "library/images.h"
#include "library/own.h"
#include "library/sys.h"

struct region_totals region_totals;

static struct region regions[REGIONS_MAX];
static _Atomic unsigned regions_end; /* all entries ever used are below */
static uint32_t next_page = 1;       /* page numbers are never reused */

static _Atomic bool changes_noted;
static _Atomic unsigned leaving_count;

struct region *region_at(unsigned index)
{
	return index < REGIONS_MAX && regions[index].start != 0 ? &regions[index] : NULL;
}

unsigned region_number(const struct region *region)
{
	return (unsigned)(region - regions);
}

uint32_t region_pages_given(void)
{
	return next_page - 1;
}

bool region_overlaps(uint64_t start, uint64_t length)
{
	uint64_t end = length > UINT64_MAX - start ? UINT64_MAX : start + length;
	unsigned count = atomic_load_explicit(&regions_end, memory_order_acquire);

	for (unsigned i = 0; i < count; i++) {
		uint64_t from = atomic_load_explicit(&regions[i].start, memory_order_acquire);
		uint64_t pages = atomic_load_explicit(&regions[i].pages, memory_order_relaxed);

		if (from != 0 && pages != 0 && start < from + pages * PAGE_BYTES && from < end)
			return true;
	}
	return false;
}

bool region_note(uint64_t start, uint64_t length, enum note_kind kind, int fd)
{
	uint64_t end = length > UINT64_MAX - start ? UINT64_MAX : start + length;
	unsigned count = atomic_load_explicit(&regions_end, memory_order_acquire);
	bool any = false;

	for (unsigned i = 0; i < count; i++) {
		uint64_t from = atomic_load_explicit(&regions[i].start, memory_order_acquire);
		uint64_t pages = atomic_load_explicit(&regions[i].pages, memory_order_acquire); /* before its notes */
		uint64_t first, last;

		if (from == 0 || pages == 0 || start >= from + pages * PAGE_BYTES || from >= end)
			continue;
		first = start > from ? (start - from) / PAGE_BYTES : 0;
		last = (end - 1 - from) / PAGE_BYTES;
		notes_set(i, kind, first, (last < pages ? last + 1 : pages) - first, images_of(fd));
		any = true;
	}
	return any;
}

static void *table_new(uint64_t bytes)
{
	long address = own_map(bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (sys_is_error(address))
		return NULL;
	sys_madvise((uint64_t)address, bytes, MADV_NOHUGEPAGE); /* unused parts must not cost memory */
	return (void *)address;
}

static void table_free(void *table, uint64_t bytes)
{
	if (table != NULL)
		sys_munmap((uint64_t)table, bytes);
}

static uint64_t block_count(uint64_t start, uint64_t pages)
{
	return (start + pages * PAGE_BYTES - 1) / HUGE_BYTES - start / HUGE_BYTES + 1;
}

static void tables_free(struct region *region, uint64_t start, uint64_t pages)
{
	table_free(region->state, pages * sizeof(*region->state));
	table_free(region->excluded, pages);
	table_free(region->blocks, block_count(start, pages));
	table_free(region->present, pages / REGION_GROUP + 1);
	table_free(region->changed, pages / REGION_GROUP + 1);
	table_free(region->marks, pages);
	table_free(region->looks, pages * sizeof(*region->looks));
	region->state = NULL;
	region->looks = NULL;
	region->excluded = region->blocks = region->present = region->changed = region->marks = NULL;
}

void region_unlock_tables(void)
{
	for (unsigned i = 0; i < REGIONS_MAX; i++) {
		const struct region *region = &regions[i];

		if (region->start == 0)
			continue;
		own_unlock_table((uint64_t)region->state, region->table_pages * sizeof(*region->state));
		own_unlock_table((uint64_t)region->excluded, region->table_pages);
		own_unlock_table((uint64_t)region->blocks, block_count(region->start, region->table_pages));
		own_unlock_table((uint64_t)region->present, region->table_pages / REGION_GROUP + 1);
		own_unlock_table((uint64_t)region->changed, region->table_pages / REGION_GROUP + 1);
		own_unlock_table((uint64_t)region->marks, region->table_pages);
		own_unlock_table((uint64_t)region->looks, region->table_pages * sizeof(*region->looks));
	}
	notes_unlock_tables();
}

static struct region *find_free(void)
{
	for (unsigned i = 0; i < REGIONS_MAX; i++)
		if (regions[i].start == 0)
			return &regions[i];
	return NULL;
}

int region_add(uint64_t start, uint64_t pages, struct region **ret_region)
{
	struct region *region = find_free();

	if (pages == 0 || start == 0)
		return -EINVAL;
	if (region_overlaps(start, pages * PAGE_BYTES))
		return -EEXIST;
	if (region == NULL || pages >= UINT32_MAX - next_page)
		return -ENOSPC;
	atomic_store_explicit(&region->pages, 0, memory_order_relaxed); /* threads may look at this and at start */
	memset(&region->table_pages, 0, sizeof(*region) - offsetof(struct region, table_pages));
	region->first_page = next_page;
	region->table_pages = pages;
	region->state = table_new(pages * sizeof(*region->state));
	region->excluded = table_new(pages);
	region->blocks = table_new(block_count(start, pages));
	region->present = table_new(pages / REGION_GROUP + 1);
	region->changed = table_new(pages / REGION_GROUP + 1);
	region->marks = table_new(pages);
	region->looks = table_new(pages * sizeof(*region->looks));
	if (region->state == NULL || region->excluded == NULL || region->blocks == NULL || region->present == NULL ||
	    region->changed == NULL || region->marks == NULL || region->looks == NULL ||
	    notes_make(region_number(region), pages) < 0) {
		tables_free(region, start, pages);
		return -ENOMEM;
	}
	next_page += (uint32_t)pages;
	atomic_fetch_add_explicit(&region_totals.pages, pages, memory_order_relaxed);
	atomic_store_explicit(&region->pages, pages, memory_order_release); /* after its notes: see notes.c */
	atomic_store_explicit(&region->start, start, memory_order_release);
	if (region - regions >= regions_end)
		atomic_store_explicit(&regions_end, (unsigned)(region - regions) + 1, memory_order_release);
	*ret_region = region;
	return 0;
}

void region_leave(struct region *region)
{
	atomic_fetch_sub_explicit(&region_totals.present, region->present_pages, memory_order_relaxed);
	atomic_fetch_sub_explicit(&region_totals.pages, region->table_pages, memory_order_relaxed);
	region->present_pages = 0;
	region->changed_from = region->changed_to = 0;
	region->leaving = true;
	atomic_fetch_add(&leaving_count, 1);
	atomic_store_explicit(&region->pages, 0, memory_order_relaxed);
}

void region_free(struct region *region, struct region *ret)
{
	*ret = *region;
	if (region->leaving)
		atomic_fetch_sub(&leaving_count, 1);
	atomic_store_explicit(&region->start, 0, memory_order_release);
}

void region_free_tables(struct region *region)
{
	tables_free(region, region->start, region->table_pages);
}

struct region *region_piece(unsigned i, uint64_t index, uint64_t *ret_end)
{
	struct region *region;

	memory_lock_any();
	region = region_at(i);
	if (region == NULL || index >= region->pages) { /* pages is 0 if it has left meanwhile */
		memory_unlock();
		return NULL;
	}
	*ret_end = region->pages - index < REGION_PIECE_PAGES ? region->pages : index + REGION_PIECE_PAGES;
	return region;
}

bool region_any_leaving(void)
{
	return atomic_load(&leaving_count) != 0;
}

static _Atomic uint64_t *total_of(uint32_t state)
{
	if (state == PAGE_ZEROED)
		return &region_totals.zeroed;
	if ((state & PAGE_IN_STORE) == 0)
		return NULL;
	return state & PAGE_DIVERGED ? &region_totals.diverged : &region_totals.shared;
}

void page_set_state(struct region *region, uint64_t index, uint32_t state)
{
	_Atomic uint64_t *before = total_of(region->state[index]), *after = total_of(state);

	if (before != NULL)
		atomic_fetch_sub_explicit(before, 1, memory_order_relaxed);
	if (after != NULL)
		atomic_fetch_add_explicit(after, 1, memory_order_relaxed);
	if (state == PAGE_ZEROED || page_reads_slot(state))
		region_mark(region, index, 1, MARK_FILLED, false);
	if (!(state & PAGE_DIVERGED))
		region_mark(region, index, 1, MARK_READ_INTO, false);
	look_forget(&region->looks[index]);
	region->state[index] = state;
}

void region_mark(struct region *region, uint64_t index, uint64_t count, enum mark mark, bool set)
{
	uint64_t *marked = mark == MARK_FILLED ? &region->filled_pages : &region->read_into_pages;

	if (!set && *marked == 0)
		return;
	for (uint64_t i = index; i < index + count; i++) {
		if (((region->marks[i] & mark) != 0) == set)
			continue;
		region->marks[i] ^= (uint8_t)mark;
		*marked += set ? 1 : UINT64_MAX;
	}
}

void region_set_present(struct region *region, uint64_t index, uint8_t count)
{
	uint8_t *group = &region->present[index / REGION_GROUP];

	atomic_fetch_add_explicit(&region_totals.present, (uint64_t)count - *group, memory_order_relaxed);
	region->present_pages += (uint64_t)count - *group;
	*group = count;
}

void region_note_change(struct region *region, uint64_t index, uint64_t count)
{
	uint64_t from = index / REGION_GROUP, to = (index + count - 1) / REGION_GROUP + 1;
	bool none = region->changed_from == region->changed_to;

	for (uint64_t i = from; i < to; i++)
		region->changed[i] = 1;
	region->changed_from = none || from < region->changed_from ? from : region->changed_from;
	region->changed_to = none || to > region->changed_to ? to : region->changed_to;
	atomic_store(&changes_noted, true);
}

bool region_changes_noted(void)
{
	return atomic_load(&changes_noted);
}

void region_changes_note(bool noted)
{
	atomic_store(&changes_noted, noted);
}

struct region *region_of_page(uint32_t page)
{
	for (unsigned i = 0; i < REGIONS_MAX; i++) {
		struct region *region = &regions[i];

		if (region->start != 0 && !region->leaving && page - region->first_page < region->pages)
			return region;
	}
	return NULL;
}
