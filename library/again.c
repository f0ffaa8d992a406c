/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of Operation. The kernel does not report that a userfaultfd of the VMM's has been closed, in whatever process
 * it was open last; from then on the memory that was registered with it is ordinary memory. But the kernel can be
 * asked: memory under another userfaultfd cannot be registered with ours (EBUSY). Where it can, it stays registered for
 * a moment, during which a thread that touches an empty page waits, as in a hold. So memory that was left alone for
 * this reason is tried now and then, a piece at a time.
 */
#include "library/again.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <time.h>

#include "library/announce.h"
#include "library/hold.h"
#include "library/lock.h"
#include "library/mappings.h"
#include "library/memory.h"
#include "library/refusals.h"
#include "library/region.h"
#include "library/sys.h"
#include "protocol/wire.h"

#define LOOK_SECONDS 5
#define PIECES_AT_ONCE 1024u
#define TRIES_AT_ONCE 1024u /* some 10 µs each */
#define IN_VAIN_AT_ONCE 64u

/**
 * A range that was left alone for @reason, which may have ended. The kernel's view of the mapping decides, as a call
 * that was not seen may have mapped other memory there. @offer: as memory_register().
 */
static void offer_range(uint64_t start, uint64_t length, uint32_t reason, int (*offer)(void *address, size_t length))
{
	struct mapping_kind kind;
	int r = mappings_inspect(start, length, &kind);

	if (r == (int)reason)
		return;
	if (r == 0 && kind.mergeable) {
		if (offer((void *)start, length) > 0)
			sys_madvise(start, length, MADV_UNMERGEABLE); /* the kernel's KSM no longer scans it */
		return;
	}
	memory_lock_any();
	refusals_forget(start, length);
	memory_unlock();
}

void again_offer(uint64_t start, uint64_t length, uint32_t reason)
{
	uint64_t at = start, end = length > UINT64_MAX - start ? UINT64_MAX : start + length, from, bytes;
	bool found = true;

	while (found && at < end) {
		memory_lock();
		found = refusals_find(at, end - at, reason, &from, &bytes);
		memory_unlock();
		if (found)
			offer_range(from, bytes, reason, memory_register);
		at = from + bytes;
	}
}

/* ---- userfaultfds of the VMM's that were closed ---- */

/** Where the next look begins. Used by the worker only. */
static struct {
	unsigned region;
	uint64_t index;
	uint64_t range; /* of memory that never became a region */
} place;

struct budget {
	unsigned pieces, tries, in_vain;
};

static bool is_used_up(const struct budget *budget)
{
	return budget->pieces >= PIECES_AT_ONCE || budget->tries >= TRIES_AT_ONCE || budget->in_vain >= IN_VAIN_AT_ONCE;
}

static bool is_left_alone(const struct region *region, uint64_t index)
{
	return (region->excluded[index] & (EXCLUDED_USERFAULTFD | EXCLUDED_UNMAPPED)) == EXCLUDED_USERFAULTFD;
}

static bool is_free(uint64_t start, uint64_t length, struct budget *budget)
{
	int r = hold_try(start, length);

	budget->tries++;
	budget->in_vain += r < 0;
	return r == 0;
}

static void look_at_piece(struct region *region, uint64_t index, uint64_t end, struct budget *budget)
{
	for (uint64_t at = index, run; at < end; at += run) {
		bool alone = is_left_alone(region, at);

		for (run = 1; at + run < end && is_left_alone(region, at + run) == alone; run++)
			;
		if (alone && is_free(region_hva(region, at), run * PAGE_BYTES, budget))
			refusals_exclude(region, at, run, EXCLUDED_USERFAULTFD, false);
	}
	budget->pieces++;
}

static void look_at_regions(struct budget *budget)
{
	for (unsigned i = 0; i <= REGIONS_MAX && !is_used_up(budget); i++) {
		struct region *region;
		uint64_t end;

		while (!is_used_up(budget) && (region = region_piece(place.region, place.index, &end)) != NULL) {
			look_at_piece(region, place.index, end, budget);
			region_piece_end();
			place.index = end;
		}
		if (is_used_up(budget))
			break;
		place.region = (place.region + 1) % REGIONS_MAX;
		place.index = 0;
	}
}

static void look_at_a_range(struct budget *budget)
{
	const uint32_t reason = WIRE_REASON_VMM_USERFAULTFD;
	uint64_t start, length;
	bool found, free;

	memory_lock_worker();
	found = refusals_find(place.range, UINT64_MAX - place.range, reason, &start, &length);
	free = found && is_free(start, length, budget);
	memory_unlock();
	place.range = found ? start + length : 0;
	if (free)
		offer_range(start, length, reason, memory_register_by_worker);
}

void again_look(void)
{
	static time_t last;
	struct budget budget = { 0 };
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (announce_refused(WIRE_REASON_VMM_USERFAULTFD) == 0)
		last = now.tv_sec;
	if (now.tv_sec - last < LOOK_SECONDS || !hold_is_open())
		return;
	last = now.tv_sec;
	look_at_a_range(&budget);
	look_at_regions(&budget);
}
