/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sweeping the table of hints that mean nothing any more, so that the numbers of regions that are gone can be used
 * again.
 */
#ifndef PAGEFUSE_ENGINE_SWEEP_H
#define PAGEFUSE_ENGINE_SWEEP_H

#include <stdbool.h>
#include <stdint.h>

struct engine;

/** Whether a sweep is under way. */
bool sweep_goes_on(const struct engine *engine);
/**
 * Goes on with the sweep under way, a part of the table, or begins one if enough numbers have gone, or a region waits
 * for some. @return whether those that had gone before it are free now.
 */
bool sweep_tick(struct engine *engine);

#endif
