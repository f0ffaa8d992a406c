/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Slow passes by samples: what seems as it was is told without its hash, and what comes of it. */
#include "tests/engine/harness.h"

/* What is asked for is read, and so is all of a worker that knows of no samples. */
static void slow_passes_alone_may_go_by_samples(void **state)
{
	struct sim_vm *a = new_vm(5000, 1, 1), *b = sim_vm_new(&sim, WIRE_MODE_FULL);

	(void)state;
	b->lacks_samples = true;
	connect_filled(b, 5000, 1, 1);
	assert_true(sim_scan_all(&sim));
	assert_true(a->read_scans >= 5000 / RING_SCAN_PAGES_MAX); /* slow slices may have been due meanwhile */
	a->read_scans = b->read_scans = 0;
	run_for(2 * sim.settings.scan_interval_seconds);
	assert_true(a->sampled_scans > 0 && a->read_scans == 0);
	assert_true(b->sampled_scans == 0 && b->read_scans > 0);
}

static void what_is_the_same_and_not_known_is_read(void **state)
{
	struct sim_vm *a = sim_vm_new(&sim, WIRE_MODE_FULL);

	(void)state;
	assert_int_equal(sim_vm_add_region(a, 3 * RING_SCAN_PAGES_MAX), 0);
	sim_vm_connect(a);
	assert_true(sim_scan_all(&sim));
	run_for(sim.settings.scan_interval_seconds);
	a->read_scans = 0;
	assert_int_equal(report(a, REPORT_SAME, 1 + 2 * RING_SCAN_PAGES_MAX, RING_RUN_PAGES_MAX, 0), 0);
	run_for(2 * sim.settings.scan_interval_seconds);
	assert_int_equal(a->read_scans, 1); /* the slice with these pages, once */
}

/*
 * What was written since it was shared is matched when it has not changed for a pass. A slice that is read because
 * something is the same, and not known, needs none: page 5 is, the one in another slice is not.
 */
static void what_is_read_as_the_same_is_matched_at_once(void **state)
{
	uint32_t pages = 3 * RING_SCAN_PAGES_MAX, other = 2 * RING_SCAN_PAGES_MAX + 5;
	struct sim_vm *vms[] = { new_vm(pages, 1, 1), new_vm(pages, 1, 1) };

	(void)state;
	assert_true(sim_scan_all(&sim));
	for (unsigned i = 0; i < 2; i++) {
		sim_write(vms[i], 5, 70000);
		sim_write(vms[i], other, 70001);
		assert_int_equal(report(vms[i], REPORT_DIVERGED, 5, 1, 0), 0);
		assert_int_equal(report(vms[i], REPORT_SAME, 5, 1, 0), 0);
	}
	run_for(sim.settings.scan_interval_seconds);
	assert_int_equal(shared_of(vms[0]), pages - 1);
	assert_int_equal(shared_of(vms[1]), pages - 1);
	run_for(sim.settings.scan_interval_seconds);
	assert_int_equal(shared_of(vms[0]) + shared_of(vms[1]), 2 * pages);
}

/* A page of which a stale hash is told costs an order in vain, and is told rightly after that. */
static void stale_hashes_cost_an_order(void **state)
{
	struct sim_vm *a = new_vm(1, 7, 1), *b;
	uint64_t before;

	(void)state;
	sim.stale_percent = 100;
	assert_true(sim_scan_all(&sim));
	sim_write(a, 1, 8);
	run_for(3 * sim.settings.scan_interval_seconds);
	before = sim.fetch_orders + sim.merge_orders;
	b = new_vm(1, 7, 1); /* what the other one is still said to be */
	run_for(3 * sim.settings.scan_interval_seconds);
	assert_int_equal(shared_of(a) + shared_of(b), 0);
	assert_true(sim.fetch_orders + sim.merge_orders - before <= 2);
	sim_write(b, 1, 8);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(shared_of(a) + shared_of(b), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ENGINE_TEST(slow_passes_alone_may_go_by_samples),
		ENGINE_TEST(what_is_the_same_and_not_known_is_read),
		ENGINE_TEST(what_is_read_as_the_same_is_matched_at_once),
		ENGINE_TEST(stale_hashes_cost_an_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
