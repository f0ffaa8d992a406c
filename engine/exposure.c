/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/exposure.h"

#include "engine/large.h"
#include "engine/later.h"
#include "engine/rest.h"
#include "engine/stability.h"
#include "engine/state.h"

static uint64_t under_way(const struct page_counts *pages, uint64_t waiting)
{
	return pages->of[PAGES_ORDERED] + pages->of[PAGES_FETCHING] + waiting;
}

static uint64_t committed(const struct page_counts *pages, uint64_t waiting)
{
	return pages->of[PAGES_SHARED] + pages->of[PAGES_ZERO] + under_way(pages, waiting);
}

/* Whether @vm may have one page more, when @pages more are committed by that. */
static bool admits(const struct engine_vm *vm, uint32_t pages)
{
	const struct engine *engine = vm->engine;
	const struct engine_store *store = &engine->slots.store;

	return store->admit_exposure == NULL ||
	       store->admit_exposure(store->context, committed(&engine->pages, engine->waiters.used) + pages,
				     committed(&vm->pages, vm->waiting) + 1, vm->held);
}

void exposure_put_off(struct page page)
{
	struct engine_vm *vm = page.region->vm;

	rest_wake(vm);
	vm->counters.held_pages++;
	blocks_set_unknown(&page.region->blocks, page.index);
	if (stability_is_noted(page))
		later_add(page, vm->engine->now_usec);
}

bool exposure_holds(struct page page, uint32_t pages)
{
	struct engine_vm *vm = page.region->vm;

	vm->held = vm->held || !admits(vm, pages);
	if (vm->held)
		exposure_put_off(page);
	return vm->held;
}

static bool shares(const struct engine_vm *vm)
{
	return vm->ready && !vm->detached && vm_mode(vm) != WIRE_MODE_OFF;
}

void exposure_tick(struct engine *engine)
{
	for (uint32_t i = 0; i < engine->vms_end; i++) {
		struct engine_vm *vm = rest_awake(engine, i);
		bool was;

		if (vm == NULL)
			continue;
		was = vm->held;
		vm->held = shares(vm) && !admits(vm, 1);
		if (was && !vm->held && vm->blocks.ready > 0 && large_most(engine) != ENGINE_LARGE_KEEP)
			engine->release.wanted = true;
	}
}

void engine_exposure(const struct engine *engine, struct engine_exposure *ret)
{
	*ret = (struct engine_exposure){
		.pages = engine->pages.of[PAGES_SHARED] + engine->pages.of[PAGES_ZERO],
		.under_way_pages = under_way(&engine->pages, engine->waiters.used),
	};
	for (uint32_t i = 0; i < engine->vms_end; i++)
		ret->held_vms += engine->vms[i] != NULL && engine->vms[i]->held;
}
