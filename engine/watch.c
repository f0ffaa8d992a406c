/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/watch.h"

#include "engine/fetches.h"
#include "engine/rest.h"
#include "engine/state.h"

#define SECOND_USEC UINT64_C(1000000)
#define SILENCE_USEC (10 * SECOND_USEC)
#define STUCK_USEC (30 * SECOND_USEC)
#define WATCHED_USEC_MAX SECOND_USEC /* of the time between two ticks */

static bool owes_answers(const struct engine_vm *vm)
{
	return vm->orders.length > 0 || vm->fetches.length > 0 || vm->scan_count > 0 || vm->issued != vm->answered ||
	       vm->unsharing.count > 0;
}

/* Notes what was answered. @return whether answers are @owed and their number, @done, has stayed the same for long. */
static bool watch_progress(struct progress *progress, uint64_t now, bool owed, uint64_t done)
{
	if (!owed || done != progress->done)
		*progress = (struct progress){ .done = done, .since_usec = now };
	return now - progress->since_usec >= STUCK_USEC;
}

static bool answers_nothing(struct engine_vm *vm)
{
	uint64_t now = vm->engine->watched_usec;
	bool fetches = watch_progress(&vm->progress[0], now, vm->fetches.length > 0, vm->fetched);
	bool orders = watch_progress(&vm->progress[1], now, vm->issued != vm->answered, vm->answered);
	bool scans = watch_progress(&vm->progress[2], now, vm->scan_count > 0, vm->scanned);
	bool unshares =
		watch_progress(&vm->progress[3], now, vm->unsharing.count > 0, vm->unsharing.answered);

	return fetches || orders || scans || unshares;
}

/* Time with a full queue counts, and is forgotten as slowly as it came: a short moment of room does not clear a VM. */
static void watch_lag(struct engine_vm *vm)
{
	uint64_t now = vm->engine->watched_usec, passed = now - vm->lag_seen_usec;

	vm->lag_seen_usec = now;
	if (vm->orders.length >= VM_QUEUE_MAX / 2 || vm->fetches.length >= VM_QUEUE_MAX / 2)
		vm->lag_usec = vm->lag_usec + passed < SILENCE_USEC ? vm->lag_usec + passed : SILENCE_USEC;
	else
		vm->lag_usec = vm->lag_usec > passed ? vm->lag_usec - passed : 0;
	if (vm->lag_usec == 0 || vm->lag_usec == SILENCE_USEC)
		vm->lagging = vm->lag_usec != 0;
}

static void watch(struct engine_vm *vm)
{
	uint64_t now = vm->engine->watched_usec;
	bool was = vm->unresponsive;

	if (vm->heard || !owes_answers(vm))
		vm->silent_since_usec = now;
	vm->heard = false;
	vm->unresponsive = answers_nothing(vm) || now - vm->silent_since_usec >= SILENCE_USEC;
	if (vm->unresponsive && !was)
		fetches_give_up(vm, NULL);
	watch_lag(vm);
}

void watch_tick(struct engine *engine, uint64_t passed_usec)
{
	engine->watched_usec += passed_usec < WATCHED_USEC_MAX ? passed_usec : WATCHED_USEC_MAX;
	for (uint32_t i = 0; i < engine->vms_end; i++) {
		struct engine_vm *vm = rest_awake(engine, i);

		if (vm != NULL)
			watch(vm);
	}
}
