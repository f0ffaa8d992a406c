/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of Operation: the hold of anonymous pages.
 *
 *   region   |....AAAAAAAA....|      A: pages to be merged         scratch |        |
 *   REGISTER |....[AAAAAA]....|      only this range               (always registered)
 *   MOVE     |....[      ]....|  --------------------------------> scratch |AAAAAAAA|
 *                                    whoever touches the range sleeps
 *   barrier                          waits out holders of plain page references
 *   compare                                                        scratch |AAAABAAA| against the slots
 *   mmap     |....SSSS[  ]SSS....|   where equal: the store's pages
 *   MOVE back|....SSSS[B ]SSS....| <--------------------------------- what is not
 *   UNREGISTER what is still anonymous; WAKE all; drop the scratch
 *
 * The kernel refuses to move a page that is pinned for DMA or shared with a forked child. What a failed MOVE did is
 * decided by the pagemap of the scratch alone: kernels report EEXIST or EAGAIN for pages that they have moved. The
 * scratch is not dropped before every page in it is known to be merged; what cannot be moved back is copied back, and
 * if even that fails the scratch page itself is remapped to its old place.
 *
 * Private copies inside a mapping of the store cannot be moved (the kernel moves anonymous mappings only). They are
 * held by write-protection instead, which does not see DMA; see pins_excluded().
 *
 * Masks have one bit per page of the hold.
 */
#include "library/hold.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "common/hash.h"
#include "library/kernel.h"
#include "library/pagemap.h"
#include "library/pins.h"
#include "library/protections.h"
#include "library/sys.h"
#include "library/view.h"

#define MOVE_ATTEMPTS (4 * HOLD_PAGES)
#define COPY_ATTEMPTS 64
#define PINS_REMEMBERED_USEC 1000000
#define PAGEOUT_PAGES 8u /* swapping out and in takes some 20 µs per page */

_Static_assert(HOLD_PAGES <= 64, "a hold's pages fit a mask");

_Atomic uint64_t hold_busy_pages, hold_kept_private_pages, hold_repaired_moves, hold_new_mappings;

static int uffd = -1;
static int uffd_device = -1;    /* to open another one with */
static uint64_t scratch;        /* HOLD_PAGES pages, and one more for the barrier */
static uint64_t pins_seen_usec; /* when a file that can pin was last seen; 0: never */
static bool pins_by_pageout;    /* there was swap then: what is pinned can be told by paging out */

struct hold {
	struct region *region;
	uint64_t index, start; /* of the first page: in the region, as hva */
	unsigned count;
	const uint32_t *targets;
	enum outcome *outcomes;
};

/* ---- small tools ---- */

static uint64_t now_usec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t mask_of(unsigned first, unsigned count)
{
	uint64_t ones = count >= 64 ? UINT64_MAX : (UINT64_C(1) << count) - 1;

	return ones << first; /* NOLINT(clang-analyzer-core.UndefinedBinaryOperatorResult): first is below 64 */
}

/** Finds the first run of set bits. @return its length, 0 if there is none. */
static unsigned next_run(uint64_t mask, unsigned *ret_first)
{
	uint64_t shifted;

	if (mask == 0)
		return 0;
	*ret_first = (unsigned)__builtin_ctzll(mask);
	shifted = mask >> *ret_first;
	return shifted == UINT64_MAX ? 64 : (unsigned)__builtin_ctzll(~shifted);
}

static void set_outcomes(const struct hold *hold, uint64_t mask, enum outcome outcome)
{
	for (unsigned i = 0; i < hold->count; i++)
		if (mask >> i & 1)
			hold->outcomes[i] = outcome;
}

static int uffd_range(unsigned long request, uint64_t start, uint64_t length)
{
	struct uffdio_range range = { .start = start, .len = length };

	return sys_ioctl(uffd, request, &range);
}

static int uffd_register(uint64_t start, uint64_t length, uint64_t mode)
{
	struct uffdio_register reg = { .range = { .start = start, .len = length }, .mode = mode };

	return sys_ioctl(uffd, UFFDIO_REGISTER, &reg);
}

/* ---- opening ---- */

static int uffd_new(void)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_MOVE | UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
	};
	int fd = sys_userfaultfd(O_CLOEXEC | O_NONBLOCK);
	int r;

	if (fd == -EPERM && uffd_device >= 0)
		fd = (int)sys_call(SYS_ioctl, uffd_device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK, 0, 0, 0);
	if (fd < 0)
		return fd;
	r = sys_ioctl(fd, UFFDIO_API, &api);
	if (r < 0) {
		sys_raw(SYS_close, fd, 0, 0, 0, 0, 0);
		return r;
	}
	uffd = fd;
	return 0;
}

static int scratch_new(void)
{
	uint64_t bytes = (HOLD_PAGES + 1) * PAGE_BYTES;
	long address = sys_mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (sys_is_error(address))
		return (int)address;
	scratch = (uint64_t)address;
	sys_madvise(scratch, bytes, MADV_DONTFORK);
	sys_madvise(scratch, bytes, MADV_DONTDUMP);
	sys_madvise(scratch, bytes, MADV_NOHUGEPAGE);
	return 0;
}

int hold_open(int device)
{
	int r;

	if (device >= 0) {
		if (uffd_device >= 0)
			sys_raw(SYS_close, uffd_device, 0, 0, 0, 0, 0);
		uffd_device = device;
	}
	if (uffd >= 0)
		return 0;
	r = scratch == 0 ? scratch_new() : 0;
	if (r == 0)
		r = uffd_new();
	if (r == 0)
		r = uffd_register(scratch, HOLD_PAGES * PAGE_BYTES, UFFDIO_REGISTER_MODE_MISSING);
	if (r < 0 && uffd >= 0) {
		sys_raw(SYS_close, uffd, 0, 0, 0, 0, 0);
		uffd = -1;
	}
	return r;
}

bool hold_is_open(void)
{
	return uffd >= 0;
}

void hold_forget(void)
{
	if (uffd >= 0)
		sys_raw(SYS_close, uffd, 0, 0, 0, 0, 0);
	if (uffd_device >= 0)
		sys_raw(SYS_close, uffd_device, 0, 0, 0, 0, 0);
	uffd = uffd_device = -1;
	scratch = 0; /* not inherited */
}

/** Last way out when a range cannot be unregistered: closing the userfaultfd releases all ranges and all sleepers. */
static void abandon(void)
{
	sys_raw(SYS_close, uffd, 0, 0, 0, 0, 0);
	uffd = -1;
	hold_open(-1);
}

/* ---- what the scratch holds ---- */

/** Pages that are in the scratch; without any doubt, or the doubt is resolved by keeping them. */
static uint64_t scratch_has(unsigned count, uint64_t *ret_swapped)
{
	uint64_t entries[HOLD_PAGES], present = 0, swapped = 0;
	int r;

	for (int attempts = 0; (r = pagemap_read(scratch, count, entries)) < 0 && attempts < 100; attempts++)
		;
	for (unsigned i = 0; r == 0 && i < count; i++) {
		present |= (uint64_t)((entries[i] & PAGEMAP_PRESENT) != 0) << i;
		swapped |= (uint64_t)((entries[i] & PAGEMAP_SWAPPED) != 0) << i;
	}
	if (r < 0)
		swapped = mask_of(0, count); /* unreadable: try to move everything back */
	*ret_swapped = swapped;
	return present | swapped;
}

static int move(uint64_t to, uint64_t from, unsigned count, int64_t *ret_moved)
{
	struct uffdio_move arg = { .dst = to, .src = from, .len = count * PAGE_BYTES };
	int r = sys_ioctl(uffd, UFFDIO_MOVE, &arg);

	*ret_moved = r == 0 ? (int64_t)arg.len : arg.move;
	return r;
}

/** After a fork the kernel takes a page for shared until somebody writes it, even if the child is gone. */
static bool cure_after_fork(uint64_t page_hva)
{
	uint64_t entry;

	if (pagemap_read(page_hva, 1, &entry) < 0 || !(entry & PAGEMAP_EXCLUSIVE))
		return false; /* still shared with the child */
	return sys_madvise(page_hva, PAGE_BYTES, MADV_POPULATE_WRITE) == 0;
}

/** One move stays inside one mapping, and a region can be made of several: how many pages to try next. */
static unsigned move_length(unsigned longest, unsigned run, int result)
{
	if (result == -EINVAL && run > 1)
		return run / 2;
	return result == 0 && longest < HOLD_PAGES ? longest * 2 : longest;
}

/** Moves the pages out. @return mask of pages that are in the scratch; *ret_refused: those that the kernel refused. */
static uint64_t move_out(const struct hold *hold, uint64_t *ret_refused)
{
	uint64_t moved = 0, refused = 0, cured = 0, swapped;
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
		r = move(scratch + first * PAGE_BYTES, hold->start + first * PAGE_BYTES, run, &bytes);
		longest = move_length(longest, run, r);
		if (r == 0)
			moved |= mask_of(first, run);
		if (r == 0 || (r == -EINVAL && run > 1))
			continue;
		claimed = moved | (bytes > 0 ? mask_of(first, (unsigned)((uint64_t)bytes / PAGE_BYTES)) : 0);
		judged = PROTECTED(PROTECT_JUDGE_BY_PAGEMAP) ? scratch_has(hold->count, &swapped) : claimed;
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
	return moved;
}

/** Puts a page's content back by copying; used when the page itself will not move (a fork made it non-exclusive). */
static bool copy_back(uint64_t to, uint64_t from)
{
	for (int attempts = 0; attempts < COPY_ATTEMPTS; attempts++) {
		struct uffdio_copy arg = { .dst = to, .src = from, .len = PAGE_BYTES };
		int r = sys_ioctl(uffd, UFFDIO_COPY, &arg);

		if (r == 0 || r == -EEXIST) {
			sys_madvise(from, PAGE_BYTES, MADV_DONTNEED);
			return true;
		}
	}
	return false;
}

/** Gives up the scratch page itself: it becomes the region's page. Needs no memory for content, only mappings. */
static bool remap_back(const struct region *region, uint64_t to, uint64_t from)
{
	if (sys_is_error(sys_mremap(from, PAGE_BYTES, PAGE_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, to)))
		return false;
	if (!region->dont_fork)
		sys_madvise(to, PAGE_BYTES, MADV_DOFORK);
	if (!region->dont_dump)
		sys_madvise(to, PAGE_BYTES, MADV_DODUMP);
	/* If one of these fails the place is of no use until the next userfaultfd: moves to it are refused, no more. */
	sys_mmap(from, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	sys_madvise(from, PAGE_BYTES, MADV_DONTFORK);
	uffd_register(from, PAGE_BYTES, UFFDIO_REGISTER_MODE_MISSING);
	return true;
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
		r = move(hold->start + first * PAGE_BYTES, scratch + first * PAGE_BYTES, run, &bytes);
		longest = move_length(longest, run, r);
		if (r == 0)
			back &= ~mask_of(first, run);
		else if (r == -EINVAL && run > 1)
			continue;
		else if (PROTECTED(PROTECT_JUDGE_BY_PAGEMAP))
			back &= scratch_has(hold->count, &swapped);
		else
			back &= ~(bytes > 0 ? mask_of(first, (unsigned)((uint64_t)bytes / PAGE_BYTES)) : 0);
	}
	for (; next_run(back, &first) != 0; back &= ~mask_of(first, 1)) {
		uint64_t to = hold->start + first * PAGE_BYTES, from = scratch + first * PAGE_BYTES;

		/* This is the guest's only copy: there is no other way out than one of the two. */
		while (!copy_back(to, from) && !remap_back(hold->region, to, from))
			;
	}
}

/**
 * Waits for everyone who has a plain reference to one of the pages, such as a write through /proc/PID/mem: they got it
 * under the mmap lock for reading and drop it before they let the lock go; mprotect takes it for writing.
 */
static void barrier(void)
{
	static bool readable;

	if (!PROTECTED(PROTECT_MMAP_LOCK_BARRIER))
		return;
	readable = !readable;
	sys_mprotect(scratch + HOLD_PAGES * PAGE_BYTES, PAGE_BYTES, readable ? PROT_READ : PROT_READ | PROT_WRITE);
}

/* ---- comparing and mapping ---- */

static bool equals_target(const void *page, uint32_t target)
{
	const void *content = target == HOLD_ZERO ? NULL : view_slot(target);

	if (!PROTECTED(PROTECT_COMPARE))
		return true;
	if (target == HOLD_ZERO)
		return page_is_zero(page);
	return content != NULL && memcmp(page, content, PAGE_BYTES) == 0;
}

/** Repeats the region's advice on what replaced its pages. */
static void repeat_advice(const struct region *region, uint64_t start, uint64_t length)
{
	if (region->dont_fork)
		sys_madvise(start, length, MADV_DONTFORK);
	if (region->dont_dump)
		sys_madvise(start, length, MADV_DONTDUMP);
}

/** Maps pages [first, first+count) to consecutive slots from the first page's target on. @return 0 or -errno. */
static int map_run(const struct hold *hold, unsigned first, unsigned count)
{
	uint64_t start = hold->start + first * PAGE_BYTES, offset;
	long r;
	int fd;

	r = view_place(hold->targets[first], &fd, &offset);
	if (r == 0)
		r = sys_mmap(start, count * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, offset);
	if (sys_is_error(r))
		return (int)r;
	atomic_fetch_add_explicit(&hold_new_mappings, 2, memory_order_relaxed);
	repeat_advice(hold->region, start, count * PAGE_BYTES);
	for (unsigned i = first; i < first + count; i++)
		page_set_state(hold->region, hold->index + i, PAGE_IN_STORE | hold->targets[i]);
	return 0;
}

/** Length of the run of pages in @mask from @first on whose targets follow each other. */
static unsigned slot_run(const struct hold *hold, uint64_t mask, unsigned first)
{
	unsigned end = first + 1;

	if (hold->targets[first] == HOLD_ZERO)
		while (end < hold->count && (mask >> end & 1) && hold->targets[end] == HOLD_ZERO)
			end++;
	else
		while (end < hold->count && (mask >> end & 1) &&
		       hold->targets[end] == hold->targets[first] + (end - first) &&
		       hold->targets[end] % VIEW_SEGMENT_SLOTS != 0)
			end++;
	return end - first;
}

/** Gives up pages of zeros: where they were moved away there is a hole already, elsewhere it is made. */
static int zero_run(const struct hold *hold, unsigned first, unsigned count, bool hole_is_there)
{
	int r = hole_is_there ? 0 : hold_put_anonymous(hold->region, hold->index + first, count);

	for (unsigned i = first; r == 0 && i < first + count; i++)
		page_set_state(hold->region, hold->index + i, PAGE_ZEROED);
	return r;
}

/** Maps every page of @equal to its target. @return mask of those that have been; the others' outcome is FULL. */
static uint64_t map_equal(const struct hold *hold, uint64_t equal, bool holes_are_there)
{
	uint64_t mapped = 0;

	for (uint64_t left = equal; left != 0;) {
		unsigned first = (unsigned)__builtin_ctzll(left), run = slot_run(hold, left, first);
		bool zero = hold->targets[first] == HOLD_ZERO;
		int r = zero ? zero_run(hold, first, run, holes_are_there) : map_run(hold, first, run);

		left &= ~mask_of(first, run);
		if (r == 0)
			mapped |= mask_of(first, run);
		set_outcomes(hold, mask_of(first, run), r == 0 ? OUTCOME_MERGED : OUTCOME_FULL);
	}
	return mapped;
}

int hold_put_anonymous(const struct region *region, uint64_t index, uint64_t count)
{
	uint64_t start = region_hva(region, index), end = start + count * PAGE_BYTES;
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | (region->no_reserve ? MAP_NORESERVE : 0);
	long r = sys_mmap(start, count * PAGE_BYTES, PROT_READ | PROT_WRITE, flags, -1, 0);

	if (sys_is_error(r))
		return (int)r;
	atomic_fetch_add_explicit(&hold_new_mappings, 2, memory_order_relaxed);
	repeat_advice(region, start, end - start);
	if (region->huge_advice != 0)
		sys_madvise(start, end - start, region->huge_advice);
	for (uint64_t at = index; at < index + count; at++) {
		uint64_t block_end = (region_hva(region, at) / HUGE_BYTES + 1) * HUGE_BYTES;

		if (*region_block(region, at) & BLOCK_BROKEN)
			sys_madvise(region_hva(region, at),
				    (block_end < end ? block_end : end) - region_hva(region, at), MADV_NOHUGEPAGE);
		at = (block_end - region->start) / PAGE_BYTES - 1;
	}
	return 0;
}

/**
 * Breaks up 2 MiB pages before anything of them is held: a move would do it, too, but page by page, for twice the
 * time, and with writers waiting. Making one small page of it cold splits it at the level of its one entry. If that is
 * refused the move decides. It must not collapse again at once, which would bring back what was given up.
 */
static void break_blocks(const struct hold *hold)
{
	struct region *region = hold->region;

	for (unsigned i = 0; i < hold->count; i++) {
		uint8_t *block = region_block(region, hold->index + i);
		uint64_t from, to;

		if (*block != BLOCK_WAS_HUGE)
			continue;
		from = region_hva(region, hold->index + i) / HUGE_BYTES * HUGE_BYTES;
		to = from + HUGE_BYTES;
		from = from < region->start ? region->start : from;
		to = to > region_end(region) ? region_end(region) : to;
		sys_madvise(from, to - from, MADV_NOHUGEPAGE);
		sys_madvise(region_hva(region, hold->index + i), PAGE_BYTES, MADV_COLD);
		*block |= BLOCK_BROKEN;
	}
}

/* ---- letting go ---- */

static void unregister(uint64_t start, uint64_t length)
{
	for (int attempts = 0; attempts < 8; attempts++)
		if (uffd_range(UFFDIO_UNREGISTER, start, length) == 0)
			return;
	abandon();
}

/** Ends the hold of all pages: those not mapped over are unregistered, all sleepers woken. */
static void release(const struct hold *hold, uint64_t mapped_over)
{
	unsigned first, run;

	for (uint64_t left = mask_of(0, hold->count) & ~mapped_over; (run = next_run(left, &first)) != 0;
	     left &= ~mask_of(first, run))
		unregister(hold->start + first * PAGE_BYTES, run * PAGE_BYTES);
	if (PROTECTED(PROTECT_WAKE) && uffd_range(UFFDIO_WAKE, hold->start, hold->count * PAGE_BYTES) < 0)
		abandon();
}

/**
 * Registers all pages of the hold, or none: where a mapping in the middle cannot be split for want of mappings, the
 * kernel leaves those before it registered, and whoever touches a hole in there would wait for ever.
 */
static int arm(const struct hold *hold, uint64_t mode)
{
	int r = uffd_register(hold->start, hold->count * PAGE_BYTES, mode);

	if (r == -ENOMEM)
		release(hold, 0);
	return r;
}

/* ---- the two holds ---- */

static uint64_t compare_pages(const struct hold *hold, uint64_t mask, uint64_t base)
{
	uint64_t equal = 0;

	for (unsigned i = 0; i < hold->count; i++)
		if ((mask >> i & 1) && equals_target((const void *)(base + i * PAGE_BYTES), hold->targets[i]))
			equal |= mask_of(i, 1);
	set_outcomes(hold, mask & ~equal, OUTCOME_DIFFERS);
	return equal;
}

static uint64_t zero_targets(const struct hold *hold)
{
	uint64_t zero = 0;

	for (unsigned i = 0; i < hold->count; i++)
		zero |= (uint64_t)(hold->targets[i] == HOLD_ZERO) << i;
	return zero;
}

void hold_anonymous(struct region *region, uint64_t index, unsigned count, const uint32_t *targets,
		    enum outcome *outcomes)
{
	struct hold hold = { region, index, region_hva(region, index), count, targets, outcomes };
	uint64_t all = mask_of(0, count), moved, refused, swapped = 0, mapped = 0;
	uint64_t begin;

	set_outcomes(&hold, all, OUTCOME_BUSY);
	if (uffd < 0)
		return;
	break_blocks(&hold);
	begin = now_usec();
	if (arm(&hold, UFFDIO_REGISTER_MODE_MISSING) < 0)
		return;
	moved = move_out(&hold, &refused);
	barrier();
	if (refused != 0)
		scratch_has(count, &swapped); /* a swap entry moves like a page; reading it would take long */
	mapped = map_equal(&hold, compare_pages(&hold, moved & ~swapped, scratch), true);
	if (!PROTECTED(PROTECT_EBUSY))
		mapped |= map_equal(&hold, compare_pages(&hold, refused, hold.start), false);
	if (PROTECTED(PROTECT_MOVE_BACK))
		move_back(&hold, moved & ~mapped);
	release(&hold, mapped & ~zero_targets(&hold));
	hold_times_note(now_usec() - begin);
	sys_madvise(scratch, count * PAGE_BYTES, MADV_DONTNEED);
	atomic_fetch_add_explicit(&hold_busy_pages, (uint64_t)__builtin_popcountll(refused), memory_order_relaxed);
}

/** A file that can pin was seen a moment ago: it is taken to be there still, which is the safe side. */
static bool pins_assumed(void)
{
	return pins_seen_usec != 0 && now_usec() - pins_seen_usec < PINS_REMEMBERED_USEC;
}

/**
 * Which of the write-protected pages cannot be the target of DMA that was under way before: all, if no open file of the
 * process can pin pages (looked up after the protection, since a later pin would have to fault first); else those that
 * the kernel swaps out, which it does not do to pinned pages; else none.
 */
static uint64_t pins_excluded(const struct hold *hold)
{
	uint64_t entries[HOLD_PAGES], unpinned = 0;
	struct pins pins;

	if (!PROTECTED(PROTECT_PIN_TEST))
		return mask_of(0, hold->count);
	if (!pins_assumed()) {
		pins_look(&pins);
		pins_by_pageout = pins.possible && pins_swap_available();
		if (!pins.possible)
			return mask_of(0, hold->count);
		pins_seen_usec = now_usec();
	}
	if (!pins_by_pageout)
		return 0;
	if (sys_madvise(hold->start, hold->count * PAGE_BYTES, MADV_PAGEOUT) < 0 ||
	    pagemap_read(hold->start, hold->count, entries) < 0)
		return 0;
	for (unsigned i = 0; i < hold->count; i++)
		unpinned |= (uint64_t)((entries[i] & PAGEMAP_SWAPPED) != 0) << i;
	return unpinned;
}

unsigned hold_diverged_length(void)
{
	unsigned longest = hold_length();

	return pins_by_pageout && longest > PAGEOUT_PAGES ? PAGEOUT_PAGES : longest;
}

void hold_diverged(struct region *region, uint64_t index, unsigned count, const uint32_t *targets,
		   enum outcome *outcomes)
{
	struct hold hold = { region, index, region_hva(region, index), count, targets, outcomes };
	struct uffdio_writeprotect protect = {
		.range = { .start = hold.start, .len = count * PAGE_BYTES },
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};
	uint64_t all = mask_of(0, count), safe, mapped = 0;
	uint64_t begin = now_usec();

	set_outcomes(&hold, all, OUTCOME_BUSY);
	if (uffd < 0)
		return;
	if (pins_assumed() && !pins_by_pageout) {
		atomic_fetch_add_explicit(&hold_kept_private_pages, count, memory_order_relaxed);
		return;
	}
	if (arm(&hold, UFFDIO_REGISTER_MODE_WP) < 0)
		return;
	if (sys_ioctl(uffd, UFFDIO_WRITEPROTECT, &protect) == 0) {
		barrier();
		safe = pins_excluded(&hold);
		atomic_fetch_add_explicit(&hold_kept_private_pages, (uint64_t)__builtin_popcountll(all & ~safe),
					  memory_order_relaxed);
		mapped = map_equal(&hold, compare_pages(&hold, safe, hold.start), false);
	}
	release(&hold, mapped);
	hold_times_note(now_usec() - begin);
}

/** Pages that are private copies now, and can be the target of DMA; the others are the store's, or swapped out. */
static uint64_t private_pages(const struct hold *hold)
{
	uint64_t entries[HOLD_PAGES], own = 0;

	if (pagemap_read(hold->start, hold->count, entries) < 0)
		return mask_of(0, hold->count);
	for (unsigned i = 0; i < hold->count; i++)
		own |= (uint64_t)((entries[i] & (PAGEMAP_PRESENT | PAGEMAP_FILE)) == PAGEMAP_PRESENT) << i;
	return own;
}

int hold_make_plain(struct region *region, uint64_t index, unsigned count)
{
	struct hold hold = { region, index, region_hva(region, index), count, NULL, NULL };
	uint64_t length = count * PAGE_BYTES, own;
	struct uffdio_writeprotect protect = {
		.range = { .start = hold.start, .len = length },
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};
	long copy = sys_mmap(0, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long r;

	if (sys_is_error(copy))
		return (int)copy;
	r = hold_open(-1);
	if (r == 0)
		r = pagemap_open(); /* a forked child begins without both */
	if (r == 0)
		r = arm(&hold, UFFDIO_REGISTER_MODE_WP);
	if (r < 0) {
		sys_munmap((uint64_t)copy, length);
		return (int)r;
	}
	r = sys_ioctl(uffd, UFFDIO_WRITEPROTECT, &protect);
	barrier();
	pins_seen_usec = 0; /* the VMM waits for this to succeed: a guess on the safe side will not do */
	own = r == 0 ? private_pages(&hold) : 0;
	if (own != 0 && (own & ~pins_excluded(&hold)) != 0)
		r = -EBUSY;
	if (r == 0) {
		memcpy((void *)copy, (const void *)hold.start, length);
		repeat_advice(region, (uint64_t)copy, length);
		r = sys_mremap((uint64_t)copy, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, hold.start);
	}
	if (sys_is_error(r))
		sys_munmap((uint64_t)copy, length);
	release(&hold, sys_is_error(r) ? 0 : mask_of(0, count));
	return sys_is_error(r) ? (int)r : 0;
}
