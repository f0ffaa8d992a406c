/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A VM's mode changes while it runs: what it may not share any more is given memory of its own. */
#ifndef PAGEFUSE_ENGINE_UNSHARE_H
#define PAGEFUSE_ENGINE_UNSHARE_H

#include <stdbool.h>
#include <stdint.h>

struct engine_vm;
struct ring_record;

/** @vm, new, has told what it maps already: that, too, is as its mode allows. */
void unshare_ready(struct engine_vm *vm);
/** Time goes by: gives UNSHARE orders. */
void unshare_tick(struct engine_vm *vm);
/**
 * Has @count shared pages, from page number @page on, take copies of their own, whatever the mode. @return whether
 * there was room for that.
 */
bool unshare_run(struct engine_vm *vm, uint32_t page, uint32_t count);
/** REPORT_UNSHARED. @return 0 or -EPROTO. */
int unshare_answered(struct engine_vm *vm, const struct ring_record *report);
/** When there is something to do again, by the engine's clock; UINT64_MAX: not before it is told something. */
uint64_t unshare_next_usec(const struct engine_vm *vm);

#endif
