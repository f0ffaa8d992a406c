/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How much memory the engine itself takes. */
#include "engine/estimate.h"
#include "engine/rivals.h"
#include "engine/state.h"

static uint64_t vm_bytes(const struct engine_vm *vm)
{
	return sizeof(*vm) + vm->regions.pages * (sizeof(uint32_t) + sizeof(uint16_t)) +
	       vm->regions.count * sizeof(struct region) + blocks_bytes(&vm->blocks, vm->regions.pages) +
	       (uint64_t)vm->orders.capacity * vm->orders.size + (uint64_t)vm->fetches.capacity * vm->fetches.size +
	       (uint64_t)vm->later.capacity * vm->later.size + (vm->rivals ? RIVALS_SEEN * sizeof(*vm->rivals) : 0) +
	       (uint64_t)vm->looks.capacity * vm->looks.size + (uint64_t)vm->sightings.capacity * vm->sightings.size;
}

uint64_t engine_memory_bytes(const struct engine *engine)
{
	uint64_t bytes = sizeof(*engine) + table_bytes(&engine->table) + slots_bytes(&engine->slots) +
			 space_bytes(&engine->space) + engine->waiters.top * sizeof(struct waiter) +
			 estimate_bytes(engine);

	for (uint32_t i = 0; i < engine->vms_end; i++)
		if (engine->vms[i] != NULL)
			bytes += vm_bytes(engine->vms[i]);
	return bytes;
}
