/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The hold of diverged pages: private copies inside a mapping of the store. The kernel moves anonymous mappings only,
 * so these are held by write-protection instead, which does not see DMA; see pins_excluded().
 */
#include "library/hold.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "library/files.h"
#include "library/hold-steps.h"
#include "library/kernel.h"
#include "library/pagemap.h"
#include "library/protections.h"
#include "library/sys.h"
#include "library/transfers.h"

#define PAGEOUT_PAGES 8u /* swapping out and in takes some 20 µs per page */
/*
 * How long a call of the VMM's that needs a hold waits for its other calls on these pages: some 30 ms on an idle
 * machine.
 */
#define TRANSFER_YIELDS 100u
#define TRANSFER_NAPS 200u
#define NAP_NSEC 100000

static _Atomic bool paging_out; /* there is swap */

void hold_allow_paging_out(bool allow)
{
	atomic_store_explicit(&paging_out, allow, memory_order_relaxed);
}

/**
 * Which of the write-protected pages cannot be the target of DMA that was under way before: all, if nothing in the
 * process can pin; else those that the kernel swaps out, as it does not swap out pinned pages, though it does swap out
 * pages with plain references; else none. @may_pin: files_may_pin(), asked after the protection.
 */
static uint64_t pins_excluded(const struct hold *hold, bool may_pin)
{
	uint64_t entries[HOLD_PAGES], unpinned = 0;

	if (!may_pin)
		return mask_of(0, hold->count);
	if (files_may_reference() || sys_madvise(hold->start, hold->count * PAGE_BYTES, MADV_PAGEOUT) < 0 ||
	    pagemap_read(hold->start, hold->count, entries) < 0)
		return 0;
	for (unsigned i = 0; i < hold->count; i++)
		unpinned |= (uint64_t)((entries[i] & PAGEMAP_SWAPPED) != 0) << i;
	return unpinned;
}

bool hold_may_copy(void)
{
	return !PROTECTED(PROTECT_PIN_TEST) || !files_pins_noted() ||
	       atomic_load_explicit(&paging_out, memory_order_relaxed);
}

/** Looks at all files of the process, so call it once, after all pages have been protected. */
static bool may_pin(void)
{
	return PROTECTED(PROTECT_PIN_TEST) && files_may_pin();
}

unsigned hold_diverged_length(void)
{
	unsigned longest = hold_length();

	return files_pins_noted() && longest > PAGEOUT_PAGES ? PAGEOUT_PAGES : longest;
}

/** @return whether the pages are registered; *ret_protected: whether they are write-protected, too. */
static bool arm_and_protect(const struct hold *hold, bool *ret_protected)
{
	struct uffdio_writeprotect protect = {
		.range = { .start = hold->start, .len = hold->count * PAGE_BYTES },
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};
	bool armed = hold_arm(hold, UFFDIO_REGISTER_MODE_WP) == 0;

	*ret_protected = armed && hold_uffd(UFFDIO_WRITEPROTECT, &protect) == 0;
	return armed;
}

/** @return the pages that have been mapped. */
static uint64_t compare_and_map(const struct hold *hold, bool may_pin)
{
	uint64_t safe = pins_excluded(hold, may_pin);

	atomic_fetch_add_explicit(&hold_kept_private_pages,
				  (uint64_t)__builtin_popcountll(mask_of(0, hold->count) & ~safe),
				  memory_order_relaxed);
	return hold_map(hold, hold_compare(hold, safe, hold->start), false);
}

/**
 * No run is released before all are mapped: if a release fails, the userfaultfd is closed, and with it the protection
 * of all pages is gone. So runs that were protected before the userfaultfd was reopened count as unprotected.
 */
void hold_diverged(const struct hold_run *runs, unsigned count)
{
	bool armed[HOLD_DIVERGED_RUNS], protected[HOLD_DIVERGED_RUNS], pins;
	struct hold holds[HOLD_DIVERGED_RUNS];
	uint64_t begin = hold_now_usec(), mapped[HOLD_DIVERGED_RUNS] = { 0 };
	bool kept = !hold_may_copy();
	unsigned reopened;

	for (unsigned i = 0; i < count; i++) {
		const struct hold_run *run = &runs[i];

		holds[i] = (struct hold){ run->region, run->index, region_hva(run->region, run->index),
					  run->count, run->targets, run->slots, run->outcomes, 0 };
		hold_set_outcomes(&holds[i], mask_of(0, run->count), OUTCOME_BUSY);
		if (kept)
			atomic_fetch_add_explicit(&hold_kept_private_pages, run->count, memory_order_relaxed);
	}
	if (kept || hold_open(NULL) < 0) /* the userfaultfd may have been closed */
		return;
	reopened = hold_reopened;
	for (unsigned i = 0; i < count; i++)
		armed[i] = arm_and_protect(&holds[i], &protected[i]);
	hold_barrier();
	pins = may_pin();
	for (unsigned i = 0; i < count; i++)
		if (protected[i] && (hold_reopened == reopened || !PROTECTED(PROTECT_REOPENED)))
			mapped[i] = compare_and_map(&holds[i], pins);
	for (unsigned i = 0; i < count; i++)
		if (armed[i])
			hold_release(&holds[i], mapped[i]);
	hold_times_note(hold_now_usec() - begin);
}

/**
 * Pages that are private copies now, and can be the target of DMA; the others belong to the store, or are swapped out.
 */
static uint64_t private_pages(const struct hold *hold)
{
	uint64_t entries[HOLD_PAGES], own = 0;

	if (pagemap_read(hold->start, hold->count, entries) < 0)
		return mask_of(0, hold->count);
	for (unsigned i = 0; i < hold->count; i++)
		own |= (uint64_t)((entries[i] & (PAGEMAP_PRESENT | PAGEMAP_FILE)) == PAGEMAP_PRESENT) << i;
	return own;
}

/** Copies the pages of @mask to the same places from @to on. */
static void copy_pages(const struct hold *hold, uint64_t mask, uint64_t to)
{
	unsigned first, run;

	for (; (run = next_run(mask, &first)) != 0; mask &= ~mask_of(first, run))
		memcpy((void *)(to + first * PAGE_BYTES), (const void *)(hold->start + first * PAGE_BYTES),
		       run * PAGE_BYTES);
}

/** Populates memory for the copies of the pages of @mask. @return 0 or -errno. */
static int populate(uint64_t mask, uint64_t place)
{
	unsigned first, run;
	int r = 0;

	for (; r == 0 && (run = next_run(mask, &first)) != 0; mask &= ~mask_of(first, run))
		r = sys_madvise(place + first * PAGE_BYTES, run * PAGE_BYTES, MADV_POPULATE_WRITE);
	return r;
}

/**
 * Whether the pages of @kept can be replaced by copies: none is private, or no device can be writing the private ones,
 * except to pages of @overwritten at the same time as the read that is about to be made.
 */
static bool may_be_replaced(const struct hold *hold, uint64_t kept, uint64_t overwritten)
{
	uint64_t own = private_pages(hold) & kept;

	if (own == 0)
		return true; /* a thread that writes a page of the store needs a private copy first, and sleeps */
	hold_barrier();
	if ((own & overwritten) != 0 && !files_pins_may_last())
		own &= ~overwritten;
	return own == 0 || (own & ~pins_excluded(hold, may_pin())) == 0;
}

static int make_plain(const struct hold *hold, uint64_t dropped, uint64_t overwritten, uint64_t place)
{
	uint64_t length = hold->count * PAGE_BYTES, kept = mask_of(0, hold->count) & ~dropped;
	struct uffdio_writeprotect protect = {
		.range = { .start = hold->start, .len = length },
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};
	long r = populate(kept, place);

	if (r == 0)
		r = hold_open(NULL);
	if (r == 0)
		r = pagemap_open(); /* a forked child starts without the userfaultfd and the pagemap */
	if (r == 0)
		r = hold_arm(hold, UFFDIO_REGISTER_MODE_WP);
	if (r < 0)
		return (int)r;
	r = PROTECTED(PROTECT_HELD_COPY) ? hold_uffd(UFFDIO_WRITEPROTECT, &protect) : 0;
	if (r == 0 && !may_be_replaced(hold, kept, overwritten))
		r = -EBUSY;
	if (r == 0) {
		copy_pages(hold, kept, place);
		hold_repeat_advice(hold->region, place, length);
		r = hold_replace(place, length, hold->start);
	}
	if (!sys_is_error(r))
		hold_repeat_huge_advice(hold->region, hold->index, hold->count);
	hold_release(hold, sys_is_error(r) ? 0 : mask_of(0, hold->count));
	return sys_is_error(r) ? (int)r : 0;
}

/**
 * Counted in steps, since the process may be stopped meanwhile. A call that is not done by then most likely waits for
 * the data it reads, and touches no page.
 */
static void begin_when_transferred(const struct hold *hold)
{
	for (unsigned i = 0; transfers_hold_begin(hold->start, hold->count) != 0; i++)
		if (i < TRANSFER_YIELDS)
			sched_yield();
		else if (i < TRANSFER_YIELDS + TRANSFER_NAPS)
			sys_nap(NAP_NSEC);
		else
			return;
}

int hold_make_plain(struct region *region, uint64_t index, unsigned count, uint64_t dropped, uint64_t overwritten,
		    uint64_t place)
{
	struct hold hold = { region, index, region_hva(region, index), count, NULL, NULL, NULL, 0 };
	int r;

	begin_when_transferred(&hold);
	r = make_plain(&hold, dropped, overwritten, place);
	transfers_hold_end();
	return r;
}
