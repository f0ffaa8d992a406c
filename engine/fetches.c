/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/fetches.h"

#include "engine/orders.h"
#include "engine/state.h"

static bool can_wait(const struct engine_vm *vm)
{
	return vm->waiting < waiters_left(&vm->engine->waiters);
}

bool fetch_wait(struct page page, uint32_t *list, struct table_key key, uint32_t parity)
{
	struct engine_vm *vm = page.region->vm;
	const struct waiter waiter = {
		.key = key, .global = page_global(page), .parity = parity & 1, .vm = (uint16_t)vm->index
	};

	if (!can_wait(vm) || !waiters_add(&vm->engine->waiters, list, &waiter))
		return false;
	vm->waiting++;
	return true;
}

bool fetch_start(struct page other, struct page page, struct table_key key, uint32_t parity)
{
	struct engine_vm *vm = page.region->vm, *owner = other.region->vm;
	struct engine *engine = vm->engine;
	const struct backoff *backoff = &engine->slots.backoff;
	struct fetch *fetch;
	uint32_t slot;

	if (!can_wait(vm) || backoff_waits(backoff, engine->now_usec))
		return false;
	if (!backoff_allows(backoff, engine->now_usec, engine->fetches_open))
		return fetch_wait(page, &engine->waiters.parked, key, parity);
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
	*fetch = (struct fetch){ .key = key, .page = page_number(other), .slot = slot };
	engine->fetches_open++;
	(void)fetch_wait(page, &slots_get(&engine->slots, slot)->waiters, key, parity);
	return true;
}

static void pop(struct engine_vm *vm, const struct fetch *fetch)
{
	if (fetch->slot != SLOT_NONE)
		vm->engine->fetches_open--;
	vm->fetched++;
	queue_pop(&vm->fetches);
}

bool fetch_take(struct engine_vm *vm, uint32_t page, struct fetch *ret)
{
	const struct fetch *oldest = queue_at(&vm->fetches, 0);

	if (oldest == NULL || oldest->page != page)
		return false;
	*ret = *oldest;
	pop(vm, ret);
	return true;
}

void fetches_drop(struct engine_vm *vm)
{
	while (vm->fetches.length > 0)
		pop(vm, queue_at(&vm->fetches, 0));
}

void fetch_fail(struct engine_vm *vm, const struct fetch *fetch, uint32_t private)
{
	struct engine *engine = vm->engine;
	struct region *region = vm_region(vm, fetch->page);

	waiters_join(&engine->waiters, &engine->waiters.again, &slots_get(&engine->slots, fetch->slot)->waiters);
	links_abandon(&engine->links, fetch->slot);
	if (region != NULL)
		page_set((struct page){ region, fetch->page - region->first }, STATE(KIND_PRIVATE, private));
}

void fetches_give_up(struct engine_vm *vm, const struct region *region)
{
	for (uint32_t i = 0; i < vm->fetches.length; i++) {
		struct fetch *fetch = queue_at(&vm->fetches, i), given_up = *fetch;

		if (fetch->slot == SLOT_NONE)
			continue;
		if (region != NULL && (fetch->page < region->first || fetch->page - region->first >= region->pages))
			continue;
		fetch->slot = SLOT_NONE;
		vm->engine->fetches_open--;
		/* A report may have said meanwhile whether it is a copy; the next look says so again. */
		fetch_fail(vm, &given_up, check_of(given_up.key.tag));
	}
}

/* Whether @vm owes a FETCH for which a page waits in the name of @parity, or @any FETCH. */
static bool owes_fetch(const struct engine_vm *vm, uint32_t parity, bool any)
{
	const struct engine *engine = vm->engine;
	const struct fetch *fetch;

	for (uint32_t i = 0; (fetch = queue_at(&vm->fetches, i)) != NULL; i++) {
		if (fetch->slot == SLOT_NONE)
			continue;
		if (any || waiters_have_parity(&engine->waiters, slots_get(&engine->slots, fetch->slot)->waiters,
					       parity))
			return true;
	}
	return false;
}

void fetches_overdue(struct engine *engine, uint32_t parity)
{
	/* A parked page waits for any of them. */
	bool any = waiters_have_parity(&engine->waiters, engine->waiters.parked, parity);

	for (uint32_t i = 0; i < engine->vms_end; i++) {
		struct engine_vm *vm = engine->vms[i];

		if (vm == NULL || !owes_fetch(vm, parity, any))
			continue;
		vm->overdue_fetches = vm->fetched + vm->fetches.length; /* it is asked for no content before that */
		fetches_give_up(vm, NULL);
	}
}
