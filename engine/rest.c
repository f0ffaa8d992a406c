/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/rest.h"

#define REST_USEC UINT64_C(1000000) /* between two ticks that look at all */

/* Sets @vm's times as if each tick so far had looked at it, and found that it owes nothing: see watch.c. */
static void note_watched(struct engine_vm *vm)
{
	uint64_t now = vm->engine->watched_usec;

	vm->silent_since_usec = vm->lag_seen_usec = now;
	for (unsigned i = 0; i < sizeof(vm->progress) / sizeof(*vm->progress); i++)
		vm->progress[i].since_usec = now;
}

void rest_wake_up(struct engine_vm *vm)
{
	note_watched(vm);
	vm->engine->rest.until_usec[vm->index] = 0;
}

void rest_wake_all(struct engine *engine)
{
	for (uint32_t i = 0; i < engine->vms_end; i++)
		if (engine->vms[i] != NULL)
			rest_wake(engine->vms[i]);
}

void rest_tick(struct engine *engine, uint64_t now_usec)
{
	struct rest *rest = &engine->rest;

	if (now_usec - rest->all_usec >= REST_USEC) {
		rest->all_usec = now_usec;
		rest_wake_all(engine);
		return;
	}
	for (uint32_t i = 0; i < engine->vms_end; i++)
		if (rest->until_usec[i] != 0 && rest->until_usec[i] <= now_usec)
			rest_wake(engine->vms[i]);
}

bool rest_is_possible(const struct engine_vm *vm)
{
	bool owes = vm->fetches.length > 0 || vm->scan_count > 0 || vm->issued != vm->answered ||
		    vm->unsharing.count > 0 || vm->whole.count > 0;
	bool ordered = vm->orders.length > 0 || vm->looks.length > 0;
	bool goes_on = vm->pass_ticket != 0 || vm->ended_count > 0 || vm->unsharing.active || vm->survey.active;
	bool watched = vm->unresponsive || vm->lag_usec > 0 || vm->held;

	return !owes && !ordered && !goes_on && !watched && !vm->engine->resync.wanted;
}

void rest_let(struct engine_vm *vm, uint64_t due_usec)
{
	if (due_usec > vm->engine->now_usec && rest_is_possible(vm))
		vm->engine->rest.until_usec[vm->index] = due_usec;
}

uint64_t rest_next_usec(const struct engine *engine)
{
	uint64_t next = engine->rest.all_usec + REST_USEC;

	for (uint32_t i = 0; i < engine->vms_end; i++)
		if (engine->rest.until_usec[i] != 0 && engine->rest.until_usec[i] < next)
			next = engine->rest.until_usec[i];
	return next;
}
