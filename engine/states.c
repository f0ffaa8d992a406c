/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What pages are, for who looks at all of a VM's. Nothing is changed by it. */
#include "engine/stability.h"
#include "engine/state.h"

static enum engine_page_state private_state(struct page page, uint32_t state, uint64_t now_usec)
{
	if (blocks_of(&page.region->blocks, page.index)->flags & BLOCK_LARGE)
		return ENGINE_PAGE_HUGE;
	if (stability_wait_usec(page, now_usec) > 0)
		return ENGINE_PAGE_BUSY;
	return state & PRIVATE_COPY ? ENGINE_PAGE_DIVERGED : ENGINE_PAGE_PRIVATE;
}

static enum engine_page_state state_of(struct page page, uint32_t state, uint64_t now_usec)
{
	switch (state_kind(state)) {
	case KIND_PRIVATE:
		return private_state(page, state, now_usec);
	case KIND_SHARED:
		return ENGINE_PAGE_SHARED;
	default:
		return state == PAGE_ZERO ? ENGINE_PAGE_ZERO : ENGINE_PAGE_BUSY;
	}
}

uint32_t engine_pages_alike(const struct engine_vm *vm, uint32_t page, uint32_t most, enum engine_page_state *ret_state)
{
	const struct region *region = regions_from(&vm->regions, page);
	uint32_t end, count;

	if (region == NULL || region->first > page) {
		*ret_state = ENGINE_PAGE_ABSENT;
		return region == NULL || region->first - page > most ? most : region->first - page;
	}
	count = page - region->first;
	end = region->pages - count < most ? region->pages : count + most;
	*ret_state = ENGINE_PAGE_PRIVATE;
	while (count < end && !region->touched[count / REGION_BLOCK])
		count = count - count % REGION_BLOCK + REGION_BLOCK;
	return (count < end ? count : end) - (page - region->first);
}

void engine_page_states(struct engine_vm *vm, uint32_t page, uint32_t count, enum engine_page_state *ret_states,
			uint32_t *ret_slots)
{
	for (uint32_t i = 0; i < count; i++) {
		struct region *region = vm_region(vm, page + i);
		uint32_t state;

		ret_states[i] = ENGINE_PAGE_ABSENT;
		if (region == NULL)
			continue;
		state = region->state[page + i - region->first];
		ret_states[i] = state_of((struct page){ region, page + i - region->first }, state,
					 vm->engine->now_usec);
		ret_slots[i] = state & STATE_VALUE;
	}
}
