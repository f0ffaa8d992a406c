/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * VMs that do not keep up. One that has orders and says nothing for ten seconds, or answers none of a kind for 30,
 * whatever else it says, is unresponsive: what others wait for from it is given up. One whose queue has been over half
 * full for ten seconds longer than not is lagging. Neither delays other VMs.
 *
 * Time counts while the engine looks: of a longer time between two ticks, one second. A daemon that was stopped, or a
 * host that was suspended, has not seen what its VMs have said meanwhile.
 */
#ifndef PAGEFUSE_ENGINE_WATCH_H
#define PAGEFUSE_ENGINE_WATCH_H

#include <stdint.h>

struct engine;

/** A look at each VM that is awake, @passed_usec after the last one. */
void watch_tick(struct engine *engine, uint64_t passed_usec);

#endif
