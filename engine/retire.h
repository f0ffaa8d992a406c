/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Segments that are nearly dead: offsets are not used twice, so a single slot that lives on keeps a segment's number,
 * its bookkeeping and its file. Where segments are many and nearly empty, the pages that still map one are told to take
 * copies of their own again, one segment at a time, and it goes with the last of them.
 */
#ifndef PAGEFUSE_ENGINE_RETIRE_H
#define PAGEFUSE_ENGINE_RETIRE_H

#include <stdbool.h>

struct engine;

/** Goes on with the segment that is being emptied, or looks for one. */
void retire_tick(struct engine *engine);
/** Whether it wants to go on soon. */
bool retire_goes_on(const struct engine *engine);

#endif
