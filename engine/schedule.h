/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Passes and audits, slice by slice; when a pass is complete. */
#ifndef PAGEFUSE_ENGINE_SCHEDULE_H
#define PAGEFUSE_ENGINE_SCHEDULE_H

#include "protocol/ring.h"

struct engine;
struct engine_vm;

/** @vm is READY: its first pass begins. */
void schedule_ready(struct engine_vm *vm);
/**
 * The region at page number @page was added to @vm: if it is ready, a pass over what is new, unless one is under way.
 */
void schedule_region(struct engine_vm *vm, uint32_t page);
/** Intervals have changed: slow passes and audits of all VMs go on at once. */
void schedule_anew(struct engine *engine);
/** @report of @vm is a SCANNED. @return 0, -EPROTO if there was no such order. */
int schedule_scanned(struct engine_vm *vm, const struct ring_record *report);

#endif
