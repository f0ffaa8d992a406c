/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/discards.h"

#include <stdbool.h>
#include <sys/mman.h>

#include "common/madvise.h"
#include "library/mappings.h"
#include "library/plain.h"
#include "library/region.h"
#include "library/sys.h"

void discards_after(const struct part *part)
{
	bool any = false;

	for (uint64_t i = part->index; i < part->index + part->count; i++) {
		if (part->region->state[i] != PAGE_ZEROED)
			continue;
		page_set_state(part->region, i, PAGE_DROPPED);
		any = true;
	}
	if (any)
		region_note_change(part->region, part->index, part->count);
}

/**
 * Locked pages that could only be unshared. What took their place would not be locked: with MADV_DONTNEED_LOCKED, zeros
 * are written; all other advice the kernel refuses, and nothing may be lost. But it does not refuse it for pages that
 * were there before mlockall(MCL_FUTURE), of which what took their place would be locked. @return as
 * discards_before().
 */
static int discard_locked(struct region *region, uint64_t index, uint64_t count, int advice)
{
	bool protected = (region->excluded[index] & EXCLUDED_PROTECTED) != 0;
	int r = 0;

	for (uint64_t i = index; i < index + count && r >= 0; i++) {
		if (advice != MADV_DONTNEED_LOCKED && mappings_is_locked(region_hva(region, i)))
			continue;
		if (protected) {
			r = plain_drop_protected(region, i, 1);
			continue;
		}
		plain_fill(region, i, 1);
		r = 1;
	}
	return r;
}

/** Of one kind. @return as discards_before(). */
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

int discards_before(const struct part *part, int advice)
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

int discards_rest(uint64_t start, uint64_t length, int advice)
{
	uint64_t at = start, end = start + length, next;
	int r = 0;

	while (r == 0 && part_outside_store(&at, end, &next)) {
		r = sys_madvise(at, next - at, advice);
		at = next;
	}
	return r < 0 ? r : 1;
}
