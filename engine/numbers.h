/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The global page numbers of a VM's regions, and the account that they are charged to. */
#ifndef PAGEFUSE_ENGINE_NUMBERS_H
#define PAGEFUSE_ENGINE_NUMBERS_H

#include <stdbool.h>
#include <stdint.h>

struct engine_vm;
struct region;

/** Assigns numbers to @region of @vm. @return whether there are any, and its account may have them. */
bool numbers_take(struct engine_vm *vm, struct region *region);
/** The region is gone: its numbers are reusable after a sweep, and charged to its account until then. */
void numbers_leave(struct engine_vm *vm, const struct region *region);
/** For struct space: @pages numbers of @account can be reused. @context: the engine. */
void numbers_freed(void *context, void *account, uint64_t pages);

#endif
