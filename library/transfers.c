/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of Operation. At least one of the two threads sees the other, as both are sequentially consistent:
 *
 *	VMM thread                        worker
 *	note the transfer                 holding = true
 *	holding? then wait for the lock   look for transfers: leave out their pages, or wait
 *	system call                       hold; holding = false
 *
 * A thread that is cancelled in its call, or leaves it by longjmp(), never ends its transfer. So a transfer counts for
 * a second, and after that its place may be reused. A call that takes longer (a socket on which nothing arrives) is
 * treated as if it had not been noted; so may be, in turn, a call that has reused its place, as the end of the long
 * call frees it.
 */
#include "library/transfers.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#include "common/page.h"
#include "library/lock.h"
#include "library/protections.h"
#include "library/region.h"
#include "library/visits.h"

#define COUNTS_MSEC 1000u
#define FREE 0u
#define BEING_NOTED 1u /* no address */

static struct {
	_Atomic uint64_t start, end; /* addresses; [start, end) */
	_Atomic uint64_t since_msec;
} noted[TRANSFERS_MAX];

static atomic_bool holding;

static uint64_t now_msec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/** The transfer may have begun after @now was taken. */
static bool counts(unsigned i, uint64_t now)
{
	return now <= atomic_load_explicit(&noted[i].since_msec, memory_order_relaxed) + COUNTS_MSEC;
}

static uint64_t note(uint64_t start, uint64_t end)
{
	static __thread unsigned last; /* most likely to be free */
	uint64_t now = now_msec();

	for (unsigned tries = 0; tries < TRANSFERS_MAX; tries++) {
		unsigned i = (last + tries) % TRANSFERS_MAX;
		uint64_t old = atomic_load_explicit(&noted[i].start, memory_order_relaxed);

		if ((old != FREE && counts(i, now)) ||
		    !atomic_compare_exchange_strong_explicit(&noted[i].start, &old, BEING_NOTED, memory_order_acquire,
							     memory_order_relaxed))
			continue;
		atomic_store_explicit(&noted[i].since_msec, now, memory_order_relaxed);
		atomic_store_explicit(&noted[i].end, end, memory_order_relaxed);
		atomic_store(&noted[i].start, start);
		last = i;
		return UINT64_C(1) << i;
	}
	return 0;
}

uint64_t transfers_begin(const void *address, size_t length)
{
	uint64_t start = (uint64_t)address, transfer;

	if (length == 0 || length > UINT64_MAX - start || !region_overlaps(start, length) || visits_are_over() ||
	    !PROTECTED(PROTECT_TRANSFERS))
		return 0;
	transfer = note(start, start + length);
	if (transfer != 0 && atomic_load(&holding) && visit_begin()) {
		transfers_end(transfer); /* so that the hold need not wait for it */
		memory_lock();
		transfer = note(start, start + length);
		memory_unlock();
		visit_end();
	}
	return transfer;
}

void transfers_end(uint64_t transfers)
{
	for (; transfers != 0; transfers &= transfers - 1)
		atomic_store_explicit(&noted[__builtin_ctzll(transfers)].start, FREE, memory_order_release);
}

/** The pages of [start, start + @count pages) that [from, end) touches. */
static uint64_t pages_touched(uint64_t start, unsigned count, uint64_t from, uint64_t end)
{
	uint64_t bytes = count * PAGE_BYTES, first, last;

	if (end <= start || from >= start + bytes || from >= end)
		return 0;
	first = from > start ? (from - start) / PAGE_BYTES : 0;
	last = end < start + bytes ? (end - 1 - start) / PAGE_BYTES : count - 1;
	return UINT64_MAX << first & UINT64_MAX >> (63 - last);
}

uint64_t transfers_touch(uint64_t start, unsigned count)
{
	uint64_t now = now_msec(), touched = 0;

	for (unsigned i = 0; i < TRANSFERS_MAX; i++) {
		uint64_t from = atomic_load(&noted[i].start);

		if (from > BEING_NOTED && counts(i, now))
			touched |= pages_touched(start, count, from,
						 atomic_load_explicit(&noted[i].end, memory_order_relaxed));
	}
	return touched;
}

uint64_t transfers_hold_begin(uint64_t start, unsigned count)
{
	atomic_store(&holding, true);
	return transfers_touch(start, count);
}

void transfers_hold_end(void)
{
	atomic_store_explicit(&holding, false, memory_order_release);
}
