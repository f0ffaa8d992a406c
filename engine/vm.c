/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/vm.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/estimate.h"
#include "engine/fetches.h"
#include "engine/leaving.h"
#include "engine/numbers.h"
#include "engine/orders.h"
#include "engine/rest.h"
#include "engine/rivals.h"
#include "engine/state.h"
#include "engine/survey.h"

/* @return 0; -EDQUOT beyond its limits; -ENOSPC, there are no numbers for it; -ENOMEM. */
static int make_region(struct engine_vm *vm, uint32_t page, uint64_t pages, uint32_t before, struct region **ret)
{
	uint64_t most = vm->engine->settings.vm_ram_bytes_max / PAGE_BYTES;
	struct region *region;

	most = vm->limits.ram_pages < most ? vm->limits.ram_pages : most;
	if (vm->regions.pages > most || pages > most - vm->regions.pages)
		return -EDQUOT;
	region = region_new(vm, &vm->engine->pages, &vm->pages, &vm->blocks, page, (uint32_t)pages, before);
	if (region == NULL)
		return -ENOMEM;
	if (!numbers_take(vm, region)) {
		region_free(region);
		return -ENOSPC;
	}
	*ret = region;
	return 0;
}

int vm_add_region(struct engine_vm *vm, uint32_t page, uint64_t pages, uint32_t before)
{
	struct engine *engine = vm->engine;
	struct region *region;
	bool waits;
	int r = regions_may_add(&vm->regions, page, pages);

	if (r == 0)
		r = make_region(vm, page, pages, before, &region);
	if (r == -EDQUOT || r == -ENOSPC) {
		waits = r == -ENOSPC && space_has_gone(&engine->space);
		regions_add_beyond(&vm->regions, page, (uint32_t)pages, before, waits);
		engine->waiting.regions += waits;
		return 0;
	}
	if (r == 0)
		regions_add(&vm->regions, region);
	return r;
}

/* ---- regions that wait for numbers ---- */

static int forget_beyond(struct engine_vm *vm, uint32_t page)
{
	uint32_t before = vm->regions.waiting_count;
	int r = regions_remove_beyond(&vm->regions, page);

	vm->engine->waiting.regions -= before - vm->regions.waiting_count;
	return r;
}

static void wait_no_more(struct engine_vm *vm, uint32_t index)
{
	regions_wait_no_more(&vm->regions, index);
	vm->engine->waiting.regions--;
}

/* @return the page at which it begins if it was taken in, 0 if not. */
static uint32_t retry(struct engine_vm *vm, uint32_t index)
{
	struct engine *engine = vm->engine;
	uint32_t page = vm->regions.beyond[index];
	struct region *region;
	int r = make_region(vm, page, vm->regions.beyond_length[index], vm->regions.beyond_before[index], &region);

	if (r < 0) {
		if (!space_has_gone(&engine->space))
			wait_no_more(vm, index);
		return 0;
	}
	(void)forget_beyond(vm, page);
	engine->waiting.at = index; /* another is in its place */
	regions_insert(&vm->regions, region);
	return page;
}

void vm_retry_regions(struct engine *engine)
{
	engine->waiting.goes_on = engine->waiting.regions > 0;
	engine->waiting.vm = engine->waiting.at = 0;
}

bool vm_retry_region(struct engine *engine, struct engine_vm **ret_vm, uint32_t *ret_page)
{
	struct waiting *waiting = &engine->waiting;

	for (; waiting->goes_on && waiting->vm < engine->vms_end; waiting->vm++, waiting->at = 0) {
		struct engine_vm *vm = engine->vms[waiting->vm];

		while (vm != NULL && vm->regions.waiting_count > 0 && waiting->at < vm->regions.beyond_count) {
			uint32_t index = waiting->at++;

			if (!vm->regions.beyond_waits[index])
				continue;
			*ret_vm = vm;
			*ret_page = retry(vm, index);
			return true;
		}
	}
	waiting->goes_on = false;
	return false;
}

static void none_waits(struct engine_vm *vm)
{
	for (uint32_t i = 0; i < vm->regions.beyond_count; i++)
		if (vm->regions.beyond_waits[i])
			wait_no_more(vm, i);
}

/* ---- */

static void remove_region(struct engine_vm *vm, struct region *region)
{
	regions_take(&vm->regions, region);
	numbers_leave(vm, region);
	fetches_give_up(vm, region); /* before its pages are forgotten: others wait for them */
	region_uncount(region);
	vm->answered += region->own.of[PAGES_ORDERED];
	leaving_add(vm->engine, region);
}

int vm_remove_region(struct engine_vm *vm, uint32_t page)
{
	struct region *region = vm_region(vm, page);

	if (region == NULL)
		return forget_beyond(vm, page);
	if (region->first != page)
		return -EPROTO;
	remove_region(vm, region);
	leaving_go_on(vm->engine, LEAVING_PER_REMOVAL);
	slots_flush(&vm->engine->slots);
	return 0;
}

static int free_index(const struct engine *engine)
{
	for (uint32_t i = 0; i < ENGINE_VMS_MAX; i++)
		if (engine->vms[i] == NULL)
			return (int)i;
	return -ENOSPC;
}

int engine_add_vm(struct engine *engine, enum wire_mode mode, struct engine_vm **ret_vm)
{
	int index = free_index(engine), owner;
	struct engine_vm *vm;

	if (index < 0)
		return index;
	vm = calloc(1, sizeof(*vm));
	if (vm == NULL)
		return -ENOMEM;
	owner = slots_owner_new(&engine->slots);
	if (owner < 0) {
		free(vm);
		return owner;
	}
	vm->engine = engine;
	vm->index = (uint32_t)index;
	vm->owner = (uint16_t)owner;
	vm->mode = mode;
	vm->limits = (struct engine_vm_limits){ UINT64_MAX, UINT64_MAX, UINT64_MAX };
	vm->heard = true;
	vm->lag_seen_usec = engine->watched_usec;
	vm->regions.next_page = 1;
	queue_init(&vm->orders, sizeof(struct ring_record), VM_QUEUE_MAX);
	queue_init(&vm->fetches, sizeof(struct fetch), VM_QUEUE_MAX);
	queue_init(&vm->later, sizeof(struct later), VM_LATER_MAX);
	queue_init(&vm->looks, sizeof(struct scan), VM_LOOKS_MAX);
	queue_init(&vm->sightings, sizeof(struct sighting), VM_SIGHTINGS_MAX);
	engine->vms[index] = vm;
	if (vm->index >= engine->vms_end)
		engine->vms_end = vm->index + 1;
	*ret_vm = vm;
	return 0;
}

void engine_detach_vm(struct engine *engine, struct engine_vm *vm)
{
	if (vm->detached)
		return;
	vm->detached = true;
	none_waits(vm);
	orders_withdraw(vm);
	fetches_give_up(vm, NULL);
	fetches_drop(vm);
	queue_done(&vm->fetches);
	queue_done(&vm->later);
	queue_done(&vm->looks);
	vm->looks_over = vm->looks_wanted;
	survey_void(vm);
	queue_done(&vm->sightings);
	vm->scan_count = 0;
	vm->unsharing.count = 0;
	vm->unsharing.active = false;
	vm->whole.count = 0;
	slots_owner_free(&engine->slots, vm->owner); /* it takes no more slots; who adopts those it has is charged */
	vm->owner = 0;
	slots_flush(&engine->slots);
}

void engine_remove_vm(struct engine *engine, struct engine_vm *vm)
{
	if (vm == NULL)
		return;
	engine_detach_vm(engine, vm);
	orders_drop(vm);
	while (vm->regions.count > 0)
		remove_region(vm, vm->regions.list[vm->regions.count - 1]);
	leaving_go_on(engine, LEAVING_PER_TICK);
	slots_return(&engine->slots, &vm->window);
	waiters_disown(&engine->waiters, vm->index, vm->waiting);
	estimate_vm_gone(engine, vm);
	rest_wake(vm);
	engine->vms[vm->index] = NULL;
	while (engine->vms_end > 0 && engine->vms[engine->vms_end - 1] == NULL)
		engine->vms_end--;
	slots_flush(&engine->slots);
	rivals_done(vm);
	free(vm);
}

void vm_free(struct engine_vm *vm)
{
	if (vm == NULL)
		return;
	regions_done(&vm->regions);
	rivals_done(vm);
	queue_done(&vm->orders);
	queue_done(&vm->fetches);
	queue_done(&vm->later);
	queue_done(&vm->sightings);
	queue_done(&vm->looks);
	free(vm);
}

void engine_vm_set_limits(struct engine_vm *vm, const struct engine_vm_limits *limits)
{
	vm->limits = *limits;
	slots_owner_limit(&vm->engine->slots, vm->owner, limits->slots);
}

void engine_vm_set_account(struct engine_vm *vm, void *account)
{
	assert(vm->regions.count == 0);
	vm->account = account;
	slots_owner_account(&vm->engine->slots, vm->owner, account);
}

void engine_vm_usage(const struct engine_vm *vm, struct engine_vm_limits *ret)
{
	*ret = (struct engine_vm_limits){
		.ram_pages = vm->regions.pages,
		.known_pages = vm->pages.known,
		.slots = vm->owner == 0 ? 0 : slots_owned(&vm->engine->slots, vm->owner),
	};
}

void engine_vm_set_context(struct engine_vm *vm, void *context)
{
	vm->context = context;
}

void *engine_vm_context(const struct engine_vm *vm)
{
	return vm->context;
}

uint32_t engine_largest_region(const struct engine_vm *vm, uint32_t *ret_page)
{
	const struct region *region = regions_largest(&vm->regions);

	*ret_page = region ? region->first : 0;
	return region ? region->pages : 0;
}

uint32_t engine_region_pages(struct engine_vm *vm, uint32_t page)
{
	const struct region *region = vm_region(vm, page);

	return region ? region->pages - (page - region->first) : 0;
}

uint32_t engine_page_sharers(struct engine_vm *vm, uint32_t page)
{
	const struct region *region = vm_region(vm, page);
	uint32_t state = region ? region->state[page - region->first] : 0;

	if (state == PAGE_ZERO)
		return ENGINE_ZERO_SHARERS;
	return state_kind(state) == KIND_SHARED ? slots_get(&vm->engine->slots, state & STATE_VALUE)->sharers : 0;
}
