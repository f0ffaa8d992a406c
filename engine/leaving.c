/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/leaving.h"

#include "engine/state.h"

void leaving_add(struct engine *engine, struct region *region)
{
	struct region **last = &engine->leaving.first;

	region->vm = NULL;
	region->counts = NULL;
	region->next = NULL;
	region->left = 0;
	if (engine->leaving.last != NULL)
		last = &engine->leaving.last->next;
	*last = engine->leaving.last = region;
	engine->leaving.added++;
}

/* The first region has given back everything. */
static void gone(struct engine *engine)
{
	struct region *region = engine->leaving.first;

	engine->leaving.first = region->next;
	if (region->next == NULL)
		engine->leaving.last = NULL;
	engine->leaving.gone++;
	region_free(region);
}

/* @return whether it held anything. */
static bool give_back(struct engine *engine, uint32_t state)
{
	if (state_kind(state) == KIND_SHARED)
		slots_unshare(&engine->slots, state & STATE_VALUE);
	else if (state_kind(state) == KIND_ORDERED)
		slots_unorder(&engine->slots, state & STATE_VALUE);
	return state_kind(state) == KIND_SHARED || state_kind(state) == KIND_ORDERED;
}

/* Goes on in the block in which @region->left is. @return what is left of @most, less than 0 if that was not enough. */
static int64_t go_on_in_block(struct engine *engine, struct region *region, int64_t most)
{
	uint32_t end = region->left - region->left % REGION_BLOCK + REGION_BLOCK;

	end = end < region->pages ? end : region->pages;
	most -= LEAVING_BLOCK;
	while (region->left < end && most >= 0)
		most -= give_back(engine, region->state[region->left++]) ? LEAVING_HELD : 0;
	return most;
}

static int64_t go_on(struct engine *engine, int64_t left)
{
	while (leaving_goes_on(engine) && left > 0) {
		struct region *region = engine->leaving.first;

		while (left > 0 && (region->left = region_next(region, region->left)) < region->pages)
			left = go_on_in_block(engine, region, left);
		region->left = region_next(region, region->left);
		if (region->left < region->pages)
			return left;
		left -= LEAVING_REGION;
		gone(engine);
	}
	return left;
}

void leaving_go_on(struct engine *engine, uint32_t most)
{
	engine->steps += (uint64_t)(most - go_on(engine, most)) / LEAVING_HELD;
}

void leaving_done(struct engine *engine)
{
	while (leaving_goes_on(engine))
		gone(engine);
}

uint64_t engine_leaving_ticket(const struct engine *engine)
{
	return engine->leaving.added;
}

bool engine_has_given_back(const struct engine *engine, uint64_t ticket)
{
	return engine->leaving.gone >= ticket;
}
