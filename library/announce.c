/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/announce.h"

#include <errno.h>
#include <stdatomic.h>

#include "library/children.h"
#include "library/guest-memory.h"
#include "library/region.h"
#include "library/scan.h"
#include "library/session.h"
#include "library/view.h"

static _Atomic uint64_t refused[WIRE_REASON_END];
static _Atomic bool refused_changed;

/** A run of pages that a newly connected daemon should adopt. */
struct adoption {
	uint64_t index;
	unsigned count; /* 0: none */
	uint32_t state; /* of the first page */
};

static unsigned adoptable_run(const struct region *region, uint64_t index)
{
	uint32_t state = region->state[index], step = state == PAGE_ZEROED ? 0 : 1;
	unsigned count = 1;

	if (!page_reads_slot(state) && state != PAGE_ZEROED)
		return 0;
	while (count < RING_RUN_PAGES_MAX && index + count < region->pages &&
	       region->state[index + count] == state + step * count &&
	       (step == 0 || (state + count) % VIEW_SEGMENT_SLOTS != 0))
		count++;
	return count;
}

/**
 * Finds the next run from *index on, and moves *index past the pages looked at. @return whether the region has more
 * pages.
 */
static bool next_adoption(const struct region *region, uint64_t *index, struct adoption *ret)
{
	uint64_t end = *index + REGION_PIECE_PAGES;
	bool more;

	*ret = (struct adoption){ 0 };
	memory_lock_worker();
	end = end < region->pages ? end : region->pages; /* 0 if it has left */
	while (*index < end && ret->count == 0) {
		unsigned run = adoptable_run(region, *index);

		if (run > 0)
			*ret = (struct adoption){ .index = *index, .count = run, .state = region->state[*index] };
		*index += run > 0 ? run : 1;
	}
	more = *index < region->pages;
	memory_unlock();
	return more;
}

static int announce_pages(struct session *session, const struct region *region)
{
	struct adoption run;
	uint64_t index = 0;
	bool more;
	int r = 0;

	if (region_totals.shared + region_totals.zeroed == 0)
		return 0;
	do {
		more = next_adoption(region, &index, &run);
		if (run.count == 0)
			continue;
		r = session_post_run(session, run.state == PAGE_ZEROED ? REPORT_ADOPT_ZERO : REPORT_ADOPT,
				     region->first_page + (uint32_t)run.index, run.count,
				     run.state == PAGE_ZEROED ? 0 : run.state & PAGE_SLOT_MASK);
	} while (more && r == 0);
	return r;
}

/**
 * Finds the next block from *index on that is kept from collapsing, and moves *index past the pages looked at.
 * *ret_page: its first page, 0 for none. @return whether the region has more pages.
 */
static bool next_broken(const struct region *region, uint64_t *index, uint32_t *ret_page)
{
	bool more;

	*ret_page = 0;
	memory_lock_worker();
	for (unsigned looked = 0; *index < region->pages && *ret_page == 0 && looked < REGION_PIECE_PAGES; looked++) {
		if (*region_block(region, *index) & BLOCK_BROKEN)
			*ret_page = region->first_page + (uint32_t)*index;
		*index = ((region_hva(region, *index) / HUGE_BYTES + 1) * HUGE_BYTES - region->start) / PAGE_BYTES;
	}
	more = *index < region->pages; /* 0 if it has left */
	memory_unlock();
	return more;
}

static int announce_broken(struct session *session, const struct region *region)
{
	uint64_t index = 0;
	uint32_t page;
	bool more = session_has(session, WIRE_FEATURE_WHOLE);
	int r = 0;

	while (more && r == 0) {
		more = next_broken(region, &index, &page);
		if (page != 0)
			r = session_post_run(session, REPORT_BROKEN, page, 1, 0);
	}
	return r;
}

/** The region with the lowest page numbers that the daemon does not know yet. Memory lock held. */
static struct region *next_unknown(void)
{
	struct region *next = NULL;

	for (unsigned i = 0; i < REGIONS_MAX; i++) {
		struct region *region = region_at(i);

		if (region != NULL && !region->leaving && !region->announced &&
		    (next == NULL || region->first_page < next->first_page))
			next = region;
	}
	return next;
}

/** Announces new regions in the order of their page numbers, which the daemon expects. */
static int announce_new(struct session *session)
{
	struct region *region;
	uint32_t first = 0, before = 0;
	uint64_t pages = 0;
	int r = 0;

	do {
		memory_lock_worker();
		region = next_unknown();
		if (region != NULL) {
			region->announced = true;
			first = region->first_page;
			pages = region->table_pages;
			before = (uint32_t)(region->start % HUGE_BYTES / PAGE_BYTES);
		}
		memory_unlock();
		if (region != NULL)
			guest_memory_note_regions();
		if (!session_has(session, WIRE_FEATURE_BLOCKS))
			before = 0;
		if (region != NULL)
			r = session_post_value(session, REPORT_REGION_ADD, first, 1 + before, pages);
		if (region != NULL && r == 0)
			r = announce_pages(session, region);
		if (region != NULL && r == 0)
			r = announce_broken(session, region);
	} while (region != NULL && r == 0);
	return r;
}

/**
 * Frees entry @i if its region has left. @return whether the daemon has to be told; *ret_first: the region's first
 * page.
 */
static bool free_left(unsigned i, uint32_t *ret_first)
{
	struct region *region, gone = { .start = 0 };

	memory_lock_worker();
	region = region_at(i);
	if (region != NULL && region->leaving && !children_alive())
		region_free(region, &gone);
	memory_unlock();
	if (gone.start == 0)
		return false;
	*ret_first = gone.first_page;
	region_free_tables(&gone);
	return gone.announced;
}

int announce_regions(struct session *session)
{
	int r = 0;

	for (unsigned i = 0; i < REGIONS_MAX && r == 0; i++) {
		uint32_t first;

		if (!free_left(i, &first))
			continue;
		guest_memory_note_regions();
		r = session_post_value(session, REPORT_REGION_REMOVE, first, 1, 0);
	}
	return r < 0 ? r : announce_new(session);
}

/**
 * Looks at the next changed group of region @i, and adds to @scan's reports. *ret_wait: a child may still read the
 * slots, so all groups stay marked until it has gone. @return whether there may be more.
 */
static bool look_at_change(struct scan *scan, unsigned i, bool *ret_wait)
{
	struct region *region;
	bool found = false, more;

	scan->report_count = 0;
	memory_lock_worker();
	region = region_at(i);
	more = region != NULL && region->changed_from < region->changed_to;
	*ret_wait = more && children_alive();
	for (unsigned looked = 0; more && !*ret_wait && !found && looked < REGION_PIECE_PAGES; looked++) {
		uint64_t group = region->changed_from++;

		found = region->changed[group] != 0;
		more = region->changed_from < region->changed_to;
		if (found) {
			region->changed[group] = 0;
			scan_chunk(scan, region->first_page + (uint32_t)(group * REGION_GROUP), REGION_GROUP);
		}
	}
	memory_unlock();
	return more && !*ret_wait;
}

int announce_changes(struct session *session)
{
	static struct scan scan; /* too large for a small stack */
	bool more, wait, any_waits = false;
	int r = 0;

	if (!region_changes_noted())
		return 0;
	region_changes_note(false);
	scan = (struct scan){ .what = ORDER_AUDIT };
	for (unsigned i = 0; i < REGIONS_MAX && r == 0; i++) {
		do {
			more = look_at_change(&scan, i, &wait);
			for (unsigned j = 0; j < scan.report_count && r == 0; j++)
				r = session_post(session, &scan.reports[j]);
			any_waits |= wait;
		} while (more && r == 0);
	}
	if (any_waits)
		region_changes_note(true);
	return r;
}

void announce_forget(void)
{
	struct region *region;

	memory_lock_worker();
	for (unsigned i = 0; i < REGIONS_MAX; i++)
		if (region_at(i) != NULL)
			region_at(i)->announced = false;
	memory_unlock();
	for (unsigned i = 0; i < REGIONS_MAX; i++) {
		for (uint64_t at = 0, end; (region = region_piece(i, at, &end)) != NULL; at = end) {
			for (uint64_t p = at; p < end; p++)
				if (region->state[p] == PAGE_UNREPORTED || region->state[p] == PAGE_DROPPED)
					page_set_state(region, p, PAGE_ANONYMOUS);
			region_piece_end();
		}
	}
	atomic_store(&refused_changed, true);
	guest_memory_forget_session();
}

void announce_refusal(uint32_t reason, int64_t bytes)
{
	atomic_fetch_add(&refused[reason], (uint64_t)bytes);
	atomic_store(&refused_changed, true);
}

void announce_set_refusal(uint32_t reason, uint64_t bytes)
{
	if (atomic_exchange(&refused[reason], bytes) != bytes)
		atomic_store(&refused_changed, true);
}

uint64_t announce_refused(uint32_t reason)
{
	return atomic_load(&refused[reason]);
}

bool announce_refusals_changed(void)
{
	return atomic_load(&refused_changed);
}

static int announce_refusal_of(struct session *session, uint32_t reason)
{
	struct wire_refused message = { .reason = reason, .bytes = refused[reason] };

	wire_header_init(&message.header, WIRE_REFUSED, sizeof(message));
	return session_send(session, &message, sizeof(message));
}

int announce_refusals(struct session *session)
{
	int r = 0;

	if (!atomic_exchange(&refused_changed, false))
		return 0;
	for (uint32_t reason = 1; reason < WIRE_REASON_END && r == 0; reason++)
		r = announce_refusal_of(session, reason);
	if (r == -EAGAIN) {
		atomic_store(&refused_changed, true); /* the daemon is not reading now: try again later */
		r = 0;
	}
	return r;
}

uint64_t announce_refused_bytes(void)
{
	uint64_t bytes = 0;

	for (unsigned reason = 0; reason < WIRE_REASON_END; reason++)
		bytes += reason == WIRE_REASON_NO_SWAP ? 0 : refused[reason];
	return bytes;
}
