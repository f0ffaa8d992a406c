/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is saved, by whom. All counts are kept up where a page or a slot changes, so that telling them takes a look at
 * each VM and none at its pages. The slots in use are a cost, which is divided among the VMs by their shared pages:
 *
 *   saved(vm) = shared(vm) + zero(vm) - common * shared(vm) / shared
 *
 * and all of them together are shared - common + zero, a whole number. They are rounded so that the rounded ones add
 * up, too: a VM's part of the cost is what the sum of the parts up to it, rounded down, is more than that before it.
 */
#include "engine/state.h"

/* After all have been counted. */
static void set_saved(struct engine *engine, const struct engine_counters *host)
{
	uint64_t shared = 0, cost = 0;

	for (uint32_t i = 0; i < engine->vms_end; i++) {
		struct engine_vm_counters *counted = engine->vms[i] ? &engine->vms[i]->counted : NULL;
		uint64_t before = cost;

		if (counted == NULL)
			continue;
		shared += counted->shared_pages;
		if (host->shared_pages > 0) /* of up to 2^31 pages each: no overflow */
			cost = host->common_pages * shared / host->shared_pages;
		counted->saved_pages =
			(int64_t)(counted->shared_pages + counted->zero_pages) - (int64_t)(cost - before);
	}
}

/* Pages that the VM's mode does not let it share save nothing. */
static uint64_t would_save(const struct engine_vm *vm)
{
	return vm_mode(vm) == WIRE_MODE_OFF ? 0 : vm->blocks.twins;
}

void engine_counters(struct engine *engine, struct engine_counters *ret)
{
	*ret = (struct engine_counters){
		.common_pages = engine->slots.common,
		.store_pages = engine->slots.stored,
	};
	for (uint32_t i = 0; i < engine->vms_end; i++) {
		struct engine_vm *vm = engine->vms[i];

		if (vm == NULL)
			continue;
		ret->shared_pages += vm->pages.of[PAGES_SHARED];
		ret->zero_pages += vm->pages.of[PAGES_ZERO];
		ret->large_blocks += vm->blocks.large;
		ret->broken_blocks += vm->blocks.broken;
		ret->ready_pages += vm->blocks.ready;
		ret->would_save_pages += would_save(vm);
		ret->held_vms += vm->held;
		engine_vm_counters(vm, &vm->counted);
		vm->was_counted = true;
	}
	ret->saved_pages = (int64_t)(ret->shared_pages + ret->zero_pages) - (int64_t)ret->common_pages;
	set_saved(engine, ret);
}

uint64_t engine_stored_pages(const struct engine *engine)
{
	return engine->slots.stored;
}

void engine_vm_counters(const struct engine_vm *vm, struct engine_vm_counters *ret)
{
	uint64_t present = vm->counters.present_pages;

	*ret = vm->counters;
	ret->ram_pages = vm->regions.pages;
	ret->beyond_pages = vm->regions.beyond_pages;
	ret->shared_pages = vm->pages.of[PAGES_SHARED];
	ret->zero_pages = vm->pages.of[PAGES_ZERO];
	ret->diverged_pages = vm->pages.of[PAGES_DIVERGED];
	ret->large_blocks = vm->blocks.large;
	ret->broken_blocks = vm->blocks.broken;
	ret->ready_pages = vm->blocks.ready;
	ret->would_save_pages = would_save(vm);
	ret->unsharing_pages = engine_pages_to_unshare(vm);
	ret->held = vm->held;
	/* Its last report may be from before regions came and went, and after a restart there is none yet. */
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
