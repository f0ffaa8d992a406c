/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* 2 MiB pages that were split are given back to VMs, where nothing in them is shared any more. */
#ifndef PAGEFUSE_ENGINE_WHOLE_H
#define PAGEFUSE_ENGINE_WHOLE_H

#include <stdint.h>

struct engine;
struct engine_vm;
struct ring_record;

#define WHOLE_LOOKS_PER_TICK 65536u /* at blocks of all VMs */

/** Whether they are to be given back, and which, has changed. */
void whole_settings_changed(struct engine *engine);
/** Time goes by: gives WHOLE orders. @looks: how many there may be yet; those made are taken off. */
void whole_tick(struct engine_vm *vm, uint32_t *looks);
/** REPORT_BROKEN. @return 0 or -EPROTO. */
int whole_broken(struct engine_vm *vm, const struct ring_record *report);
/** REPORT_WHOLE. @return 0 or -EPROTO. */
int whole_answered(struct engine_vm *vm, const struct ring_record *report);
/** When there is something to do again, by the engine's clock; UINT64_MAX: not before it is told something. */
uint64_t whole_next_usec(const struct engine_vm *vm);

#endif
