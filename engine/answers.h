/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Workers' answers to orders, and their reports of pages that are no longer shared: @report, of @vm. All return 0, or
 * -EPROTO with nothing applied.
 */
#ifndef PAGEFUSE_ENGINE_ANSWERS_H
#define PAGEFUSE_ENGINE_ANSWERS_H

#include "protocol/ring.h"

struct engine_vm;

/** MERGED, ZEROED: only for pages with such an order. */
int answer_done(struct engine_vm *vm, const struct ring_record *report);
/** DIFFERS, BUSY, GONE, FULL: for pages that were ordered, or fetched. */
int answer_refused(struct engine_vm *vm, const struct ring_record *report);
/** DIVERGED. */
int answer_diverged(struct engine_vm *vm, const struct ring_record *report);
/** ADOPT, ADOPT_ZERO. Or @return -ENOSPC: of a region beyond the limits. */
int answer_adopt(struct engine_vm *vm, const struct ring_record *report);

#endif
