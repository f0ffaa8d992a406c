/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/engine/harness.h"

#include <string.h>

#include "common/hash.h"

struct sim sim;

int setup(void **state)
{
	(void)state;
	return sim_init(&sim, 1);
}

int teardown(void **state)
{
	(void)state;
	if (sim.wrong == NULL)
		sim.wrong = engine_check(sim.engine);
	if (sim.wrong != NULL)
		print_error("%s\n", sim.wrong);
	sim_done(&sim);
	return sim.wrong != NULL;
}

void connect_filled(struct sim_vm *vm, uint32_t pages, uint32_t first, uint32_t step)
{
	assert_int_equal(sim_vm_add_region(vm, pages), 0);
	for (uint32_t i = 0; i < pages; i++)
		sim_write(vm, 1 + i, first + i * step);
	sim_vm_connect(vm);
}

struct sim_vm *new_vm(uint32_t pages, uint32_t first, uint32_t step)
{
	struct sim_vm *vm = sim_vm_new(&sim, WIRE_MODE_FULL);

	connect_filled(vm, pages, first, step);
	return vm;
}

uint64_t shared_of(const struct sim_vm *vm)
{
	struct engine_vm_counters counters;

	engine_vm_counters(vm->vm, &counters);
	return counters.shared_pages;
}

struct engine_counters host(void)
{
	struct engine_counters counters;

	engine_counters(sim.engine, &counters);
	return counters;
}

void run_for(uint64_t seconds)
{
	for (uint64_t i = 0; i < seconds * 100; i++) {
		sim_tick(&sim, SECOND / 100);
		sim_settle(&sim);
	}
}

int report(struct sim_vm *vm, enum ring_report op, uint32_t page, uint32_t count, uint64_t value)
{
	struct ring_record record = { .op = (uint8_t)op, .count = (uint16_t)count, .page = page };

	record.value = value;
	return engine_report(sim.engine, vm->vm, &record, NULL);
}

uint64_t hash_of(uint32_t content)
{
	unsigned char page[PAGE_BYTES];

	content_fill(page, content);
	return page_hash(page, sim.settings.seed);
}

void drop_orders(struct sim_vm *vm)
{
	sim_take_orders(vm, UINT32_MAX);
	vm->down.head = vm->down.tail;
}

bool next_order(struct sim_vm *vm, uint8_t op, struct ring_record *ret)
{
	while (engine_next_order(sim.engine, vm->vm, ret))
		if (ret->op == op)
			return true;
	return false;
}

void restart_with_settings(void)
{
	sim_kill_engine(&sim);
	sim_start(&sim);
}
