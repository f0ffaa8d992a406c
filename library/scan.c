/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/scan.h"

#include "common/hash.h"
#include "library/children.h"
#include "library/memory.h"
#include "library/pagemap.h"
#include "library/refusals.h"
#include "library/region.h"

#define LOOK_AHEAD_PAGES 16u

/** Adds a report about one page, as part of the last report if it continues that one. */
static void report(struct scan *scan, enum ring_report op, uint32_t page, uint8_t flags, uint64_t value)
{
	struct ring_record *last = scan->report_count > 0 ? &scan->reports[scan->report_count - 1] : NULL;

	if (op != REPORT_HASH && last != NULL && last->op == op && last->flags == flags &&
	    last->page + last->count == page && last->count < RING_RUN_PAGES_MAX) {
		last->count++;
		return;
	}
	scan->reports[scan->report_count++] =
		(struct ring_record){ .op = (uint8_t)op, .flags = flags, .count = 1, .page = page, .value = value };
}

/** Reads all of the page. @return whether it is full of zeros. *ret_hash: else its hash, if one is wanted. */
static bool read_page(struct scan *scan, const struct region *region, uint64_t index, uint64_t *ret_hash)
{
	const void *page = (const void *)region_hva(region, index);
	struct look *look = &region->looks[index];
	bool keeps = scan->what == ORDER_SCAN && (scan->may_sample || look->sample != 0), zero;
	uint32_t sample = keeps ? look_take_sample(look, page, (uint32_t)index, scan->seed) : 0;

	scan->hashed++;
	page_prefetch((const char *)page + PAGE_BYTES);
	zero = page_is_zero(page);
	*ret_hash = !zero && scan->what == ORDER_SCAN ? page_hash(page, scan->seed) : 0;
	if (keeps)
		look_keep(look, sample, (uint32_t)index, *ret_hash, !scan->may_sample);
	return zero;
}

static void hash_page(struct scan *scan, const struct region *region, uint64_t index, bool huge)
{
	uint32_t number = region->first_page + (uint32_t)index;
	uint8_t flags = (huge ? RING_INSIDE_HUGE : 0) | (scan->noted ? RING_NOTED : 0);
	uint64_t hash;

	if (scan->what == ORDER_AUDIT || region->excluded[index] != 0)
		return;
	if (region->state[index] & PAGE_DIVERGED)
		flags |= RING_PRIVATE_COPY;
	if (scan->may_sample &&
	    look_compare(&region->looks[index], (const void *)region_hva(region, index), scan->seed))
		report(scan, REPORT_SAME, number, flags, 0);
	else if (read_page(scan, region, index, &hash))
		report(scan, REPORT_ZERO, number, flags, 0);
	else if (scan->what == ORDER_SCAN)
		report(scan, REPORT_HASH, number, flags, hash);
}

/** Prefetches samples that are compared soon, also of pages that are not present. */
static void prefetch_samples(const struct region *region, uint64_t index)
{
	if (index < region->pages)
		look_prefetch(&region->looks[index], (const void *)region_hva(region, index));
}

static bool is_private(uint64_t categories)
{
	return (categories & (PAGE_IS_FILE | PAGE_IS_PFNZERO | PAGE_IS_SWAPPED)) == 0;
}

/**
 * A private copy in a mapping of the store disappears only in a discard, and before a discard that the library sees, it
 * puts anonymous memory back. So a call was made that it did not see, and the store's bytes are back.
 */
static bool is_unseen_discard(const struct region *region, uint64_t index, uint64_t categories)
{
	return (region->state[index] & (PAGE_IN_STORE | PAGE_DIVERGED)) == (PAGE_IN_STORE | PAGE_DIVERGED) &&
	       (categories & PAGE_IS_FILE) != 0 && region->excluded[index] == 0;
}

/**
 * Reports a present page, of the given categories, if it has been written. A page of a run certainly no longer reads
 * its slot only if it is present and does not belong to the file. This is reported once, and not while a forked child
 * is alive that may still read the slot.
 */
static void tell_written(struct scan *scan, struct region *region, uint64_t index, uint64_t categories)
{
	uint32_t state = region->state[index], number = region->first_page + (uint32_t)index;

	if (categories & PAGE_IS_HUGE)
		*region_block(region, index) |= BLOCK_WAS_HUGE;
	if ((region->excluded[index] & EXCLUDED_FOREIGN) && is_private(categories)) /* it has left that store */
		refusals_exclude(region, index, 1, EXCLUDED_FOREIGN, false);
	if (is_unseen_discard(region, index, categories))
		memory_note_unseen();
	if (page_reads_slot(state)) {
		if (!(categories & PAGE_IS_FILE) && !children_alive()) {
			page_set_state(region, index, state | PAGE_DIVERGED);
			report(scan, REPORT_DIVERGED, number, RING_PRIVATE_COPY, 0);
		}
	} else if (state == PAGE_ZEROED && is_private(categories)) {
		page_set_state(region, index, PAGE_ANONYMOUS);
		report(scan, REPORT_DIVERGED, number, 0, 0);
	}
}

/** Hashes the same page, after it has been reported if written. */
static void hash_private(struct scan *scan, const struct region *region, uint64_t index, uint64_t categories)
{
	uint32_t state = region->state[index];

	if (is_private(categories) && !page_reads_slot(state) && state != PAGE_UNREPORTED)
		hash_page(scan, region, index, (categories & PAGE_IS_HUGE) != 0);
}

static bool is_asked_for(const struct scan *scan, uint64_t place)
{
	return !scan->noted || (scan->notes >> place & 1) != 0;
}

/** Reports pages that VMM threads have made anonymous again. */
static void tell_left(struct scan *scan, struct region *region, uint64_t index, unsigned count)
{
	for (uint64_t i = index; i < index + count; i++) {
		if (region->state[i] != PAGE_DROPPED && (region->state[i] != PAGE_UNREPORTED || children_alive()))
			continue;
		page_set_state(region, i, PAGE_ANONYMOUS);
		report(scan, REPORT_DIVERGED, region->first_page + (uint32_t)i, 0, 0);
	}
}

static void note_present(struct region *region, uint64_t index, unsigned count, const uint8_t *present)
{
	for (unsigned at = 0; at + REGION_GROUP <= count || (at < count && index + count == region->pages);
	     at += REGION_GROUP)
		if ((index + at) % REGION_GROUP == 0)
			region_set_present(region, index + at, present[at / REGION_GROUP]);
}

/** Looks at private pages of [from, to), which are of the given categories. @return where it stopped. */
static uint64_t hash_range(struct scan *scan, const struct region *region, uint64_t index, uint64_t from, uint64_t to,
			   uint64_t categories, uint64_t most_hashed)
{
	for (uint64_t i = from; i < to; i++) {
		if (scan->hashed == most_hashed)
			return i;
		if (scan->may_sample)
			prefetch_samples(region, i + LOOK_AHEAD_PAGES);
		if (!(region->excluded[i] & EXCLUDED_UNMAPPED) && is_asked_for(scan, i - index))
			hash_private(scan, region, i, categories);
	}
	return to;
}

unsigned scan_chunk(struct scan *scan, uint32_t page, unsigned count)
{
	struct page_region ranges[SCAN_CHUNK_PAGES];
	uint8_t present[SCAN_CHUNK_PAGES / REGION_GROUP + 1] = { 0 };
	struct region *region = region_of_page(page);
	uint64_t index, walked, most_hashed = scan->hashed + SCAN_CHUNK_READS;
	unsigned asked = count;
	int found;

	scan->report_count = 0;
	if (region == NULL)
		return asked;
	index = page - region->first_page;
	if (count > region->pages - index)
		count = (unsigned)(region->pages - index);
	tell_left(scan, region, index, count);
	found = pagemap_scan(region_hva(region, index), region_hva(region, index + count), ranges, SCAN_CHUNK_PAGES,
			     &walked);
	/* A page that reads a slot counts as present, faulted in or not. */
	for (unsigned i = 0; i < count; i++)
		present[i / REGION_GROUP] += page_reads_slot(region->state[index + i]);
	for (int r = 0; r < found; r++) {
		uint64_t from = (ranges[r].start - region->start) / PAGE_BYTES;
		uint64_t to = (ranges[r].end - region->start) / PAGE_BYTES;

		for (uint64_t i = from; i < to; i++) {
			present[(i - index) / REGION_GROUP] += !page_reads_slot(region->state[i]);
			if (!(region->excluded[i] & EXCLUDED_UNMAPPED))
				tell_written(scan, region, i, ranges[r].categories);
		}
	}
	if (found >= 0)
		note_present(region, index, count, present);
	for (int r = 0; r < found; r++) { /* in a second pass, so that hashes do not break up the runs of reports */
		uint64_t to = (ranges[r].end - region->start) / PAGE_BYTES;
		uint64_t at = hash_range(scan, region, index, (ranges[r].start - region->start) / PAGE_BYTES, to,
					 ranges[r].categories, most_hashed);

		if (at < to)
			return (unsigned)(at - index);
	}
	return asked;
}
