/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Regions that have left, with or without their VM: they count no more and no page number names them, but what their
 * pages hold of slots is given back bit by bit, as they can be of terabytes.
 */
#ifndef PAGEFUSE_ENGINE_LEAVING_H
#define PAGEFUSE_ENGINE_LEAVING_H

#include <stdbool.h>
#include <stdint.h>

#define LEAVING_PER_REPORT 512u
#define LEAVING_PER_TICK 4096u

struct engine;
struct region;

/** Takes over @region, which is no VM's any more. */
void leaving_add(struct engine *engine, struct region *region);
/** Has at most @most pages give back what they hold. */
void leaving_go_on(struct engine *engine, uint32_t most);
bool leaving_goes_on(const struct engine *engine);
/** Frees what is left, and changes nothing else: for the end of the whole engine. */
void leaving_done(struct engine *engine);

#endif
