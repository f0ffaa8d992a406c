/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A limit to what guests may write: beyond it nothing new is ordered, and what was put off is not lost. */
#include "engine/state.h"
#include "tests/engine/harness.h"

#define PAGES 1000u
#define MOST 800u

static uint64_t exposed(void)
{
	return host().shared_pages + host().zero_pages;
}

/* Orders that make more pages shared, or zero. */
static uint64_t orders(void)
{
	return sim.merge_orders + sim.fetch_orders;
}

static void limit(uint64_t pages)
{
	sim.exposed_max = pages;
	sim_tick(&sim, 2000);
}

static void nothing_new_is_ordered_beyond_the_limit(void **state)
{
	struct ring_record order;
	struct sim_vm *a, *b;
	uint64_t before;

	(void)state;
	limit(MOST);
	a = new_vm(PAGES, 1, 1);
	b = new_vm(PAGES, 1, 1);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(exposed(), MOST); /* to the page: orders under way count */
	assert_int_equal(host().held_vms, 2);
	before = orders();
	run_for(120); /* slow passes, too */
	assert_true(sim_scan_all(&sim));
	assert_int_equal(orders(), before);
	assert_int_equal(exposed(), MOST);

	/* Nor for what is found anew, be it noted, or zero. */
	sim_write(a, 1, 70000);
	sim_write(b, 1, 70000);
	sim_write(b, 2, 0);
	sim_note(a, 1);
	sim_note(b, 1);
	sim_note(b, 2);
	sim_take_reports(a, UINT32_MAX);
	sim_take_reports(b, UINT32_MAX);
	assert_false(next_order(a, ORDER_MERGE, &order) || next_order(a, ORDER_FETCH, &order));
	assert_false(next_order(b, ORDER_ZERO, &order) || next_order(b, ORDER_MERGE, &order));
}

static void zeros_count_as_well(void **state)
{
	struct sim_vm *a;

	(void)state;
	limit(MOST);
	a = new_vm(PAGES, 0, 0);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(host().zero_pages, MOST);
	new_vm(PAGES, 1, 1);
	new_vm(PAGES, 1, 1);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(exposed(), MOST);
	/* What its guest writes is not exposed any more, and others go on. */
	for (uint32_t i = 1; i <= PAGES; i++)
		sim_write(a, i, 10000 + i);
	run_for(90);
	assert_int_equal(host().zero_pages, 0);
	assert_int_equal(host().shared_pages, MOST);
}

static void it_goes_on_when_there_is_some_room(void **state)
{
	struct sim_vm *a, *b;

	(void)state;
	limit(MOST);
	a = new_vm(PAGES, 1, 1);
	b = new_vm(PAGES, 1, 1);
	assert_true(sim_scan_all(&sim));
	sim_write(a, 1, 70001); /* of 800 there have to be 50 left */
	for (uint32_t i = 1; i <= 40; i++)
		sim_write(b, i, 80000 + i);
	run_for(10); /* audits */
	assert_int_equal(host().held_vms, 2);
	run_for(90);
	assert_true(exposed() < MOST && exposed() >= MOST - 41);
	for (uint32_t i = 41; i <= 80; i++)
		sim_write(b, i, 80000 + i);
	run_for(90);
	assert_in_range(exposed(), MOST - 1, MOST); /* two equal ones do not fit where there is room for one */
}

/* What was put off is shared by the next pass, without being asked for. */
static void the_next_pass_shares_what_was_put_off(void **state)
{
	(void)state;
	limit(MOST);
	new_vm(PAGES, 1, 1);
	new_vm(PAGES, 1, 1);
	assert_true(sim_scan_all(&sim));
	limit(0);
	assert_int_equal(host().held_vms, 0);
	run_for(sim.settings.scan_interval_seconds + 5);
	assert_int_equal(host().shared_pages, 2 * PAGES);
}

/* In the mode hints no pass looks at private pages: those that were noted meanwhile are looked at by themselves. */
static void noted_pages_are_looked_at_again(void **state)
{
	struct sim_vm *vms[2];

	(void)state;
	limit(1);
	for (uint32_t i = 0; i < 2; i++) {
		vms[i] = sim_vm_new(&sim, WIRE_MODE_HINTS);
		sim_vm_add_region(vms[i], PAGES);
		sim_vm_connect(vms[i]);
	}
	sim_tick(&sim, 2000);
	sim_settle(&sim);
	for (uint32_t page = 1; page <= 300; page++)
		for (uint32_t i = 0; i < 2; i++) {
			sim_write(vms[i], page, 10 + page);
			sim_note(vms[i], page);
		}
	run_for(60);
	assert_true(exposed() <= 1);
	limit(0);
	run_for(5);
	assert_int_equal(host().shared_pages, 600);
}

/* Pages inside 2 MiB pages are shared by their hashes, with no look at all. */
static void ready_pages_are_shared_by_their_hashes(void **state)
{
	struct sim_vm *large, *small;

	(void)state;
	sim_set_large(&sim, ENGINE_LARGE_KEEP, ENGINE_LARGE_KEEP);
	large = new_vm(ENGINE_BLOCK_PAGES, 1, 1);
	assert_true(sim_collapse(large, 1));
	small = new_vm(ENGINE_BLOCK_PAGES, 1, 1);
	assert_true(sim_scan_all(&sim));
	limit(1);
	sim.settings.scan_interval_seconds = 0;
	sim_set_large(&sim, ENGINE_LARGE_ALWAYS, ENGINE_LARGE_ALWAYS);
	run_for(20);
	assert_true(exposed() <= 1);
	limit(0);
	run_for(20);
	assert_int_equal(shared_of(large), ENGINE_BLOCK_PAGES);
	assert_int_equal(shared_of(small), ENGINE_BLOCK_PAGES);
}

/* What a held VM has others have, too: they share it with each other, and it does later, in whatever mode it is. */
static void a_held_vm_stands_in_nobodys_way(void **state)
{
	static const enum wire_mode modes[] = { WIRE_MODE_FULL, WIRE_MODE_HINTS };

	for (uint32_t i = 0; i < 2; i++) {
		struct sim_vm *held = sim_vm_new(&sim, modes[i]), *a, *b;

		(void)state;
		sim.exposed_vm_max = 400;
		sim_vm_add_region(held, PAGES);
		sim_vm_connect(held);
		sim_tick(&sim, 2000);
		sim_settle(&sim);
		for (uint32_t page = 1; page <= 700; page++) { /* zeros, more than it may have, and what others have */
			sim_write(held, page, page <= 500 ? 0 : 100000 * (i + 1) + page);
			sim_note(held, page);
		}
		run_for(5);
		assert_true(held->vm->held);
		a = new_vm(200, 100000 * (i + 1) + 501, 1);
		b = new_vm(200, 100000 * (i + 1) + 501, 1);
		assert_true(sim_scan_all(&sim));
		assert_int_equal(shared_of(a), 200);
		assert_int_equal(shared_of(b), 200);
		assert_int_equal(shared_of(held), 0);
		sim.exposed_vm_max = 0;
		run_for(sim.settings.scan_interval_seconds + 5);
		assert_int_equal(shared_of(held), 200);
	}
}

/* Whatever it is then, what VMs share when they come back counts, and stays. */
static void what_is_shared_already_is_taken_over(void **state)
{
	struct sim_vm *a = new_vm(PAGES, 1, 1), *b = new_vm(PAGES, 1, 1);

	(void)state;
	assert_true(sim_scan_all(&sim));
	sim_kill_engine(&sim);
	sim.exposed_max = MOST;
	sim_start(&sim);
	sim_vm_connect(a);
	sim_vm_connect(b);
	engine_accounted(sim.engine);
	run_for(60);
	assert_int_equal(exposed(), 2 * PAGES);
	assert_int_equal(host().held_vms, 2);
}

static int report_inside_huge(struct sim_vm *vm, enum ring_report op, uint32_t page, uint32_t slot)
{
	struct ring_record record = { .op = (uint8_t)op, .flags = RING_INSIDE_HUGE, .count = 1, .page = page };

	record.slot = slot;
	return engine_report(sim.engine, vm->vm, &record, NULL);
}

/* A page that was ordered is seen with another content meanwhile, is in a 2 MiB page by then, and is put off. */
static void what_is_seen_too_early_is_put_off_with_its_hash(void **state)
{
	struct ring_record scan, merge;
	struct sim_vm *a;

	(void)state;
	new_vm(10, 1, 1);
	new_vm(10, 1, 1);
	assert_true(sim_scan_all(&sim));
	a = new_vm(ENGINE_BLOCK_PAGES, 50000, 1);
	assert_true(sim_scan_all(&sim));
	engine_scan(sim.engine, a->vm);
	sim_tick(&sim, 2000);
	assert_true(next_order(a, ORDER_SCAN, &scan));
	assert_int_equal(report(a, REPORT_HASH, 1, 1, hash_of(1)), 0);
	assert_true(next_order(a, ORDER_MERGE, &merge));
	assert_int_equal(report(a, REPORT_HASH, 1, 1, hash_of(2)), 0);
	limit(1);
	assert_int_equal(report_inside_huge(a, REPORT_BUSY, 1, merge.slot), 0);
	assert_int_equal(report(a, REPORT_SCANNED, scan.page, scan.count, ENGINE_BLOCK_PAGES), 0);
	sim_write(a, 1, 2);
	assert_int_equal(shared_of(a), 0);
	limit(0);
	run_for(3 * sim.settings.scan_interval_seconds);
	assert_int_equal(shared_of(a), 1);
}

static void a_vm_that_shares_nothing_is_not_held(void **state)
{
	struct sim_vm *a;

	(void)state;
	a = new_vm(PAGES, 1, 1);
	limit(1);
	new_vm(PAGES, 0, 0);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(host().held_vms, 2);
	engine_set_mode(sim.engine, a->vm, WIRE_MODE_OFF);
	run_for(1);
	assert_int_equal(host().held_vms, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ENGINE_TEST(nothing_new_is_ordered_beyond_the_limit),
		ENGINE_TEST(zeros_count_as_well),
		ENGINE_TEST(it_goes_on_when_there_is_some_room),
		ENGINE_TEST(the_next_pass_shares_what_was_put_off),
		ENGINE_TEST(noted_pages_are_looked_at_again),
		ENGINE_TEST(ready_pages_are_shared_by_their_hashes),
		ENGINE_TEST(a_held_vm_stands_in_nobodys_way),
		ENGINE_TEST(what_is_shared_already_is_taken_over),
		ENGINE_TEST(what_is_seen_too_early_is_put_off_with_its_hash),
		ENGINE_TEST(a_vm_that_shares_nothing_is_not_held),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
