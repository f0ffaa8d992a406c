/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/match.h"

#include <errno.h>
#include <string.h>

#include "common/hash.h"
#include "engine/exposure.h"
#include "engine/fetches.h"
#include "engine/hints.h"
#include "engine/large.h"
#include "engine/later.h"
#include "engine/orders.h"
#include "engine/rivals.h"
#include "engine/stability.h"
#include "engine/state.h"
#include "engine/stripes.h"

static void match_page(struct page page, struct table_key key, uint32_t parity, bool committed);

/* @page, private, is full of zeros, and is not to stay inside a 2 MiB page. */
static void give_back(struct page page)
{
	if (!exposure_holds(page, 1))
		page.region->vm->counters.dropped_orders += !orders_zero(page);
}

/* ---- looks that come too early ---- */

uint32_t private_copy(const struct ring_record *report)
{
	return report->flags & RING_PRIVATE_COPY ? PRIVATE_COPY : 0;
}

/* Whether the order for a page in @state cannot succeed if this is its content. */
static bool is_in_vain(const struct engine *engine, uint32_t state, struct table_key key, bool zero)
{
	if (state_kind(state) == KIND_ORDERED)
		return zero ||
		       slots_get(&engine->slots, state & STATE_VALUE)->tag != key.tag;
	return state == PAGE_ZERO_ORDERED && !zero;
}

static bool take_sighting(struct engine_vm *vm, uint32_t page, struct sighting *ret)
{
	struct sighting *seen = NULL;
	bool found = false;

	for (uint32_t i = 0; !found && (seen = queue_at(&vm->sightings, i)) != NULL; i++)
		found = seen->page == page;
	if (found) {
		*ret = *seen;
		seen->page = 0;
	}
	while ((seen = queue_at(&vm->sightings, 0)) != NULL && seen->page == 0)
		queue_pop(&vm->sightings);
	return found;
}

static void keep_sighting(struct page page, struct table_key key, bool zero)
{
	struct engine_vm *vm = page.region->vm;
	uint32_t state = *page_state(page);
	struct sighting *seen, older;

	if (state == PAGE_FETCHING)
		page_set(page, PAGE_FETCHING_SEEN); /* the content itself follows */
	if (!is_in_vain(vm->engine, state, key, zero))
		return;
	(void)take_sighting(vm, page_number(page), &older);
	if (vm->sightings.length == VM_SIGHTINGS_MAX) {
		vm->lost_sightings = true;
		queue_pop(&vm->sightings);
	}
	seen = queue_push(&vm->sightings);
	if (seen == NULL)
		vm->lost_sightings = true;
	else
		*seen = (struct sighting){ .key = key, .page = page_number(page), .zero = zero };
}

static void put_off(struct engine_vm *vm)
{
	struct barrier *barrier = &vm->engine->barrier;

	for (uint32_t i = 0; i < vm->ended_count; i++) {
		struct ended *ended = &vm->ended[i];

		if (ended->late == VM_LATE_MAX)
			continue;
		ended->late += ended->barrier != barrier->started + 1;
		ended->barrier = barrier->started + 1;
		barrier->wanted = true;
	}
}

/*
 * Matches a page after its pass may have ended. Then the tickets of this VM, and of no other, are put off by one
 * barrier, which waits for the orders that this leads to; but not endlessly, whatever the VM reports.
 */
static void match_late(struct page page, struct table_key key, bool zero)
{
	struct engine_vm *vm = page.region->vm;
	struct engine *engine = vm->engine;
	uint32_t state = *page_state(page);

	if (state_kind(state) != KIND_PRIVATE || vm_mode(vm) == WIRE_MODE_OFF)
		return;
	put_off(vm);
	if (zero) {
		give_back(page);
		return;
	}
	page_set(page, STATE(KIND_PRIVATE, (state & PRIVATE_COPY) | check_of(key.tag)));
	if (blocks_word(&page.region->blocks, page.index) & READY_VALID) /* with the key of what was ordered */
		blocks_set_ready(&page.region->blocks, page.index, key, false);
	match_page(page, key, engine->barrier.started & 1, false);
}

void match_sighting(struct page page)
{
	struct engine_vm *vm = page.region->vm;
	struct sighting sighting;

	if (vm->sightings.length > 0 && take_sighting(vm, page_number(page), &sighting))
		match_late(page, sighting.key, sighting.zero);
}

/* ---- contents that were fetched ---- */

static void fill(struct engine_vm *vm, const struct fetch *fetch, uint32_t copy, const void *staging)
{
	struct engine *engine = vm->engine;
	struct region *region = vm_region(vm, fetch->page);
	struct page page = { region, fetch->page - region->first };
	uint32_t check = check_of(fetch->key.tag), waiters;
	unsigned char content[PAGE_BYTES];
	struct table_key key;

	memcpy(content, staging, PAGE_BYTES); /* the VMM can still write it: only the copy counts */
	key = table_key(&engine->table, page_hash(content, engine->settings.seed));
	if (!rivals_fits(vm, key, fetch->key)) { /* the guest has written it since */
		bool seen = *page_state(page) == PAGE_FETCHING_SEEN;

		fetch_fail(vm, fetch, copy | check_of(key.tag));
		if (seen)
			match_late(page, key, page_is_zero(content));
		return;
	}
	waiters = slots_get(&engine->slots, fetch->slot)->waiters;
	if (slots_write(&engine->slots, fetch->slot, content) < 0) {
		fetch_fail(vm, fetch, copy | check);
		return;
	}
	slots_order(&engine->slots, fetch->slot); /* held by this until the first have been matched */
	page_set(page, STATE(KIND_PRIVATE, copy | check));
	match_page(page, fetch->key, engine->barrier.started & 1, true);
	waiters_join(&engine->waiters, &engine->waiters.again, &waiters);
	match_again(engine, MATCH_PER_REPORT / 2);
	slots_unhold(&engine->slots, fetch->slot);
}

int match_fetched(struct engine_vm *vm, const struct ring_record *report, const void *staging)
{
	struct fetch fetch;

	if (staging == NULL || !fetch_take(vm, report->page, &fetch))
		return -EPROTO;
	if (fetch.slot != SLOT_NONE)
		fill(vm, &fetch, private_copy(report), staging);
	return 0;
}

bool match_refused(struct engine_vm *vm, const struct ring_record *report)
{
	uint32_t check = CHECK_NEVER;
	struct fetch fetch;

	if (!fetch_take(vm, report->page, &fetch))
		return false;
	if (report->op != REPORT_GONE)
		check = check_of(fetch.key.tag);
	if (fetch.slot != SLOT_NONE)
		fetch_fail(vm, &fetch, private_copy(report) | check);
	return true;
}

/* ---- matching ---- */

static bool maps(uint32_t state, uint32_t slot)
{
	return state == STATE(KIND_SHARED, slot) || state == STATE(KIND_ORDERED, slot);
}

static bool neighbour_maps(struct page page, uint32_t slot)
{
	const struct region *region = page.region;

	return (page.index > 0 && maps(region->state[page.index - 1], slot)) ||
	       (page.index + 1 < region->pages && maps(region->state[page.index + 1], slot));
}

/* The last report of @page led to nothing: the next slow pass reports it again. @counter: counts these pages. */
static void lose(struct page page, uint64_t *counter)
{
	++*counter;
	blocks_set_unknown(&page.region->blocks, page.index);
}

static void join(struct page page, uint32_t known, struct table_key key, uint32_t parity)
{
	struct engine_vm *vm = page.region->vm;
	struct slots *slots = &vm->engine->slots;
	struct slot *slot = slots_get(slots, known);
	uint32_t chosen;

	if (slot->state == SLOT_TAKEN && !slot_is_stripe(slot)) {
		if (!fetch_wait(page, &slot->waiters, key, parity))
			lose(page, &vm->counters.dropped_orders);
		return;
	}
	chosen = stripes_choose(&vm->engine->links, known, page_number(page), neighbour_maps(page, known), vm->owner);
	if (chosen == SLOT_NONE) {
		lose(page, &vm->counters.dropped_orders);
		return;
	}
	slots_order(slots, chosen); /* first, so that it is never without a holder */
	if (!orders_merge(page, chosen)) {
		lose(page, &vm->counters.dropped_orders);
		slots_unorder(slots, chosen);
	}
}

/*
 * @page has the content of @other, which the hint @ref under @key names. Of two pages that may be shared one is
 * fetched. One that may not, as it is inside a 2 MiB page that stays whole, only remembers that there is another; and
 * is not what the table names if there is one that may: then the next one finds that.
 */
static void match_hint(struct page page, struct page other, uint32_t ref, struct table_key key, uint32_t parity,
		       bool committed)
{
	struct engine_vm *vm = page.region->vm;

	if (large_keeps(page)) {
		large_mark(page, READY_TWIN);
		large_mark(other, READY_NAMED);
	} else if (large_keeps(other)) {
		hints_forget(vm->engine, ref);
		hints_enter(page, key);
		large_mark(other, READY_TWIN);
		large_mark(page, READY_NAMED);
	} else if (!committed && exposure_holds(page, 2)) {
		return;
	} else if (other.region->vm->held) { /* others share with this one, and that one does later */
		exposure_put_off(other);
		hints_forget(vm->engine, ref);
		hints_enter(page, key);
	} else if (!slots_admit(&vm->engine->slots, vm->owner)) {
		lose(page, &vm->counters.limited_pages);
	} else if (!fetch_start(other, page, key, parity)) {
		lose(page, &vm->counters.dropped_orders);
	}
}

static void enter(struct page page, struct table_key key)
{
	if (blocks_has_twin(&page.region->blocks, page.index))
		blocks_mark(&page.region->blocks, page.index, 0);
	hints_enter(page, key);
}

/*
 * @page: private, its checksum is that of @key, and the table is not known to have a hint of it. @committed: it has
 * waited, or been fetched, see exposure.h.
 */
static void match_page(struct page page, struct table_key key, uint32_t parity, bool committed)
{
	struct engine_vm *vm = page.region->vm;
	struct engine *engine = vm->engine;
	uint32_t ref;
	struct page other;

	if (!fetch_is_possible(vm))
		return;
	ref = table_get(&engine->table, key);
	if (ref & REF_SHARED) {
		if (large_keeps(page))
			large_mark(page, READY_TWIN);
		else if (committed || !exposure_holds(page, 1))
			join(page, ref & ~REF_SHARED, key, parity);
		return;
	}
	if (ref == 0 || !hints_find(engine, key, ref, &other)) {
		enter(page, key);
		return;
	}
	if (ref == page_global(page))
		return;
	if (!fetch_is_possible(other.region->vm)) {
		hints_forget(engine, ref);
		enter(page, key);
		return;
	}
	match_hint(page, other, ref, key, parity, committed);
}

void match_ready(struct page page)
{
	struct engine_vm *vm = page.region->vm;
	uint32_t state = *page_state(page), check = state & PRIVATE_CHECK;
	enum wire_mode mode = vm_mode(vm);

	if (state_kind(state) != KIND_PRIVATE || (state & PRIVATE_HINTED) != 0 || mode == WIRE_MODE_OFF)
		return;
	if (mode == WIRE_MODE_HINTS && !stability_is_noted(page))
		return;
	if (check == CHECK_ZERO) {
		if (!large_keeps(page))
			give_back(page);
	} else if (mode != WIRE_MODE_ZERO) {
		match_page(page, blocks_key(&page.region->blocks, page.index, check), vm->engine->barrier.started & 1,
			   false);
	}
}

void match_differing(struct page page, struct table_key key)
{
	struct engine_vm *vm = page.region->vm;
	struct table_key own;

	if ((*page_state(page) & ~PRIVATE_COPY) != STATE(KIND_PRIVATE, check_of(key.tag)))
		return;
	if (vm_mode(vm) == WIRE_MODE_FULL && rivals_differ(page, key, &own))
		match_page(page, own, vm->engine->barrier.started & 1, false);
}

/* The next page whose turn it is. Parked pages have no turn until more slots may be tried, or none for long. */
static bool next_waiter(struct engine *engine, struct waiter *ret)
{
	struct waiters *waiters = &engine->waiters;
	const struct backoff *backoff = &engine->slots.backoff;

	if (waiters_take(waiters, &waiters->again, ret))
		return true;
	if (!backoff_waits(backoff, engine->now_usec) &&
	    !backoff_allows(backoff, engine->now_usec, engine->fetches_open))
		return false;
	return waiters_take(waiters, &waiters->parked, ret);
}

void match_again(struct engine *engine, uint32_t most)
{
	struct waiter waiter;

	while (most-- > 0 && next_waiter(engine, &waiter)) {
		uint32_t expected = STATE(KIND_PRIVATE, check_of(waiter.key.tag));
		struct page page;

		if (waiter.vm != WAITER_OF_NONE)
			engine->vms[waiter.vm]->waiting--;
		/*
		 * Counted for the barrier before which it began to wait: pages that wait later do not hold that barrier
		 * up.
		 */
		if (hints_find_page(engine, waiter.global, &page) && (*page_state(page) & ~PRIVATE_COPY) == expected)
			match_page(page, waiter.key, waiter.parity, true);
	}
}

/* Of scans_with(), beside 1 << SCAN_: a slice that is read since something in it seems as it was, and is not known. */
#define SCANS_READING (1u << 31)

/* The kinds of scans under way that have @page. */
static unsigned scans_with(const struct engine_vm *vm, uint32_t page)
{
	unsigned kinds = 0;

	for (const struct scan *scan = vm->scans; scan < vm->scans + vm->scan_count; scan++)
		if (page - scan->page < scan->count)
			kinds |= 1u << scan->kind | (scan->reads ? SCANS_READING : 0);
	return kinds;
}

static bool in_pass(unsigned scans)
{
	return (scans & 1u << SCAN_PASS) != 0;
}

/* What a report of a page means, besides what it says. */
struct sight {
	unsigned scans; /* with the page */
	bool noted;
};

/* Whether a HASH or ZERO is of a noted page. A requested pass matches at once, whether or not the page was noted. */
static struct sight take_noted(struct engine_vm *vm, const struct ring_record *report)
{
	struct sight sight = { .scans = scans_with(vm, report->page), .noted = (report->flags & RING_NOTED) != 0 };

	if (sight.noted)
		vm->noted_usec = vm->engine->now_usec;
	else
		sight.noted = (sight.scans & (1u << SCAN_LATER | 1u << SCAN_LOOK)) != 0 &&
			      (vm_mode(vm) != WIRE_MODE_FULL || !in_pass(sight.scans));
	return sight;
}

/*
 * Remembers that @page, private, is seen by @report with the checksum @check, and its content stands under @key.
 * @return whether it is remembered: nothing is of a page beyond the VM's limit.
 */
static bool remember(struct page page, const struct ring_record *report, uint32_t check, struct table_key key,
		     bool noted)
{
	struct engine_vm *vm = page.region->vm;
	uint32_t state = *page_state(page), before = state & PRIVATE_CHECK, copy = private_copy(report);
	uint32_t hinted = before == check ? state & PRIVATE_HINTED : 0;

	if (before == CHECK_NEVER && vm->pages.known >= vm->limits.known_pages) {
		vm->counters.limited_pages++;
		return false;
	}
	if (state != STATE(KIND_PRIVATE, hinted | copy | check))
		page_set(page, STATE(KIND_PRIVATE, hinted | copy | check));
	if (report->flags & RING_INSIDE_HUGE)
		blocks_set_ready(&page.region->blocks, page.index, key, before == check);
	else
		blocks_set_small(&page.region->blocks, page.index);
	stability_set_noted(page, noted);
	return true;
}

/*
 * Remembers the content, see remember(). @return whether the page is worth a merge, by the volatility filter: in a slow
 * pass only if its content is new, or has not changed since the last pass, or was read again. A noted page counts as
 * stable, unless it has diverged again and again.
 */
static bool note_content(struct page page, const struct ring_record *report, uint32_t check, struct table_key key,
			 struct sight sight)
{
	struct engine_vm *vm = page.region->vm;
	uint32_t before = *page_state(page) & PRIVATE_CHECK;

	if (!remember(page, report, check, key, sight.noted))
		return false;
	if (sight.noted) {
		uint64_t wait_usec = stability_wait_usec(page, vm->engine->now_usec);

		if (wait_usec == 0)
			return true;
		vm->counters.noted_unstable++;
		later_add(page, vm->engine->now_usec + wait_usec);
		return false;
	}
	return before == check || (before == CHECK_NEVER && private_copy(report) == 0) ||
	       (sight.scans & (1u << SCAN_PASS | SCANS_READING)) != 0;
}

/* Whether the content of @page is only to be known, see survey.h. */
static bool in_survey(const struct engine_vm *vm, struct sight sight)
{
	return !sight.noted && (sight.scans & 1u << SCAN_SURVEY) != 0 && vm_mode(vm) != WIRE_MODE_FULL;
}

static void survey_page(struct page page, const struct ring_record *report, uint32_t check, struct table_key key)
{
	if (state_kind(*page_state(page)) == KIND_PRIVATE)
		(void)remember(page, report, check, key, false);
}

static bool may_match(const struct engine_vm *vm, bool noted)
{
	return vm_mode(vm) == WIRE_MODE_FULL || (vm_mode(vm) == WIRE_MODE_HINTS && noted);
}

/* A report says that @page has the content under @key; the VM's mode allows to share it. */
static void match_seen(struct page page, const struct ring_record *report, struct table_key key, struct sight sight)
{
	struct engine_vm *vm = page.region->vm;

	if (state_kind(*page_state(page)) != KIND_PRIVATE) { /* reported before the worker got the order */
		if (sight.noted || in_pass(sight.scans))
			keep_sighting(page, key, false);
		return;
	}
	if (!note_content(page, report, check_of(key.tag), key, sight))
		return;
	if ((*page_state(page) & PRIVATE_HINTED) && !in_pass(sight.scans) && !rivals_has(page, check_of(key.tag)))
		return; /* the next page with that content finds this one's hint */
	*page_state(page) &= ~PRIVATE_HINTED;
	match_page(page, key, vm->engine->barrier.started & 1, false);
}

/* Whether a look that is not a requested pass's finds the page as it was, with its hint in the table. */
static bool is_known(const struct region *region, uint32_t page, uint32_t check)
{
	uint32_t state = region->state[page - region->first];

	return state_kind(state) == KIND_PRIVATE && (state & PRIVATE_HINTED) != 0 && (state & PRIVATE_CHECK) == check;
}

void match_prefetch(struct engine_vm *vm, const struct ring_record *report)
{
	const struct table *table = &vm->engine->table;
	struct table_key key = table_key(table, report->value);
	const struct region *region = vm_region(vm, report->page);

	if (region == NULL || vm->pass_ticket != 0 || !is_known(region, report->page, check_of(key.tag)))
		table_prefetch(table, key);
}

int match_hash(struct engine_vm *vm, const struct ring_record *report)
{
	struct sight sight = take_noted(vm, report);
	struct table_key key;
	struct page page;

	if (regions_find_run(&vm->regions, report->page, 1, &page.region) < 0)
		return -EPROTO;
	if (page.region == NULL)
		return 0;
	page.index = report->page - page.region->first;
	key = table_key(&vm->engine->table, report->value);
	if (in_survey(vm, sight))
		survey_page(page, report, check_of(key.tag), key);
	else if (may_match(vm, sight.noted))
		match_seen(page, report, key, sight);
	return 0;
}

static void match_zero_page(struct page page, const struct ring_record *report, bool noted)
{
	static const struct table_key none;
	struct sight sight = { .scans = scans_with(page.region->vm, page_number(page)), .noted = noted };
	bool private = state_kind(*page_state(page)) == KIND_PRIVATE;

	if (!private && (noted || in_pass(sight.scans)))
		keep_sighting(page, none, true);
	if (!private || !note_content(page, report, CHECK_ZERO, none, sight))
		return;
	if (large_keeps(page))
		large_mark(page, READY_TWIN);
	else
		give_back(page);
}

int match_zero(struct engine_vm *vm, const struct ring_record *report)
{
	static const struct table_key none;
	struct sight sight = take_noted(vm, report);
	bool survey = in_survey(vm, sight);
	struct page page;

	if (regions_find_run(&vm->regions, report->page, report->count, &page.region) < 0)
		return -EPROTO;
	if (page.region == NULL)
		return 0;
	if (!survey && (vm_mode(vm) == WIRE_MODE_OFF || (vm_mode(vm) == WIRE_MODE_HINTS && !sight.noted)))
		return 0;
	page.index = report->page - page.region->first;
	for (uint32_t i = 0; i < report->count; i++, page.index++) {
		if (survey)
			survey_page(page, report, CHECK_ZERO, none);
		else
			match_zero_page(page, report, sight.noted);
	}
	return 0;
}

/*
 * A report says that @page is unchanged: what is known of it still holds. Its hash, which is kept if it is inside a
 * 2 MiB page, is needed there, and where the table has no hint of it.
 */
static void match_same_page(struct page page, const struct ring_record *report)
{
	struct blocks *blocks = &page.region->blocks;
	uint32_t state = *page_state(page), check = state & PRIVATE_CHECK;
	bool huge = (report->flags & RING_INSIDE_HUGE) != 0;
	bool large = (blocks_of(blocks, page.index)->flags & BLOCK_LARGE) != 0;
	bool ready = (blocks_word(blocks, page.index) & READY_VALID) != 0;

	if (state_kind(state) != KIND_PRIVATE)
		return;
	if (check == CHECK_ZERO) {
		match_zero_page(page, report, false);
	} else if ((state & PRIVATE_HINTED) && ready == huge && large == huge && !rivals_has(page, check)) {
		page_set(page, STATE(KIND_PRIVATE, PRIVATE_HINTED | private_copy(report) | check));
		stability_set_noted(page, false);
		blocks_refresh(blocks, page.index);
	} else if (ready) {
		match_seen(page, report, blocks_key(blocks, page.index, check),
			   (struct sight){ .scans = scans_with(page.region->vm, page_number(page)) });
	} else {
		blocks_set_unknown(blocks, page.index);
	}
}

int match_same(struct engine_vm *vm, const struct ring_record *report)
{
	struct page page;

	if (regions_find_run(&vm->regions, report->page, report->count, &page.region) < 0)
		return -EPROTO;
	if (page.region == NULL || vm_mode(vm) != WIRE_MODE_FULL)
		return 0;
	page.index = report->page - page.region->first;
	for (uint32_t i = 0; i < report->count; i++, page.index++)
		match_same_page(page, report);
	return 0;
}
