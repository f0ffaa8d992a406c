/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The share of a core that a VM's worker may use for slow passes; engine_vm_set_cpu() takes of it what was used. */
#ifndef PAGEFUSE_ENGINE_BUDGET_H
#define PAGEFUSE_ENGINE_BUDGET_H

#include <stdbool.h>

struct engine_vm;

/** Adds what has come to it since the last time, by the engine's clock. It is saved up for at most one second. */
void budget_fill(struct engine_vm *vm);
/** Whether anything of it is left. */
bool budget_allows(const struct engine_vm *vm);

#endif
