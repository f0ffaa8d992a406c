/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/heirs.h"

#include "engine/state.h"

/* At each tick: looks at pages, of which one at a slot counts as so many, since that is somewhere else in memory. */
#define LOOKS 65536
#define LOOKS_AT_SLOT 16
#ifndef HEIRS_REST_USEC
#define HEIRS_REST_USEC UINT64_C(10000000) /* between two walks; tests build with others */
#endif
#define REST_TIMES 9u /* and so many times as long as the last one took */

static bool is_of_its_user(const struct slots *slots, const struct slot *slot, const struct engine_vm *vm)
{
	return slots->owners[slot->owner].account == vm->account;
}

/* Whether @vm is to be charged for a slot that it maps, and another user is charged for. */
static bool inherits(const struct engine *engine, const struct engine_vm *vm)
{
	if (engine->heirs.phase == HEIRS_OWNERS || vm->owner == 0)
		return false;
	return engine->heirs.phase == HEIRS_BEYOND || slots_admit(&engine->slots, vm->owner);
}

static void look_at_slot(struct engine *engine, const struct engine_vm *vm, uint32_t number)
{
	struct heirs *heirs = &engine->heirs;
	struct slot *slot = slots_get(&engine->slots, number);

	if (slot->left != heirs->mark)
		return;
	if (heirs->phase == HEIRS_OWNERS && is_of_its_user(&engine->slots, slot, vm)) {
		slot->left = SLOT_LEFT_NOT;
	} else if (inherits(engine, vm)) {
		slots_recharge(&engine->slots, number, vm->owner);
		slot->left = SLOT_LEFT_NOT;
	} else {
		heirs->left_some = true;
	}
}

/* @return whether all its pages have been seen. */
static bool walk_region(struct engine *engine, const struct region *region, int32_t *looks)
{
	struct heirs *heirs = &engine->heirs;

	while ((heirs->page = region_next(region, heirs->page)) < region->pages) {
		uint32_t state = region->state[heirs->page];

		if (*looks <= 0)
			return false;
		--*looks;
		if (state_kind(state) == KIND_SHARED) {
			look_at_slot(engine, region->vm, state & STATE_VALUE);
			*looks -= LOOKS_AT_SLOT;
		}
		heirs->page++;
	}
	return true;
}

/* @return whether all have been. */
static bool walk(struct engine *engine)
{
	struct heirs *heirs = &engine->heirs;
	int32_t looks = LOOKS;

	for (; heirs->vm < engine->vms_end; heirs->vm++, heirs->region = 0) {
		const struct engine_vm *vm = engine->vms[heirs->vm];

		for (; vm && heirs->region < vm->regions.count; heirs->region++, heirs->page = 0)
			if (!walk_region(engine, vm->regions.list[heirs->region], &looks))
				return false;
	}
	return true;
}

static void begin_walk(struct heirs *heirs, enum heirs_phase phase)
{
	heirs->phase = phase;
	heirs->left_some = false;
	heirs->vm = heirs->region = heirs->page = 0;
}

static void begin(struct engine *engine)
{
	struct heirs *heirs = &engine->heirs;

	heirs->next_usec = engine->now_usec + HEIRS_REST_USEC;
	if (!engine->slots.left_some || !slots_have_accounts(&engine->slots))
		return;
	heirs->begun_usec = engine->now_usec;
	heirs->mark = slots_change_mark(&engine->slots);
	begin_walk(heirs, HEIRS_OWNERS);
}

void heirs_tick(struct engine *engine)
{
	struct heirs *heirs = &engine->heirs;

	if (heirs->phase == HEIRS_NONE) {
		if (engine->now_usec >= heirs->next_usec)
			begin(engine);
	} else if (walk(engine)) {
		if (heirs->left_some && heirs->phase != HEIRS_BEYOND) {
			begin_walk(heirs, heirs->phase == HEIRS_OWNERS ? HEIRS_WITHIN : HEIRS_BEYOND);
			return;
		}
		heirs->phase = HEIRS_NONE;
		heirs->next_usec = engine->now_usec + HEIRS_REST_USEC +
				   REST_TIMES * (engine->now_usec - heirs->begun_usec);
	}
}

bool heirs_goes_on(const struct engine *engine)
{
	return engine->heirs.phase != HEIRS_NONE;
}
