/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of Operation. A run of pages is one mapping of the store. Taking pages out of its middle splits it, which
 * costs two mappings. If mappings are scarce, more of the run is taken out than necessary:
 *
 *   |SSSSSSSSSSSSSSS|     one mapping of the store, x is to be discarded
 *   |SSSSSS|x|SSSSSS|     two more mappings
 *   |AAAAAAxAAAAAAAA|     no more mappings: anonymous memory of the same bytes, with a gap
 *
 * The anonymous memory is filled elsewhere while pages are held, piece by piece, and moved into place. All pieces come
 * from one area, so they become one mapping again, but they never merge with memory that was anonymous before.
 */
#include "library/plain.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "library/files.h"
#include "library/hold.h"
#include "library/mappings.h"
#include "library/merge.h"
#include "library/pagemap.h"
#include "library/protections.h"
#include "library/refusals.h"
#include "library/sys.h"
#include "library/transfers.h"

/* Both are so small that the replacement has no room for a 2 MiB page. */
#define PLAIN_PAGES 448u /* that become anonymous memory again at once, as one mapping */
#define WIDEN_PAGES 192u /* of a run, on each side, that are taken out as well if mappings are scarce */

uint64_t plain_same_kind(const struct region *region, uint64_t index, uint64_t end)
{
	uint32_t in_store = region->state[index] & PAGE_IN_STORE;
	const uint8_t kinds = EXCLUDED_LOCKED | EXCLUDED_PROTECTED | EXCLUDED_DEVICE;
	uint8_t excluded = region->excluded[index] & kinds;
	uint64_t at = index + 1;

	while (at < end && (region->state[at] & PAGE_IN_STORE) == in_store &&
	       (region->excluded[at] & kinds) == excluded)
		at++;
	return at - index;
}

static void leave_slots(struct region *region, uint64_t index, uint64_t count)
{
	refusals_exclude(region, index, count, EXCLUDED_FOREIGN, false);
	for (uint64_t i = index; i < index + count; i++)
		if (region->state[i] & PAGE_IN_STORE)
			page_set_state(region, i, page_reads_slot(region->state[i]) ? PAGE_UNREPORTED : PAGE_DROPPED);
	region_note_change(region, index, count);
}

/** Whether making these pages of the store a mapping of their own adds mappings. */
static bool adds_mappings(const struct region *region, uint64_t index, uint64_t count)
{
	unsigned cut = hold_continues(region, index) + hold_continues(region, index + count), joined = 0;

	for (uint64_t i = index + 1; i < index + count && joined < cut; i++)
		joined += !hold_continues(region, i);
	return cut > joined;
}

/**
 * Extends [*index, *end) by the pages that are in one mapping of the store with its ends: at most @reach pages on each
 * side.
 */
static void widen(const struct region *region, uint64_t reach, uint64_t *index, uint64_t *end)
{
	for (uint64_t left = reach; left > 0 && hold_continues(region, *index); left--, --*index)
		if (region->excluded[*index - 1] & ~EXCLUDED_FOREIGN)
			break;
	for (uint64_t left = reach; left > 0 && hold_continues(region, *end); left--, ++*end)
		if (region->excluded[*end] & ~EXCLUDED_FOREIGN)
			break;
}

/** The pages of [from, end) that are among the @count from @index on, as a mask. @count: at most HOLD_PAGES. */
static uint64_t part_of_hold(uint64_t from, uint64_t end, uint64_t index, uint64_t count)
{
	uint64_t mask = 0;

	for (uint64_t i = 0; i < count; i++)
		mask |= (uint64_t)(index + i >= from && index + i < end) << i;
	return mask;
}

/**
 * Pages of the store become one mapping of anonymous memory, of the same content except for [empty_from, empty_end).
 * @overwritten: see hold_make_plain(); only for HOLD_PAGES pages at most.
 */
static int replace_stretch(struct region *region, uint64_t index, uint64_t end, uint64_t empty_from, uint64_t empty_end,
			   uint64_t overwritten)
{
	bool adds = adds_mappings(region, index, end - index);
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | (region->no_reserve ? MAP_NORESERVE : 0);
	long place = sys_mmap(0, (end - index) * PAGE_BYTES, PROT_READ | PROT_WRITE, flags, -1, 0);
	uint64_t at = index, to = (uint64_t)place;
	int r = 0;

	if (sys_is_error(place))
		return (int)place;
	if (region->huge_advice == MADV_NOHUGEPAGE)
		sys_madvise(to, (end - index) * PAGE_BYTES, MADV_NOHUGEPAGE);
	while (at < end) {
		unsigned count = end - at < HOLD_PAGES ? (unsigned)(end - at) : HOLD_PAGES;

		r = hold_make_plain(region, at, count, part_of_hold(empty_from, empty_end, at, count), overwritten, to);
		if (r < 0)
			break;
		leave_slots(region, at, count);
		at += count;
		to += count * PAGE_BYTES;
	}
	if (at < end)
		sys_munmap(to, (end - at) * PAGE_BYTES);
	if (adds && at > index)
		atomic_fetch_add_explicit(&hold_new_mappings, 2, memory_order_relaxed);
	return r;
}

/**
 * Takes pages out of the store: they become anonymous memory of the same content, or empty. If mappings for splitting a
 * run are scarce, so much of the run is taken out with them that no mappings are added, or few. @return 0, or -errno:
 * then it may be done in part.
 */
static int take_out(struct region *region, uint64_t index, uint64_t count, bool empty)
{
	uint64_t from = index, end = index + count;

	if (PROTECTED(PROTECT_WIDEN) && adds_mappings(region, from, end - from) && !mappings_allow_split())
		widen(region, WIDEN_PAGES, &from, &end);
	if (PROTECTED(PROTECT_WIDEN) && adds_mappings(region, from, end - from) && !mappings_allow_last_split())
		widen(region, region->pages, &from, &end);
	if (adds_mappings(region, from, end - from) && !mappings_allow_last_split())
		return -ENOMEM;
	return replace_stretch(region, from, end, index, empty ? index + count : index, 0);
}

void plain_show_zeros(const struct region *region, uint64_t index, uint64_t count)
{
	const uint32_t *state = region->state;
	uint64_t end = index + count;

	if (!PROTECTED(PROTECT_ZEROS_SHOWN))
		return;
	for (uint64_t at = index, run; at < end; at += run) {
		for (run = 1; at + run < end && (state[at + run] == PAGE_ZEROED) == (state[at] == PAGE_ZEROED); run++)
			;
		if (state[at] == PAGE_ZEROED)
			sys_madvise(region_hva(region, at), run * PAGE_BYTES, MADV_POPULATE_READ);
	}
}

int plain_put_zeros(struct region *region, uint64_t index, uint64_t count)
{
	if (!PROTECTED(PROTECT_ZEROS_SHOWN))
		return 0;
	for (uint64_t at = index; at < index + count; at++) {
		if (region->state[at] != PAGE_ZEROED)
			continue;
		if (!(region->excluded[at] & EXCLUDED_USERFAULTFD) &&
		    sys_madvise(region_hva(region, at), PAGE_BYTES, MADV_POPULATE_WRITE) == -ENOMEM)
			return -ENOMEM;
		page_set_state(region, at, PAGE_DROPPED);
		region_note_change(region, at, 1);
	}
	return 0;
}

/**
 * Whether a page reads its slot, as far as the kernel's @entry tells: a copy in swap looks like a page that was never
 * touched.
 */
static bool reads_slot(const struct region *region, uint64_t index, uint64_t entry)
{
	return page_reads_slot(region->state[index]) && region->excluded[index] == 0 && !(entry & PAGEMAP_SWAPPED) &&
	       (!(entry & PAGEMAP_PRESENT) || (entry & PAGEMAP_FILE));
}

/** Whether a page in a mapping of the store is a private copy, as far as the kernel's @entry tells. */
static bool has_copy(const struct region *region, uint64_t index, uint64_t entry)
{
	return (region->state[index] & PAGE_IN_STORE) && region->excluded[index] == 0 &&
	       (entry & (PAGEMAP_PRESENT | PAGEMAP_FILE | PAGEMAP_SWAPPED)) == PAGEMAP_PRESENT;
}

/** Whether any page reads its slot, or is in @copies and in the store. */
static bool any_concerned(const struct region *region, uint64_t index, unsigned count, uint64_t copies)
{
	for (unsigned i = 0; i < count; i++)
		if (page_reads_slot(region->state[index + i]) ||
		    ((copies >> i & 1) && (region->state[index + i] & PAGE_IN_STORE)))
			return true;
	return false;
}

/** Pages that read their slots become plain, and copies among @overwritten, too. @return 0, or -EBUSY: not all. */
static int make_some_plain(struct region *region, uint64_t index, unsigned count, uint64_t overwritten)
{
	uint64_t entries[HOLD_PAGES], wanted = 0;
	int result = 0;

	if (!any_concerned(region, index, count, overwritten) ||
	    pagemap_read(region_hva(region, index), count, entries) < 0)
		return 0;
	for (unsigned i = 0; i < count; i++)
		if (reads_slot(region, index + i, entries[i]) ||
		    ((overwritten >> i & 1) && has_copy(region, index + i, entries[i])))
			wanted |= UINT64_C(1) << i;
	for (unsigned first = 0, end; first < count; first = end) {
		bool is_wanted = wanted >> first & 1;

		for (end = first + 1; end < count && (wanted >> end & 1) == is_wanted; end++)
			;
		if (is_wanted && (!adds_mappings(region, index + first, end - first) || mappings_allow(end - first)) &&
		    replace_stretch(region, index + first, index + end, index + first, index + first,
				    overwritten >> first) == -EBUSY)
			result = -EBUSY;
	}
	return result;
}

void plain_make_shared(struct region *region, uint64_t index, unsigned count)
{
	make_some_plain(region, index, count, 0);
}

/** The @covered pages into which no other read can be under way, as far as is known. */
static uint64_t read_once(const struct region *region, uint64_t index, unsigned count, uint64_t covered)
{
	for (unsigned i = 0; i < count && region->read_into_pages != 0 && PROTECTED(PROTECT_READS_NOTED); i++)
		if (region->marks[index + i] & MARK_READ_INTO)
			covered &= ~(UINT64_C(1) << i);
	return covered;
}

void plain_before_read(struct region *region, uint64_t index, unsigned count, uint64_t covered)
{
	/* If nothing pins, copies can be shared as they are; if there are plain references, nothing is shared. */
	bool copies = files_pins_are_brief();

	if (make_some_plain(region, index, count, copies ? read_once(region, index, count, covered) : 0) < 0 && copies)
		make_some_plain(region, index, count, 0);
	for (unsigned i = 0; i < count; i++)
		if (region->state[index + i] & PAGE_IN_STORE)
			region_mark(region, index + i, 1, MARK_READ_INTO, true);
}

int plain_make_in(struct region *region, uint64_t index, unsigned count, uint64_t place)
{
	int r = hold_make_plain(region, index, count, 0, 0, place);

	if (r == 0)
		leave_slots(region, index, count);
	return r;
}

int plain_make(struct region *region, uint64_t index, uint64_t count)
{
	uint64_t end = index + count;
	int result = 0;

	for (uint64_t at = index, run; at < end && (result == 0 || result == -EBUSY); at += run) {
		int r;

		run = plain_same_kind(region, at, end);
		run = run < PLAIN_PAGES ? run : PLAIN_PAGES;
		if (!(region->state[at] & PAGE_IN_STORE))
			continue;
		/*
		 * The first may be unreadable, and must never be seen unprotected. What a device or a pipe has got is a
		 * copy of the VMM's own, and no other one may take its place.
		 */
		if (region->excluded[at] & (EXCLUDED_PROTECTED | EXCLUDED_DEVICE)) {
			result = -EBUSY;
			continue;
		}
		r = take_out(region, at, run, false);
		for (uint64_t i = at; r == -EBUSY && i < at + run; i += HOLD_PAGES)
			plain_make_shared(region, i, at + run - i < HOLD_PAGES ? (unsigned)(at + run - i) : HOLD_PAGES);
		result = r < 0 ? r : result;
	}
	return result;
}

int plain_make_or_copy(struct region *region, uint64_t index, uint64_t count)
{
	if (plain_make(region, index, count) == 0)
		return 0;
	region_note_change(region, index, count); /* also if only a part gets done */
	return merge_unshare(region, index, count);
}

void plain_leave_store(struct region *region, uint64_t index, uint64_t count)
{
	uint64_t end = index + count;

	region_note_change(region, index, count);
	if (plain_make(region, index, count) == 0)
		return;
	for (uint64_t at = index; at < end; at += HOLD_PAGES)
		plain_make_or_copy(region, at, end - at < HOLD_PAGES ? end - at : HOLD_PAGES);
}

void plain_fill(struct region *region, uint64_t index, uint64_t count)
{
	for (uint64_t i = index; i < index + count; i++) {
		if (!(region->state[i] & PAGE_IN_STORE))
			continue;
		memset((void *)region_hva(region, i), 0, PAGE_BYTES);
		region_mark(region, i, 1, MARK_FILLED, true);
	}
}

void plain_empty_filled(struct region *region, uint64_t index, uint64_t count)
{
	uint32_t targets[HOLD_PAGES];
	enum outcome outcomes[HOLD_PAGES];

	for (unsigned i = 0; i < HOLD_PAGES; i++)
		targets[i] = HOLD_ZERO;
	for (uint64_t at = index; at < index + count && region->filled_pages != 0; at++) {
		uint32_t state = region->state[at];

		if (!(region->marks[at] & MARK_FILLED) || (state & PAGE_IN_STORE))
			continue;
		/*
		 * A page that a call of the VMM's is accessing is about to get content, or was just read: it does not
		 * become missing.
		 */
		if (hold_may_move() && transfers_hold_begin(region_hva(region, at), 1) == 0)
			hold_anonymous(region, at, 1, targets, NULL, outcomes);
		transfers_hold_end();
		page_set_state(region, at, state); /* the daemon does not count it */
	}
	hold_empty_scratch();
	region_mark(region, index, count, MARK_FILLED, false);
}

static int put_anonymous(struct region *region, uint64_t index, uint64_t count, int prot)
{
	int r = hold_put_anonymous(region, index, count, prot);

	if (r == 0)
		leave_slots(region, index, count);
	return r;
}

int plain_drop(struct region *region, uint64_t index, uint64_t count)
{
	bool adds = adds_mappings(region, index, count);
	int prot = PROT_READ | PROT_WRITE;

	if ((adds ? mappings_allow_split() : mappings_allow_last_split()) &&
	    put_anonymous(region, index, count, prot) == 0)
		return 0;
	if (take_out(region, index, count, true) == 0)
		return 0;
	/* Pages that would have to be taken out, too, may be pinned, or there is no memory for them. */
	return mappings_allow_last_split() && put_anonymous(region, index, count, prot) == 0 ? 0 : -ENOMEM;
}

/** The protection that the kernel enforces, whatever was set last: an mprotect() may have been done in part. */
static int protection_of(uint64_t page)
{
	if (sys_madvise(page, PAGE_BYTES, MADV_POPULATE_WRITE) != -EINVAL)
		return PROT_READ | PROT_WRITE;
	return sys_madvise(page, PAGE_BYTES, MADV_POPULATE_READ) != -EINVAL ? PROT_READ : PROT_NONE;
}

int plain_drop_protected(struct region *region, uint64_t index, uint64_t count)
{
	int r = 0;

	for (uint64_t i = index; i < index + count && r == 0; i++)
		r = put_anonymous(region, i, 1, protection_of(region_hva(region, i)));
	return r;
}
