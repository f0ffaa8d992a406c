/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Regions that have left, with or without their VM. They do not count any more and no page number names them, but the
 * slots that their pages hold are given back bit by bit, since a region can have terabytes. While there are any, every
 * report pays for giving back more than one report can add: so a VM that registers regions, fills them and removes them
 * cannot pile them up.
 */
#ifndef PAGEFUSE_ENGINE_LEAVING_H
#define PAGEFUSE_ENGINE_LEAVING_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/state.h"

/**
 * Work for: a page that gives back a slot, possibly with a system call; a look at the pages of a block that was
 * reported of; freeing the memory of a region.
 */
#define LEAVING_HELD 12u
#define LEAVING_BLOCK 16u
#define LEAVING_REGION 64u
#define LEAVING_PER_TICK (4096 * LEAVING_HELD)
#define LEAVING_PER_REMOVAL (512 * LEAVING_HELD)
#define LEAVING_PER_REPORT 32u /* and LEAVING_HELD for each page that a report adopts: no report adds more */

struct region;

/** Takes over @region, which no VM has any more. */
void leaving_add(struct engine *engine, struct region *region);
/** Does @most work, or as much as there is. */
void leaving_go_on(struct engine *engine, uint32_t most);
static inline bool leaving_goes_on(const struct engine *engine)
{
	return engine->leaving.first != NULL;
}
/** Frees what is left, and changes nothing else: for the end of the whole engine. */
void leaving_done(struct engine *engine);

#endif
