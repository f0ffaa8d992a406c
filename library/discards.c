/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/discards.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "common/madvise.h"
#include "library/mappings.h"
#include "library/plain.h"
#include "library/protections.h"
#include "library/region.h"
#include "library/sys.h"

void discards_after(const struct part *part)
{
	bool any = false;

	for (uint64_t i = part->index; i < part->index + part->count; i++) {
		if (!(part->region->state[i] & PAGE_IN_STORE)) /* else it has just been filled, or was not dropped */
			region_mark(part->region, i, 1, MARK_FILLED, false);
		if (part->region->state[i] != PAGE_ZEROED)
			continue;
		page_set_state(part->region, i, PAGE_DROPPED);
		any = true;
	}
	if (any)
		region_note_change(part->region, part->index, part->count);
}

/**
 * Locked pages that could only be unshared. New memory in their place would not be locked, so MADV_DONTNEED_LOCKED
 * writes zeros. The kernel refuses all other advice, and stops there: neither these pages nor those behind them may be
 * lost. But it does not refuse pages that were there before mlockall(MCL_FUTURE), where new memory in their place would
 * be locked. @return as discard_part().
 */
static int discard_locked(struct region *region, uint64_t index, uint64_t count, int advice)
{
	bool protected = (region->excluded[index] & EXCLUDED_PROTECTED) != 0;
	int r = 0;

	for (uint64_t i = index; i < index + count && r >= 0; i++) {
		if (advice != MADV_DONTNEED_LOCKED && mappings_is_locked(region_hva(region, i))) {
			if (PROTECTED(PROTECT_IN_ORDER))
				return -EINVAL;
			continue;
		}
		if (protected) {
			r = plain_drop_protected(region, i, 1);
			continue;
		}
		plain_fill(region, i, 1);
		r = 1;
	}
	return r;
}

/** A run of one kind. @return as discard_part(). */
static int discard_run(struct region *region, uint64_t index, uint64_t count, int advice)
{
	if (region->excluded[index] & EXCLUDED_LOCKED)
		return discard_locked(region, index, count, advice);
	if (region->excluded[index] & EXCLUDED_PROTECTED)
		return plain_drop_protected(region, index, count);
	if (plain_drop(region, index, count) == 0)
		return 0;
	plain_fill(region, index, count);
	return 1;
}

/**
 * Discards a part of a region. @return 0; 1: some pages had to be filled with zeros; -errno: some pages are not
 * discarded, and cannot be.
 */
static int discard_part(const struct part *part, int advice)
{
	uint64_t end = part->index + part->count;
	int filled = 0, r;

	for (uint64_t at = part->index, run; at < end; at += run) {
		run = plain_same_kind(part->region, at, end);
		if (!(part->region->state[at] & PAGE_IN_STORE))
			continue;
		r = discard_run(part->region, at, run, advice);
		if (r < 0)
			return r;
		filled |= r;
	}
	return filled;
}

/** The same for all regions. */
static int discard_parts(uint64_t start, uint64_t end, int advice)
{
	int filled = 0, r;

	for (unsigned i = 0; i < REGIONS_MAX; i++) {
		struct part part;

		if (!part_find(region_at(i), start, end - start, &part))
			continue;
		r = discard_part(&part, advice);
		if (r < 0)
			return r;
		filled |= r;
	}
	return filled;
}

int discards_call(uint64_t start, uint64_t end, int advice, bool *holes)
{
	int r = sys_madvise(start, end - start, advice);

	*holes |= r == -ENOMEM;
	return r == -ENOMEM ? 0 : r;
}

/** Makes the call for memory that is not in the store, piece by piece. @return as discards_call(). */
static int call_outside_store(uint64_t start, uint64_t end, int advice, bool *holes)
{
	uint64_t at = start, next;
	int r = 0;

	while (r == 0 && part_outside_store(&at, end, &next)) {
		r = discards_call(at, next, advice, holes);
		at = next;
	}
	return r;
}

/**
 * The kernel stops at the first private mapping, with a different error if a file is mapped there. Memory before it is
 * handled as the kernel would handle it.
 */
int discards_refuse_remove(uint64_t start, uint64_t length)
{
	uint64_t end = start + length, at = start, from = start, next;
	bool holes = false;
	int r = 0;

	while (at < end && part_outside_store(&from, end, &next) && from == at)
		at = from = next;
	if (at == end)
		return 0;
	if (at > start)
		r = discards_call(start, at, MADV_REMOVE, &holes);
	return r < 0 ? r : -EINVAL;
}

/**
 * The kernel goes from mapping to mapping, and stops at the first one that it refuses: memory after it must still be
 * there. So no page of the store is dropped before the kernel has handled the memory before it.
 */
int discards_before(uint64_t start, uint64_t length, int advice, uint64_t *ret_end)
{
	uint64_t end = start + length, left = start, at = start, from, next;
	bool holes = false, filled = false;
	int r;

	do {
		from = at;
		next = part_outside_store(&from, end, &next) ? next : end;
		*ret_end = left;
		if (from > at && left < at && PROTECTED(PROTECT_IN_ORDER)) {
			r = call_outside_store(left, at, advice, &holes);
			if (r < 0)
				return r;
			left = at;
		}
		r = discard_parts(at, next, advice);
		if (r < 0)
			return r;
		filled |= r == 1;
		at = next;
	} while (at < end);
	if (left == start && !filled)
		return 0;
	r = call_outside_store(left, end, advice, &holes);
	if (r < 0)
		return r;
	*ret_end = end;
	return holes ? -ENOMEM : 1;
}
