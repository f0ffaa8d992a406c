/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Passes and audits, slice by slice; who is waited for; when a pass is really over. */
#ifndef PAGEFUSE_ENGINE_SCHEDULE_H
#define PAGEFUSE_ENGINE_SCHEDULE_H

#include "protocol/ring.h"

struct engine_vm;

/** READY: the first pass begins. */
void schedule_ready(struct engine_vm *vm);
/** A region was added to a VM that is ready: a pass over what is new, if none is under way. */
void schedule_region(struct engine_vm *vm, uint32_t page);
/** REPORT_SCANNED. @return 0, -EPROTO if there was no such order. */
int schedule_scanned(struct engine_vm *vm, const struct ring_record *report);

#endif
