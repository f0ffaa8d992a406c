/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/sweep.h"

#include "engine/state.h"

#define SWEEP_PLACES 65536u /* of the table, at each tick; a partition at least */
#define SWEEP_PLACES_PER_STEP 16u

bool sweep_goes_on(const struct engine *engine)
{
	return engine->sweep_next < TABLE_PARTITIONS || engine->space.frees;
}

static void sweep_on(struct engine *engine)
{
	uint64_t places = SWEEP_PLACES;

	while (engine->sweep_next < TABLE_PARTITIONS) {
		uint32_t size = engine->table.partitions[engine->sweep_next].places;

		table_sweep(&engine->table, engine->sweep_next++);
		engine->steps += size / SWEEP_PLACES_PER_STEP;
		if (places <= size)
			break;
		places -= size;
	}
	if (engine->sweep_next == TABLE_PARTITIONS)
		space_sweep_ended(&engine->space);
}

/* There are many, compared with what a sweep costs; or somebody waits for them. */
static bool is_worth_it(const struct engine *engine)
{
	const struct space *space = &engine->space;

	if (space->gone.count == 0)
		return false;
	return engine->waiting.regions > 0 || space->gone.count >= 1024 ||
	       space->gone_chunks * SPACE_CHUNK_PAGES * 8 >= table_count(&engine->table);
}

bool sweep_tick(struct engine *engine)
{
	if (engine->sweep_next < TABLE_PARTITIONS) {
		sweep_on(engine);
	} else if (engine->space.frees) {
		engine->steps += SPACE_FREED_CHUNKS / SWEEP_PLACES_PER_STEP;
		return !space_free(&engine->space);
	} else if (is_worth_it(engine)) {
		space_sweep_begins(&engine->space);
		engine->sweep_next = 0;
	}
	return false;
}
