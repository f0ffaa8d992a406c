/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the engine orders when, and what it refuses, one behaviour at a time. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/hash.h"
#include "tests/engine/simulation.h"

#define SECOND UINT64_C(1000000)

static struct sim sim;

static int setup(void **state)
{
	(void)state;
	return sim_init(&sim, 1);
}

static int teardown(void **state)
{
	(void)state;
	if (sim.wrong == NULL)
		sim.wrong = engine_check(sim.engine);
	if (sim.wrong != NULL)
		print_error("%s\n", sim.wrong);
	sim_done(&sim);
	return sim.wrong != NULL;
}

/* A VM of @pages pages with contents @first, @first + @step, ... */
static struct sim_vm *new_vm(uint32_t pages, uint32_t first, uint32_t step)
{
	struct sim_vm *vm = sim_vm_new(&sim, WIRE_MODE_FULL);

	assert_int_equal(sim_vm_add_region(vm, pages), 0);
	for (uint32_t i = 0; i < pages; i++)
		sim_write(vm, 1 + i, first + i * step);
	sim_vm_connect(vm);
	return vm;
}

static uint64_t shared_of(const struct sim_vm *vm)
{
	struct engine_vm_counters counters;

	engine_vm_counters(vm->vm, &counters);
	return counters.shared_pages;
}

static struct engine_counters host(void)
{
	struct engine_counters counters;

	engine_counters(sim.engine, &counters);
	return counters;
}

static void run_for(uint64_t seconds)
{
	for (uint64_t i = 0; i < seconds * 100; i++) {
		sim_tick(&sim, SECOND / 100);
		sim_settle(&sim);
	}
}

static int report(struct sim_vm *vm, enum ring_report op, uint32_t page, uint32_t count, uint64_t value)
{
	struct ring_record record = { .op = (uint8_t)op, .count = (uint16_t)count, .page = page };

	record.value = value;
	return engine_report(sim.engine, vm->vm, &record, NULL);
}

static uint64_t hash_of(uint32_t content)
{
	unsigned char page[PAGE_BYTES];

	content_fill(page, content);
	return page_hash(page, sim.settings.seed);
}

/* Throws away what waits to be taken. */
static void drop_orders(struct sim_vm *vm)
{
	sim_take_orders(vm, UINT32_MAX);
	vm->down.head = vm->down.tail;
}

static bool next_order(struct sim_vm *vm, uint8_t op, struct ring_record *ret)
{
	while (engine_next_order(sim.engine, vm->vm, ret))
		if (ret->op == op)
			return true;
	return false;
}

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
	engine_set_mode(sim.engine, a->vm, WIRE_MODE_FULL);
	assert_true(sim_scan_all(&sim));
	assert_true(sim_scan_all(&sim));
	assert_int_equal(shared_of(a), 100);
	assert_int_equal(shared_of(b), 100);
	assert_int_equal(engine_set_mode(sim.engine, a->vm, WIRE_MODE_ZERO), 0);
	run_for(2);
	assert_int_equal(shared_of(a), 0);
	assert_int_equal(shared_of(b), 100);
	assert_int_equal(engine_set_mode(sim.engine, a->vm, WIRE_MODE_END), -EINVAL);
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
	assert_true(host().volatile_skips > 0);
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
	assert_true(most <= 500 * 3 * RING_SCAN_PAGES_MAX); /* 2000 pages a second, in whole slices */
}

static void a_slow_pass_keeps_to_its_cpu_share(void **state)
{
	struct sim_vm *a;
	uint64_t used = 0;

	(void)state;
	sim_done(&sim);
	sim_init(&sim, 1);
	engine_free(sim.engine);
	sim.settings.scan_cpu_percent = 1;
	sim.settings.scan_interval_seconds = 1;
	sim_start(&sim);
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

/* ---- limits and lies ---- */

static void a_vm_brings_in_no_more_slots_than_it_may(void **state)
{
	(void)state;
	sim_done(&sim);
	sim_init(&sim, 1);
	engine_free(sim.engine);
	sim.settings.vm_slots_max = 50;
	sim_start(&sim);
	new_vm(1000, 1, 1);
	new_vm(1000, 1, 1);
	assert_true(sim_scan_all(&sim));
	assert_true(host().store_pages <= 100);
}

static void slots_that_are_dead_count_no_longer(void **state)
{
	struct sim_vm *a, *b;

	(void)state;
	sim_done(&sim);
	sim_init(&sim, 1);
	engine_free(sim.engine);
	sim.settings.vm_slots_max = 50;
	sim_start(&sim);
	a = new_vm(50, 1, 1);
	b = new_vm(50, 1, 1);
	for (uint32_t round = 1; round <= 5; round++) {
		assert_true(sim_scan_all(&sim));
		assert_true(sim_scan_all(&sim));
		assert_int_equal(shared_of(a) + shared_of(b), 100);
		for (uint32_t i = 1; i <= 50; i++) {
			sim_write(a, i, round * 1000 + i);
			sim_write(b, i, round * 1000 + i);
		}
	}
}

static void a_dead_segment_is_removed_and_used_again(void **state)
{
	struct sim_vm *idle = new_vm(1, 1, 1), *other = new_vm(1, 1, 1);

	(void)state;
	assert_true(sim_scan_all(&sim));
	sim_write(idle, 1, 2);
	sim_write(other, 1, 3);
	run_for(6); /* both keep a stretch of offsets, and nothing in it */
	for (uint32_t i = 0; i < 2 * ENGINE_SEGMENT_SLOTS / 512; i++) {
		struct sim_vm *a = new_vm(1, 9, 1), *b = new_vm(1, 9, 1);

		assert_true(sim_scan_all(&sim));
		assert_int_equal(shared_of(a) + shared_of(b), 2);
		sim_vm_end(a);
		sim_vm_end(b);
	}
	assert_true(sim.removed_segments >= 1);
	for (uint32_t i = 2; i < SIM_SEGMENTS; i++)
		assert_null(sim.segments[i].memory);
}

static void a_run_ends_where_its_segment_does(void **state)
{
	struct sim_vm *a, *b;

	(void)state;
	for (uint32_t i = 0; i < ENGINE_SEGMENT_SLOTS / 512 - 1; i++) {
		a = new_vm(1, 9, 1);
		b = new_vm(1, 9, 1);
		assert_true(sim_scan_all(&sim));
		sim_vm_end(a);
		sim_vm_end(b);
	}
	a = new_vm(1024, 1, 1);
	b = new_vm(1024, 1, 1);
	sim_write(b, 5, 5000); /* so that runs do not end there by themselves */
	assert_true(sim_scan_all(&sim));
	assert_int_equal(shared_of(a), 1023);
	assert_int_equal(a->pages[1].slot / ENGINE_SEGMENT_SLOTS, 0);
	assert_int_equal(b->pages[1024].slot / ENGINE_SEGMENT_SLOTS, 1);
}

static void regions_have_limits(void **state)
{
	struct sim_vm *a = new_vm(10, 1, 1);

	(void)state;
	assert_int_equal(report(a, REPORT_REGION_ADD, 1, 1, 5), -EPROTO);  /* given already */
	assert_int_equal(report(a, REPORT_REGION_ADD, 12, 1, 5), -EPROTO); /* leaves a gap */
	assert_int_equal(report(a, REPORT_REGION_ADD, 11, 1, UINT32_MAX - 20), -ENOMEM);
	assert_int_equal(report(a, REPORT_REGION_REMOVE, 2, 1, 0), -EPROTO); /* starts none */
	for (uint32_t i = 11; i < 11 + 1023; i++)
		assert_int_equal(report(a, REPORT_REGION_ADD, i, 1, 1), 0);
	assert_int_equal(report(a, REPORT_REGION_ADD, 11 + 1023, 1, 1), -ENOMEM);
	drop_orders(a);
}

static void what_was_not_ordered_is_refused(void **state)
{
	struct sim_vm *a = new_vm(10, 1, 1);
	unsigned char staging[PAGE_BYTES] = { 0 };
	struct ring_record fetched = { .op = REPORT_FETCHED, .count = 1, .page = 3 };

	(void)state;
	assert_int_equal(report(a, REPORT_MERGED, 1, 1, 0), -EPROTO);
	assert_int_equal(report(a, REPORT_ZEROED, 1, 1, 0), -EPROTO);
	assert_int_equal(report(a, REPORT_DIFFERS, 1, 1, 0), -EPROTO);
	assert_int_equal(report(a, REPORT_BUSY, 1, 1, 0), -EPROTO);
	assert_int_equal(report(a, REPORT_SCANNED, 1, 10, 0), -EPROTO);
	assert_int_equal(report(a, REPORT_HASH, 11, 1, 5), -EPROTO);
	assert_int_equal(report(a, REPORT_ZERO, 5, 7, 0), -EPROTO);
	assert_int_equal(report(a, REPORT_DIVERGED, 11, 1, 0), -EPROTO);
	assert_int_equal(report(a, REPORT_ADOPT, 1, 1, 0), -EPROTO);
	assert_int_equal(report(a, REPORT_READY, 1, 1, 0), -EPROTO);
	assert_int_equal(engine_report(sim.engine, a->vm, &fetched, staging), -EPROTO);
}

static void only_the_slot_that_was_ordered_is_confirmed(void **state)
{
	struct sim_vm *a = new_vm(10, 1, 1), *b = new_vm(10, 1, 1);
	struct ring_record order;

	(void)state;
	assert_true(sim_scan_all(&sim));
	assert_int_equal(report(a, REPORT_DIVERGED, 1, 1, 0), 0);
	engine_scan(sim.engine, a->vm);
	sim_tick(&sim, 2000);
	assert_int_equal(report(a, REPORT_HASH, 1, 1, hash_of(1)), 0);
	assert_true(next_order(a, ORDER_MERGE, &order));
	assert_int_equal(order.slot, b->pages[1].slot);
	assert_int_equal(report(a, REPORT_MERGED, 1, 1, order.slot + 1), -EPROTO);
	assert_int_equal(report(a, REPORT_MERGED, 1, 2, order.slot), -EPROTO);
	assert_int_equal(report(a, REPORT_ZEROED, 1, 1, order.slot), -EPROTO);
	assert_int_equal(shared_of(a), 9);
	assert_int_equal(report(a, REPORT_MERGED, 1, 1, order.slot), 0);
	assert_int_equal(report(a, REPORT_MERGED, 1, 1, order.slot), -EPROTO);
	assert_int_equal(shared_of(a), 10);
	drop_orders(a);
}

static void nothing_but_regions_before_ready(void **state)
{
	struct sim_vm *a = sim_vm_new(&sim, WIRE_MODE_FULL);

	(void)state;
	assert_int_equal(engine_add_vm(sim.engine, WIRE_MODE_FULL, &a->vm), 0);
	assert_int_equal(report(a, REPORT_REGION_ADD, 1, 1, 10), 0);
	assert_int_equal(report(a, REPORT_HASH, 1, 1, 5), -EPROTO);
	assert_int_equal(report(a, REPORT_ADOPT, 1, 1, 5), -EPROTO); /* no such slot */
	assert_int_equal(report(a, REPORT_READY, 1, 1, 0), 0);
	assert_int_equal(report(a, REPORT_HASH, 1, 1, 5), 0);
}

static void a_run_may_span_regions(void **state)
{
	struct sim_vm *a = sim_vm_new(&sim, WIRE_MODE_FULL);
	struct ring_record order;
	uint32_t pages = 0;

	(void)state;
	sim_vm_add_region(a, 8);
	sim_vm_add_region(a, 8);
	sim_vm_connect(a);
	assert_int_equal(report(a, REPORT_ZERO, 5, 8, 0), 0);
	while (next_order(a, ORDER_ZERO, &order)) {
		assert_true(order.page + order.count <= 9 || order.page >= 9);
		pages += order.count;
	}
	assert_int_equal(pages, 8);
	assert_int_equal(report(a, REPORT_ZEROED, 5, 8, 0), 0);
	assert_int_equal(host().zero_pages, 8);
	assert_int_equal(report(a, REPORT_DIVERGED, 5, 8, 0), 0);
}

static void a_removed_region_is_forgotten(void **state)
{
	struct sim_vm *a = sim_vm_new(&sim, WIRE_MODE_FULL), *b = new_vm(200, 1, 1);

	(void)state;
	sim_vm_add_region(a, 100);
	sim_vm_add_region(a, 100);
	for (uint32_t i = 1; i <= 200; i++)
		sim_write(a, i, i);
	sim_vm_connect(a);
	assert_true(sim_scan_all(&sim));
	sim_vm_remove_region(a, 0);
	sim_settle(&sim);
	assert_int_equal(shared_of(a), 100);
	assert_int_equal(shared_of(b), 200);
	assert_int_equal(report(a, REPORT_GONE, 1, 10, 0), 0);
	assert_int_equal(report(a, REPORT_MERGED, 1, 1, 0), -EPROTO);
	assert_int_equal(report(a, REPORT_HASH, 1, 1, 5), 0);
}

static void no_order_names_a_region_that_is_gone(void **state)
{
	struct sim_vm *a = new_vm(100, 1, 1), *b = new_vm(100, 0, 0);
	struct ring_record order;

	(void)state;
	assert_true(sim_scan_all(&sim));
	assert_int_equal(report(a, REPORT_REGION_ADD, 101, 1, 100), 0);
	assert_int_equal(report(a, REPORT_ZERO, 101, 50, 0), 0);
	assert_int_equal(report(a, REPORT_REGION_REMOVE, 101, 1, 0), 0);
	assert_false(next_order(a, ORDER_ZERO, &order));
	assert_int_equal(host().zero_pages, 100);
	(void)b;
}

static void a_wrong_hash_harms_nobody(void **state)
{
	struct sim_vm *a = new_vm(10, 1, 1), *b = new_vm(10, 100, 1);

	(void)state;
	assert_true(sim_scan_all(&sim));
	engine_scan(sim.engine, b->vm);
	sim_tick(&sim, 2000);
	assert_int_equal(report(b, REPORT_HASH, 1, 1, hash_of(1)), 0); /* it has 100 */
	sim_settle(&sim);
	assert_int_equal(shared_of(b), 0);
	assert_true(shared_of(a) <= 1);
	assert_true(sim_scan_all(&sim));
}

/* ---- restarts ---- */

static void a_restarted_engine_takes_over_what_is_shared(void **state)
{
	struct sim_vm *a = new_vm(300, 1, 1), *b = new_vm(300, 1, 1), *c;

	(void)state;
	assert_true(sim_scan_all(&sim));
	sim_kill_engine(&sim);
	for (uint32_t i = 201; i <= 300; i++) {
		sim_write(a, i, 5000 + i);
		sim_write(b, i, 6000 + i);
	}
	sim_start(&sim);
	sim_vm_connect(a);
	sim_vm_connect(b);
	assert_int_equal(host().common_pages, 200);
	assert_int_equal(sim_stored(&sim), 300);
	engine_accounted(sim.engine);
	assert_int_equal(sim_stored(&sim), 200);
	c = new_vm(200, 1, 1);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(shared_of(c), 200);
	assert_int_equal(host().common_pages, 200);
}

static void a_hint_gives_way_to_a_slot_that_is_adopted(void **state)
{
	struct sim_vm *a = new_vm(10, 1, 1), *b = new_vm(10, 1, 1), *c;

	(void)state;
	assert_true(sim_scan_all(&sim));
	sim_kill_engine(&sim);
	sim_start(&sim);
	c = new_vm(10, 1, 1);
	assert_true(sim_scan_all(&sim)); /* c's pages are all that is known */
	sim_vm_connect(a);
	sim_vm_connect(b);
	engine_accounted(sim.engine);
	run_for(31);
	assert_int_equal(shared_of(c), 10);
	assert_int_equal(host().common_pages, 10);
}

static void nothing_old_is_punched_before_all_are_accounted_for(void **state)
{
	struct sim_vm *a = new_vm(300, 1, 1), *b = new_vm(300, 1, 1);

	(void)state;
	assert_true(sim_scan_all(&sim));
	sim_kill_engine(&sim);
	sim_start(&sim);
	sim_vm_connect(a);
	sim_vm_end(a);
	assert_int_equal(sim_stored(&sim), 300); /* b has not come back yet */
	sim_vm_connect(b);
	engine_accounted(sim.engine);
	assert_int_equal(shared_of(b), 300);
	assert_int_equal(sim_stored(&sim), 300);
}

static void ten_restarts_do_not_grow_the_store(void **state)
{
	struct sim_vm *a = new_vm(300, 1, 1), *b = new_vm(300, 1, 1);
	uint32_t segments = 0;

	(void)state;
	for (int i = 0; i < 10; i++) {
		assert_true(sim_scan_all(&sim));
		sim_kill_engine(&sim);
		sim_start(&sim);
		sim_vm_connect(a);
		sim_vm_connect(b);
		engine_accounted(sim.engine);
		for (uint32_t j = 1; j <= 300; j++) {
			sim_write(a, j, (uint32_t)i * 1000 + j);
			sim_write(b, j, (uint32_t)i * 1000 + j);
		}
	}
	assert_true(sim_scan_all(&sim));
	assert_true(sim_scan_all(&sim));
	assert_int_equal(sim_stored(&sim), 300);
	for (uint32_t i = 0; i < SIM_SEGMENTS; i++)
		segments += sim.segments[i].memory != NULL;
	assert_true(segments <= 2);
}

static void a_lost_connection_keeps_its_references(void **state)
{
	struct sim_vm *a = new_vm(300, 1, 1), *b = new_vm(300, 1, 1);

	(void)state;
	assert_true(sim_scan_all(&sim));
	sim_vm_disconnect(a);
	sim_vm_end(b);
	assert_int_equal(sim_stored(&sim), 300);
	sim_check_memory(&sim);
	sim_vm_connect(a);
	assert_int_equal(shared_of(a), 300);
	assert_int_equal(host().shared_pages, 300);
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
		engine_vm_counters(sim.vms[i]->vm, &counters);
		assert_true(counters.saved_pages >= 0);
		sum += counters.saved_pages;
	}
	assert_int_equal(sum, host().saved_pages);
}

int main(void)
{
#define UNIT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		UNIT(equal_pages_of_two_vms_are_shared),
		UNIT(neighbours_get_neighbouring_slots),
		UNIT(runs_are_ordered_whole),
		UNIT(a_page_alone_is_not_shared),
		UNIT(zero_pages_are_given_back),
		UNIT(pages_of_one_vm_share_among_themselves),
		UNIT(slots_die_with_their_last_reader),
		UNIT(mode_zero_shares_only_zeros),
		UNIT(a_changed_page_waits_for_a_second_look),
		UNIT(a_page_that_keeps_changing_is_left_alone),
		UNIT(a_requested_pass_overrides_the_filter),
		UNIT(new_pages_are_merged_by_the_slow_pass_at_once),
		UNIT(a_diverged_page_is_merged_again_later),
		UNIT(much_repeated_content_becomes_a_stripe),
		UNIT(content_that_many_vms_have_once_is_no_stripe),
		UNIT(a_pass_ends_though_a_vm_is_silent),
		UNIT(a_pass_ends_when_its_vm_is_detached),
		UNIT(a_pass_waits_for_what_came_of_it),
		UNIT(a_pass_under_way_is_followed_by_a_whole_one),
		UNIT(a_slow_pass_is_spread_over_its_interval),
		UNIT(a_slow_pass_keeps_to_its_cpu_share),
		UNIT(no_queue_overflows_in_a_pass),
		UNIT(one_that_is_slow_loses_nobody_a_page),
		UNIT(a_vm_brings_in_no_more_slots_than_it_may),
		UNIT(slots_that_are_dead_count_no_longer),
		UNIT(a_dead_segment_is_removed_and_used_again),
		UNIT(a_run_ends_where_its_segment_does),
		UNIT(regions_have_limits),
		UNIT(what_was_not_ordered_is_refused),
		UNIT(only_the_slot_that_was_ordered_is_confirmed),
		UNIT(nothing_but_regions_before_ready),
		UNIT(a_run_may_span_regions),
		UNIT(a_removed_region_is_forgotten),
		UNIT(no_order_names_a_region_that_is_gone),
		UNIT(a_wrong_hash_harms_nobody),
		UNIT(a_restarted_engine_takes_over_what_is_shared),
		UNIT(a_hint_gives_way_to_a_slot_that_is_adopted),
		UNIT(nothing_old_is_punched_before_all_are_accounted_for),
		UNIT(ten_restarts_do_not_grow_the_store),
		UNIT(a_lost_connection_keeps_its_references),
		UNIT(saved_adds_up),
	};
#undef UNIT

	return cmocka_run_group_tests(tests, NULL, NULL);
}
