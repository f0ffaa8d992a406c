/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Looks at pages that somebody has named, who need not be right: what comes of them, and what bounds them. */
#include "tests/engine/harness.h"

static struct sim_vm *new_vm_in(enum wire_mode mode, uint32_t pages)
{
	struct sim_vm *vm = sim_vm_new(&sim, mode);

	connect_filled(vm, pages, 1, 1);
	run_for(1);
	return vm;
}

static void named_pages_are_shared_and_no_others(void **state)
{
	struct sim_vm *a = new_vm_in(WIRE_MODE_HINTS, 100), *b = new_vm_in(WIRE_MODE_HINTS, 100);

	(void)state;
	engine_look(sim.engine, a->vm, 11, 50);
	engine_look(sim.engine, b->vm, 11, 40);
	assert_int_equal(engine_looks_wanted(a->vm), 1);
	sim_settle(&sim);
	assert_int_equal(engine_looks_over(a->vm), 1);
	assert_int_equal(engine_looks_over(b->vm), 1);
	assert_int_equal(shared_of(a), 40);
	assert_int_equal(shared_of(b), 40);
}

static void nothing_in_other_modes(void **state)
{
	struct sim_vm *a = new_vm_in(WIRE_MODE_HINTS, 100), *b = new_vm_in(WIRE_MODE_ZERO, 100);

	(void)state;
	engine_look(sim.engine, a->vm, 1, 100);
	engine_look(sim.engine, b->vm, 1, 100);
	assert_int_equal(engine_looks_wanted(b->vm), 0);
	sim_settle(&sim);
	assert_int_equal(host().shared_pages, 0);
}

static void what_is_no_page_is_left_out(void **state)
{
	struct sim_vm *a = new_vm_in(WIRE_MODE_FULL, 100);

	(void)state;
	engine_look(sim.engine, a->vm, 0, 1);
	engine_look(sim.engine, a->vm, 101, 10);
	engine_look(sim.engine, a->vm, UINT32_MAX, UINT32_MAX);
	assert_int_equal(engine_looks_wanted(a->vm), 0);
	engine_look(sim.engine, a->vm, 91, UINT32_MAX); /* up to the end of the memory */
	assert_int_equal(engine_looks_wanted(a->vm), 1);
	run_for(1);
	assert_int_equal(engine_looks_over(a->vm), 1);
}

/* A flood: what finds no room is left out, what is taken is looked at, in the end. */
static void looks_are_bounded(void **state)
{
	struct sim_vm *a = new_vm_in(WIRE_MODE_HINTS, 100);
	uint64_t wanted;

	(void)state;
	for (uint32_t i = 0; i < 100000; i++)
		engine_look(sim.engine, a->vm, 1 + i % 100, 1);
	wanted = engine_looks_wanted(a->vm);
	assert_true(wanted >= 4096 && wanted <= 4096 + 4);
	sim_settle(&sim);
	run_for(60);
	assert_int_equal(engine_looks_over(a->vm), wanted);
	engine_look(sim.engine, a->vm, 1, 1);
	assert_int_equal(engine_looks_wanted(a->vm), wanted + 1);
}

static void who_leaves_owes_nothing(void **state)
{
	struct sim_vm *a = new_vm_in(WIRE_MODE_HINTS, 100);

	(void)state;
	for (uint32_t i = 1; i <= 100; i += 2)
		engine_look(sim.engine, a->vm, i, 1);
	engine_detach_vm(sim.engine, a->vm);
	assert_int_equal(engine_looks_over(a->vm), engine_looks_wanted(a->vm));
	engine_look(sim.engine, a->vm, 1, 1);
	assert_int_equal(engine_looks_over(a->vm), engine_looks_wanted(a->vm));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ENGINE_TEST(named_pages_are_shared_and_no_others),
		ENGINE_TEST(nothing_in_other_modes),
		ENGINE_TEST(what_is_no_page_is_left_out),
		ENGINE_TEST(looks_are_bounded),
		ENGINE_TEST(who_leaves_owes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
