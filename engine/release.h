/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Known matches inside 2 MiB pages are merged by their ready hashes, without another look at the pages: when more may
 * be split than before, and when a 2 MiB page has become dense enough. The densest first, bit by bit.
 */
#ifndef PAGEFUSE_ENGINE_RELEASE_H
#define PAGEFUSE_ENGINE_RELEASE_H

#include <stdbool.h>
#include <stdint.h>

struct engine;
struct engine_settings;

#define RELEASE_LOOKS_PER_TICK 65536u /* at VMs, regions and blocks */
#define RELEASE_LOOKS_INSIDE 128u     /* what a look at all pages of a block counts as */
#define RELEASE_PAGES_PER_TICK 4096u

/** The settings of @engine were @before until now. */
void release_settings_changed(struct engine *engine, const struct engine_settings *before);
/** Goes on with it: at most @most pages are matched. @return how many were. */
uint32_t release_tick(struct engine *engine, uint32_t most);
/** When release_tick() wants to be called, by the engine's clock; UINT64_MAX: no need. */
uint64_t release_next_usec(const struct engine *engine);

#endif
