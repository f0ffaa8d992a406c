/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A VM's mode changes while it runs: what it may not share any more is unshared, in batches, and nobody else's is. */
#include <errno.h>

#include "tests/engine/harness.h"

#define PAGES 1000u
#define ZEROS 200u

/* As engine/state.h has them. */
#define ORDERS_UNDER_WAY 4u

static struct sim_vm *a, *b;

static struct engine_vm_counters counters_of(const struct sim_vm *vm)
{
	struct engine_vm_counters counters;

	engine_vm_counters(vm->vm, &counters);
	return counters;
}

static void share(void)
{
	struct sim_vm **vms[] = { &a, &b };

	for (int i = 0; i < 2; i++) {
		*vms[i] = new_vm(PAGES, 1, 1);
		for (uint32_t page = 1; page <= ZEROS; page++)
			sim_write(*vms[i], page, 0);
	}
	assert_true(sim_scan_all(&sim));
	assert_true(sim_scan_all(&sim));
	assert_int_equal(counters_of(a).shared_pages, PAGES - ZEROS);
	assert_int_equal(counters_of(a).zero_pages, ZEROS);
}

static void off_gives_every_page_back(void **state)
{
	(void)state;
	share();
	engine_set_mode(sim.engine, a->vm, WIRE_MODE_OFF);
	assert_int_equal(counters_of(a).unsharing_pages, PAGES);
	run_for(1);
	assert_int_equal(counters_of(a).shared_pages + counters_of(a).zero_pages, 0);
	assert_int_equal(counters_of(a).unsharing_pages, 0);
	for (uint32_t page = 1; page <= PAGES; page++)
		assert_true(a->pages[page].state == SIM_PLAIN || a->pages[page].state == SIM_DIVERGED);
	/* Nothing of it is shared again, whoever asks; what others share stays. */
	assert_true(sim_scan_all(&sim));
	run_for(100);
	assert_int_equal(counters_of(a).shared_pages + counters_of(a).zero_pages, 0);
	assert_int_equal(counters_of(b).shared_pages, PAGES - ZEROS);
	assert_int_equal(counters_of(b).zero_pages, ZEROS);
	engine_set_mode(sim.engine, a->vm, WIRE_MODE_FULL);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(counters_of(a).shared_pages, PAGES - ZEROS);
	assert_int_equal(counters_of(a).zero_pages, ZEROS);
}

/* Nor are those of one that shares only what hints will name. */
static void pages_that_were_seen_before_are_nobodys(void **state)
{
	static const enum wire_mode modes[] = { WIRE_MODE_OFF, WIRE_MODE_ZERO, WIRE_MODE_HINTS };

	(void)state;
	for (uint32_t i = 0; i < 3; i++) {
		struct sim_vm *alone = new_vm(PAGES, 5000 * (i + 1), 1), *other;

		assert_true(sim_scan_all(&sim)); /* hints of its pages are in the table */
		engine_set_mode(sim.engine, alone->vm, modes[i]);
		run_for(1);
		sim.fetch_orders = 0;
		other = new_vm(PAGES, 5000 * (i + 1), 1);
		assert_true(sim_scan_all(&sim));
		assert_int_equal(sim.fetch_orders, 0);
		assert_int_equal(counters_of(other).shared_pages, 0);
		assert_int_equal(counters_of(alone).shared_pages, 0);
	}
}

static void batches_are_bounded(void **state)
{
	uint32_t under_way = 0;
	struct ring_record order;

	(void)state;
	share();
	engine_set_mode(sim.engine, a->vm, WIRE_MODE_OFF);
	for (int i = 0; i < 50; i++) {
		sim_tick(&sim, 2000);
		while (engine_next_order(sim.engine, a->vm, &order)) {
			assert_true(order.op != ORDER_MERGE && order.op != ORDER_ZERO && order.op != ORDER_FETCH);
			assert_true(order.count <= RING_RUN_PAGES_MAX);
			under_way += order.op == ORDER_UNSHARE;
		}
	}
	assert_int_equal(under_way, ORDERS_UNDER_WAY); /* none is answered */
}

static void orders_under_way_are_found_later(void **state)
{
	struct sim_vm *vms[2];

	(void)state;
	for (int i = 0; i < 2; i++)
		vms[i] = new_vm(PAGES, 1, 1);
	for (int i = 0; i < 20; i++) { /* until MERGE orders wait, and some have been taken */
		sim_tick(&sim, 2000);
		for (int j = 0; j < 2; j++) {
			sim_take_orders(vms[j], 3);
			sim_work(vms[j], i < 10 ? 3 : 0);
			sim_take_reports(vms[j], UINT32_MAX);
		}
	}
	engine_set_mode(sim.engine, vms[0]->vm, WIRE_MODE_OFF);
	assert_null(engine_check(sim.engine));
	run_for(2);
	assert_int_equal(counters_of(vms[0]).shared_pages, 0);
	for (uint32_t page = 1; page <= PAGES; page++)
		assert_true(vms[0]->pages[page].state != SIM_SHARED);
}

static void what_is_refused_is_tried_again(void **state)
{
	(void)state;
	share();
	a->refuse_percent = 100;
	engine_set_mode(sim.engine, a->vm, WIRE_MODE_OFF);
	run_for(60);
	assert_int_equal(counters_of(a).unsharing_pages, PAGES);
	assert_true(sim.unshare_orders < 60 * PAGES / RING_RUN_PAGES_MAX); /* less and less often */
	a->refuse_percent = 0;
	run_for(61);
	assert_int_equal(counters_of(a).unsharing_pages, 0);
	assert_int_equal(counters_of(a).shared_pages, 0);
}

static void zero_keeps_zeros(void **state)
{
	(void)state;
	share();
	engine_set_mode(sim.engine, a->vm, WIRE_MODE_ZERO);
	run_for(1);
	assert_int_equal(counters_of(a).shared_pages, 0);
	assert_int_equal(counters_of(a).zero_pages, ZEROS);
	sim_write(a, PAGES, 0);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(counters_of(a).zero_pages, ZEROS + 1);
	assert_int_equal(counters_of(a).shared_pages, 0);
}

/* What was shared was not by hints; and a pass finds no hints. */
static void hints_begin_with_nothing(void **state)
{
	(void)state;
	share();
	engine_set_mode(sim.engine, a->vm, WIRE_MODE_HINTS);
	run_for(1);
	assert_int_equal(counters_of(a).shared_pages, 0);
	assert_true(sim_scan_all(&sim));
	run_for(100);
	assert_int_equal(counters_of(a).shared_pages, 0);
}

static void one_changes_its_mind(void **state)
{
	static const enum wire_mode modes[] = { WIRE_MODE_OFF, WIRE_MODE_HINTS, WIRE_MODE_ZERO, WIRE_MODE_FULL };

	(void)state;
	share();
	for (uint32_t i = 0; i < 200; i++) {
		engine_set_mode(sim.engine, a->vm, modes[sim_random(&sim, 4)]);
		sim_tick(&sim, 2000);
		sim_take_orders(a, sim_random(&sim, 4));
		sim_work(a, sim_random(&sim, 4));
		sim_take_reports(a, sim_random(&sim, 100));
		assert_null(engine_check(sim.engine));
	}
	engine_set_mode(sim.engine, a->vm, WIRE_MODE_FULL);
	run_for(1);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(counters_of(a).shared_pages, PAGES - ZEROS);
	engine_set_mode(sim.engine, a->vm, WIRE_MODE_OFF);
	run_for(1);
	assert_int_equal(counters_of(a).shared_pages + counters_of(a).zero_pages, 0);
}

static void what_it_brings_along_counts_too(void **state)
{
	(void)state;
	share();
	a->mode = WIRE_MODE_OFF;
	sim_vm_disconnect(a);
	sim_vm_connect(a);
	run_for(1);
	assert_int_equal(counters_of(a).shared_pages + counters_of(a).zero_pages, 0);
}

static void nobody_answers_unasked(void **state)
{
	(void)state;
	share();
	assert_int_equal(report(a, REPORT_UNSHARED, 1, 64, 0), -EPROTO);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		ENGINE_TEST(off_gives_every_page_back),
		ENGINE_TEST(pages_that_were_seen_before_are_nobodys),
		ENGINE_TEST(batches_are_bounded),
		ENGINE_TEST(orders_under_way_are_found_later),
		ENGINE_TEST(what_is_refused_is_tried_again),
		ENGINE_TEST(zero_keeps_zeros),
		ENGINE_TEST(hints_begin_with_nothing),
		ENGINE_TEST(one_changes_its_mind),
		ENGINE_TEST(what_it_brings_along_counts_too),
		ENGINE_TEST(nobody_answers_unasked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
