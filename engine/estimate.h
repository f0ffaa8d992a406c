/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What sharing everything would save, as far as contents are known: see engine_want_estimate(). Made bit by bit. */
#ifndef PAGEFUSE_ENGINE_ESTIMATE_H
#define PAGEFUSE_ENGINE_ESTIMATE_H

#include <stdint.h>

struct engine;
struct engine_vm;

#define ESTIMATE_LOOKS_PER_TICK 32768u /* visits of VMs, pages, places of the table, and rows of a content */
#define ESTIMATE_LOOKS_PREPARED 512u   /* weight of a page of memory that is taken for the sample */
#define ESTIMATE_LOOKS_SAMPLED 16u     /* weight of a page or hint that is added to the sample */

/** @vm is about to be freed: it does not count in the estimate under way any more. */
void estimate_vm_gone(struct engine *engine, const struct engine_vm *vm);
/** Continues the estimate, or begins one that was requested. */
void estimate_tick(struct engine *engine);
/** When estimate_tick() wants to be called, by the engine's clock; UINT64_MAX: no need. */
uint64_t estimate_next_usec(const struct engine *engine);
/** Memory that estimates take. */
uint64_t estimate_bytes(const struct engine *engine);
/** Ends it; of estimates in use by others only the data stays. */
void estimate_done(struct engine *engine);

#endif
