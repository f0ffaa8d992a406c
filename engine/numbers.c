/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/numbers.h"

#include "engine/state.h"

#define STEPS_OF_SEARCH (SPACE_BLOCKS / 64) /* a look at a block is a small part of a page's work */
#define CHUNKS_PER_STEP 64u

void numbers_freed(void *context, void *account, uint64_t pages)
{
	const struct engine *engine = context;
	const struct engine_store *store = &engine->slots.store;

	if (account && store->give_numbers)
		store->give_numbers(store->context, account, pages);
}

static bool charge(const struct engine_vm *vm, uint64_t pages)
{
	const struct engine_store *store = &vm->engine->slots.store;

	return vm->account == NULL || store->take_numbers == NULL ||
	       store->take_numbers(store->context, vm->account, pages);
}

bool numbers_take(struct engine_vm *vm, struct region *region)
{
	struct engine *engine = vm->engine;
	uint64_t numbers = space_numbers(region->pages);

	if (!charge(vm, numbers))
		return false;
	engine->steps += STEPS_OF_SEARCH + numbers / SPACE_CHUNK_PAGES / CHUNKS_PER_STEP;
	region->global = space_take(&engine->space, region, region->pages);
	if (region->global == 0)
		numbers_freed(engine, vm->account, numbers);
	return region->global != 0;
}

void numbers_leave(struct engine_vm *vm, const struct region *region)
{
	struct engine *engine = vm->engine;

	engine->steps += region->pages / SPACE_CHUNK_PAGES / CHUNKS_PER_STEP;
	space_leave(&engine->space, region->global, region->pages, vm->account);
}
