/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/sweep.h"

#include "engine/state.h"

#define SWEEP_PLACES 65536u

bool sweep_goes_on(const struct engine *engine)
{
	return engine->sweep_next < TABLE_PARTITIONS;
}

static void sweep_begin(struct engine *engine)
{
	space_sweep_begins(&engine->space);
	engine->sweep_next = 0;
}

static void sweep_on(struct engine *engine, uint64_t places)
{
	while (engine->sweep_next < TABLE_PARTITIONS) {
		uint32_t size = engine->table.partitions[engine->sweep_next].places;

		table_sweep(&engine->table, engine->sweep_next++);
		if (places <= size)
			break;
		places -= size;
	}
	if (engine->sweep_next == TABLE_PARTITIONS)
		space_sweep_ended(&engine->space);
}

void sweep_all(struct engine *engine)
{
	if (engine->sweep_next < TABLE_PARTITIONS)
		sweep_on(engine, UINT64_MAX);
	sweep_begin(engine);
	sweep_on(engine, UINT64_MAX);
}

void sweep_tick(struct engine *engine)
{
	const struct space *space = &engine->space;

	if (engine->sweep_next < TABLE_PARTITIONS)
		sweep_on(engine, SWEEP_PLACES);
	else if (space->gone_count >= 1024 || /* many, compared with what a sweep costs */
		 (space->gone_count > 0 && space->gone_chunks * SPACE_CHUNK_PAGES * 8 >= table_count(&engine->table)))
		sweep_begin(engine);
}
