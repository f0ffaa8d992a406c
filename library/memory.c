/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See memory.h. Each change has a part before the system call and a part after it; the lock is held from one to the
 * other. */
#include "library/memory.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "common/madvise.h"
#include "library/again.h"
#include "library/announce.h"
#include "library/children.h"
#include "library/confinement.h"
#include "library/descriptors.h"
#include "library/discards.h"
#include "library/files.h"
#include "library/fork.h"
#include "library/hold.h"
#include "library/kernel.h"
#include "library/lost.h"
#include "library/mappings.h"
#include "library/memory-locks.h"
#include "library/merge.h"
#include "library/part.h"
#include "library/plain.h"
#include "library/protections.h"
#include "library/refusals.h"
#include "library/region.h"
#include "library/sys.h"
#include "library/visits.h"
#include "library/whole.h"
#include "library/withdrawal.h"
#include "library/worker.h"
#include "protocol/wire.h"

#define LOOK_AGAIN_MS 1
/* Searched without releasing the lock, one byte per page; each piece found costs a look at smaps. */
#define UNMAPPED_PIECE_BYTES (UINT64_C(4) << 30)

static _Atomic bool in_use;
static _Atomic bool no_more_offers;
static _Atomic unsigned offers; /* that are being processed now */

bool memory_is_ours(const void *address, size_t length)
{
	return in_use && region_overlaps((uint64_t)address, length);
}

/** Changes after which memory that was left alone is gone, or may no longer be left alone. */
static bool ends_refusal(enum memory_change change)
{
	return change == CHANGE_UNMAP || change == CHANGE_MOVE || change == CHANGE_UNMERGEABLE ||
	       change == CHANGE_UNLOCK || change == CHANGE_USERFAULTFD_END;
}

bool memory_concerns(enum memory_change change, const void *address, size_t length)
{
	if (!in_use)
		return false;
	return region_overlaps((uint64_t)address, length) ||
	       (ends_refusal(change) && refusals_overlap((uint64_t)address, length));
}

bool memory_in_use(void)
{
	return in_use;
}

/**
 * Wakes the worker, so that it reports changes to the daemon before its next turn. A region that is leaving counts as
 * well: the worker may be reporting pages now, and have looked for leaving regions before this one left.
 */
static void wake_if_told(void)
{
	bool leaving = PROTECTED(PROTECT_POKES) && region_any_leaving();

	if (region_changes_noted() || announce_refusals_changed() || leaving)
		worker_wake();
}

bool memory_is_inside(void)
{
	return memory_lock_is_mine();
}

/* ---- registering ---- */

/** MADV_MERGEABLE again for an existing region. @return whether the range lies in one. */
static bool register_again(uint64_t start, uint64_t length)
{
	bool known = false;

	for (uint64_t at = 0; at < length; at += REGION_PIECE_PAGES * PAGE_BYTES) {
		uint64_t left = length - at, piece = REGION_PIECE_PAGES * PAGE_BYTES;

		memory_lock();
		for (unsigned i = 0; i < REGIONS_MAX; i++) {
			struct part part;

			if (!part_find(region_at(i), start + at, left < piece ? left : piece, &part))
				continue;
			known = true;
			part_exclude(&part, EXCLUDED_UNMERGEABLE, false);
		}
		memory_unlock();
	}
	return known;
}

/** Finds the first pages of the range that had been unmapped from a region. @return whether there are any. */
static bool find_unmapped(uint64_t start, uint64_t length, struct part *ret)
{
	for (unsigned i = 0; i < REGIONS_MAX; i++) {
		struct part part;
		uint64_t end;

		if (!part_find(region_at(i), start, length, &part) || part.region->unmapped_pages == 0)
			continue;
		end = part.index + part.count;
		while (part.index < end && !(part.region->excluded[part.index] & EXCLUDED_UNMAPPED))
			part.index++;
		for (part.count = 0; part.index + part.count < end; part.count++)
			if (!(part.region->excluded[part.index + part.count] & EXCLUDED_UNMAPPED))
				break;
		*ret = part;
		if (part.count > 0)
			return true;
	}
	return false;
}

/** Memory is mapped there again: its pages belong to the region, if its attributes are those of the region. */
static void take_back(const struct part *part, const struct mapping_kind *kind)
{
	struct region *region = part->region;
	bool alike = kind->dont_fork == region->dont_fork && kind->dont_dump == region->dont_dump &&
		     kind->no_reserve == region->no_reserve && kind->huge_advice == region->huge_advice &&
		     !kind->huge_differs;

	part_exclude(part, EXCLUDED_UNMAPPED, false);
	part_exclude(part, EXCLUDED_ADVICE, !alike);
	part_exclude(part, EXCLUDED_PROTECTED, kind->protected);
	part_exclude(part, EXCLUDED_LOCKED, mappings_will_be_locked());
	region->unmapped_pages -= part->count;
	refusals_forget(region_hva(region, part->index), part->count * PAGE_BYTES);
}

/** MADV_MERGEABLE for memory in place of memory that was unmapped. */
static void register_unmapped(uint64_t start, uint64_t length)
{
	uint64_t end = start + length;

	while (start < end) {
		uint64_t from, piece = end - start < UNMAPPED_PIECE_BYTES ? end - start : UNMAPPED_PIECE_BYTES;
		struct mapping_kind kind;
		struct part part, now;
		bool found;
		int r;

		memory_lock();
		found = find_unmapped(start, piece, &part);
		from = found ? region_hva(part.region, part.index) : 0;
		memory_unlock();
		start = found ? from + part.count * PAGE_BYTES : start + piece;
		if (!found)
			continue;
		r = mappings_inspect(from, start - from, &kind);
		memory_lock();
		if (r > 0)
			refusals_note(from, start - from, (uint32_t)r);
		if (r == 0 && find_unmapped(from, start - from, &now) && now.region == part.region &&
		    now.index == part.index && now.count == part.count)
			take_back(&now, &kind);
		memory_unlock();
	}
}

/** The VMM's advice on 2 MiB pages differs here, and is not known page by page. */
static void mark_advised(struct region *region, uint64_t index, uint64_t count)
{
	for (uint8_t *block = region_block(region, index); block <= region_block(region, index + count - 1); block++)
		*block |= BLOCK_ADVISED;
}

static int register_new(uint64_t start, uint64_t length)
{
	struct mapping_kind kind;
	struct region *region;
	int r = mappings_inspect(start, length, &kind);

	if (r < 0)
		return r;
	memory_lock_any();
	if (r > 0) {
		refusals_note(start, length, (uint32_t)r);
		memory_unlock();
		return -EOPNOTSUPP;
	}
	r = region_add(start, length / PAGE_BYTES, &region);
	if (r == 0) {
		refusals_forget(start, length);
		region->dont_fork = kind.dont_fork;
		region->dont_dump = kind.dont_dump;
		region->no_reserve = kind.no_reserve;
		region->huge_advice = kind.huge_advice;
		if (kind.huge_differs)
			mark_advised(region, 0, region->pages);
		if (kind.protected) /* until mprotect() changes it */
			refusals_exclude(region, 0, region->pages, EXCLUDED_PROTECTED, true);
		if (mappings_will_be_locked()) /* until munlockall(): new memory in its place would be locked */
			refusals_exclude(region, 0, region->pages, EXCLUDED_LOCKED, true);
	} else if (r == -ENOSPC) {
		refusals_note(start, length, WIRE_REASON_TOO_MANY_REGIONS);
	}
	memory_unlock();
	return r;
}

/** memory_register() for whole pages. */
static int take_in(uint64_t start, uint64_t length)
{
	bool known;
	int r, served;

	if (fork_watched() < 0)
		return fork_watched();
	known = region_overlaps(start, length) && register_again(start, length);
	if (known)
		register_unmapped(start, length);
	r = known ? 0 : register_new(start, length);
	if (r != 0 && r != -EOPNOTSUPP) {
		wake_if_told();
		return r;
	}
	in_use = true;
	served = worker_start(); /* also if the memory was refused: the daemon should know why */
	worker_wake();
	if (served < 0)
		return served;
	if (r < 0)
		return r;
	return served == 1 && mappings_have_holes(start, length) ? 2 : served;
}

/** With the lock, as another thread may close numbers that it does not know; makes no further system calls. */
static bool is_confined(void)
{
	bool had = descriptors_open();
	int unknown = confinement_is_unknown();

	descriptors_opened(had);
	return unknown != 0;
}

int memory_register(void *address, size_t length)
{
	uint64_t start = (uint64_t)address;
	int r;

	length = (length + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
	if (start % PAGE_BYTES != 0 || length == 0 || length > UINT64_MAX - start)
		return -EINVAL;
	if (!visit_begin())
		return -EOPNOTSUPP;
	fork_notice();
	offers++;
	if (children_is_one() || no_more_offers || is_confined())
		r = -EOPNOTSUPP;
	else
		r = take_in(start, length);
	offers--;
	visit_end();
	return r;
}

int memory_register_by_worker(void *address, size_t length)
{
	int r;

	offers++;
	r = children_is_one() || no_more_offers ? -EOPNOTSUPP : register_new((uint64_t)address, length);
	offers--;
	return r == 0 ? 1 : r;
}

void memory_stop_offers(void)
{
	no_more_offers = true; /* an offer is counted before it looks at this */
	while (offers != 0)
		poll(NULL, 0, LOOK_AGAIN_MS);
}

void memory_forget(void)
{
	offers = 0;
}

/* ---- unsharing ---- */

static int make_plain(const struct part *part)
{
	return plain_make(part->region, part->index, part->count);
}

static int make_plain_or_unshare(const struct part *part)
{
	return plain_make_or_copy(part->region, part->index, part->count);
}

/* ---- before and after ---- */

/** Whether memory that a discard puts in place of a page of the store can have this protection. */
static bool can_be_protected(int prot)
{
	return prot == PROT_NONE || prot == PROT_READ;
}

/**
 * The error for pages that cannot be made plain. The kernel would not move sealed pages either, even if the seal was
 * not seen.
 */
static int error_of(const struct part *part)
{
	return mappings_is_sealed(part->region, part->index) ? -EPERM : -ENOMEM;
}

/** Whether a part would have with this advice what its region has. Also for advice that is not about that. */
static bool is_as_region(const struct region *region, int advice)
{
	if (advice == MADV_DONTFORK || advice == MADV_DOFORK)
		return region->dont_fork == (advice == MADV_DONTFORK);
	if (advice == MADV_DONTDUMP || advice == MADV_DODUMP)
		return region->dont_dump == (advice == MADV_DONTDUMP);
	return true;
}

static int before(enum memory_change change, const struct part *part, int detail)
{
	int r;

	switch (change) {
	case CHANGE_ADVICE: /* what replaces shared pages later is made like the region */
		if (!part->whole && !is_as_region(part->region, detail))
			(void)make_plain(part);
		return 0;
	case CHANGE_PROTECT: /* only a discard may touch pages that stay in the store */
		r = detail != (PROT_READ | PROT_WRITE) ? make_plain(part) : 0;
		return r < 0 && !can_be_protected(detail) ? error_of(part) : 0;
	case CHANGE_NOTHING:
		if (detail == MADV_COLLAPSE)
			whole_before_collapse(part->region, part->index, part->count);
		return 0;
	case CHANGE_MOVE:
		plain_show_zeros(part->region, part->index, part->count);
		if (make_plain(part) == 0)
			return 0;
		return detail == MADV_WIPEONFORK ? -ENOMEM : error_of(part);
	case CHANGE_POLICY: /* over a mapping of the store it would apply to the store's file, for all processes */
		if (mappings_has_policy(detail))
			(void)make_plain(part); /* pages that stay are left out: part_outside_store() */
		return 0;
	case CHANGE_DEVICE: /* what only reads a hole keeps the kernel's zero page, whatever is written there later */
		r = plain_put_zeros(part->region, part->index, part->count);
		return r == 0 ? make_plain_or_unshare(part) : r;
	case CHANGE_SEAL:                          /* store pages can no longer be replaced */
	case CHANGE_LOCK:                          /* memory that a discard puts there would not be locked */
		(void)make_plain_or_unshare(part); /* the kernel also finds out whether there is memory for copies */
		return 0;
	case CHANGE_ATTRIBUTE:   /* a discard would lose the attribute with the mapping of the store */
	case CHANGE_UNMERGEABLE: /* the memory may be offered again, and copies inside the store are hard to share */
		return make_plain_or_unshare(part);
	case CHANGE_TAKE:
		r = plain_put_zeros(part->region, part->index, part->count);
		r = r == 0 ? make_plain(part) : r;
		if (r == 0)
			plain_empty_filled(part->region, part->index, part->count);
		return r;
	case CHANGE_USERFAULTFD:
		plain_show_zeros(part->region, part->index, part->count);
		r = make_plain_or_unshare(part);
		if (r == 0 && (detail & UFFDIO_REGISTER_MODE_MISSING))
			plain_empty_filled(part->region, part->index, part->count);
		return r;
	default:
		return 0;
	}
}

static void advised(const struct part *part, int advice)
{
	struct region *region = part->region;

	if (advice == MADV_HUGEPAGE || advice == MADV_NOHUGEPAGE) {
		bool differs = !part->whole && advice != region->huge_advice;

		if (part->whole)
			region->huge_advice = advice;
		for (uint8_t *block = region_block(region, part->index);
		     block <= region_block(region, part->index + part->count - 1); block++) {
			*block &= (uint8_t) ~(BLOCK_BROKEN | (part->whole ? BLOCK_ADVISED : 0));
			*block |= differs ? BLOCK_ADVISED : 0;
		}
		return;
	}
	if (is_as_region(region, advice))
		return;
	if (!part->whole) {
		part_exclude(part, EXCLUDED_ADVICE, true);
		return;
	}
	if (advice == MADV_DONTFORK || advice == MADV_DOFORK)
		region->dont_fork = advice == MADV_DONTFORK;
	if (advice == MADV_DONTDUMP || advice == MADV_DODUMP)
		region->dont_dump = advice == MADV_DONTDUMP;
}

static void after(enum memory_change change, const struct part *part, int detail)
{
	switch (change) {
	case CHANGE_UNMAP:
	case CHANGE_MOVE:
		part_unmapped(part);
		break;
	case CHANGE_PROTECT:
		part_exclude(part, EXCLUDED_PROTECTED, detail != (PROT_READ | PROT_WRITE));
		break;
	case CHANGE_ADVICE:
		advised(part, detail);
		break;
	case CHANGE_POLICY:
		if (mappings_has_policy(detail))
			part_exclude(part, EXCLUDED_ADVICE, true);
		break;
	case CHANGE_UNMERGEABLE:
		part_exclude(part, EXCLUDED_UNMERGEABLE, true);
		break;
	case CHANGE_SEAL:
	case CHANGE_ATTRIBUTE:
		part_exclude(part, EXCLUDED_ADVICE, true);
		break;
	case CHANGE_DISCARD:
		discards_after(part);
		break;
	case CHANGE_USERFAULTFD:
	case CHANGE_USERFAULTFD_END:
		part_exclude(part, EXCLUDED_USERFAULTFD, change == CHANGE_USERFAULTFD);
		break;
	case CHANGE_DEVICE:
		part_exclude(part, EXCLUDED_DEVICE, true);
		break;
	default:
		break;
	}
}

/** Applies a change to all regions that it touches; @all: it was made everywhere there. Memory lock held. */
static void apply(enum memory_change change, void *address, size_t length, int detail, bool all)
{
	for (unsigned i = 0; i < REGIONS_MAX; i++) {
		struct part part;

		if (!part_find(region_at(i), (uint64_t)address, length, &part))
			continue;
		part.whole = part.whole && all;
		after(change, &part, detail);
	}
	if (change == CHANGE_UNMAP || change == CHANGE_MOVE || change == CHANGE_UNMERGEABLE)
		refusals_forget((uint64_t)address, length);
}

/* ---- after a fork ---- */

/** The change whose system call is being made: a child looks at this if another thread was in the middle of it. */
static struct {
	bool is_one;
	enum memory_change change;
	uint64_t address, length;
} under_way;

static void count_unmapped(struct region *region)
{
	region->unmapped_pages = 0;
	for (uint64_t i = 0; i < region->table_pages; i++)
		region->unmapped_pages += (region->excluded[i] & EXCLUDED_UNMAPPED) != 0;
}

/**
 * Of the changes that can be cut in two, only unmapping leaves a wrong state: pages that are mistaken for RAM, where
 * the child may map other memory sooner or later. All others have replaced the store's pages by anonymous memory before
 * their call.
 */
static void settle(struct region *region)
{
	struct part part;

	count_unmapped(region); /* the count may have been in the middle of a change */
	if (under_way.is_one && under_way.change == CHANGE_UNMAP &&
	    part_find(region, under_way.address, under_way.length, &part) && lost_any(&part))
		part_unmapped(&part);
}

void memory_after_fork(bool cut)
{
	for (unsigned i = 0; i < REGIONS_MAX; i++) {
		struct region *region = region_at(i);

		if (region == NULL || region->leaving)
			continue;
		region->inherited_marks = true;
		if (cut && PROTECTED(PROTECT_CUT_CALLS))
			settle(region);
	}
	if (cut)
		under_way.is_one = false;
}

/** Memory locks are not inherited by children. Done once, and only in a child that changes its RAM. */
static void drop_inherited_marks(struct region *region)
{
	if (!region->inherited_marks)
		return;
	region->inherited_marks = false;
	refusals_exclude(region, 0, region->table_pages, EXCLUDED_LOCKED, false);
}

/* ---- the bracket ---- */

int memory_change_begin(enum memory_change change, void *address, size_t length, int detail)
{
	uint64_t done_end = (uint64_t)address;
	int r = 0;

	if (!visit_begin())
		return withdrawal_change_begin(change, (uint64_t)address, length, detail);
	memory_lock();
	whole_wait((uint64_t)address, length);
	for (unsigned i = 0; i < REGIONS_MAX && r == 0; i++) {
		struct part part;

		if (!part_find(region_at(i), (uint64_t)address, length, &part))
			continue;
		drop_inherited_marks(part.region);
		r = before(change, &part, detail);
	}
	if (r == 0 && change == CHANGE_DISCARD && PROTECTED(PROTECT_DISCARD)) {
		r = discards_before((uint64_t)address, length, detail, &done_end);
		if (r != 0 && done_end > (uint64_t)address)
			apply(change, address, done_end - (uint64_t)address, detail, true);
	}
	if (r == 0 && change == CHANGE_REMOVE)
		r = discards_refuse_remove((uint64_t)address, length);
	if (r == 0 && change == CHANGE_LOCK)
		memory_locks_begin((uint64_t)address, length);
	if (r == 0 && !memory_locks_let_go(change)) {
		under_way.change = change;
		under_way.address = (uint64_t)address;
		under_way.length = length;
		under_way.is_one = true;
		return 0;
	}
	memory_unlock();
	wake_if_told();
	visit_end();
	return r;
}

/** Whether the kernel may have changed a part of the range, and then failed. */
static bool may_be_done_in_part(enum memory_change change, int detail)
{
	return change == CHANGE_SEAL ||
	       (change == CHANGE_ADVICE && detail != MADV_HUGEPAGE && detail != MADV_NOHUGEPAGE) ||
	       (change == CHANGE_MOVE && detail == MADV_WIPEONFORK) ||
	       (change == CHANGE_PROTECT && detail != (PROT_READ | PROT_WRITE));
}

void memory_change_end(enum memory_change change, void *address, size_t length, int detail, bool succeeded)
{
	bool let_go = memory_locks_let_go(change);

	if (let_go ? !visit_begin() : !memory_lock_is_mine()) {
		withdrawal_change_end(change, (uint64_t)address, length, detail, succeeded);
		return;
	}
	if (let_go)
		memory_lock();
	if (change == CHANGE_LOCK || change == CHANGE_UNLOCK)
		memory_locks_end(change, (uint64_t)address, length, succeeded);
	else if (succeeded || may_be_done_in_part(change, detail))
		apply(change, address, length, detail, succeeded);
	else if (change == CHANGE_UNMAP)
		lost_settle((uint64_t)address, length); /* mmap or mremap may have done a part */
	under_way.is_one = false;
	memory_unlock();
	if (succeeded && change == CHANGE_UNLOCK)
		again_offer((uint64_t)address, length, WIRE_REASON_LOCKED);
	if (succeeded && change == CHANGE_USERFAULTFD_END)
		again_offer((uint64_t)address, length, WIRE_REASON_VMM_USERFAULTFD);
	wake_if_told();
	visit_end();
}

/* ---- reads ---- */

/** The pages of a part, HOLD_PAGES at most, that a range covers wholly. */
static uint64_t covered_pages(const struct part *part, unsigned count, uint64_t start, uint64_t length)
{
	uint64_t covered = 0;

	for (unsigned i = 0; i < count; i++) {
		uint64_t page = region_hva(part->region, part->index + i);

		if (page >= start && page - start <= length && length - (page - start) >= PAGE_BYTES)
			covered |= UINT64_C(1) << i;
	}
	return covered;
}

/** Makes the first pages of a range, all of one region, ready to be read into. @return how many bytes it handled. */
static uint64_t prepare_read(uint64_t start, uint64_t length)
{
	uint64_t bytes = length;
	struct part part = { 0 };

	memory_lock();
	for (unsigned i = 0; i < REGIONS_MAX; i++) {
		struct part other;

		if (part_find(region_at(i), start, length, &other) &&
		    (part.region == NULL || other.region->start < part.region->start))
			part = other;
	}
	if (part.region != NULL) {
		unsigned count = part.count < HOLD_PAGES ? (unsigned)part.count : HOLD_PAGES;
		uint64_t end = region_hva(part.region, part.index + count) - start;

		plain_before_read(part.region, part.index, count, covered_pages(&part, count, start, length));
		bytes = end < length ? end : length;
	}
	memory_unlock();
	return bytes;
}

bool memory_awaits_reads(void)
{
	return (atomic_load_explicit(&region_totals.shared, memory_order_relaxed) != 0 ||
		atomic_load_explicit(&region_totals.diverged, memory_order_relaxed) != 0) &&
	       !visits_are_over();
}

static bool has_store(uint64_t start, uint64_t length)
{
	bool found = false;

	memory_lock();
	for (unsigned i = 0; i < REGIONS_MAX && !found; i++) {
		struct part part;

		if (!part_find(region_at(i), start, length, &part))
			continue;
		for (uint64_t at = part.index; at < part.index + part.count && !found; at++)
			found = (part.region->state[at] & PAGE_IN_STORE) != 0;
	}
	memory_unlock();
	return found;
}

void memory_before_read_from(int fd, const void *address, size_t length)
{
	uint64_t start = (uint64_t)address;

	if (fd >= 0 && PROTECTED(PROTECT_READ_FILES) && memory_awaits_reads() && !children_is_one() &&
	    length <= UINT64_MAX - start && region_overlaps(start, length) && visit_begin()) {
		if (has_store(start, length))
			files_note(fd, false);
		visit_end();
	}
	memory_before_read(address, length);
}

void memory_before_read(const void *address, size_t length)
{
	uint64_t start = (uint64_t)address, bytes;

	if (!memory_awaits_reads() || children_is_one() || length > UINT64_MAX - start || !visit_begin())
		return;
	for (; length > 0 && region_overlaps(start, length); length -= bytes, start += bytes)
		bytes = prepare_read(start, length);
	wake_if_told();
	visit_end();
}

void memory_note_read(const void *address, size_t length, enum note_kind kind, int fd)
{
	if (length > 0 && notes_wanted() && !children_is_one() && region_note((uint64_t)address, length, kind, fd))
		notes_made();
}
