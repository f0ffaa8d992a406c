/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/budget.h"

#include "engine/state.h"

#define SECOND_USEC UINT64_C(1000000)
#define CHARGE_NSEC_MAX UINT64_C(2000000000) /* whatever a VM claims: it slows only its own passes */

void engine_vm_set_cpu(struct engine_vm *vm, uint64_t cpu_nsec)
{
	uint64_t used = cpu_nsec > vm->cpu_nsec ? cpu_nsec - vm->cpu_nsec : 0;

	budget_fill(vm); /* no tick may have done so for some time */
	if (vm->pass_ticket == 0)
		vm->cpu_budget_nsec -= (int64_t)(used < CHARGE_NSEC_MAX ? used : CHARGE_NSEC_MAX);
	vm->cpu_nsec = cpu_nsec;
}

void budget_fill(struct engine_vm *vm)
{
	const struct engine *engine = vm->engine;
	uint64_t passed = engine->now_usec - vm->cpu_filled_usec;
	int64_t most = (int64_t)engine->settings.scan_cpu_percent * 10000000;

	passed = passed < SECOND_USEC ? passed : SECOND_USEC;
	vm->cpu_filled_usec = engine->now_usec;
	vm->cpu_budget_nsec += (int64_t)(passed * engine->settings.scan_cpu_percent * 10);
	if (vm->cpu_budget_nsec > most)
		vm->cpu_budget_nsec = most;
}

bool budget_allows(const struct engine_vm *vm)
{
	return vm->engine->settings.scan_cpu_percent == 0 || vm->cpu_budget_nsec >= 0;
}
