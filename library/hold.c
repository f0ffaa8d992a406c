/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of Operation: the hold of anonymous pages.
 *
 *   region   |....AAAAAAAA....|      A: pages to be merged         scratch |        |
 *   REGISTER |....[AAAAAA]....|      only this range               (always registered, for write-protection)
 *   MOVE     |....[      ]....|  --------------------------------> scratch |AAAAAAAA|
 *                                    a thread that touches the range sleeps
 *   barrier                          waits for holders of plain page references
 *   compare                                                        scratch |AAAABAAA| against the slots
 *   mmap     |....SSSS[  ]SSS....|   where equal: the store's pages
 *   MOVE back|....SSSS[B ]SSS....| <--------------------------------- where not
 *   UNREGISTER what is still anonymous; WAKE all; drop the scratch
 *
 * The kernel refuses to move a page that is pinned for DMA or shared with a forked child. Only the pagemap decides what
 * a failed MOVE did: kernels report EEXIST or EAGAIN for pages that they have moved. A page has been moved if there is
 * a page in the scratch and none in its old place: a page in the scratch does not suffice, as a system call that
 * populates all mappings, such as mlockall(), may have put it there. The scratch is not dropped before every page in it
 * is known to be merged; a page that cannot be moved back is copied back, and if even that fails the scratch page
 * itself is remapped to its old place.
 *
 * Private copies inside a mapping of the store cannot be moved (the kernel moves anonymous mappings only). They are
 * held by write-protection instead, which does not see DMA; see hold-diverged.c.
 */
#include "library/hold.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "library/files.h"
#include "library/hold-steps.h"
#include "library/kernel.h"
#include "library/pagemap.h"
#include "library/protections.h"
#include "library/sys.h"
#include "library/transfers.h"

#define MOVE_ATTEMPTS (4 * HOLD_PAGES)
#define COPY_ATTEMPTS 64

static atomic_bool moving_is_unsafe;

void hold_allow_moving(bool allow)
{
	atomic_store_explicit(&moving_is_unsafe, !allow, memory_order_relaxed);
}

bool hold_may_move(void)
{
	return !files_may_reference() && !atomic_load_explicit(&moving_is_unsafe, memory_order_relaxed);
}

/* ---- pages in the scratch ---- */

static bool unreadable; /* the pagemap, in this hold: the content of the scratch is unknown */

/**
 * Pages that are, or may be, in the scratch: in case of doubt they are kept. *ret_swapped: pages that must not be read
 * there, as they are in swap, or may not be there.
 */
static uint64_t scratch_has(const struct hold *hold, uint64_t *ret_swapped)
{
	uint64_t entries[HOLD_PAGES], present = 0, swapped = 0;
	int r;

	for (int attempts = 0; (r = pagemap_read(hold->away, hold->count, entries)) < 0 && attempts < 100; attempts++)
		pagemap_open(); /* the VMM may have closed the pagemap */
	for (unsigned i = 0; r == 0 && i < hold->count; i++) {
		present |= (uint64_t)((entries[i] & PAGEMAP_PRESENT) != 0) << i;
		swapped |= (uint64_t)((entries[i] & PAGEMAP_SWAPPED) != 0) << i;
	}
	if (r < 0) {
		unreadable = true;
		swapped = mask_of(0, hold->count); /* try to move everything back */
	}
	*ret_swapped = swapped;
	return present | swapped;
}

/* ---- moving away and back ---- */

static int move(uint64_t to, uint64_t from, unsigned count, int64_t *ret_moved)
{
	struct uffdio_move arg = { .dst = to, .src = from, .len = count * PAGE_BYTES };
	int r = hold_uffd(UFFDIO_MOVE, &arg);

	*ret_moved = r == 0 ? (int64_t)arg.len : arg.move;
	return r;
}

/** After a fork the kernel treats a page as shared until it is written, even if the child is gone. */
static bool cure_after_fork(uint64_t page_hva)
{
	uint64_t entry;

	if (pagemap_read(page_hva, 1, &entry) < 0 || !(entry & PAGEMAP_EXCLUSIVE))
		return false; /* still shared with the child */
	return sys_madvise(page_hva, PAGE_BYTES, MADV_POPULATE_WRITE) == 0;
}

/** How many pages to try next: one move stays inside one mapping, and a region can consist of several. */
static unsigned move_length(unsigned longest, unsigned run, int result)
{
	if (result == -EINVAL && run > 1)
		return run / 2;
	return result == 0 && longest < HOLD_PAGES ? longest * 2 : longest;
}

/**
 * The pages in the scratch that were moved there from their places, which are empty now. *ret_swapped: see
 * scratch_has().
 */
static uint64_t moved_away(const struct hold *hold, uint64_t *ret_swapped)
{
	uint64_t entries[HOLD_PAGES], there = scratch_has(hold, ret_swapped);

	if (unreadable || !PROTECTED(PROTECT_BOTH_ENDS))
		return there;
	if (pagemap_read(hold->start, hold->count, entries) < 0) {
		unreadable = true;
		*ret_swapped = there;
		return there;
	}
	for (unsigned i = 0; i < hold->count; i++)
		if (entries[i] & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED))
			there &= ~mask_of(i, 1);
	return there;
}

/**
 * Moves the pages out. @return mask of pages that are in the scratch; *ret_refused: pages that the kernel refused;
 * *ret_swapped: see scratch_has().
 */
static uint64_t move_out(const struct hold *hold, uint64_t *ret_refused, uint64_t *ret_swapped)
{
	uint64_t moved = 0, refused = 0, cured = 0, swapped = 0;
	unsigned longest = HOLD_PAGES;

	for (int attempts = 0; attempts < (int)MOVE_ATTEMPTS; attempts++) {
		uint64_t left = mask_of(0, hold->count) & ~(moved | refused);
		unsigned first, run = next_run(left, &first);
		uint64_t claimed, judged;
		int64_t bytes;
		int r;

		if (run == 0)
			break;
		run = run < longest ? run : longest;
		r = move(hold->away + first * PAGE_BYTES, hold->start + first * PAGE_BYTES, run, &bytes);
		longest = move_length(longest, run, r);
		if (r == 0)
			moved |= mask_of(first, run);
		if (r == 0 || (r == -EINVAL && run > 1))
			continue;
		claimed = moved | (bytes > 0 ? mask_of(first, (unsigned)((uint64_t)bytes / PAGE_BYTES)) : 0);
		judged = PROTECTED(PROTECT_JUDGE_BY_PAGEMAP) ? moved_away(hold, &swapped) : claimed;
		if (judged != claimed)
			atomic_fetch_add_explicit(&hold_repaired_moves, 1, memory_order_relaxed);
		moved = judged;
		if (r == -EAGAIN || (r == -EEXIST && judged != claimed) || next_run(left & ~moved, &first) == 0)
			continue;
		if (r == -EBUSY && !(cured >> first & 1) && cure_after_fork(hold->start + first * PAGE_BYTES)) {
			cured |= mask_of(first, 1);
			continue;
		}
		refused |= mask_of(first, 1);
	}
	*ret_refused = mask_of(0, hold->count) & ~moved;
	*ret_swapped = swapped;
	return moved;
}

/** Puts a page's content back by copying; used when the page itself cannot be moved (a fork made it non-exclusive). */
static bool copy_back(uint64_t to, uint64_t from)
{
	for (int attempts = 0; attempts < COPY_ATTEMPTS; attempts++) {
		struct uffdio_copy arg = { .dst = to, .src = from, .len = PAGE_BYTES };
		int r = hold_uffd(UFFDIO_COPY, &arg);

		if (r == 0 || r == -EEXIST) {
			sys_madvise(from, PAGE_BYTES, MADV_DONTNEED);
			return true;
		}
	}
	return false;
}

/**
 * Moves the scratch's page itself to the region. The same call leaves its place mapped, registered and empty: if that
 * took further calls and one failed, the scratch would lack this place for good. Needs no memory for content, only
 * mappings.
 */
static bool remap_back(const struct region *region, uint64_t to, uint64_t from)
{
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;

	if (sys_is_error(sys_mremap(from, PAGE_BYTES, PAGE_BYTES, flags, to)))
		return false;
	if (!region->dont_fork)
		sys_madvise(to, PAGE_BYTES, MADV_DOFORK);
	if (!region->dont_dump)
		sys_madvise(to, PAGE_BYTES, MADV_DODUMP);
	return true;
}

/**
 * Moves a single page back. For a single page the outcome is known without the pagemap: the kernel checks first whether
 * the place is taken (the page never left, or is back), then whether there is anything to move, then whether it may be
 * moved. @return whether there is nothing left to bring back; *ret_there is set if the page is known to be in the
 * scratch.
 */
static bool move_one_back(uint64_t to, uint64_t from, bool *ret_there)
{
	int64_t bytes;
	int r = move(to, from, 1, &bytes);

	if (r == -EBUSY)
		*ret_there = true;
	return r == 0 || r == -EEXIST || r == -ENOENT;
}

/**
 * This is the guest's only copy, so these three ways are tried until one succeeds; each may work when the others do
 * not. Copying detects that the page never left its place; remapping would lose it then.
 */
static void bring_back(const struct hold *hold, unsigned i)
{
	uint64_t to = hold->start + i * PAGE_BYTES, from = hold->away + i * PAGE_BYTES;
	bool there = !unreadable;

	while (!move_one_back(to, from, &there) && !copy_back(to, from) &&
	       !(there && remap_back(hold->region, to, from)))
		;
}

static void move_back(const struct hold *hold, uint64_t back)
{
	unsigned first, run, longest = HOLD_PAGES;
	uint64_t swapped;

	for (int attempts = 0; back != 0 && attempts < (int)MOVE_ATTEMPTS; attempts++) {
		int64_t bytes;
		int r;

		run = next_run(back, &first);
		run = run < longest ? run : longest;
		r = move(hold->start + first * PAGE_BYTES, hold->away + first * PAGE_BYTES, run, &bytes);
		longest = move_length(longest, run, r);
		if (r == 0)
			back &= ~mask_of(first, run);
		else if (r == -EINVAL && run > 1)
			continue;
		else if (PROTECTED(PROTECT_JUDGE_BY_PAGEMAP))
			back &= scratch_has(hold, &swapped);
		else
			back &= ~(bytes > 0 ? mask_of(first, (unsigned)((uint64_t)bytes / PAGE_BYTES)) : 0);
	}
	for (; next_run(back, &first) != 0; back &= ~mask_of(first, 1))
		bring_back(hold, first);
}

/* ---- the hold ---- */

/**
 * Whether a block is a 2 MiB page now, or may be one. The kernel (khugepaged) may have collapsed it since the last scan
 * saw small pages.
 */
static bool is_whole(const struct region *region, uint64_t index)
{
	uint8_t block = *region_block(region, index);
	uint64_t hva = region_hva(region, index), walked;
	struct page_region range;

	if (block_may_be_huge(block) || (block & BLOCK_BROKEN) || region->huge_advice == MADV_NOHUGEPAGE)
		return block_may_be_huge(block);
	return pagemap_scan(hva, hva + PAGE_BYTES, &range, 1, &walked) == 1 && (range.categories & PAGE_IS_HUGE) != 0;
}

/**
 * Breaks up 2 MiB pages, as the order allows, before any part of them is held: a move would do it, too, but page by
 * page, in twice the time, and with writers waiting. Making one small page cold splits the one huge entry of the page
 * table. If the kernel refuses, the move decides. The block must not collapse again at once, which would bring back the
 * memory that was given up.
 */
static void break_blocks(const struct hold *hold)
{
	struct region *region = hold->region;
	uint64_t end = hold->index + hold->count, next;

	for (uint64_t index = hold->index; index < end; index = next) {
		uint8_t *block = region_block(region, index);
		uint64_t from = region_hva(region, index) / HUGE_BYTES * HUGE_BYTES, to = from + HUGE_BYTES;

		from = from < region->start ? region->start : from;
		to = to > region_end(region) ? region_end(region) : to;
		next = (to - region->start) / PAGE_BYTES;
		if (!is_whole(region, index))
			continue;
		sys_madvise(from, to - from, MADV_NOHUGEPAGE);
		atomic_fetch_add_explicit(&hold_new_mappings, 2, memory_order_relaxed);
		sys_madvise(region_hva(region, index), PAGE_BYTES, MADV_COLD);
		*block |= block_may_be_huge(*block) ? BLOCK_BROKEN : BLOCK_WAS_HUGE | BLOCK_BROKEN | BLOCK_UNTOLD;
	}
}

static uint64_t zero_targets(const struct hold *hold)
{
	uint64_t zero = 0;

	for (unsigned i = 0; i < hold->count; i++)
		zero |= (uint64_t)(hold->targets[i] == HOLD_ZERO) << i;
	return zero;
}

void hold_anonymous(struct region *region, uint64_t index, unsigned count, const uint32_t *targets,
		    const struct hold_slot *slots, enum outcome *outcomes)
{
	struct hold hold = { region, index, region_hva(region, index), count, targets, slots, outcomes, 0 };
	uint64_t all = mask_of(0, count), moved, refused, swapped, mapped = 0;
	uint64_t begin;

	hold_set_outcomes(&hold, all, OUTCOME_BUSY);
	if (hold_open(NULL) < 0) /* the userfaultfd may have been closed */
		return;
	break_blocks(&hold);
	begin = hold_now_usec();
	unreadable = false;
	if (hold_arm(&hold, UFFDIO_REGISTER_MODE_MISSING) < 0)
		return;
	hold.away = hold_take_scratch(count);
	moved = move_out(&hold, &refused, &swapped);
	hold_barrier();
	if (refused != 0)
		scratch_has(&hold, &swapped); /* a swap entry is moved like a page; reading it would take long */
	mapped = hold_map(&hold, hold_compare(&hold, moved & ~swapped, hold.away), true);
	if (!PROTECTED(PROTECT_EBUSY))
		mapped |= hold_map(&hold, hold_compare(&hold, refused, hold.start), false);
	if (PROTECTED(PROTECT_MOVE_BACK))
		move_back(&hold, moved & ~mapped);
	hold_release(&hold, mapped & ~zero_targets(&hold));
	hold_times_note(hold_now_usec() - begin);
	atomic_fetch_add_explicit(&hold_busy_pages, (uint64_t)__builtin_popcountll(refused), memory_order_relaxed);
}

/**
 * Pages can be moved only to a registered range, but a registered range would not be merged with other mappings again.
 * If it stays registered, nothing worse happens, as the registration ends when the mapping is moved.
 */
static int move_to_place(const struct hold *hold, uint64_t *ret_moved, uint64_t *ret_refused)
{
	struct uffdio_range range = { .start = hold->away, .len = hold->count * PAGE_BYTES };
	int r = hold_register_scratch(range.start, range.len);
	uint64_t swapped;

	if (r < 0)
		return r;
	*ret_moved = move_out(hold, ret_refused, &swapped);
	(void)hold_uffd(UFFDIO_UNREGISTER, &range);
	return 0;
}

int hold_renew(struct region *region, uint64_t index, unsigned count, uint64_t place)
{
	struct hold hold = { region, index, region_hva(region, index), count, NULL, NULL, NULL, place };
	uint64_t moved = 0, refused = 0, begin = hold_now_usec();
	long r = -EBUSY;

	if (hold_open(NULL) < 0 || !hold_may_move())
		return -EBUSY;
	if (transfers_hold_begin(hold.start, count) == 0 && hold_arm(&hold, UFFDIO_REGISTER_MODE_MISSING) == 0) {
		unreadable = false;
		r = move_to_place(&hold, &moved, &refused);
		if (r == 0 && !unreadable && (refused == 0 || !PROTECTED(PROTECT_EBUSY))) {
			hold_repeat_advice(region, place, count * PAGE_BYTES);
			r = hold_replace(place, count * PAGE_BYTES, hold.start);
		} else if (r == 0) {
			r = -EBUSY;
		}
		if (sys_is_error(r))
			move_back(&hold, moved);
		hold_release(&hold, sys_is_error(r) ? 0 : mask_of(0, count));
		hold_times_note(hold_now_usec() - begin);
	}
	transfers_hold_end();
	return sys_is_error(r) ? (int)r : 0;
}
