/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is saved, by whom. A slot's cost of one page is split evenly over its sharers, so a VM saves
 *
 *   saved(vm) = zero(vm) + sum over its shared pages of (1 - 1 / sharers of the slot)
 *
 * and all of them together shared - common + zero, a whole number. The VMs' figures are rounded by largest remainder,
 * so that the rounded ones add up as well. Costs are summed up in units of 2^-32 pages.
 */
#include <stdlib.h>

#include "engine/array.h"
#include "engine/state.h"

struct cost {
	struct engine_vm *vm;
	uint64_t fixed; /* pages * 2^32 */
};

static uint64_t region_cost(const struct slots *slots, const struct region *region)
{
	uint64_t cost = 0;

	for (uint32_t i = 0; (i = region_next(region, i)) < region->pages; i++)
		if (state_kind(region->state[i]) == KIND_SHARED)
			cost += (UINT64_C(1) << 32) / slots_get(slots, region->state[i] & STATE_VALUE)->sharers;
	return cost;
}

static int by_remainder(const void *left, const void *right)
{
	uint32_t a = (uint32_t)((const struct cost *)left)->fixed, b = (uint32_t)((const struct cost *)right)->fixed;

	return (a < b) - (a > b);
}

/*
 * Gives every VM its whole pages of cost, and what is left of @common one by one to those with the largest remainder.
 */
static void set_saved(struct cost *costs, uint32_t count, uint64_t common)
{
	uint64_t left = common;

	for (uint32_t i = 0; i < count; i++)
		left -= costs[i].fixed >> 32;
	qsort(costs, count, sizeof(*costs), by_remainder);
	for (uint32_t i = 0; i < count; i++) {
		struct engine_vm_counters *counted = &costs[i].vm->counted;
		uint64_t cost = costs[i].fixed >> 32;

		if (left > 0 && (uint32_t)costs[i].fixed > 0) {
			cost++;
			left--;
		}
		counted->saved_pages = (int64_t)(counted->shared_pages + counted->zero_pages) - (int64_t)cost;
	}
	for (uint32_t i = 0; i < count && left > 0; i++) { /* units lost in the division */
		costs[i].vm->counted.saved_pages--;
		left--;
	}
}

static uint64_t vm_bytes(const struct engine_vm *vm)
{
	return sizeof(*vm) + vm->regions.pages * sizeof(uint32_t) + vm->regions.count * sizeof(struct region) +
	       (uint64_t)vm->orders.capacity * vm->orders.size + (uint64_t)vm->fetches.capacity * vm->fetches.size +
	       (uint64_t)vm->sightings.capacity * vm->sightings.size;
}

static uint64_t engine_bytes(const struct engine *engine)
{
	uint64_t bytes = sizeof(*engine) + table_bytes(&engine->table) + slots_bytes(&engine->slots) +
			 space_bytes(&engine->space) + engine->waiters.top * sizeof(struct waiter);

	for (uint32_t i = 0; i < engine->vms_end; i++)
		if (engine->vms[i] != NULL)
			bytes += vm_bytes(engine->vms[i]);
	return bytes;
}

void engine_counters(struct engine *engine, struct engine_counters *ret)
{
	struct cost costs[ENGINE_VMS_MAX];
	uint32_t count = 0;

	*ret = (struct engine_counters){
		.common_pages = engine->slots.common,
		.store_pages = engine->slots.stored,
		.memory_bytes = engine_bytes(engine),
		.volatile_skips = engine->volatile_skips,
	};
	for (uint32_t i = 0; i < engine->vms_end; i++) {
		struct engine_vm *vm = engine->vms[i];

		if (vm == NULL)
			continue;
		ret->shared_pages += vm->pages.shared;
		ret->zero_pages += vm->pages.zero;
		costs[count] = (struct cost){ .vm = vm };
		engine_vm_counters(vm, &vm->counted);
		vm->was_counted = true;
		for (uint32_t j = 0; j < vm->regions.count; j++)
			costs[count].fixed += region_cost(&engine->slots, vm->regions.list[j]);
		count++;
	}
	ret->saved_pages = (int64_t)(ret->shared_pages + ret->zero_pages) - (int64_t)ret->common_pages;
	set_saved(costs, count, ret->common_pages);
}

void engine_vm_counters(const struct engine_vm *vm, struct engine_vm_counters *ret)
{
	uint64_t present = vm->counters.present_pages;

	*ret = vm->counters;
	ret->ram_pages = vm->regions.pages;
	ret->beyond_pages = vm->regions.beyond_pages;
	ret->shared_pages = vm->pages.shared;
	ret->zero_pages = vm->pages.zero;
	ret->diverged_pages = vm->pages.diverged;
	/* What it said last may be of before regions came and went, and it has yet to say anything after a restart. */
	if (present < ret->shared_pages)
		present = ret->shared_pages;
	ret->present_pages = present < ret->ram_pages ? present : ret->ram_pages;
}

void engine_vm_last_counted(const struct engine_vm *vm, struct engine_vm_counters *ret)
{
	if (vm->was_counted)
		*ret = vm->counted;
	else
		engine_vm_counters(vm, ret);
}
