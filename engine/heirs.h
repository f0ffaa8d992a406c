/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who is charged for a slot maps it, or says so. When a page stops to map a slot that others map, nobody knows whether
 * it was the last one of the user who is charged. So the slot is marked, and a walk over all pages looks for one of
 * that user's. Where there is none a second walk looks for one whose VM may be charged for one slot more, which is
 * charged from then on. Where all that map it are at their limits a third walk charges the first of them: who maps it,
 * not who does not. Where all is one user's, there is nothing to look for.
 */
#ifndef PAGEFUSE_ENGINE_HEIRS_H
#define PAGEFUSE_ENGINE_HEIRS_H

#include <stdbool.h>

struct engine;

/** To be called with each tick. */
void heirs_tick(struct engine *engine);
/** Whether it has more to do. */
bool heirs_goes_on(const struct engine *engine);

#endif
