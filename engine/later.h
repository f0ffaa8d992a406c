/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Noted pages that are left alone for a while, as they have diverged again and again (stability.h). They are looked at
 * once more after that time, since nothing else might ever look at them.
 */
#ifndef PAGEFUSE_ENGINE_LATER_H
#define PAGEFUSE_ENGINE_LATER_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/pages.h"

struct engine_vm;
struct scan;

/** Looks at @page once more, after @due_usec. If there is no room, the page waits for its next note, or a scan. */
void later_add(struct page page, uint64_t due_usec);
/** When the first one is due; UINT64_MAX: there is none. */
uint64_t later_due(const struct engine_vm *vm);
/** Takes the first one, which is due. @return false: its region has gone. */
bool later_take(struct engine_vm *vm, struct scan *ret);

#endif
