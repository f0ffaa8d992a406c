/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Slow passes by samples: what seems as it was is told without its hash, and what comes of it. */
#include "engine/orders.h"
#include "engine/state.h"
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

/* Two VMs with the same pages, all shared. Their 2 MiB blocks begin @before pages before their memory. */
static void share_two(struct sim_vm *vms[2], uint32_t pages, uint32_t before)
{
	for (unsigned i = 0; i < 2; i++) {
		vms[i] = sim_vm_new(&sim, WIRE_MODE_FULL);
		vms[i]->before = before;
		connect_filled(vms[i], pages, 1, 1);
	}
	assert_true(sim_scan_all(&sim));
	assert_int_equal(shared_of(vms[0]) + shared_of(vms[1]), 2 * pages);
}

/* @page holds something else, the same in both, and it is told as if it were known. */
static void write_and_tell(struct sim_vm *const vms[2], uint32_t page, uint32_t content)
{
	for (unsigned i = 0; i < 2; i++) {
		sim_write(vms[i], page, content);
		assert_int_equal(report(vms[i], REPORT_DIVERGED, page, 1, 0), 0);
		assert_int_equal(report(vms[i], REPORT_SAME, page, 1, 0), 0);
	}
}

/*
 * What was written since it was shared is matched when it has not changed for a pass. A slice that is read because
 * something is the same, and not known, needs none: page 5 is, the one in another slice is not.
 */
static void what_is_read_as_the_same_is_matched_at_once(void **state)
{
	uint32_t pages = 3 * RING_SCAN_PAGES_MAX;
	struct sim_vm *vms[2];

	(void)state;
	share_two(vms, pages, 0);
	write_and_tell(vms, 5, 70000);
	for (unsigned i = 0; i < 2; i++)
		sim_write(vms[i], 2 * RING_SCAN_PAGES_MAX + 5, 70001);
	run_for(sim.settings.scan_interval_seconds);
	assert_int_equal(shared_of(vms[0]), pages - 1);
	assert_int_equal(shared_of(vms[1]), pages - 1);
	run_for(sim.settings.scan_interval_seconds);
	assert_int_equal(shared_of(vms[0]) + shared_of(vms[1]), 2 * pages);
}

/* Also where slices of the longest would not end with 2 MiB blocks: both parts of what one would divide are read. */
static void no_block_is_divided(void **state)
{
	uint32_t pages = 3 * RING_SCAN_PAGES_MAX, places[] = { RING_SCAN_PAGES_MAX - 10, RING_SCAN_PAGES_MAX + 10 };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct sim_vm *vms[2];

		share_two(vms, pages, ENGINE_BLOCK_PAGES / 2);
		run_for(sim.settings.scan_interval_seconds);
		write_and_tell(vms, places[i], 70000);
		vms[0]->read_scans = 0;
		run_for(sim.settings.scan_interval_seconds);
		assert_int_equal(shared_of(vms[0]) + shared_of(vms[1]), 2 * pages);
		run_for(2 * sim.settings.scan_interval_seconds);
		assert_int_equal(vms[0]->read_scans, 1);
		sim_vm_end(vms[0]);
		sim_vm_end(vms[1]);
	}
}

/* A slice that cannot be ordered, as others look at the VM, is read once it can. */
static void what_cannot_be_ordered_stays_unknown(void **state)
{
	struct sim_vm *a = sim_vm_new(&sim, WIRE_MODE_FULL);
	const struct scan look = { .kind = SCAN_LATER, .page = 1, .count = 1 };

	(void)state;
	assert_int_equal(sim_vm_add_region(a, 3 * RING_SCAN_PAGES_MAX), 0);
	sim_vm_connect(a);
	assert_true(sim_scan_all(&sim));
	run_for(sim.settings.scan_interval_seconds);
	assert_int_equal(report(a, REPORT_SAME, 1 + RING_SCAN_PAGES_MAX, 1, 0), 0);
	while (orders_scan(a->vm, ORDER_SCAN, &look))
		;
	for (uint32_t i = 0; i < 2 * sim.settings.scan_interval_seconds; i++)
		sim_tick(&sim, SECOND); /* and nobody answers */
	sim_settle(&sim);
	a->read_scans = 0;
	run_for(2 * sim.settings.scan_interval_seconds);
	assert_int_equal(a->read_scans, 1);
}

/* Who only claims to have what others have in 2 MiB pages does not have these read. */
static void claims_have_nothing_read(void **state)
{
	uint32_t pages = 3 * RING_SCAN_PAGES_MAX;
	struct sim_vm *victim, *liar;

	(void)state;
	sim.settings.large_scans = sim.settings.large_hints = ENGINE_LARGE_KEEP;
	restart_with_settings();
	victim = new_vm(pages, 1, 1);
	for (uint32_t i = 1; i <= pages; i += ENGINE_BLOCK_PAGES)
		assert_true(sim_collapse(victim, i));
	liar = new_vm(3, 1000000, 1);
	assert_true(sim_scan_all(&sim));
	run_for(4 * sim.settings.scan_interval_seconds);
	victim->read_scans = victim->sampled_scans = 0;
	for (uint32_t pass = 0; pass < 4; pass++) {
		for (uint32_t i = 0; i < 3; i++) {
			uint64_t hash = hash_of(1 + i * RING_SCAN_PAGES_MAX);

			assert_int_equal(report(liar, REPORT_HASH, 1 + i, 1, hash), 0);
			assert_int_equal(report(liar, REPORT_HASH, 1 + i, 1, hash), 0);
			assert_int_equal(report(liar, REPORT_HASH, 1 + i, 1, hash_of(2000000 + pass * 3 + i)), 0);
		}
		run_for(sim.settings.scan_interval_seconds);
	}
	assert_true(victim->sampled_scans >= 9);
	assert_int_equal(victim->read_scans, 0);
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
		ENGINE_TEST(no_block_is_divided),
		ENGINE_TEST(what_cannot_be_ordered_stays_unknown),
		ENGINE_TEST(claims_have_nothing_read),
		ENGINE_TEST(stale_hashes_cost_an_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
