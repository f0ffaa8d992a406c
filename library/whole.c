/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of Operation. The hold that breaks a 2 MiB page marks its block MADV_NOHUGEPAGE (hold.c): else khugepaged
 * would fill the holes of zeros that were given back, unnoticed until the next look. So the mark may be removed only if
 * the block has no such holes, and no page of the store. The tables are checked for this, page by page, whatever the
 * daemon has counted.
 *
 * A 2 MiB page can be made of one anonymous mapping only. Pages that were written after they were shared are copies in
 * mappings of the store, and pages that were made plain are in mappings of their own. Such a block is gathered: piece
 * by piece its pages are held, and brought into one fresh mapping of 2 MiB, which replaces them.
 *
 *   region   |AAAASSsAAAPPPAAA|    A: as the VMM made it   S: store, s: copy in its mapping   P: made plain before
 *   fresh    |                |    A, P are moved there, S, s copied; each piece goes back at once, as a mapping
 *   region   |FFFFFFFFAAPPPAAA|    and joins the piece before
 *
 * A page that is pinned, or may be, ends this: all bytes are right, some in the fresh mapping, some not.
 *
 * Gathering also restores memory for which the VMM has given no advice: no advice removes MADV_NOHUGEPAGE without
 * setting MADV_HUGEPAGE, but a fresh mapping has neither. If the VMM itself wants no 2 MiB pages there is nothing to
 * restore.
 *
 * The kernel does not collapse pages that are pinned, that have a plain reference, or that are registered for missing
 * pages with a userfaultfd.
 *
 * A collapse may take long, as the kernel waits for all CPUs. So the lock is released meanwhile, and only a thread that
 * is about to change the mapping of this very block waits: a page that it discards would be filled again, and a later
 * look at which pages are missing would find it present.
 */
#include "library/whole.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "common/madvise.h"
#include "library/children.h"
#include "library/hold.h"
#include "library/lock.h"
#include "library/mappings.h"
#include "library/pagemap.h"
#include "library/plain.h"
#include "library/protections.h"
#include "library/region.h"
#include "library/sys.h"

#define COLLAPSE_ATTEMPTS 3 /* a page may be on its way to or from the kernel's lists */
#define NAP_NSEC 100000

static _Atomic uint64_t collapsing; /* the block that the kernel collapses now, 0 for none; set with the lock */

/** How many pages of a block are of which kind. */
struct census {
	unsigned shared, zero, copies;
	bool excluded; /* some pages are: the VMM wants them left alone */
};

static struct census census_of(const struct region *region, uint64_t index, uint64_t end)
{
	struct census census = { 0 };

	for (uint64_t i = index; i < end; i++) {
		census.shared += page_reads_slot(region->state[i]);
		census.zero += region->state[i] == PAGE_ZEROED;
		census.copies += (region->state[i] & PAGE_IN_STORE) != 0 && !page_reads_slot(region->state[i]);
		census.excluded |= region->excluded[i] != 0;
	}
	if (!PROTECTED(PROTECT_WHOLE))
		census = (struct census){ 0 };
	return census;
}

/** How many pages of a block have memory of their own, and are not in swap. */
static uint64_t pages_there(uint64_t start)
{
	uint64_t pages = 0, walked = start, end = start + HUGE_BYTES;
	struct page_region ranges[HOLD_PAGES];
	int found;

	do {
		found = pagemap_scan(walked, end, ranges, HOLD_PAGES, &walked);
		for (int r = 0; r < found; r++)
			if ((ranges[r].categories & (PAGE_IS_FILE | PAGE_IS_PFNZERO | PAGE_IS_SWAPPED)) == 0)
				pages += (ranges[r].end - ranges[r].start) / PAGE_BYTES;
	} while (found > 0 && walked < end);
	return pages;
}

/** Whether a block has no page at all, also none in swap; or that cannot be told. */
static bool is_empty(uint64_t start)
{
	uint64_t entries[HUGE_BYTES / PAGE_BYTES];

	if (pagemap_read(start, HUGE_BYTES / PAGE_BYTES, entries) < 0)
		return true;
	for (size_t i = 0; i < HUGE_BYTES / PAGE_BYTES; i++)
		if (entries[i] & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED))
			return false;
	return true;
}

/* ---- gathering ---- */

/** A fresh mapping of 2 MiB, between inaccessible pages. */
struct fresh {
	uint64_t start, place, end;
};

/**
 * It is not aligned, so that it has no room for a 2 MiB page, which would be in the way of small ones. It is touched
 * once, so that all its pieces have the same anon_vma, and the kernel can merge them into one mapping again.
 */
static int fresh_new(const struct region *region, struct fresh *ret)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | (region->no_reserve ? MAP_NORESERVE : 0);
	uint64_t bytes = HUGE_BYTES + 3 * PAGE_BYTES;
	long r = sys_mmap(0, bytes, PROT_NONE, flags, -1, 0);

	if (sys_is_error(r))
		return (int)r;
	*ret = (struct fresh){ .start = (uint64_t)r, .place = (uint64_t)r + PAGE_BYTES, .end = (uint64_t)r + bytes };
	if (ret->place % HUGE_BYTES == 0)
		ret->place += PAGE_BYTES;
	r = sys_mprotect(ret->place, HUGE_BYTES, PROT_READ | PROT_WRITE);
	if (r == 0)
		r = sys_madvise(ret->place, PAGE_BYTES, MADV_POPULATE_WRITE);
	if (r == 0)
		r = sys_madvise(ret->place, PAGE_BYTES, MADV_DONTNEED);
	if (r < 0)
		sys_munmap(ret->start, bytes);
	return (int)r;
}

/** Pieces below @left have been moved away, and other memory may be there. */
static void fresh_end(const struct fresh *fresh, uint64_t left)
{
	sys_munmap(fresh->start, fresh->place - fresh->start);
	sys_munmap(left, fresh->end - left);
}

/** Makes zeros that were given back pages again. */
static int fill_zeros(struct region *region, uint64_t index, uint64_t end)
{
	for (uint64_t i = index; i < end; i++) {
		int r = 0;

		if (region->state[i] == PAGE_ZEROED)
			r = sys_madvise(region_hva(region, i), PAGE_BYTES, MADV_POPULATE_WRITE);
		if (r < 0)
			return r;
		if (region->state[i] != PAGE_ZEROED)
			continue;
		page_set_state(region, i, PAGE_DROPPED);
		region_note_change(region, i, 1);
	}
	return 0;
}

/** Length of the next piece: pages that are brought over in the same way, as many as may be held. */
static unsigned piece_length(const struct region *region, uint64_t index, uint64_t end)
{
	bool in_store = (region->state[index] & PAGE_IN_STORE) != 0;
	unsigned longest = in_store ? hold_diverged_length() : hold_length(), count = 1;

	while (count < longest && index + count < end &&
	       ((region->state[index + count] & PAGE_IN_STORE) != 0) == in_store)
		count++;
	return count;
}

/** Brings all pages of a block into one mapping. @return 0, or -errno: some are there, and the rest is unchanged. */
static int gather(struct region *region, uint64_t index, uint64_t end)
{
	struct fresh fresh = { 0 };
	uint64_t at = index, to;
	int r = fresh_new(region, &fresh);

	if (r < 0)
		return r;
	atomic_fetch_add_explicit(&hold_new_mappings, 2, memory_order_relaxed);
	r = fill_zeros(region, index, end);
	for (to = fresh.place; r == 0 && at < end;) {
		unsigned count = piece_length(region, at, end);

		r = region->state[at] & PAGE_IN_STORE ? plain_make_in(region, at, count, to)
						      : hold_renew(region, at, count, to);
		at += r == 0 ? count : 0;
		to += r == 0 ? count * PAGE_BYTES : 0;
	}
	fresh_end(&fresh, to);
	return r;
}

/**
 * Gathers a block that has no more shared or zero pages than allowed. It then has the setting of a fresh mapping.
 * @return whether it was done.
 */
static bool gather_block(struct region *region, uint64_t index, uint64_t end, const struct census *census)
{
	uint8_t *block = region_block(region, index);
	uint64_t start = region_hva(region, index);

	if (!mappings_allow_split() || (census->copies + census->shared > 0 && !hold_may_copy()) ||
	    pages_there(start) + census->shared + census->zero != HUGE_BYTES / PAGE_BYTES)
		return false;
	*block &= (uint8_t)~BLOCK_BROKEN; /* its replacement is not kept from collapsing */
	if (gather(region, index, end) == 0)
		return true;
	*block |= BLOCK_BROKEN;
	sys_madvise(start, (end - index) * PAGE_BYTES, MADV_NOHUGEPAGE);
	return false;
}

/* ---- */

/** Gives a block that is ready for it the VMM's setting. @return 0 or -errno. */
static int give_setting(const struct region *region, uint64_t start, uint64_t length)
{
	return region->huge_advice == 0 ? 0 : sys_madvise(start, length, region->huge_advice);
}

/** The block of an order's pages, or NULL if they are not in one block of a region. */
static uint8_t *find_block(const struct ring_record *order, struct region **ret_region, uint64_t *ret_index)
{
	struct region *region = region_of_page(order->page);
	uint64_t index = region != NULL ? order->page - region->first_page : 0;
	uint8_t *block;

	if (region == NULL || order->count > region->pages - index)
		return NULL;
	block = region_block(region, index);
	*ret_region = region;
	*ret_index = index;
	return block == region_block(region, index + order->count - 1) ? block : NULL;
}

/** Gives a block the VMM's setting. @gather: also brings it into one mapping. @return whether it has the setting. */
static bool release_block(struct region *region, uint64_t index, uint64_t end, const struct census *census, bool gather)
{
	uint64_t start = region_hva(region, index), bytes = (end - index) * PAGE_BYTES;

	if (region->huge_advice == MADV_NOHUGEPAGE) /* the block has it already */
		return true;
	if (gather && (bytes != HUGE_BYTES || !gather_block(region, index, end, census)))
		return false;
	return give_setting(region, start, bytes) == 0;
}

enum ring_whole whole_release(const struct ring_record *order, bool gather, struct whole_block *ret_block)
{
	struct region *region;
	uint64_t index, end;
	struct census census;
	uint8_t *block = find_block(order, &region, &index);

	ret_block->start = 0;
	if (block == NULL)
		return WHOLE_KEPT;
	if (!(*block & BLOCK_BROKEN) && !gather)
		return WHOLE_RELEASED;
	end = index + order->count;
	census = census_of(region, index, end);
	gather |= census.shared + census.zero + census.copies > 0 || region->huge_advice == 0;
	if ((*block & BLOCK_ADVISED) || children_alive() || census.excluded ||
	    census.shared + census.zero > order->value ||
	    !release_block(region, index, end, &census, gather))
		return *block & BLOCK_BROKEN ? WHOLE_KEPT : WHOLE_RELEASED;
	*block = BLOCK_WAS_HUGE;                                            /* the next merge keeps it broken again */
	atomic_fetch_add_explicit(&hold_discards, 1, memory_order_relaxed); /* it may be one mapping with others */
	if (!(order->flags & RING_COLLAPSE) || region->huge_advice == MADV_NOHUGEPAGE ||
	    order->count != HUGE_BYTES / PAGE_BYTES || pages_there(region_hva(region, index)) != order->count)
		return WHOLE_RELEASED;
	*ret_block = (struct whole_block){ region_hva(region, index), gather };
	atomic_store(&collapsing, ret_block->start);
	return WHOLE_RELEASED;
}

/** A block, all of which the VMM wants to be a 2 MiB page, as far as nothing is known to be in the way. */
static void prepare_block(struct region *region, uint64_t index, uint64_t end)
{
	uint64_t start = region_hva(region, index);
	uint8_t *block = region_block(region, index);
	struct census census = census_of(region, index, end);
	bool ours = census.shared + census.zero + census.copies > 0, touched = (*block & BLOCK_BROKEN) != 0 || ours;

	if (census.excluded || (*block & BLOCK_ADVISED) || children_alive() || region->huge_advice == MADV_NOHUGEPAGE)
		return;
	if (!touched && sys_madvise(start, HUGE_BYTES, MADV_COLLAPSE) != -EINVAL)
		return; /* it is one mapping */
	if (!ours && is_empty(start))
		return; /* the kernel makes no pages where there are none */
	if (plain_make(region, index, end - index) < 0 || fill_zeros(region, index, end) < 0 ||
	    sys_madvise(start, HUGE_BYTES, MADV_POPULATE_WRITE) < 0)
		return;
	census = census_of(region, index, end);
	if (!release_block(region, index, end, &census, true))
		return;
	*block = BLOCK_WAS_HUGE;
	atomic_fetch_add_explicit(&hold_discards, 1, memory_order_relaxed);
}

void whole_before_collapse(struct region *region, uint64_t index, uint64_t count)
{
	uint64_t end = index + count;

	for (uint64_t at = index, next; at < end; at = next) {
		uint64_t hva = region_hva(region, at), left = (HUGE_BYTES - hva % HUGE_BYTES) / PAGE_BYTES;

		next = left < end - at ? at + left : end;
		if (next - at == HUGE_BYTES / PAGE_BYTES)
			prepare_block(region, at, next);
		(void)plain_make(region, at, next - at);
	}
}

int whole_collapse(const struct whole_block *block)
{
	int r = -EAGAIN;

	for (int attempts = 0; attempts < COLLAPSE_ATTEMPTS && r == -EAGAIN; attempts++)
		r = sys_madvise(block->start, HUGE_BYTES, MADV_COLLAPSE);
	atomic_store(&collapsing, 0);
	return r;
}

/** Whether the kernel is collapsing a block that [start, start+length) touches. */
static bool is_collapsing(uint64_t start, uint64_t length)
{
	uint64_t block = atomic_load(&collapsing);

	return block != 0 && (block < start ? start - block < HUGE_BYTES : block - start < length);
}

void whole_wait(uint64_t start, uint64_t length)
{
	while (PROTECTED(PROTECT_WHOLE) && is_collapsing(start, length)) {
		memory_unlock();
		sys_nap(NAP_NSEC);
		memory_lock();
	}
}

void whole_forget(void)
{
	atomic_store(&collapsing, 0);
}
