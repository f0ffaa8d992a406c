/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* VMs and their regions. See vm.h. */
#include "engine/vm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/array.h"
#include "engine/match.h"
#include "engine/orders.h"
#include "engine/state.h"

static bool contains(const struct region *region, uint32_t page)
{
	return page >= region->first && page - region->first < region->pages;
}

struct region *vm_region(struct engine_vm *vm, uint32_t page)
{
	uint32_t low = 0, high = vm->region_count;

	if (vm->region_last < vm->region_count && contains(vm->regions[vm->region_last], page))
		return vm->regions[vm->region_last];
	while (low < high) { /* the last region that starts at or before page is at low - 1 */
		uint32_t middle = (low + high) / 2;

		if (vm->regions[middle]->first <= page)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0 || !contains(vm->regions[low - 1], page))
		return NULL;
	vm->region_last = low - 1;
	return vm->regions[low - 1];
}

int vm_run(struct engine_vm *vm, uint32_t page, uint32_t count, struct region **ret_region)
{
	struct region *region;

	if (page == 0 || page >= vm->next_page || count > vm->next_page - page)
		return -EPROTO;
	region = vm_region(vm, page);
	if (region != NULL && count > region->pages - (page - region->first))
		return -EPROTO;
	if (region == NULL && vm_region(vm, page + count - 1) != NULL)
		return -EPROTO;
	*ret_region = region;
	return 0;
}

static uint32_t blocks_of(const struct region *region)
{
	return (region->pages - 1) / REGION_BLOCK + 1;
}

void region_free(struct region *region)
{
	if (region == NULL)
		return;
	array_free(region->state, region->pages, sizeof(*region->state));
	array_free(region->touched, blocks_of(region), sizeof(*region->touched));
	free(region);
}

static uint32_t take_numbers(struct engine *engine, struct region *region)
{
	uint32_t global = space_take(&engine->space, region, region->pages);

	if (global == 0 && engine->space.gone_count > 0) {
		sweep_all(engine);
		global = space_take(&engine->space, region, region->pages);
	}
	return global;
}

static int find_beyond(const struct engine_vm *vm, uint32_t page)
{
	for (uint32_t i = 0; i < vm->beyond_count; i++)
		if (page - vm->beyond[i] < vm->beyond_pages[i])
			return (int)i;
	return -ENOENT;
}

bool vm_is_beyond(const struct engine_vm *vm, uint32_t page)
{
	return find_beyond(vm, page) >= 0;
}

static int add_beyond(struct engine_vm *vm, uint32_t page, uint32_t pages)
{
	vm->beyond[vm->beyond_count] = page;
	vm->beyond_pages[vm->beyond_count++] = pages;
	vm->next_page = page + pages;
	vm->counters.beyond_pages += pages;
	return 0;
}

static int remove_beyond(struct engine_vm *vm, uint32_t page)
{
	int i = find_beyond(vm, page);

	if (i < 0 || vm->beyond[i] != page)
		return -EPROTO;
	vm->counters.beyond_pages -= vm->beyond_pages[i];
	vm->beyond_count--;
	vm->beyond[i] = vm->beyond[vm->beyond_count];
	vm->beyond_pages[i] = vm->beyond_pages[vm->beyond_count];
	return 0;
}

int vm_add_region(struct engine_vm *vm, uint32_t page, uint64_t pages)
{
	uint64_t most = vm->engine->settings.vm_ram_bytes_max / PAGE_BYTES;
	struct region *region;

	/* Numbers may be left out: of regions that were gone before this daemon heard of them. */
	if (page < vm->next_page || pages == 0 || pages > UINT32_MAX - page)
		return -EPROTO;
	if (vm->region_count + vm->beyond_count == VM_REGIONS_MAX)
		return -ENOMEM;
	if (vm->ram_pages > most || pages > most - vm->ram_pages)
		return add_beyond(vm, page, (uint32_t)pages);
	region = calloc(1, sizeof(*region));
	if (region == NULL)
		return -ENOMEM;
	*region = (struct region){ .vm = vm, .first = page, .pages = (uint32_t)pages };
	region->state = array_new(pages, sizeof(*region->state));
	region->touched = array_new(blocks_of(region), sizeof(*region->touched));
	if (region->state != NULL && region->touched != NULL)
		region->global = take_numbers(vm->engine, region);
	if (region->global == 0) {
		bool beyond = region->state != NULL && region->touched != NULL;

		region_free(region);
		return beyond ? add_beyond(vm, page, (uint32_t)pages) : -ENOMEM;
	}
	vm->regions[vm->region_count++] = region;
	vm->next_page = page + region->pages;
	vm->ram_pages += pages;
	return 0;
}

void vm_forget(struct page page, uint32_t private)
{
	struct engine_vm *vm = page.region->vm;
	uint32_t state = *page_state(page);

	page_set(page, STATE(KIND_PRIVATE, private));
	if (state_kind(state) == KIND_SHARED) {
		vm->counters.shared_pages--;
		slots_unshare(&vm->engine->slots, state & STATE_VALUE);
	} else if (state_kind(state) == KIND_ORDERED) {
		vm->answered++;
		slots_unorder(&vm->engine->slots, state & STATE_VALUE);
	} else if (state == PAGE_ZERO) {
		vm->counters.zero_pages--;
	} else if (state == PAGE_ZERO_ORDERED) {
		vm->answered++;
	}
}

int vm_remove_region(struct engine_vm *vm, uint32_t page)
{
	struct region *region = vm_region(vm, page);
	uint32_t index = vm->region_last;

	if (region == NULL)
		return remove_beyond(vm, page);
	if (region->first != page)
		return -EPROTO;
	while (vm->regions[index] != region)
		index++;
	memmove(&vm->regions[index], &vm->regions[index + 1], (--vm->region_count - index) * sizeof(*vm->regions));
	vm->ram_pages -= region->pages;
	space_leave(&vm->engine->space, region->global, region->pages);
	fetches_give_up(vm, region); /* before its pages are forgotten: others wait for them */
	for (uint32_t i = 0; (i = region_next(region, i)) < region->pages; i++)
		if (region->state[i] != 0)
			vm_forget((struct page){ region, i }, CHECK_NEVER);
	region_free(region);
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
	vm->heard = true;
	vm->lag_seen_usec = engine->now_usec;
	vm->next_page = 1;
	queue_init(&vm->orders, sizeof(struct ring_record), VM_QUEUE_MAX);
	queue_init(&vm->fetches, sizeof(struct fetch), VM_QUEUE_MAX);
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
	while (vm->fetches.length > 0)
		fetch_pop(vm);
	queue_done(&vm->fetches);
	queue_done(&vm->sightings);
	vm->scan_count = 0;
	slots_owner_free(&engine->slots, vm->owner); /* it takes no more slots; who adopts those it has is charged */
	vm->owner = 0;
	slots_flush(&engine->slots);
}

void engine_remove_vm(struct engine *engine, struct engine_vm *vm)
{
	if (vm == NULL)
		return;
	engine_detach_vm(engine, vm);
	while (vm->region_count > 0)
		vm_remove_region(vm, vm->regions[vm->region_count - 1]->first);
	slots_return(&engine->slots, &vm->window);
	waiters_disown(vm);
	engine->vms[vm->index] = NULL;
	while (engine->vms_end > 0 && engine->vms[engine->vms_end - 1] == NULL)
		engine->vms_end--;
	slots_flush(&engine->slots);
	free(vm);
}

void engine_vm_set_context(struct engine_vm *vm, void *context)
{
	vm->context = context;
}

void *engine_vm_context(const struct engine_vm *vm)
{
	return vm->context;
}
