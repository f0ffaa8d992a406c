/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/match.h"

#include <errno.h>
#include <string.h>

#include "common/hash.h"
#include "engine/orders.h"
#include "engine/state.h"
#include "engine/stripes.h"

static void match_page(struct page page, uint64_t hash, uint32_t parity);

/* ---- hints ---- */

/* The page of a global number, if it still exists. */
static bool find_page(const struct engine *engine, uint32_t global, struct page *ret)
{
	struct region *region = space_find(&engine->space, global);

	if (region == NULL || global - region->global >= region->pages)
		return false;
	*ret = (struct page){ region, global - region->global };
	return true;
}

/* The page that a hint names, if it still is what the hint says. */
static bool find_hint(const struct engine *engine, struct table_key key, uint32_t ref, struct page *ret)
{
	if (!find_page(engine, ref, ret))
		return false;
	return (*page_state(*ret) & ~PRIVATE_COPY) == STATE(KIND_PRIVATE, PRIVATE_HINTED | check_of(key.tag));
}

static bool can_fetch(const struct engine_vm *vm)
{
	return vm->ready && !vm->detached && !vm->unresponsive && vm->fetched >= vm->overdue_fetches &&
	       vm->mode == WIRE_MODE_FULL;
}

bool match_keep(void *engine, struct table_key key, uint32_t ref)
{
	struct page page;

	return (ref & REF_SHARED) || find_hint(engine, key, ref, &page);
}

void match_forget_hint(struct engine *engine, uint32_t ref)
{
	struct page page;

	if (find_page(engine, ref, &page) && state_kind(*page_state(page)) == KIND_PRIVATE)
		*page_state(page) &= ~PRIVATE_HINTED;
}

static void enter_hint(struct page page, struct table_key key)
{
	struct engine *engine = page.region->vm->engine;

	if (table_put(&engine->table, key, page_global(page)) == 0)
		*page_state(page) |= PRIVATE_HINTED;
}

/* ---- waiters ---- */

static bool can_wait(const struct engine_vm *vm)
{
	return vm->waiting < waiters_left(vm->engine);
}

static bool waiter_add(struct slot *slot, struct page page, uint32_t parity)
{
	struct engine_vm *vm = page.region->vm;
	struct engine *engine = vm->engine;
	uint32_t index = engine->waiters_free;

	if (!can_wait(vm))
		return false;
	if (index != 0)
		engine->waiters_free = engine->waiters[index].next;
	else
		index = ++engine->waiters_top;
	engine->waiters[index] = (struct waiter){
		.global = page_global(page), .next = slot->waiters, .parity = parity & 1, .vm = (uint16_t)vm->index
	};
	slot->waiters = index;
	engine->waiters_used++;
	vm->waiting++;
	return true;
}

static struct waiter waiter_take(struct engine *engine, uint32_t index)
{
	struct waiter waiter = engine->waiters[index];

	engine->waiters[index] = (struct waiter){ .next = engine->waiters_free, .vm = WAITER_OF_NONE };
	engine->waiters_free = index;
	engine->waiters_used--;
	if (waiter.vm != WAITER_OF_NONE)
		engine->vms[waiter.vm]->waiting--;
	return waiter;
}

void waiters_disown(struct engine_vm *vm)
{
	struct engine *engine = vm->engine;

	for (uint32_t i = 1; i <= engine->waiters_top && vm->waiting > 0; i++) {
		if (engine->waiters[i].vm != vm->index)
			continue;
		engine->waiters[i].vm = WAITER_OF_NONE;
		vm->waiting--;
	}
}

/* The list is kept newest first; matching goes in the order in which the pages were seen. */
static uint32_t reversed(struct engine *engine, uint32_t list)
{
	uint32_t turned = 0;

	while (list != 0) {
		uint32_t next = engine->waiters[list].next;

		engine->waiters[list].next = turned;
		turned = list;
		list = next;
	}
	return turned;
}

/*
 * In the name of the barrier before which each began to wait: who comes to wait later, again and again, does not hold
 * up an earlier one. Those who waited first come first, so that no FETCH begins later than who waits for it.
 */
static void match_waiters(struct engine *engine, uint32_t list, uint64_t hash)
{
	uint32_t expected = STATE(KIND_PRIVATE, check_of(table_key(&engine->table, hash).tag));

	list = reversed(engine, list);
	while (list != 0) {
		struct waiter waiter = waiter_take(engine, list);
		struct page page;

		list = waiter.next;
		if (find_page(engine, waiter.global, &page) && (*page_state(page) & ~PRIVATE_COPY) == expected)
			match_page(page, hash, waiter.parity);
	}
}

/* ---- fetches ---- */

/* Has @other's content put into a new slot, for which @page waits. */
static bool fetch_start(struct page other, struct page page, uint64_t hash, uint32_t parity)
{
	struct engine_vm *vm = page.region->vm, *owner = other.region->vm;
	struct engine *engine = vm->engine;
	struct table_key key = table_key(&engine->table, hash);
	struct fetch *fetch;
	uint32_t slot;

	if (!can_wait(vm))
		return false;
	if (links_take(&engine->links, &vm->window, vm->owner, key, &slot) < 0)
		return false;
	fetch = queue_push(&owner->fetches);
	if (fetch == NULL || !orders_fetch(other)) {
		if (fetch != NULL)
			queue_unpush(&owner->fetches);
		links_abandon(&engine->links, slot);
		return false;
	}
	(void)links_enter(&engine->links, slot); /* replaces the hint: cannot fail */
	*fetch = (struct fetch){ .hash = hash, .page = page_number(other), .slot = slot, .parity = parity };
	engine->barrier.fetches[parity]++;
	(void)waiter_add(slots_get(&engine->slots, slot), page, parity);
	return true;
}

void fetch_pop(struct engine_vm *vm)
{
	const struct fetch *fetch = queue_at(&vm->fetches, 0);

	if (fetch->slot != SLOT_NONE)
		vm->engine->barrier.fetches[fetch->parity]--;
	vm->fetched++;
	queue_pop(&vm->fetches);
}

/* The slot gets no content: those that wait look for another page that has it. */
static void fail(struct engine_vm *vm, const struct fetch *fetch, uint32_t private)
{
	struct engine *engine = vm->engine;
	uint32_t waiters = slots_get(&engine->slots, fetch->slot)->waiters;
	struct region *region = vm_region(vm, fetch->page);

	links_abandon(&engine->links, fetch->slot);
	if (region != NULL)
		page_set((struct page){ region, fetch->page - region->first }, STATE(KIND_PRIVATE, private));
	match_waiters(engine, waiters, fetch->hash);
}

void fetches_give_up(struct engine_vm *vm, const struct region *region)
{
	/* Matching waiters again may add to this very queue: what is added is not of @region, nor to be given up. */
	for (uint32_t i = 0; i < vm->fetches.length; i++) {
		struct fetch *fetch = queue_at(&vm->fetches, i), given_up = *fetch;

		if (fetch->slot == SLOT_NONE)
			continue;
		if (region != NULL && (fetch->page < region->first || fetch->page - region->first >= region->pages))
			continue;
		fetch->slot = SLOT_NONE;
		vm->engine->barrier.fetches[fetch->parity]--;
		/* Whether it is a copy may have been told meanwhile, and is told again by the next look. */
		fail(vm, &given_up, check_of(table_key(&vm->engine->table, given_up.hash).tag));
	}
}

static bool owes_fetch(const struct engine_vm *vm, uint32_t parity)
{
	const struct fetch *fetch;

	for (uint32_t i = 0; (fetch = queue_at(&vm->fetches, i)) != NULL; i++)
		if (fetch->slot != SLOT_NONE && fetch->parity == parity)
			return true;
	return false;
}

void fetches_overdue(struct engine *engine, uint32_t parity)
{
	for (uint32_t i = 0; i < engine->vms_end; i++) {
		struct engine_vm *vm = engine->vms[i];

		if (vm == NULL || !owes_fetch(vm, parity))
			continue;
		vm->overdue_fetches = vm->fetched + vm->fetches.length; /* it is asked for nothing before */
		fetches_give_up(vm, NULL);
	}
}

/* ---- looks that come too early ---- */

uint32_t private_copy(const struct ring_record *report)
{
	return report->flags & RING_PRIVATE_COPY ? PRIVATE_COPY : 0;
}

/* Whether the order for a page in @state cannot succeed if this is its content. */
static bool is_in_vain(const struct engine *engine, uint32_t state, uint64_t hash, bool zero)
{
	if (state_kind(state) == KIND_ORDERED)
		return zero ||
		       slots_get(&engine->slots, state & STATE_VALUE)->tag != table_key(&engine->table, hash).tag;
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

static void keep_sighting(struct page page, uint64_t hash, bool zero)
{
	struct engine_vm *vm = page.region->vm;
	uint32_t state = *page_state(page);
	struct sighting *seen, older;

	if (state == PAGE_FETCHING)
		page_set(page, PAGE_FETCHING_SEEN); /* the content itself will come */
	if (!is_in_vain(vm->engine, state, hash, zero))
		return;
	(void)take_sighting(vm, page_number(page), &older);
	if (vm->sightings.length == VM_SIGHTINGS_MAX)
		queue_pop(&vm->sightings);
	seen = queue_push(&vm->sightings);
	if (seen != NULL)
		*seen = (struct sighting){ .hash = hash, .page = page_number(page), .zero = zero };
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
 * Matches a page after its pass may have ended. Then the VM's tickets, and no other's, are put off by one barrier,
 * which waits for all that comes of this; but not without end, whatever the VM reports.
 */
static void match_late(struct page page, uint64_t hash, bool zero)
{
	struct engine_vm *vm = page.region->vm;
	struct engine *engine = vm->engine;
	uint32_t state = *page_state(page);

	if (state_kind(state) != KIND_PRIVATE)
		return;
	put_off(vm);
	if (zero) {
		vm->counters.dropped_orders += !orders_zero(page);
		return;
	}
	page_set(page, STATE(KIND_PRIVATE, (state & PRIVATE_COPY) | check_of(table_key(&engine->table, hash).tag)));
	match_page(page, hash, engine->barrier.started & 1);
}

void match_sighting(struct page page)
{
	struct engine_vm *vm = page.region->vm;
	struct sighting sighting;

	if (vm->sightings.length > 0 && take_sighting(vm, page_number(page), &sighting))
		match_late(page, sighting.hash, sighting.zero);
}

static void fill(struct engine_vm *vm, const struct fetch *fetch, uint32_t copy, const void *staging)
{
	struct engine *engine = vm->engine;
	struct region *region = vm_region(vm, fetch->page);
	struct page page = { region, fetch->page - region->first };
	uint32_t check = check_of(table_key(&engine->table, fetch->hash).tag), waiters;
	unsigned char content[PAGE_BYTES];
	uint64_t hash;

	memcpy(content, staging, PAGE_BYTES); /* which the VMM can go on writing: only the copy counts */
	hash = page_hash(content, engine->settings.seed);
	if (hash != fetch->hash) { /* the guest has written it since */
		bool seen = *page_state(page) == PAGE_FETCHING_SEEN;

		fail(vm, fetch, copy | check_of(table_key(&engine->table, hash).tag));
		if (seen)
			match_late(page, hash, page_is_zero(content));
		return;
	}
	waiters = slots_get(&engine->slots, fetch->slot)->waiters;
	if (slots_write(&engine->slots, fetch->slot, content) < 0) {
		fail(vm, fetch, copy | check);
		return;
	}
	slots_order(&engine->slots, fetch->slot); /* held by this until all have been matched */
	page_set(page, STATE(KIND_PRIVATE, copy | check));
	match_page(page, hash, fetch->parity);
	match_waiters(engine, waiters, hash);
	slots_unorder(&engine->slots, fetch->slot);
}

int fetch_answered(struct engine_vm *vm, const struct ring_record *report, const void *staging)
{
	const struct fetch *oldest = queue_at(&vm->fetches, 0);
	struct fetch fetch;

	if (oldest == NULL || oldest->page != report->page || staging == NULL)
		return -EPROTO;
	fetch = *oldest;
	fetch_pop(vm);
	if (fetch.slot != SLOT_NONE)
		fill(vm, &fetch, private_copy(report), staging);
	return 0;
}

bool fetch_refused(struct engine_vm *vm, const struct ring_record *report)
{
	const struct fetch *oldest = queue_at(&vm->fetches, 0);
	uint32_t check = CHECK_NEVER;
	struct fetch fetch;

	if (oldest == NULL || oldest->page != report->page)
		return false;
	fetch = *oldest;
	fetch_pop(vm);
	if (report->op != REPORT_GONE)
		check = check_of(table_key(&vm->engine->table, fetch.hash).tag);
	if (fetch.slot != SLOT_NONE)
		fail(vm, &fetch, private_copy(report) | check);
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

static void join(struct page page, uint32_t known, uint32_t parity)
{
	struct engine_vm *vm = page.region->vm;
	struct slots *slots = &vm->engine->slots;
	struct slot *slot = slots_get(slots, known);
	uint32_t chosen;

	if (slot->state == SLOT_TAKEN && !slot_is_stripe(slot)) {
		if (!waiter_add(slot, page, parity))
			vm->counters.dropped_orders++;
		return;
	}
	chosen = stripes_choose(&vm->engine->links, known, page_number(page), neighbour_maps(page, known), vm->owner);
	if (chosen == SLOT_NONE) {
		vm->counters.dropped_orders++;
		return;
	}
	slots_order(slots, chosen); /* first, so that it is never without a holder */
	if (!orders_merge(page, chosen)) {
		vm->counters.dropped_orders++;
		slots_unorder(slots, chosen);
	}
}

/* @page: private, its checksum is @hash's, and no hint of it is known to be in the table. */
static void match_page(struct page page, uint64_t hash, uint32_t parity)
{
	struct engine_vm *vm = page.region->vm;
	struct engine *engine = vm->engine;
	struct table_key key = table_key(&engine->table, hash);
	uint32_t ref;
	struct page other;

	if (!can_fetch(vm))
		return;
	ref = table_get(&engine->table, key);
	if (ref & REF_SHARED) {
		join(page, ref & ~REF_SHARED, parity);
		return;
	}
	if (ref == 0 || !find_hint(engine, key, ref, &other)) {
		enter_hint(page, key);
		return;
	}
	if (ref == page_global(page))
		return;
	if (!can_fetch(other.region->vm)) {
		match_forget_hint(engine, ref);
		enter_hint(page, key);
		return;
	}
	if (!fetch_start(other, page, hash, parity))
		vm->counters.dropped_orders++;
}

static bool in_pass(const struct engine_vm *vm, uint32_t page)
{
	for (uint32_t i = 0; i < vm->scan_count; i++)
		if (vm->scans[i].kind == SCAN_PASS && page - vm->scans[i].page < vm->scans[i].count)
			return true;
	return false;
}

/*
 * The volatility filter: whether a page now seen with @check is worth a merge. In a slow pass only what is new, or has
 * not changed since the last pass. Remembers @check.
 */
static bool is_stable(struct page page, uint32_t check, uint32_t copy)
{
	struct engine_vm *vm = page.region->vm;
	uint32_t state = *page_state(page), before = state & PRIVATE_CHECK;
	uint32_t hinted = before == check ? state & PRIVATE_HINTED : 0;

	page_set(page, STATE(KIND_PRIVATE, hinted | copy | check));
	if (before == check || (before == CHECK_NEVER && copy == 0) || in_pass(vm, page_number(page)))
		return true;
	vm->engine->volatile_skips++;
	return false;
}

int match_hash(struct engine_vm *vm, const struct ring_record *report)
{
	struct page page;
	uint32_t state;

	if (regions_find_run(&vm->regions, report->page, 1, &page.region) < 0)
		return -EPROTO;
	if (page.region == NULL || vm->mode != WIRE_MODE_FULL)
		return 0;
	page.index = report->page - page.region->first;
	state = *page_state(page);
	if (state_kind(state) != KIND_PRIVATE) { /* said before the worker got the order */
		if (in_pass(vm, report->page))
			keep_sighting(page, report->value, false);
		return 0;
	}
	if (!is_stable(page, check_of(table_key(&vm->engine->table, report->value).tag), private_copy(report)))
		return 0;
	if ((*page_state(page) & PRIVATE_HINTED) && !in_pass(vm, report->page))
		return 0; /* whoever has the same content finds this page's hint */
	*page_state(page) &= ~PRIVATE_HINTED;
	match_page(page, report->value, vm->engine->barrier.started & 1);
	return 0;
}

int match_zero(struct engine_vm *vm, const struct ring_record *report)
{
	struct page page;

	if (regions_find_run(&vm->regions, report->page, report->count, &page.region) < 0)
		return -EPROTO;
	if (page.region == NULL)
		return 0;
	page.index = report->page - page.region->first;
	for (uint32_t i = 0; i < report->count; i++, page.index++) {
		bool private = state_kind(*page_state(page)) == KIND_PRIVATE;

		if (!private && in_pass(vm, page_number(page)))
			keep_sighting(page, 0, true);
		else if (private && is_stable(page, CHECK_ZERO, private_copy(report)))
			vm->counters.dropped_orders += !orders_zero(page);
	}
	return 0;
}
