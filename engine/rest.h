/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * VMs at rest: nothing is under way for them and nothing is due, so ticks skip them, and the cost of a thousand VMs
 * depends on events and not on their number. An order, a report, a request or a due time wakes a VM, and then it is as
 * if all ticks had looked at it. Effects of other VMs, such as being held for their exposure, are noticed once a
 * second, when all are woken.
 */
#ifndef PAGEFUSE_ENGINE_REST_H
#define PAGEFUSE_ENGINE_REST_H

#include "engine/state.h"

/** The VM with that index in engine->vms, if there is one and it is awake; else NULL. */
static inline struct engine_vm *rest_awake(const struct engine *engine, uint32_t index)
{
	return engine->rest.until_usec[index] == 0 ? engine->vms[index] : NULL;
}

/** Of rest_wake(): @vm is at rest. */
void rest_wake_up(struct engine_vm *vm);
/** The next tick has, or may have, something to do for @vm. */
static inline void rest_wake(struct engine_vm *vm)
{
	if (vm->engine->rest.until_usec[vm->index] != 0)
		rest_wake_up(vm);
}
void rest_wake_all(struct engine *engine);
/** Before the clock goes on to @now_usec: wakes those for which something is due then. */
void rest_tick(struct engine *engine, uint64_t now_usec);
/** At the end of a tick that has looked at @vm: lets it rest if it can, until @due_usec. */
void rest_let(struct engine_vm *vm, uint64_t due_usec);
/** When the first of those at rest is to be woken, or all are. */
uint64_t rest_next_usec(const struct engine *engine);
/** Whether nothing is under way for @vm that needs an answer or another tick. */
bool rest_is_possible(const struct engine_vm *vm);

#endif
