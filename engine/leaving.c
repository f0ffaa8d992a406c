/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/leaving.h"

#include "engine/state.h"

void leaving_add(struct engine *engine, struct region *region)
{
	region->vm = NULL;
	region->counts = NULL;
	region->next = engine->leaving;
	region->left = 0;
	engine->leaving = region;
}

static void give_back(struct engine *engine, uint32_t state)
{
	if (state_kind(state) == KIND_SHARED)
		slots_unshare(&engine->slots, state & STATE_VALUE);
	else if (state_kind(state) == KIND_ORDERED)
		slots_unorder(&engine->slots, state & STATE_VALUE);
}

void leaving_go_on(struct engine *engine, uint32_t most)
{
	while (engine->leaving != NULL && most > 0) {
		struct region *region = engine->leaving;

		while (most > 0 && (region->left = region_next(region, region->left)) < region->pages) {
			give_back(engine, region->state[region->left++]);
			most--;
		}
		region->left = region_next(region, region->left);
		if (region->left < region->pages)
			return;
		engine->leaving = region->next;
		region_free(region);
	}
}

bool leaving_goes_on(const struct engine *engine)
{
	return engine->leaving != NULL;
}

void leaving_done(struct engine *engine)
{
	while (engine->leaving != NULL) {
		struct region *region = engine->leaving;

		engine->leaving = region->next;
		region_free(region);
	}
}
