/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/vm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/fetches.h"
#include "engine/leaving.h"
#include "engine/orders.h"
#include "engine/state.h"
#include "engine/sweep.h"

/* Numbers that are gone and not swept yet can be had at once, but not again and again: that is a look at all hints. */
static bool may_sweep(struct engine *engine)
{
	uint64_t since = engine->now_usec - engine->swept_usec;

	if (engine->space.gone_count == 0 || (engine->has_swept && since < SWEEP_ALL_USEC))
		return false;
	engine->has_swept = true;
	engine->swept_usec = engine->now_usec;
	return true;
}

static uint32_t take_numbers(struct engine *engine, struct region *region)
{
	uint32_t global = space_take(&engine->space, region, region->pages);

	if (global == 0 && may_sweep(engine)) {
		sweep_all(engine);
		global = space_take(&engine->space, region, region->pages);
	}
	return global;
}

int vm_add_region(struct engine_vm *vm, uint32_t page, uint64_t pages, uint32_t before)
{
	uint64_t most = vm->engine->settings.vm_ram_bytes_max / PAGE_BYTES;
	int r = regions_may_add(&vm->regions, page, pages);
	struct region *region;

	if (r < 0)
		return r;
	most = vm->limits.ram_pages < most ? vm->limits.ram_pages : most;
	if (vm->regions.pages > most || pages > most - vm->regions.pages) {
		regions_add_beyond(&vm->regions, page, (uint32_t)pages);
		return 0;
	}
	region = region_new(vm, &vm->pages, &vm->blocks, page, (uint32_t)pages, before);
	if (region == NULL)
		return -ENOMEM;
	region->global = take_numbers(vm->engine, region);
	if (region->global == 0) {
		region_free(region);
		regions_add_beyond(&vm->regions, page, (uint32_t)pages);
		return 0;
	}
	regions_add(&vm->regions, region);
	return 0;
}

static void remove_region(struct engine_vm *vm, struct region *region)
{
	regions_take(&vm->regions, region);
	space_leave(&vm->engine->space, region->global, region->pages);
	fetches_give_up(vm, region); /* before its pages are forgotten: others wait for them */
	region_uncount(region);
	vm->answered += region->own.ordered;
	leaving_add(vm->engine, region);
}

int vm_remove_region(struct engine_vm *vm, uint32_t page)
{
	struct region *region = vm_region(vm, page);

	if (region == NULL)
		return regions_remove_beyond(&vm->regions, page);
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
	vm->lag_seen_usec = engine->now_usec;
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
	orders_withdraw(vm);
	fetches_give_up(vm, NULL);
	fetches_drop(vm);
	queue_done(&vm->fetches);
	queue_done(&vm->later);
	queue_done(&vm->looks);
	vm->looks_over = vm->looks_wanted;
	queue_done(&vm->sightings);
	vm->scan_count = 0;
	vm->unsharing.count = 0;
	vm->unsharing.active = false;
	slots_owner_free(&engine->slots, vm->owner); /* it takes no more slots; who adopts those it has is charged */
	vm->owner = 0;
	slots_flush(&engine->slots);
}

void engine_remove_vm(struct engine *engine, struct engine_vm *vm)
{
	if (vm == NULL)
		return;
	engine_detach_vm(engine, vm);
	while (vm->regions.count > 0)
		remove_region(vm, vm->regions.list[vm->regions.count - 1]);
	leaving_go_on(engine, LEAVING_PER_TICK);
	slots_return(&engine->slots, &vm->window);
	waiters_disown(&engine->waiters, vm->index, vm->waiting);
	engine->vms[vm->index] = NULL;
	while (engine->vms_end > 0 && engine->vms[engine->vms_end - 1] == NULL)
		engine->vms_end--;
	slots_flush(&engine->slots);
	free(vm);
}

void vm_free(struct engine_vm *vm)
{
	if (vm == NULL)
		return;
	regions_done(&vm->regions);
	queue_done(&vm->orders);
	queue_done(&vm->fetches);
	queue_done(&vm->later);
	queue_done(&vm->sightings);
	free(vm);
}

void engine_vm_set_limits(struct engine_vm *vm, const struct engine_vm_limits *limits)
{
	vm->limits = *limits;
	slots_owner_limit(&vm->engine->slots, vm->owner, limits->slots);
}

void engine_vm_set_account(struct engine_vm *vm, void *account)
{
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
