/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/withdrawal.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "common/madvise.h"
#include "library/announce.h"
#include "library/children.h"
#include "library/confinement.h"
#include "library/descriptors.h"
#include "library/discards.h"
#include "library/fork.h"
#include "library/hold.h"
#include "library/lock.h"
#include "library/mappings.h"
#include "library/pagemap.h"
#include "library/part.h"
#include "library/plain.h"
#include "library/protections.h"
#include "library/refusals.h"
#include "library/region.h"
#include "library/sys.h"
#include "library/template.h"
#include "library/view.h"
#include "library/visits.h"
#include "library/wake.h"
#include "library/worker.h"
#include "protocol/wire.h"

static pthread_mutex_t filtering = PTHREAD_MUTEX_INITIALIZER; /* held while a filter is judged, and to withdraw */
static _Atomic bool begun;

bool withdrawal_has_begun(void)
{
	return begun;
}

/* ---- giving back ---- */

/** The plain pages among these leave the region. */
static void leave_plain(struct region *region, uint64_t index, uint64_t end)
{
	for (uint64_t at = index, run; at < end; at += run) {
		struct part part = { .region = region, .index = at };

		run = part.count = plain_same_kind(region, at, end);
		if (!(region->state[at] & PAGE_IN_STORE))
			part_unmapped(&part);
	}
}

/**
 * Pages that stay, and count as locked, may not be: mlockall(MCL_FUTURE) locks what comes later only. It can be found
 * out now, and not once the library is silent.
 */
static void settle_locked(struct region *region, uint64_t index, uint64_t end)
{
	for (uint64_t at = index; at < end; at++)
		if ((region->state[at] & PAGE_IN_STORE) && (region->excluded[at] & EXCLUDED_LOCKED) &&
		    !mappings_is_locked(region_hva(region, at)))
			refusals_exclude(region, at, 1, EXCLUDED_LOCKED, false);
}

/** Works a piece at a time. The VMM may change its memory meanwhile, and finds all of it in place. */
static void give_back_regions(void)
{
	struct region *region;

	for (unsigned i = 0; i < REGIONS_MAX; i++) {
		for (uint64_t at = 0, end; (region = region_piece(i, at, &end)) != NULL; at = end) {
			plain_show_zeros(region, at, end - at);
			plain_leave_store(region, at, end - at);
			plain_empty_filled(region, at, end - at);
			leave_plain(region, at, end);
			settle_locked(region, at, end);
			region_piece_end();
		}
	}
}

/** Children inherit no locks. */
static void forget_inherited_locks(void)
{
	memory_lock();
	for (unsigned i = 0; i < REGIONS_MAX; i++) {
		struct region *region = region_at(i);

		if (region == NULL || region->leaving || !region->inherited_marks)
			continue;
		region->inherited_marks = false;
		refusals_exclude(region, 0, region->table_pages, EXCLUDED_LOCKED, false);
	}
	memory_unlock();
}

static void close_all(void)
{
	memory_lock();
	template_drop_all();
	view_remove_all();
	hold_close();
	pagemap_close();
	wake_close();
	children_end();
	descriptors_forget_process();
	memory_unlock();
}

/** Takes the lock once: work that was begun before is done then. */
static void begin(void)
{
	memory_stop_offers();
	memory_lock();
	begun = true;
	memory_unlock();
	announce_set_refusal(WIRE_REASON_SECCOMP, region_totals.pages * PAGE_BYTES);
}

/** A child of the VMM's shares no more pages, and copies of all pages that it has inherited would be many. */
static void withdraw(void)
{
	begin();
	if (children_is_one())
		forget_inherited_locks();
	else
		give_back_regions();
	worker_end();
	visits_end_all();
	close_all();
}

bool withdrawal_before_filter(const struct sock_fprog *program)
{
	bool known = false;
	int cancellable;

	fork_notice();
	if (visits_are_over())
		return false;
	/* The VMM's call is not a cancellation point, but the waits in here are. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancellable);
	pthread_mutex_lock(&filtering);
	if (!visits_are_over()) {
		known = program != NULL && confinement_expect(program);
		if (!known)
			withdraw();
	}
	pthread_mutex_unlock(&filtering);
	pthread_setcancelstate(cancellable, NULL);
	return known;
}

void withdrawal_filter_failed(void)
{
	confinement_failed();
}

void withdrawal_forget(void)
{
	pthread_mutex_init(&filtering, NULL);
}

/* ---- pages left in the store ---- */

static bool is_left(const struct part *part, uint64_t index)
{
	return (part->region->state[index] & PAGE_IN_STORE) && !(part->region->excluded[index] & EXCLUDED_UNMAPPED);
}

/** Finds the next part of a range with pages that are left in the store. @return whether there is one. */
static bool find_left(unsigned *region, uint64_t start, uint64_t length, struct part *ret)
{
	for (; *region < REGIONS_MAX; ++*region) {
		if (!part_find(region_at(*region), start, length, ret))
			continue;
		for (uint64_t i = ret->index; i < ret->index + ret->count; i++)
			if (is_left(ret, i))
				return true;
	}
	return false;
}

/**
 * Fills a page of the store with zeros, as the VMM's own call would bring the store's bytes back. The kernel refuses to
 * discard locked pages, so we do. Making the call, to see whether it is refused, would let other threads read the
 * store's bytes if it is not. @return 0 or -errno.
 */
static int discard_left(const struct part *part, int advice)
{
	if (part->region->excluded[part->index] & EXCLUDED_PROTECTED)
		return -ENOMEM; /* it would need a new mapping */
	if ((part->region->excluded[part->index] & EXCLUDED_LOCKED) && advice != MADV_DONTNEED_LOCKED)
		return -EINVAL;
	plain_fill(part->region, part->index, 1);
	return 0;
}

/** For the test control: the kernel's refusal is noticed too late. */
static void fill_all_left(uint64_t start, uint64_t end)
{
	for (uint64_t at = start; at < end; at += PAGE_BYTES) {
		unsigned region = 0;
		struct part part;

		if (find_left(&region, at, PAGE_BYTES, &part))
			plain_fill(part.region, part.index, 1);
	}
}

/** Fills pages of the store; makes the VMM's own call for the others. */
static int discard(uint64_t start, uint64_t length, int advice)
{
	uint64_t end = start + length, from = start;
	bool holes = false;
	struct part part;
	int r;

	if (!PROTECTED(PROTECT_IN_ORDER))
		fill_all_left(start, end);
	for (uint64_t at = start; at < end; at += PAGE_BYTES) {
		unsigned region = 0;

		if (!find_left(&region, at, PAGE_BYTES, &part))
			continue;
		r = at > from ? discards_call(from, at, advice, &holes) : 0;
		if (r == 0)
			r = discard_left(&part, advice);
		if (r < 0)
			return r;
		from = at + PAGE_BYTES;
	}
	r = end > from ? discards_call(from, end, advice, &holes) : 0;
	if (r == 0)
		r = holes ? -ENOMEM : 1;
	return r;
}

/** MADV_REMOVE, as discards_refuse_remove(). */
static int refuse_remove(uint64_t start, uint64_t length)
{
	uint64_t end = start + length, at = start;
	bool holes = false;
	struct part part;
	int r = 0;

	for (; at < end; at += PAGE_BYTES) {
		unsigned region = 0;

		if (find_left(&region, at, PAGE_BYTES, &part))
			break;
	}
	if (at > start)
		r = discards_call(start, at, MADV_REMOVE, &holes);
	return r < 0 ? r : -EINVAL;
}

/** The pages are about to be unmapped: other memory may be mapped there before that call returns here. */
static void leave(const struct part *part)
{
	for (uint64_t i = part->index; i < part->index + part->count; i++)
		if (is_left(part, i))
			part->region->excluded[i] |= EXCLUDED_UNMAPPED;
}

/** @return 0, or -errno: the call would not have its effect on mappings of the store. */
static int judge(enum memory_change change, int detail)
{
	switch (change) {
	case CHANGE_PROTECT: /* a discard could not write zeros there */
		return detail != (PROT_READ | PROT_WRITE) ? -ENOMEM : 0;
	case CHANGE_POLICY:
		return mappings_has_policy(detail) ? -ENOMEM : 0;
	case CHANGE_TAKE: /* the page may be pinned */
		return -EBUSY;
	case CHANGE_MOVE:
	case CHANGE_ATTRIBUTE:
	case CHANGE_USERFAULTFD:
		return -ENOMEM;
	default:
		return 0;
	}
}

int withdrawal_change_begin(enum memory_change change, uint64_t start, uint64_t length, int detail)
{
	unsigned region = 0;
	struct part part;

	if (!find_left(&region, start, length, &part))
		return 0;
	if (change == CHANGE_DISCARD)
		return discard(start, length, detail);
	if (change == CHANGE_REMOVE)
		return refuse_remove(start, length);
	for (; change == CHANGE_UNMAP && find_left(&region, start, length, &part); region++)
		leave(&part);
	return judge(change, detail);
}

/** Notes whether pages that are left may be locked: then discards are refused. */
static void note_locked(uint64_t start, uint64_t length, bool locked)
{
	struct part part;

	for (unsigned i = 0; i < REGIONS_MAX; i++) {
		if (!part_find(region_at(i), start, length, &part))
			continue;
		for (uint64_t at = part.index; at < part.index + part.count; at++)
			if (is_left(&part, at))
				part.region->excluded[at] = (uint8_t)((part.region->excluded[at] & ~EXCLUDED_LOCKED) |
								      (locked ? EXCLUDED_LOCKED : 0));
	}
}

/** mlockall(MCL_FUTURE), and no more, is about mappings to come. */
static bool locks_present(int detail)
{
	return detail == 0 || (detail & MCL_CURRENT) != 0;
}

void withdrawal_change_end(enum memory_change change, uint64_t start, uint64_t length, int detail, bool succeeded)
{
	bool unprotected = change == CHANGE_PROTECT && succeeded; /* judge() lets no other protection through */
	struct part part;

	if ((change == CHANGE_LOCK && locks_present(detail)) || (change == CHANGE_UNLOCK && succeeded))
		note_locked(start, length, change == CHANGE_LOCK); /* a failing mlock() may be done in part */
	for (unsigned i = 0; i < REGIONS_MAX && (change == CHANGE_UNMAP || unprotected); i++) {
		if (!part_find(region_at(i), start, length, &part))
			continue;
		for (uint64_t at = part.index; at < part.index + part.count; at++) {
			if (!(part.region->state[at] & PAGE_IN_STORE))
				continue;
			if (unprotected)
				part.region->excluded[at] &= (uint8_t)~EXCLUDED_PROTECTED;
			else if (succeeded)
				page_set_state(part.region, at, PAGE_DROPPED);
			else
				part.region->excluded[at] &= (uint8_t)~EXCLUDED_UNMAPPED;
		}
	}
}
