/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/orders.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "library/children.h"
#include "library/files.h"
#include "library/fork.h"
#include "library/hold.h"
#include "library/merge.h"
#include "library/noted.h"
#include "library/pagemap.h"
#include "library/plain.h"
#include "library/region.h"
#include "library/scan.h"
#include "library/session.h"
#include "library/sys.h"
#include "library/view.h"
#include "library/visits.h"
#include "library/whole.h"
#include "library/withdrawal.h"

static pthread_mutex_t pause_lock = PTHREAD_MUTEX_INITIALIZER; /* never held while waiting for the memory lock */
static pthread_cond_t pause_over = PTHREAD_COND_INITIALIZER;
static _Atomic unsigned pauses; /* changed under pause_lock */

static bool suspended;
static _Atomic uint64_t hashed_pages; /* tests read it while the worker runs */

void orders_suspend(bool suspend)
{
	suspended = suspend;
}

bool orders_are_suspended(void)
{
	return suspended || files_may_reference() || withdrawal_has_begun();
}

uint64_t orders_hashed_pages(void)
{
	return hashed_pages;
}

/*
 * Checks again with the lock held: orders_pause() counts first and then takes the lock, so either we see the pause, or
 * it waits for us.
 */
void orders_lock(void)
{
	for (;;) {
		pthread_mutex_lock(&pause_lock);
		while (pauses != 0 && !session_is_ending())
			pthread_cond_wait(&pause_over, &pause_lock);
		pthread_mutex_unlock(&pause_lock);
		memory_lock_worker();
		if (pauses == 0 || session_is_ending())
			return;
		memory_unlock();
	}
}

void orders_pause(void)
{
	if (!visit_begin())
		return;
	fork_notice();
	pthread_mutex_lock(&pause_lock);
	pauses++;
	pthread_mutex_unlock(&pause_lock);
	memory_lock(); /* a hold that is under way ends first */
	whole_wait(0, UINT64_MAX);
	memory_unlock();
	visit_end();
}

void orders_resume(void)
{
	if (!visit_begin())
		return;
	fork_notice();
	pthread_mutex_lock(&pause_lock);
	if (pauses > 0 && --pauses == 0)
		pthread_cond_signal(&pause_over);
	pthread_mutex_unlock(&pause_lock);
	visit_end();
}

void orders_end(void)
{
	pthread_mutex_lock(&pause_lock);
	pthread_cond_signal(&pause_over);
	pthread_mutex_unlock(&pause_lock);
}

void orders_forget(void)
{
	pthread_mutex_init(&pause_lock, NULL);
	pthread_cond_init(&pause_over, NULL);
}

static uint64_t present_pages(void)
{
	uint64_t present = region_totals.present;

	return present < UINT32_MAX ? present : UINT32_MAX;
}

static int do_scan(struct session *session, const struct ring_record *order)
{
	static struct scan scan; /* too large for a small stack */
	unsigned at = 0, chunk, left;
	int r = 0;

	scan = (struct scan){
		.what = order->op, .may_sample = (order->flags & RING_MAY_SAMPLE) != 0, .seed = session->seed
	};
	chunk = scan.may_sample || scan.what == ORDER_AUDIT ? SCAN_CHUNK_PAGES : SCAN_CHUNK_READS;
	while (at < order->count && r == 0) {
		left = chunk - at % chunk; /* a continued chunk has already noted the present pages of all of it */
		left = left < order->count - at ? left : order->count - at;
		orders_lock();
		if (orders_are_suspended())
			scan.what = ORDER_AUDIT;
		at += scan_chunk(&scan, order->page + at, left);
		memory_unlock();
		for (unsigned i = 0; i < scan.report_count && r == 0; i++)
			r = session_post(session, &scan.reports[i]);
	}
	hashed_pages += scan.hashed;
	/*
	 * Sent after the reports on these pages, so that the daemon never knows of more shared pages than present ones.
	 */
	return r < 0 ? r : session_post_value(session, REPORT_SCANNED, order->page, order->count, present_pages());
}

/**
 * Reads the pagemap of @count pages from @page on; pages that cannot be read count as not present. @return how many of
 * them are in the same region; at least 1.
 */
static unsigned look_ahead(uint32_t page, unsigned count, uint64_t *ret_entries)
{
	struct region *region;

	memset(ret_entries, 0, count * sizeof(*ret_entries));
	orders_lock();
	region = region_of_page(page);
	if (region != NULL) {
		uint64_t index = page - region->first_page, left = region->pages - index;

		count = left < count ? (unsigned)left : count;
		pagemap_read(region_hva(region, index), count, ret_entries);
	} else {
		count = 1;
	}
	memory_unlock();
	return count;
}

/** The flags of a report on a page. Lock held. */
static uint8_t flags_of(uint32_t page)
{
	const struct region *region = region_of_page(page);

	return region != NULL && (region->state[page - region->first_page] & PAGE_DIVERGED) ? RING_PRIVATE_COPY : 0;
}

/** Copies a private page to a staging page. @return 0, or the report with the reason why not. */
static int copy_page(uint32_t page, uint64_t entry, void *to)
{
	struct region *region = region_of_page(page);

	if (region == NULL || region->excluded[page - region->first_page] != 0)
		return REPORT_GONE;
	if (entry & PAGEMAP_SWAPPED)
		return REPORT_BUSY; /* not worth swapping it in */
	if (!(entry & PAGEMAP_PRESENT))
		return REPORT_GONE;
	look_forget(&region->looks[page - region->first_page]);
	memcpy(to, (const void *)region_hva(region, page - region->first_page), PAGE_BYTES);
	return 0;
}

static int fetch_page(struct session *session, uint32_t page, uint64_t entry)
{
	struct ring_record report = { .op = REPORT_FETCHED, .count = 1, .page = page };
	int index = session_staging(session), r;

	if (index < 0)
		return index;
	orders_lock();
	r = copy_page(page, entry, ring_staging(session->ring, (uint32_t)index));
	report.flags = flags_of(page);
	memory_unlock();
	if (r == 0)
		return session_post_fetched(session, &report, (uint32_t)index);
	report.op = (uint8_t)r;
	return session_post(session, &report);
}

/** Fetches this page, and those of the next orders as long as they are consecutive, with one look at the pagemap. */
static int do_fetch(struct session *session, struct ring_record order)
{
	uint64_t entries[HOLD_PAGES];
	uint32_t first = order.page;
	unsigned known = look_ahead(first, HOLD_PAGES, entries), done = 0;
	int r;

	do {
		r = fetch_page(session, order.page, entries[done++]);
		session_done_order(session);
		if (r < 0 || done == known)
			return r;
		r = session_next_order(session, &order);
	} while (r > 0 && order.op == ORDER_FETCH && order.page == first + done);
	return r < 0 ? r : 0;
}

static enum ring_report report_of(enum outcome outcome, bool zero)
{
	switch (outcome) {
	case OUTCOME_MERGED:
		return zero ? REPORT_ZEROED : REPORT_MERGED;
	case OUTCOME_DIFFERS:
		return REPORT_DIFFERS;
	case OUTCOME_GONE:
		return REPORT_GONE;
	case OUTCOME_FULL:
		return REPORT_FULL;
	default:
		return REPORT_BUSY;
	}
}

static int answer(struct session *session, uint32_t page, unsigned count, const uint32_t *targets,
		  const enum outcome *outcomes, const uint8_t *flags)
{
	int r = 0;

	for (unsigned first = 0, end; first < count && r == 0; first = end) {
		bool zero = targets[first] == HOLD_ZERO;
		struct ring_record report = {
			.op = (uint8_t)report_of(outcomes[first], zero),
			.flags = flags[first],
			.page = page + first,
		};

		for (end = first + 1;
		     end < count && outcomes[end] == outcomes[first] && flags[end] == flags[first]; end++)
			if (targets[end] != (zero ? HOLD_ZERO : targets[first] + (end - first)))
				break;
		report.count = (uint16_t)(end - first);
		report.slot = zero ? 0 : targets[first];
		r = session_post(session, &report);
	}
	return r;
}

/** Orders that are carried out together. */
struct gathered {
	struct merge merges[MERGES_MAX];
	unsigned count, pages;
	uint32_t targets[HOLD_PAGES];
	enum outcome outcomes[HOLD_PAGES];
};

static bool has_any_of(const struct gathered *all, uint32_t page, unsigned count)
{
	for (unsigned i = 0; i < all->count; i++)
		if (page < all->merges[i].page + all->merges[i].count && all->merges[i].page < page + count)
			return true;
	return false;
}

/** The merge whose pages the order's pages follow directly, or NULL. */
static struct merge *continued(struct gathered *all, const struct ring_record *order)
{
	struct merge *last;

	if (all->count == 0)
		return NULL;
	last = &all->merges[all->count - 1];
	if (last->page + last->count != order->page || last->may_split != ((order->flags & RING_MAY_SPLIT) != 0))
		return NULL;
	return last;
}

static void add(struct gathered *all, const struct ring_record *order)
{
	struct merge *merge = continued(all, order);

	if (merge == NULL) {
		merge = &all->merges[all->count++];
		*merge = (struct merge){ .page = order->page,
					 .may_split = (order->flags & RING_MAY_SPLIT) != 0,
					 .targets = all->targets + all->pages,
					 .outcomes = all->outcomes + all->pages };
	}
	for (unsigned i = 0; i < order->count; i++)
		all->targets[all->pages + i] = order->op == ORDER_ZERO ? HOLD_ZERO : order->slot + i;
	merge->count += order->count;
	all->pages += order->count;
}

/**
 * Whether an order can be carried out with those that were gathered: the descriptors that it needs are open, as opening
 * one might close one that the others need.
 */
static bool fits(struct gathered *all, const struct ring_record *order)
{
	if (order->op != ORDER_ZERO && (order->op != ORDER_MERGE || !view_has(order->slot, order->count)))
		return false;
	return order->count <= HOLD_PAGES - all->pages && !has_any_of(all, order->page, order->count) &&
	       (all->count < MERGES_MAX || continued(all, order) != NULL);
}

/** Takes this order and, if there may be @more, those that follow and fit. */
static void gather(struct session *session, struct ring_record order, bool more, struct gathered *ret)
{
	ret->count = ret->pages = 0;
	do {
		add(ret, &order);
		session_done_order(session);
	} while (more && session_next_order(session, &order) > 0 && fits(ret, &order));
}

/** Collects one page of each block of @merge that has to be reported to the daemon. @return how many. */
static unsigned take_untold(const struct merge *merge, uint32_t *ret_pages)
{
	unsigned count = 0;

	for (uint32_t page = merge->page; page < merge->page + merge->count; page++) {
		const struct region *region = region_of_page(page);
		uint8_t *block = region != NULL ? region_block(region, page - region->first_page) : NULL;

		if (block == NULL || !(*block & BLOCK_UNTOLD))
			continue;
		*block &= (uint8_t)~BLOCK_UNTOLD;
		ret_pages[count++] = page;
	}
	return count;
}

static int do_merge(struct session *session, const struct ring_record *order)
{
	struct gathered all;
	uint8_t flags[HOLD_PAGES] = { 0 };
	uint32_t untold[HOLD_PAGES];
	unsigned untold_count = 0;
	bool stopped;
	int r = 0;

	if (order->op == ORDER_MERGE && !suspended)
		r = session_need_slots(session, order->slot, order->count);
	if (r < 0 && r != -EAGAIN)
		return r;
	gather(session, *order, r == 0, &all);
	orders_lock();
	stopped = r < 0 || orders_are_suspended();
	if (!stopped)
		merge_pages(all.merges, all.count);
	for (unsigned i = 0; stopped && i < all.pages; i++)
		all.outcomes[i] = OUTCOME_BUSY;
	for (const struct merge *merge = all.merges; merge < all.merges + all.count; merge++) {
		uint8_t *ret_flags = flags + (merge->outcomes - all.outcomes);

		untold_count += take_untold(merge, untold + untold_count);
		for (unsigned i = 0; i < merge->count; i++) {
			enum outcome outcome = merge->outcomes[i];

			noted_ended(merge->page + i, outcome == OUTCOME_BUSY && !stopped);
			if (outcome != OUTCOME_MERGED)
				ret_flags[i] = flags_of(merge->page + i) |
					       (outcome == OUTCOME_HUGE ? RING_INSIDE_HUGE : 0);
		}
	}
	memory_unlock();
	r = 0;
	for (unsigned i = 0; i < untold_count && r == 0 && session_has(session, WIRE_FEATURE_WHOLE); i++)
		r = session_post_run(session, REPORT_BROKEN, untold[i], 1, 0);
	for (const struct merge *merge = all.merges; merge < all.merges + all.count; merge++) {
		if (r < 0)
			return r;
		r = answer(session, merge->page, merge->count, merge->targets, merge->outcomes,
			   flags + (merge->outcomes - all.outcomes));
	}
	return r;
}

/**
 * Pages that read their slots, or were given back as zeros, get memory of their own, as far as it is available. Memory
 * lock held.
 */
static void unshare_pages(struct region *region, uint64_t index, uint64_t end)
{
	for (uint64_t at = index, run; at < end; at += run) {
		uint32_t state = region->state[at];

		for (run = 1; at + run < end && region->excluded[at + run] == region->excluded[at] &&
			      page_reads_slot(region->state[at + run]) == page_reads_slot(state) &&
			      (region->state[at + run] == PAGE_ZEROED) == (state == PAGE_ZEROED);
		     run++)
			;
		if (region->excluded[at] & EXCLUDED_USERFAULTFD) /* a write may wait for the VMM, and the VMM for us */
			continue;
		if (page_reads_slot(state))
			plain_leave_store(region, at, run);
		else if (state == PAGE_ZEROED)
			(void)sys_madvise(region_hva(region, at), run * PAGE_BYTES, MADV_POPULATE_WRITE);
	}
}

static int do_unshare(struct session *session, const struct ring_record *order)
{
	static struct scan scan; /* too large for a small stack */
	struct region *region;
	int r = 0;

	scan = (struct scan){ .what = ORDER_AUDIT };
	orders_lock();
	region = region_of_page(order->page);
	if (region != NULL && !children_alive()) {
		uint64_t index = order->page - region->first_page, left = region->pages - index;

		unshare_pages(region, index, index + (order->count < left ? order->count : left));
		scan_chunk(&scan, order->page, order->count);
	}
	memory_unlock();
	for (unsigned i = 0; i < scan.report_count && r == 0; i++)
		r = session_post(session, &scan.reports[i]);
	return r < 0 ? r : session_post_run(session, REPORT_UNSHARED, order->page, order->count, 0);
}

static enum ring_whole release_whole(const struct ring_record *order, bool gather, struct whole_block *ret_block)
{
	enum ring_whole result = WHOLE_KEPT;

	ret_block->start = 0;
	orders_lock();
	if (!orders_are_suspended())
		result = whole_release(order, gather, ret_block);
	memory_unlock();
	return result;
}

static int do_whole(struct session *session, const struct ring_record *order)
{
	struct whole_block block;
	enum ring_whole result = release_whole(order, false, &block);
	int r = block.start != 0 ? whole_collapse(&block) : -ENOENT;

	if (r == -EINVAL && !block.gathered) {
		result = release_whole(order, true, &block);
		r = block.start != 0 ? whole_collapse(&block) : -ENOENT;
	}
	if (r == 0)
		result = WHOLE_IS;
	return session_post_value(session, REPORT_WHOLE, order->page, order->count, result);
}

int orders_do(struct session *session, const struct ring_record *order)
{
	switch (order->op) {
	case ORDER_SCAN:
	case ORDER_SCAN_ZERO:
	case ORDER_AUDIT:
		session_done_order(session);
		return do_scan(session, order);
	case ORDER_FETCH:
		return do_fetch(session, *order);
	case ORDER_MERGE:
	case ORDER_ZERO:
		return do_merge(session, order);
	case ORDER_UNSHARE:
		session_done_order(session);
		return do_unshare(session, order);
	case ORDER_NOTES:
		session_done_order(session);
		noted_want(order->value != 0);
		return 0;
	case ORDER_WHOLE:
		session_done_order(session);
		return do_whole(session, order);
	default:
		return -EPROTO;
	}
}
