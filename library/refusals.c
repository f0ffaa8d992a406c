/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/refusals.h"

#include <stdatomic.h>

#include "library/announce.h"
#include "protocol/wire.h"

struct refused {
	_Atomic uint64_t start, end; /* end 0: free */
	uint32_t reason;
};

static struct refused refused[REFUSED_MAX];
static _Atomic unsigned refused_end; /* above the highest entry in use */

/** The reason reported for pages with this mark; 0: none, as they are not part of the region. */
static uint32_t reason_of(enum excluded why)
{
	switch (why) {
	case EXCLUDED_PROTECTED:
		return WIRE_REASON_PROTECTED;
	case EXCLUDED_LOCKED:
		return WIRE_REASON_LOCKED;
	case EXCLUDED_USERFAULTFD:
		return WIRE_REASON_VMM_USERFAULTFD;
	case EXCLUDED_DEVICE:
		return WIRE_REASON_DEVICE_DMA;
	case EXCLUDED_FOREIGN:
		return WIRE_REASON_EARLIER_STORE;
	case EXCLUDED_UNMERGEABLE:
		return WIRE_REASON_MEM_MERGE;
	case EXCLUDED_ADVICE:
		return WIRE_REASON_ATTRIBUTE;
	default:
		return 0;
	}
}

void refusals_exclude(struct region *region, uint64_t index, uint64_t count, enum excluded why, bool on)
{
	int64_t changed = 0;

	for (uint64_t i = index; i < index + count; i++) {
		uint8_t *excluded = &region->excluded[i];
		bool elsewhere = why != EXCLUDED_UNMAPPED && (*excluded & EXCLUDED_UNMAPPED); /* not in the region */

		if (elsewhere || ((*excluded & why) != 0) == on)
			continue;
		*excluded ^= (uint8_t)why;
		changed++;
	}
	if (changed != 0 && reason_of(why) != 0)
		announce_refusal(reason_of(why), (on ? changed : -changed) * (int64_t)PAGE_BYTES);
}

void refusals_clear(struct region *region, uint64_t index, uint64_t count)
{
	int64_t ended[8] = { 0 };

	for (uint64_t i = index; i < index + count; i++) {
		uint8_t *excluded = &region->excluded[i];

		if (*excluded == 0 || (*excluded & EXCLUDED_UNMAPPED))
			continue;
		for (unsigned bits = *excluded; bits != 0; bits &= bits - 1)
			ended[__builtin_ctz(bits)]++;
		*excluded = 0;
	}
	for (unsigned bit = 0; bit < 8; bit++)
		if (ended[bit] != 0 && reason_of((enum excluded)(1u << bit)) != 0)
			announce_refusal(reason_of((enum excluded)(1u << bit)), -ended[bit] * (int64_t)PAGE_BYTES);
}

/* ---- ranges ---- */

static uint64_t end_of(uint64_t start, uint64_t length)
{
	return length > UINT64_MAX - start ? UINT64_MAX : start + length;
}

static bool overlaps(const struct refused *entry, uint64_t start, uint64_t end)
{
	uint64_t entry_end = atomic_load_explicit(&entry->end, memory_order_relaxed);

	return start < entry_end && atomic_load_explicit(&entry->start, memory_order_relaxed) < end;
}

bool refusals_overlap(uint64_t start, uint64_t length)
{
	unsigned count = atomic_load_explicit(&refused_end, memory_order_acquire);

	for (unsigned i = 0; i < count; i++)
		if (overlaps(&refused[i], start, end_of(start, length)))
			return true;
	return false;
}

static void add(uint64_t start, uint64_t end, uint32_t reason)
{
	unsigned i = 0;

	while (i < REFUSED_MAX && refused[i].end != 0)
		i++;
	if (i == REFUSED_MAX)
		return;
	refused[i].reason = reason;
	atomic_store_explicit(&refused[i].start, start, memory_order_relaxed);
	atomic_store_explicit(&refused[i].end, end, memory_order_relaxed);
	if (i >= refused_end)
		atomic_store_explicit(&refused_end, i + 1, memory_order_release);
	announce_refusal(reason, (int64_t)(end - start));
}

void refusals_forget(uint64_t start, uint64_t length)
{
	uint64_t end = end_of(start, length);

	for (unsigned i = 0; i < REFUSED_MAX; i++) {
		struct refused *entry = &refused[i];
		uint64_t entry_start = entry->start, entry_end = entry->end;

		if (!overlaps(entry, start, end))
			continue;
		announce_refusal(entry->reason, -(int64_t)(entry_end - entry_start));
		/* The rest of the range always stays visible to threads that look without the lock. */
		if (entry_start < start && end < entry_end)
			add(end, entry_end, entry->reason);
		if (entry_start < start)
			atomic_store_explicit(&entry->end, start, memory_order_relaxed);
		else if (end < entry_end)
			atomic_store_explicit(&entry->start, end, memory_order_relaxed);
		else
			atomic_store_explicit(&entry->end, 0, memory_order_relaxed);
		if (entry->end != 0)
			announce_refusal(entry->reason, (int64_t)(entry->end - entry->start));
	}
}

void refusals_note(uint64_t start, uint64_t length, uint32_t reason)
{
	refusals_forget(start, length);
	add(start, end_of(start, length), reason);
}

bool refusals_find(uint64_t start, uint64_t length, uint32_t reason, uint64_t *ret_start, uint64_t *ret_length)
{
	uint64_t end = end_of(start, length), lowest = end, lowest_end = 0;

	for (unsigned i = 0; i < REFUSED_MAX; i++) {
		const struct refused *entry = &refused[i];
		uint64_t from = entry->start > start ? entry->start : start;

		if (entry->reason != reason || !overlaps(entry, start, end) || from >= lowest)
			continue;
		lowest = from;
		lowest_end = entry->end < end ? entry->end : end;
	}
	*ret_start = lowest;
	*ret_length = lowest_end - lowest;
	return lowest_end != 0;
}
