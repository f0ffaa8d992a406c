/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The engine's one instance of everything. */
#ifndef PAGEFUSE_ENGINE_STATE_H
#define PAGEFUSE_ENGINE_STATE_H

#include "engine/space.h"
#include "engine/vm.h"

#define ENGINE_WAITERS_MAX 65536u
#define WAITER_OF_NONE UINT16_MAX

/**
 * A page that waits for a slot that is being filled; in a list that hangs off the slot. No VM has more of them than are
 * free, so however many VMs take all that they get, there are some left for the next one.
 */
struct waiter {
	uint32_t global;     /* may have changed or gone meanwhile: looked up and checked again */
	uint32_t next : 31;  /* index, 0 at the end */
	uint32_t parity : 1; /* of the barrier before which it began to wait; never before that of the FETCH */
	uint16_t vm;         /* whose page it is, by index; WAITER_OF_NONE: one that is gone */
};

/**
 * A barrier answers "is everything that was ordered before it done?". It waits for the FETCHes from before it, then
 * for the MERGE and ZERO orders that each VM has been given by then. Whoever makes it wait too long is left behind.
 */
struct barrier {
	uint64_t started, completed;
	uint64_t stage_usec; /* when the stage began that it is in */
	bool wanted;         /* start another one when this one is over */
	bool orders;         /* second stage: waits for orders */
	uint32_t fetches[2]; /* FETCHes not answered, by parity of `started` when they (or what they come from) began */
};

/** After a restart: VMs that map old slots are to be heard before anything new is shared; see schedule.c. */
struct reunion {
	bool wanted, began;
	uint64_t began_usec, heard_usec; /* heard: last time that a VM told what it maps */
};

struct engine {
	struct engine_settings settings;
	struct table table;
	struct slots slots;
	struct space space;
	struct engine_vm *vms[ENGINE_VMS_MAX];
	uint32_t vms_end;                          /* above the highest index in use */
	uint32_t turn;                             /* who is the first to be given scans at the next tick */
	uint64_t with_orders[ENGINE_VMS_MAX / 64]; /* bitmap: VMs with orders to be taken */
	struct waiter *waiters;
	uint32_t waiters_free, waiters_top, waiters_used;
	struct barrier barrier;
	struct reunion reunion;
	uint32_t sweep_next; /* partition; TABLE_PARTITIONS when no sweep is under way */
	uint64_t last_ticket;
	uint64_t now_usec;
	uint64_t volatile_skips;
};

static inline uint32_t waiters_left(const struct engine *engine)
{
	return ENGINE_WAITERS_MAX - 1 - engine->waiters_used;
}

/** Sweeps the whole table at once, so that all numbers of regions that are gone are free. */
void sweep_all(struct engine *engine);

#endif
