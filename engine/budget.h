/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The share of a core that a VM's worker may use for slow passes; engine_vm_set_cpu() subtracts what was used. */
#ifndef PAGEFUSE_ENGINE_BUDGET_H
#define PAGEFUSE_ENGINE_BUDGET_H

#include <stdbool.h>

struct engine_vm;

/** Adds what is due since the last call, by the engine's clock. At most one second is saved up. */
void budget_fill(struct engine_vm *vm);
/** Whether any of it is left. */
bool budget_allows(const struct engine_vm *vm);

#endif
