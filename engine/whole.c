/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of Operation. A block of which something was merged is BROKEN: its worker keeps it from collapsing, as a
 * collapse fills the holes of zeros that were given back. Once memory has been plentiful for long enough, walks go over
 * the broken blocks of each VM. One in which nothing is shared or zero, or little where the settings say so, becomes a
 * WHOLE order. Whether it can be done only the worker knows, and it looks at everything anew.
 *
 * To make a 2 MiB page takes the kernel a copy of it, with all who touch that memory waiting. So there is one order
 * under way for a VM, and a pause after each: ten blocks in a second. Blocks that stayed as they were have their turn
 * again with the next walk; the pause between walks doubles while none is given back.
 */
#include "engine/whole.h"

#include <errno.h>

#include "engine/large.h"
#include "engine/orders.h"
#include "engine/state.h"

#define WHOLE_LOOKS_INSIDE 64u /* what a look at the states of all pages in a block counts as */
#define WHOLE_PAUSE_USEC UINT64_C(100000)
#define WHOLE_WAIT_USEC UINT64_C(5000000)
#define WHOLE_WAIT_MAX_USEC UINT64_C(60000000)

static bool is_wanted(const struct engine_vm *vm)
{
	return vm->engine->settings.large_back && !vm->lacks_whole && vm->ready && !vm->detached && !vm->unresponsive &&
	       !vm->unsharing.active && !vm->engine->resync.wanted && vm->blocks.broken > 0;
}

void whole_settings_changed(struct engine *engine)
{
	for (uint32_t i = 0; i < engine->vms_end; i++) {
		struct engine_vm *vm = engine->vms[i];

		if (vm != NULL)
			vm->whole.region = vm->whole.block = vm->whole.next_usec = vm->whole.wait_usec = 0;
	}
}

/* Moves on to the next region that has broken blocks. @return it, or NULL at the end of the walk, or of the @looks. */
static struct region *region_at(struct engine_vm *vm, uint32_t *looks)
{
	struct whole *whole = &vm->whole;

	for (; whole->region<vm->regions.count && * looks> 0; --*looks) {
		struct region *region = vm->regions.list[whole->region];

		if (region->blocks.own.broken > 0 && whole->block < region->blocks.count)
			return region;
		whole->region++;
		whole->block = 0;
	}
	return NULL;
}

/* How many pages of a block may be given memory of their own, so that the rest can be a 2 MiB page. */
static uint32_t most_shared(const struct engine *engine)
{
	const struct engine_settings *settings = &engine->settings;

	if (large_most(engine) == ENGINE_LARGE_ALWAYS) /* it would be split for them at once */
		return 0;
	return settings->large_back_pages < settings->dense_pages ? settings->large_back_pages
								  : settings->dense_pages - 1;
}

/* Whether no more than @most pages are shared or zero, and none is about to be. */
static bool may_be_whole(const struct region *region, uint32_t first, uint32_t end, uint32_t most)
{
	uint32_t found = 0;

	for (uint32_t i = first; i < end && found <= most; i++) {
		uint32_t state = region->state[i];

		if (state_kind(state) == KIND_SHARED || state == PAGE_ZERO)
			found++;
		else if (state_kind(state) != KIND_PRIVATE)
			return false;
	}
	return found <= most;
}

/* Orders the block at hand to be whole if that is its turn, and moves on. @return whether it was ordered. */
static bool take_block(struct engine_vm *vm, const struct region *region, uint32_t *looks)
{
	const struct blocks *blocks = &region->blocks;
	struct whole *whole = &vm->whole;
	uint32_t start = whole->block * ENGINE_BLOCK_PAGES;
	uint32_t first = start > blocks->before ? start - blocks->before : 0;
	uint32_t end = start + ENGINE_BLOCK_PAGES - blocks->before;
	bool broken = (blocks->list[whole->block++].flags & BLOCK_BROKEN) != 0;
	uint32_t steps = broken ? WHOLE_LOOKS_INSIDE : 1, most = most_shared(vm->engine);

	*looks -= steps < *looks ? steps : *looks;
	end = end < region->pages ? end : region->pages;
	if (!broken || !may_be_whole(region, first, end, most) ||
	    !orders_whole(vm, region->first + first, end - first, most))
		return false;
	whole->page = region->first + first;
	whole->count = end - first;
	return true;
}

static void end_walk(struct engine_vm *vm)
{
	struct whole *whole = &vm->whole;

	whole->wait_usec = whole->gave || whole->wait_usec == 0 ? WHOLE_WAIT_USEC : 2 * whole->wait_usec;
	if (whole->wait_usec > WHOLE_WAIT_MAX_USEC)
		whole->wait_usec = WHOLE_WAIT_MAX_USEC;
	whole->next_usec = vm->engine->now_usec + whole->wait_usec;
	whole->region = whole->block = 0;
	whole->gave = false;
}

void whole_tick(struct engine_vm *vm, uint32_t *looks)
{
	struct whole *whole = &vm->whole;

	if (!is_wanted(vm) || whole->count > 0 || whole->next_usec > vm->engine->now_usec)
		return;
	while (*looks > 0) {
		const struct region *region = region_at(vm, looks);

		if (region != NULL && take_block(vm, region, looks))
			return;
		if (region == NULL && whole->region >= vm->regions.count) {
			end_walk(vm);
			return;
		}
	}
}

int whole_broken(struct engine_vm *vm, const struct ring_record *report)
{
	struct region *region;
	int r = regions_find_run(&vm->regions, report->page, report->count, &region);

	if (r == 0 && region != NULL)
		blocks_set_broken(&region->blocks, report->page - region->first);
	return r;
}

int whole_answered(struct engine_vm *vm, const struct ring_record *report)
{
	struct whole *whole = &vm->whole;
	struct region *region = vm_region(vm, report->page);

	if (whole->count == 0 || report->page != whole->page || report->count != whole->count)
		return -EPROTO;
	whole->count = 0;
	whole->next_usec = vm->engine->now_usec + WHOLE_PAUSE_USEC;
	whole->gave |= report->value != WHOLE_KEPT;
	if (region != NULL && report->value != WHOLE_KEPT)
		blocks_mended(&region->blocks, report->page - region->first);
	return 0;
}

uint64_t whole_next_usec(const struct engine_vm *vm)
{
	return is_wanted(vm) && vm->whole.count == 0 ? vm->whole.next_usec : UINT64_MAX;
}
