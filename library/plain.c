/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/plain.h"

#include <errno.h>
#include <stdatomic.h>

#include "library/hold.h"
#include "library/mappings.h"
#include "library/pagemap.h"
#include "library/protections.h"
#include "library/refusals.h"

uint64_t plain_same_kind(const struct region *region, uint64_t index, uint64_t end)
{
	uint32_t in_store = region->state[index] & PAGE_IN_STORE;
	uint8_t locked = region->barred[index] & BARRED_LOCKED;
	uint64_t at = index + 1;

	while (at < end && (region->state[at] & PAGE_IN_STORE) == in_store &&
	       (region->barred[at] & BARRED_LOCKED) == locked)
		at++;
	return at - index;
}

void plain_leave_slots(struct region *region, uint64_t index, uint64_t count)
{
	refusals_bar(region, index, count, BARRED_FOREIGN, false);
	for (uint64_t i = index; i < index + count; i++)
		if (region->state[i] & PAGE_IN_STORE)
			page_set_state(region, i, page_reads_slot(region->state[i]) ? PAGE_LEFT : PAGE_DROPPED);
	region_note_change(region, index, count);
}

/** Whether a page and the one before it can be in one mapping of the store. */
static bool continues(const struct region *region, uint64_t index)
{
	const uint32_t *state = region->state;

	return index > 0 && index < region->pages && (state[index] & state[index - 1] & PAGE_IN_STORE) != 0 &&
	       (state[index] & PAGE_SLOT_MASK) == (state[index - 1] & PAGE_SLOT_MASK) + 1;
}

/** Whether there are more mappings when these pages of the store have become a mapping of their own. */
static bool adds_mappings(const struct region *region, uint64_t index, uint64_t count)
{
	unsigned cut = continues(region, index) + continues(region, index + count), joined = 0;

	for (uint64_t i = index + 1; i < index + count && joined < cut; i++)
		joined += !continues(region, i);
	return cut > joined;
}

/** One piece, all of it in the store. What is filled elsewhere never melts into its neighbours. */
static int make_piece(struct region *region, uint64_t index, unsigned count, bool adds)
{
	int r = hold_make_plain(region, index, count);

	if (r < 0)
		return r;
	if (adds)
		atomic_fetch_add_explicit(&hold_new_mappings, 2, memory_order_relaxed);
	plain_leave_slots(region, index, count);
	return 0;
}

/** Whether a page reads its slot, as far as the kernel's @entry tells: a copy in swap looks like one never touched. */
static bool reads_slot(const struct region *region, uint64_t index, uint64_t entry)
{
	return page_reads_slot(region->state[index]) && region->barred[index] == 0 && !(entry & PAGEMAP_SWAPPED) &&
	       (!(entry & PAGEMAP_PRESENT) || (entry & PAGEMAP_FILE));
}

void plain_make_shared(struct region *region, uint64_t index, unsigned count)
{
	uint64_t entries[HOLD_PAGES];
	bool any = false;

	for (unsigned i = 0; i < count && !any; i++)
		any = page_reads_slot(region->state[index + i]);
	if (!any || pagemap_read(region_hva(region, index), count, entries) < 0)
		return;
	for (unsigned first = 0, end; first < count; first = end) {
		bool shared = reads_slot(region, index + first, entries[first]), adds;

		for (end = first + 1; end < count && reads_slot(region, index + end, entries[end]) == shared; end++)
			;
		adds = adds_mappings(region, index + first, end - first);
		if (shared && (!adds || mappings_allow(end - first)))
			make_piece(region, index + first, end - first, adds);
	}
}

int plain_make(struct region *region, uint64_t index, uint64_t count)
{
	uint64_t end = index + count;
	int result = 0;

	for (uint64_t at = index, run; at < end && result != -ENOMEM; at += run) {
		bool adds;
		int r;

		run = plain_same_kind(region, at, end);
		if (!(region->state[at] & PAGE_IN_STORE))
			continue;
		run = run > HOLD_PAGES ? HOLD_PAGES : run;
		adds = adds_mappings(region, at, run);
		r = adds && !mappings_allow_discard() ? -ENOMEM : make_piece(region, at, (unsigned)run, adds);
		if (r == -EBUSY)
			plain_make_shared(region, at, (unsigned)run);
		result = r < 0 ? r : result;
	}
	return result;
}
