/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the engine orders when, one behaviour at a time. */
#include <errno.h>

#include "tests/engine/harness.h"

/* ---- sharing ---- */

static void equal_pages_of_two_vms_are_shared(void **state)
{
	struct sim_vm *a = new_vm(3000, 1, 1), *b = new_vm(3000, 1, 1);

	(void)state;
	assert_true(sim_scan_all(&sim));
	assert_int_equal(shared_of(a), 3000);
	assert_int_equal(shared_of(b), 3000);
	assert_int_equal(host().common_pages, 3000);
	assert_int_equal(host().saved_pages, 3000);
	assert_int_equal(host().store_pages, 3000);
}

static void neighbours_get_neighbouring_slots(void **state)
{
	struct sim_vm *a = new_vm(500, 1, 1), *b = new_vm(500, 1, 1);
	uint32_t breaks = 0;

	(void)state;
	assert_true(sim_scan_all(&sim));
	for (uint32_t i = 2; i <= 500; i++) {
		breaks += a->pages[i].slot != a->pages[i - 1].slot + 1;
		breaks += b->pages[i].slot != b->pages[i - 1].slot + 1;
	}
	assert_int_equal(breaks, 0);
}

static void runs_are_ordered_whole(void **state)
{
	struct sim_vm *a = new_vm(512, 1, 1), *b = new_vm(512, 1, 1);

	(void)state;
	assert_true(sim_scan_all(&sim));
	assert_int_equal(shared_of(a) + shared_of(b), 1024);
	assert_int_equal(sim.merge_orders, 1024 / RING_RUN_PAGES_MAX);
}

/* The orders for the two copies of a page come by turns, and are two runs all the same. */
static void runs_inside_one_vm_are_ordered_whole(void **state)
{
	struct sim_vm *a = sim_vm_new(&sim, WIRE_MODE_FULL);

	(void)state;
	sim_vm_add_region(a, 512);
	for (uint32_t i = 1; i <= 512; i++)
		sim_write(a, i, i <= 256 ? i : i - 256);
	sim_vm_connect(a);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(shared_of(a), 512);
	assert_int_equal(sim.merge_orders, 512 / RING_RUN_PAGES_MAX);
}

static void a_page_alone_is_not_shared(void **state)
{
	struct sim_vm *a = new_vm(100, 1, 1);

	(void)state;
	assert_true(sim_scan_all(&sim));
	assert_int_equal(shared_of(a), 0);
	assert_int_equal(host().store_pages, 0);
}

static void zero_pages_are_given_back(void **state)
{
	struct sim_vm *a = new_vm(1000, 0, 0);

	(void)state;
	assert_true(sim_scan_all(&sim));
	assert_int_equal(host().zero_pages, 1000);
	assert_int_equal(host().saved_pages, 1000);
	sim_write(a, 5, 7);
	run_for(6);
	assert_int_equal(host().zero_pages, 999); /* an audit has told */
}

static void pages_of_one_vm_share_among_themselves(void **state)
{
	struct sim_vm *a = new_vm(100, 9, 0);

	(void)state;
	assert_true(sim_scan_all(&sim));
	assert_int_equal(shared_of(a), 100);
}

static void slots_die_with_their_last_reader(void **state)
{
	struct sim_vm *a = new_vm(200, 1, 1), *b = new_vm(200, 1, 1);

	(void)state;
	assert_true(sim_scan_all(&sim));
	for (uint32_t i = 1; i <= 100; i++) {
		sim_write(a, i, 5000 + i);
		sim_write(b, i, 6000 + i);
	}
	run_for(6);
	assert_int_equal(host().common_pages, 100);
	assert_int_equal(sim_stored(&sim), 100);
	sim_vm_end(a);
	assert_int_equal(host().shared_pages, 100);
	assert_int_equal(host().saved_pages, 0);
	sim_vm_end(b);
	assert_int_equal(sim_stored(&sim), 0);
}

static void mode_zero_shares_only_zeros(void **state)
{
	struct sim_vm *a = sim_vm_new(&sim, WIRE_MODE_ZERO), *b = new_vm(100, 1, 1);

	(void)state;
	sim_vm_add_region(a, 200);
	for (uint32_t i = 1; i <= 200; i++)
		sim_write(a, i, i <= 100 ? i : 0);
	sim_vm_connect(a);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(host().zero_pages, 100);
	assert_int_equal(host().shared_pages, 0);
	(void)b;
}

/* ---- the volatility filter ---- */

static void a_changed_page_waits_for_a_second_look(void **state)
{
	struct sim_vm *a = new_vm(10, 1, 1), *b = new_vm(10, 100, 1);

	(void)state;
	assert_true(sim_scan_all(&sim));
	sim_write(b, 1, 1); /* now as a's first */
	run_for(31);
	assert_int_equal(shared_of(b), 0);
	run_for(31);
	assert_int_equal(shared_of(b), 1);
	assert_int_equal(shared_of(a), 1);
}

static void a_page_that_keeps_changing_is_left_alone(void **state)
{
	struct sim_vm *a = new_vm(10, 1, 1), *b = new_vm(10, 100, 1);
	uint64_t merged;

	(void)state;
	assert_true(sim_scan_all(&sim));
	merged = sim.merged;
	for (uint32_t i = 0; i < 8; i++) {
		sim_write(a, 1, 10 + i);
		sim_write(b, 1, 10 + i);
		run_for(30);
	}
	assert_int_equal(sim.merged, merged);
}

static void a_requested_pass_overrides_the_filter(void **state)
{
	struct sim_vm *a = new_vm(10, 1, 1), *b = new_vm(10, 100, 1);

	(void)state;
	assert_true(sim_scan_all(&sim));
	sim_write(b, 1, 1);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(shared_of(a) + shared_of(b), 2);
}

static void new_pages_are_merged_by_the_slow_pass_at_once(void **state)
{
	struct sim_vm *a = new_vm(10, 1, 1), *b = sim_vm_new(&sim, WIRE_MODE_FULL);

	(void)state;
	sim_vm_add_region(b, 10);
	sim_vm_connect(b);
	assert_true(sim_scan_all(&sim));
	sim_write(b, 3, 1);
	run_for(31);
	assert_int_equal(shared_of(a) + shared_of(b), 2);
}

static void a_diverged_page_is_merged_again_later(void **state)
{
	struct sim_vm *a = new_vm(10, 1, 1), *b = new_vm(10, 1, 1);

	(void)state;
	assert_true(sim_scan_all(&sim));
	sim_write(a, 1, 77);
	run_for(6);
	assert_int_equal(shared_of(a), 9);
	sim_write(a, 1, 1);
	run_for(65);
	assert_int_equal(shared_of(a), 10);
	assert_int_equal(shared_of(b), 10);
}

/* ---- stripes ---- */

static void much_repeated_content_becomes_a_stripe(void **state)
{
	struct sim_vm *a = new_vm(4096, 9, 0);
	uint32_t mappings = 1;

	(void)state;
	assert_true(sim_scan_all(&sim));
	assert_true(sim_scan_all(&sim));
	assert_int_equal(shared_of(a), 4096);
	for (uint32_t i = 2; i <= 4096; i++)
		mappings += a->pages[i].slot != a->pages[i - 1].slot + 1;
	assert_true(mappings <= 64 + 4096 / 64 + 2);
	assert_true(host().common_pages <= 1 + 64);
	for (uint32_t i = 1; i <= 4096; i++)
		sim_write(a, i, 10000 + i);
	run_for(6);
	assert_int_equal(host().store_pages, 0);
	assert_int_equal(sim_stored(&sim), 0);
}

static void content_that_many_vms_have_once_is_no_stripe(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < SIM_VMS; i++)
		new_vm(300, 1, 1);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(host().common_pages, 300);
	assert_int_equal(host().saved_pages, 300 * (SIM_VMS - 1));
}

/* ---- passes ---- */

static void a_pass_ends_though_a_vm_is_silent(void **state)
{
	struct sim_vm *a = new_vm(5000, 1, 1), *b;

	(void)state;
	assert_true(sim_scan_all(&sim));
	b = new_vm(5000, 1, 1);
	a->silent = true;
	assert_true(sim_scan_all(&sim));
	assert_int_equal(shared_of(b), 0);
	a->silent = false;
	assert_true(sim_scan_all(&sim));
	assert_int_equal(shared_of(b), 5000);
}

/* It owes what others wait for, and posts something all the time nevertheless. */
static void a_pass_ends_though_a_vm_only_talks(void **state)
{
	struct sim_vm *a = new_vm(500, 1, 1), *b;
	uint64_t ticket;

	(void)state;
	assert_true(sim_scan_all(&sim));
	b = new_vm(500, 1, 1);
	new_vm(500, 1, 1);
	a->silent = true;
	ticket = engine_scan(sim.engine, b->vm);
	for (unsigned i = 0; i < 60 && !engine_scan_done(sim.engine, b->vm, ticket); i++) {
		assert_int_equal(report(a, REPORT_HASH, 1, 1, i), 0);
		run_for(1);
	}
	assert_true(engine_scan_done(sim.engine, b->vm, ticket));
	a->silent = false;
	assert_true(sim_scan_all(&sim));
}

static void a_pass_ends_when_its_vm_is_detached(void **state)
{
	struct sim_vm *a = new_vm(5000, 1, 1);
	uint64_t ticket = engine_scan(sim.engine, a->vm);

	(void)state;
	assert_false(engine_scan_done(sim.engine, a->vm, ticket));
	engine_detach_vm(sim.engine, a->vm);
	assert_true(engine_scan_done(sim.engine, a->vm, ticket));
}

static void a_pass_waits_for_what_came_of_it(void **state)
{
	struct sim_vm *a = new_vm(10, 1, 1), *b;
	struct ring_record order;
	uint64_t ticket;

	(void)state;
	assert_true(sim_scan_all(&sim));
	b = new_vm(10, 1, 1);
	ticket = engine_scan(sim.engine, b->vm);
	sim_tick(&sim, 2000);
	assert_true(next_order(b, ORDER_SCAN, &order));
	assert_int_equal(report(b, REPORT_HASH, 1, 1, hash_of(1)), 0);
	assert_int_equal(report(b, REPORT_SCANNED, order.page, order.count, 10), 0);
	for (int i = 0; i < 100; i++) { /* a has yet to be asked for its page */
		sim_tick(&sim, 2000);
		assert_false(engine_scan_done(sim.engine, b->vm, ticket));
	}
	sim_take_orders(a, UINT32_MAX);
	sim_work(a, UINT32_MAX);
	sim_take_reports(a, UINT32_MAX);
	for (int i = 0; i < 100; i++) { /* a and b have yet to merge theirs */
		sim_tick(&sim, 2000);
		assert_false(engine_scan_done(sim.engine, b->vm, ticket));
	}
	sim_settle(&sim);
	for (int i = 0; i < 5; i++)
		sim_tick(&sim, 2000);
	assert_true(engine_scan_done(sim.engine, b->vm, ticket));
}

/*
 * A FETCH of an earlier content is under way as a pass over @a looks at its page 1, which has been written since: 101
 * is what it saw. @return the pass's ticket; the pass is over, and the FETCH not answered.
 */
static uint64_t see_too_early(struct sim_vm *a)
{
	struct sim_vm *b = new_vm(1, 1, 0); /* with what a had */
	struct ring_record scan, order;
	uint64_t ticket = engine_scan(sim.engine, a->vm);

	sim_tick(&sim, 2000);
	assert_true(next_order(a, ORDER_SCAN, &scan));
	assert_true(next_order(b, ORDER_SCAN, &order));
	assert_int_equal(report(b, REPORT_HASH, 1, 1, hash_of(1)), 0); /* a is asked for its page */
	sim_write(a, 1, 101);
	assert_int_equal(report(a, REPORT_HASH, 1, 1, hash_of(101)), 0);
	assert_int_equal(report(a, REPORT_SCANNED, scan.page, scan.count, 10), 0);
	sim_tick(&sim, 2000);
	return ticket;
}

/* The FETCH is answered, and the ticket comes true once what the pass saw is merged; not before. */
static void expect_waited_for(struct sim_vm *a, uint64_t ticket)
{
	sim_take_orders(a, UINT32_MAX);
	sim_work(a, UINT32_MAX);
	sim_take_reports(a, UINT32_MAX);
	for (int i = 0; i < 100; i++) { /* who has the same has yet to be asked for it */
		sim_tick(&sim, 2000);
		assert_false(engine_scan_done(sim.engine, a->vm, ticket));
	}
	sim_settle(&sim);
	for (int i = 0; i < 5; i++)
		sim_tick(&sim, 2000);
	assert_true(engine_scan_done(sim.engine, a->vm, ticket));
	assert_int_equal(a->pages[1].state, SIM_SHARED);
}

static void a_pass_waits_for_what_it_saw_too_early(void **state)
{
	struct sim_vm *a = new_vm(10, 1, 1), *c = new_vm(10, 101, 1);

	(void)state;
	assert_true(sim_scan_all(&sim)); /* hints of all */
	expect_waited_for(a, see_too_early(a));
	assert_int_equal(c->pages[1].slot, a->pages[1].slot);
}

/* The same, and what it saw is being fetched for somebody else since the pass has ended. */
static void a_pass_waits_for_a_later_fetch(void **state)
{
	struct sim_vm *a = new_vm(10, 1, 1), *d = new_vm(1, 5000, 0);
	uint64_t ticket;

	(void)state;
	new_vm(10, 101, 1);
	assert_true(sim_scan_all(&sim));
	ticket = see_too_early(a);
	for (int i = 0; i < 2; i++) /* d has it, too, and the one that had it first is asked */
		assert_int_equal(report(d, REPORT_HASH, 1, 1, hash_of(101)), 0);
	sim_write(d, 1, 101);
	expect_waited_for(a, ticket);
}

static void a_pass_under_way_is_followed_by_a_whole_one(void **state)
{
	struct sim_vm *a = new_vm(20000, 1, 1);
	uint64_t first = engine_scan(sim.engine, a->vm), second, done, total;

	(void)state;
	sim_tick(&sim, 2000);
	second = engine_scan(sim.engine, a->vm);
	assert_true(second > first);
	assert_int_equal(engine_scan(sim.engine, a->vm), second);
	engine_scan_progress(a->vm, &done, &total);
	assert_true(done < total && total == 20000);
	assert_true(sim_scan_all(&sim));
	assert_true(engine_scan_done(sim.engine, a->vm, first) && engine_scan_done(sim.engine, a->vm, second));
	engine_scan_progress(a->vm, &done, &total);
	assert_int_equal(done, total);
}

static void a_slow_pass_is_spread_over_its_interval(void **state)
{
	struct sim_vm *a = new_vm(60000, 1, 1);
	uint64_t before, most = 0;

	(void)state;
	assert_true(sim_scan_all(&sim));
	for (int second = 0; second < 30; second++) {
		before = a->cpu_nsec;
		run_for(1);
		most = a->cpu_nsec - before > most ? a->cpu_nsec - before : most;
	}
	assert_true(most <= 500 * 4 * RING_SCAN_PAGES_MAX); /* 2000 pages a second, by four slices */
}

static void a_slow_pass_keeps_to_its_cpu_share(void **state)
{
	struct sim_vm *a;
	uint64_t used = 0;

	(void)state;
	sim.settings.scan_cpu_percent = 1;
	sim.settings.scan_interval_seconds = 1;
	restart_with_settings();
	a = new_vm(60000, 1, 1);
	assert_true(sim_scan_all(&sim)); /* 30 ms a pass */
	used = a->cpu_nsec;
	run_for(20);
	assert_true(a->cpu_nsec - used <= 22 * UINT64_C(10000000)); /* 1 % of 20 s, and what was saved up */
}

static void no_queue_overflows_in_a_pass(void **state)
{
	struct engine_vm_counters counters;
	struct sim_vm *vms[8];

	(void)state;
	for (uint32_t i = 0; i < 8; i++)
		vms[i] = new_vm(20000, 1 + i % 2 * 10000, 1);
	assert_true(sim_scan_all(&sim));
	for (uint32_t i = 0; i < 8; i++) {
		engine_vm_counters(vms[i]->vm, &counters);
		assert_int_equal(counters.dropped_orders, 0);
		assert_int_equal(counters.shared_pages, 20000);
	}
}

static void one_that_is_slow_loses_nobody_a_page(void **state)
{
	struct sim_vm *a = new_vm(20000, 1, 1), *b;
	struct engine_vm_counters counters;

	(void)state;
	assert_true(sim_scan_all(&sim));
	b = new_vm(20000, 1, 1);
	for (int i = 0; i < 1000; i++) { /* nobody takes a's orders meanwhile */
		sim_tick(&sim, 2000);
		sim_take_orders(b, UINT32_MAX);
		sim_work(b, UINT32_MAX);
		sim_take_reports(b, UINT32_MAX);
	}
	assert_true(sim_scan_all(&sim));
	engine_vm_counters(b->vm, &counters);
	assert_int_equal(counters.dropped_orders, 0);
	assert_int_equal(counters.shared_pages, 20000);
	assert_int_equal(shared_of(a), 20000);
}

/* Has @scanned passed over while @slow carries out an order per hundredth of a second. @return how many of these. */
static unsigned scan_beside(struct sim_vm *slow, struct sim_vm *scanned)
{
	uint64_t done = 0, total = 1;
	unsigned ticks = 0;

	engine_scan(sim.engine, scanned->vm);
	while (done < total) {
		struct sim_vm *vms[] = { slow, scanned };

		assert_true(ticks++ < 10000);
		sim_tick(&sim, SECOND / 100);
		for (unsigned i = 0; i < 2; i++) {
			sim_take_orders(vms[i], vms[i] == slow ? 1 : UINT32_MAX);
			sim_work(vms[i], UINT32_MAX);
			sim_take_reports(vms[i], UINT32_MAX);
		}
		engine_scan_progress(scanned->vm, &done, &total);
	}
	return ticks;
}

/* Nor would others be held back by each of its moments again. */
static void a_moment_of_room_ends_no_lag(void **state)
{
	struct sim_vm *a = new_vm(30000, 1, 1), *b;

	(void)state;
	assert_true(sim_scan_all(&sim));
	b = new_vm(30000, 1, 1);
	assert_true(scan_beside(a, b) > 900); /* until a's queue has been full for ten seconds */
	sim_settle(&sim);
	assert_true(shared_of(b) > 0 && shared_of(b) < 20000); /* enough is left to fill it again */
	assert_true(scan_beside(a, b) < 300);
}

/* A page that was written is believed at the second look. */
static void see_twice(struct sim_vm *vm, uint32_t page, uint32_t content)
{
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(report(vm, REPORT_HASH, page, 1, hash_of(content)), 0);
}

/* Answers are expected in the order of orders: one for a page cannot go ahead of a FETCH of it that was given up. */
static void watch_for(unsigned seconds)
{
	while (seconds-- > 0)
		sim_tick(&sim, SECOND);
}

/* What a VM has said while the daemon was stopped, or its host suspended, is heard before the VM is judged. */
static void a_daemon_that_was_stopped_gives_nobody_up(void **state)
{
	struct sim_vm *a = new_vm(10, 1, 1);
	uint64_t ticket;

	(void)state;
	assert_true(sim_scan_all(&sim));
	ticket = engine_scan(sim.engine, a->vm);
	watch_for(2);
	sim_tick(&sim, 600 * SECOND);
	assert_false(engine_scan_done(sim.engine, a->vm, ticket));
	watch_for(6);
	assert_false(engine_scan_done(sim.engine, a->vm, ticket));
	watch_for(4);
	assert_true(engine_scan_done(sim.engine, a->vm, ticket));
}

static void orders_for_a_page_keep_their_order(void **state)
{
	struct ring_record order;
	struct sim_vm *a, *b;

	(void)state;
	sim.settings.scan_interval_seconds = sim.settings.audit_interval_seconds = 0;
	restart_with_settings();
	a = new_vm(10, 1, 1);
	b = new_vm(10, 1, 1);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(shared_of(a) + shared_of(b), 20);
	assert_int_equal(report(a, REPORT_DIVERGED, 4, 2, 0), 0);
	assert_int_equal(report(b, REPORT_DIVERGED, 6, 1, 0), 0);
	see_twice(a, 4, 4);
	see_twice(a, 5, 777);
	see_twice(b, 6, 777); /* which asks for a's page 5 */
	sim_tick(&sim, 2000);
	watch_for(11); /* gives that up */
	see_twice(a, 5, 5);
	sim_tick(&sim, 2000);
	see_twice(a, 5, 5); /* its order would fit the one for page 4 */
	assert_true(next_order(a, ORDER_MERGE, &order));
	assert_int_equal(order.page, 4);
	assert_int_equal(order.count, 1);
	assert_true(next_order(a, ORDER_MERGE, &order));
	assert_int_equal(order.page, 5);
	assert_int_equal(order.slot, b->pages[5].slot);
	drop_orders(a);
	drop_orders(b);
}

/* ---- counting ---- */

static void saved_adds_up(void **state)
{
	struct engine_vm_counters counters;
	int64_t sum = 0;

	(void)state;
	for (uint32_t i = 0; i < 7; i++)
		new_vm(100 + i * 13, 1 + i * 3, 1);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(host().saved_pages, host().shared_pages + host().zero_pages - host().common_pages);
	for (uint32_t i = 0; i < 7; i++) {
		engine_vm_last_counted(sim.vms[i]->vm, &counters);
		assert_true(counters.saved_pages >= 0);
		sum += counters.saved_pages;
	}
	assert_int_equal(sum, host().saved_pages);
}

/* The cost of the slots in use is divided by shared pages, also while some come and go. */
static void saved_follows_shared_pages(void **state)
{
	struct sim_vm *half = new_vm(1000, 1, 1), *all = new_vm(2000, 1, 1), *as_much = new_vm(2000, 1, 1);
	struct engine_vm_counters counters[3];

	(void)state;
	assert_true(sim_scan_all(&sim));
	assert_int_equal(host().saved_pages, 5000 - 2000);
	engine_vm_last_counted(half->vm, &counters[0]);
	engine_vm_last_counted(all->vm, &counters[1]);
	engine_vm_last_counted(as_much->vm, &counters[2]);
	assert_int_equal(counters[0].saved_pages, 600);
	assert_int_equal(counters[1].saved_pages, 1200);
	assert_int_equal(counters[2].saved_pages, 1200);
	sim_vm_end(as_much);
	assert_int_equal(host().saved_pages, 3000 - 2000);
	engine_vm_last_counted(half->vm, &counters[0]);
	assert_int_equal(counters[0].saved_pages, 334);
	assert_null(engine_check(sim.engine));
}

static struct engine_vm_counters counters_of(const struct sim_vm *vm)
{
	struct engine_vm_counters counters;

	engine_vm_counters(vm->vm, &counters);
	return counters;
}

static int report_copies(struct sim_vm *vm, enum ring_report op, uint32_t page, uint32_t count, uint64_t value)
{
	struct ring_record record = {
		.op = (uint8_t)op, .flags = RING_PRIVATE_COPY, .count = (uint16_t)count, .page = page
	};

	record.value = value;
	return engine_report(sim.engine, vm->vm, &record, NULL);
}

/* A page is one thing at a time: what falls from one counter is in the next, or in none. */
static void a_page_is_counted_once(void **state)
{
	struct sim_vm *a = new_vm(10, 1, 1), *b = new_vm(10, 1, 1);
	struct ring_record order;

	(void)state;
	assert_true(sim_scan_all(&sim));
	assert_int_equal(counters_of(a).shared_pages, 10);
	assert_int_equal(report_copies(a, REPORT_DIVERGED, 1, 4, 0), 0);
	assert_int_equal(counters_of(a).shared_pages, 6);
	assert_int_equal(counters_of(a).diverged_pages, 4);
	assert_int_equal(report(a, REPORT_DIVERGED, 5, 1, 0), 0); /* discarded: no copy */
	assert_int_equal(report(a, REPORT_DIVERGED, 1, 1, 0), 0); /* a copy, discarded later */
	assert_int_equal(counters_of(a).shared_pages, 5);
	assert_int_equal(counters_of(a).diverged_pages, 3);
	for (unsigned i = 0; i < 2; i++) /* 2 is equal again, and ordered */
		assert_int_equal(report_copies(a, REPORT_HASH, 2, 1, hash_of(2)), 0);
	assert_int_equal(counters_of(a).diverged_pages, 2);
	assert_true(next_order(a, ORDER_MERGE, &order));
	assert_int_equal(report_copies(a, REPORT_BUSY, 2, 1, b->pages[2].slot), 0);
	assert_int_equal(counters_of(a).diverged_pages, 3);
	assert_int_equal(report_copies(a, REPORT_HASH, 2, 1, hash_of(2)), 0);
	assert_true(next_order(a, ORDER_MERGE, &order));
	assert_int_equal(report(a, REPORT_MERGED, 2, 1, b->pages[2].slot), 0);
	assert_int_equal(counters_of(a).shared_pages, 6);
	assert_int_equal(counters_of(a).diverged_pages, 2);
	a->pages[2].state = SIM_SHARED;
	assert_int_equal(counters_of(b).shared_pages, 10);
}

/* Nor are more pages shared than present, before it has said how many these are. */
static void present_pages_are_no_fewer_than_shared_ones(void **state)
{
	struct sim_vm *a = new_vm(10, 1, 1);

	(void)state;
	new_vm(10, 1, 1);
	assert_true(sim_scan_all(&sim));
	sim_kill_engine(&sim);
	sim_start(&sim);
	sim_vm_connect(a);
	sim_settle(&sim);
	assert_int_equal(counters_of(a).shared_pages, 10);
	assert_int_equal(counters_of(a).present_pages, 10);
	sim_vm_remove_region(a, 0);
	sim_settle(&sim);
	assert_int_equal(counters_of(a).present_pages, 0);
}

/* More than there is of its RAM is not present, whatever it says. */
static void present_pages_are_as_told_last(void **state)
{
	struct sim_vm *a = new_vm(10, 1, 1);
	struct ring_record order;

	(void)state;
	for (uint64_t told = 3; told < 30; told += 10) {
		engine_scan(sim.engine, a->vm);
		sim_tick(&sim, 2000);
		assert_true(next_order(a, ORDER_SCAN, &order));
		assert_int_equal(report(a, REPORT_SCANNED, order.page, order.count, told), 0);
		assert_int_equal(counters_of(a).present_pages, told < 10 ? told : 10);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ENGINE_TEST(equal_pages_of_two_vms_are_shared),
		ENGINE_TEST(neighbours_get_neighbouring_slots),
		ENGINE_TEST(runs_are_ordered_whole),
		ENGINE_TEST(runs_inside_one_vm_are_ordered_whole),
		ENGINE_TEST(a_page_alone_is_not_shared),
		ENGINE_TEST(zero_pages_are_given_back),
		ENGINE_TEST(pages_of_one_vm_share_among_themselves),
		ENGINE_TEST(slots_die_with_their_last_reader),
		ENGINE_TEST(mode_zero_shares_only_zeros),
		ENGINE_TEST(a_changed_page_waits_for_a_second_look),
		ENGINE_TEST(a_page_that_keeps_changing_is_left_alone),
		ENGINE_TEST(a_requested_pass_overrides_the_filter),
		ENGINE_TEST(new_pages_are_merged_by_the_slow_pass_at_once),
		ENGINE_TEST(a_diverged_page_is_merged_again_later),
		ENGINE_TEST(much_repeated_content_becomes_a_stripe),
		ENGINE_TEST(content_that_many_vms_have_once_is_no_stripe),
		ENGINE_TEST(a_pass_ends_though_a_vm_is_silent),
		ENGINE_TEST(a_pass_ends_though_a_vm_only_talks),
		ENGINE_TEST(a_pass_ends_when_its_vm_is_detached),
		ENGINE_TEST(a_pass_waits_for_what_came_of_it),
		ENGINE_TEST(a_pass_waits_for_what_it_saw_too_early),
		ENGINE_TEST(a_pass_waits_for_a_later_fetch),
		ENGINE_TEST(a_pass_under_way_is_followed_by_a_whole_one),
		ENGINE_TEST(a_slow_pass_is_spread_over_its_interval),
		ENGINE_TEST(a_slow_pass_keeps_to_its_cpu_share),
		ENGINE_TEST(no_queue_overflows_in_a_pass),
		ENGINE_TEST(one_that_is_slow_loses_nobody_a_page),
		ENGINE_TEST(a_moment_of_room_ends_no_lag),
		ENGINE_TEST(a_daemon_that_was_stopped_gives_nobody_up),
		ENGINE_TEST(orders_for_a_page_keep_their_order),
		ENGINE_TEST(saved_adds_up),
		ENGINE_TEST(saved_follows_shared_pages),
		ENGINE_TEST(a_page_is_counted_once),
		ENGINE_TEST(present_pages_are_as_told_last),
		ENGINE_TEST(present_pages_are_no_fewer_than_shared_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
