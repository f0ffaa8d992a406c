/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the engine makes of pages that VMMs have read into: order, modes, stability, limits. */
#include "engine/later.h"
#include "engine/stability.h"
#include "engine/state.h"
#include "tests/engine/harness.h"

/** A VM of contents @first, @first + 1, ... in @mode; nothing is under way for it. */
static struct sim_vm *new_vm_in(enum wire_mode mode, uint32_t pages, uint32_t first)
{
	struct sim_vm *vm = sim_vm_new(&sim, mode);

	assert_int_equal(sim_vm_add_region(vm, pages), 0);
	for (uint32_t i = 0; i < pages; i++)
		sim_write(vm, 1 + i, first + i);
	sim_vm_connect(vm);
	run_for(1);
	return vm;
}

static void note(struct sim_vm *vm, uint32_t page, uint32_t count)
{
	for (uint32_t i = page; i < page + count; i++)
		sim_note(vm, i);
}

static uint64_t noted_shared_of(const struct sim_vm *vm)
{
	struct engine_vm_counters counters;

	engine_vm_counters(vm->vm, &counters);
	return counters.noted_shared;
}

static uint64_t unstable_of(const struct sim_vm *vm)
{
	struct engine_vm_counters counters;

	engine_vm_counters(vm->vm, &counters);
	return counters.noted_unstable;
}

/* ---- modes ---- */

static void hints_share_what_is_noted_and_nothing_else(void **state)
{
	struct sim_vm *a, *b;

	(void)state;
	sim.settings.scan_interval_seconds = 1;
	restart_with_settings();
	a = new_vm_in(WIRE_MODE_HINTS, 100, 1);
	b = new_vm_in(WIRE_MODE_HINTS, 100, 1);
	assert_true(sim_scan_all(&sim));
	run_for(5);
	assert_int_equal(host().shared_pages, 0);
	note(a, 11, 50);
	note(b, 11, 40);
	sim_settle(&sim);
	assert_int_equal(shared_of(a), 40);
	assert_int_equal(shared_of(b), 40);
	assert_int_equal(noted_shared_of(a), 40);
	assert_int_equal(noted_shared_of(b), 40);
	run_for(5);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(host().shared_pages, 80);
}

static void hints_share_with_full(void **state)
{
	struct sim_vm *a = new_vm_in(WIRE_MODE_HINTS, 100, 1), *b = new_vm(100, 1, 1);

	(void)state;
	assert_true(sim_scan_all(&sim));
	assert_int_equal(host().shared_pages, 0);
	note(a, 1, 30);
	sim_settle(&sim);
	assert_int_equal(shared_of(a), 30);
	assert_int_equal(shared_of(b), 30);
	assert_int_equal(noted_shared_of(b), 0);
}

static void noted_zeros_are_given_back(void **state)
{
	struct sim_vm *a = new_vm_in(WIRE_MODE_HINTS, 100, 1);

	(void)state;
	for (uint32_t i = 1; i <= 20; i++)
		sim_write(a, i, 0);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(host().zero_pages, 0);
	note(a, 1, 10);
	sim_settle(&sim);
	assert_int_equal(host().zero_pages, 10);
	assert_int_equal(noted_shared_of(a), 10);
}

static void who_wants_no_hints_is_told_so(void **state)
{
	struct sim_vm *a = new_vm_in(WIRE_MODE_ZERO, 10, 1), *b = new_vm_in(WIRE_MODE_HINTS, 10, 1),
		      *c = new_vm_in(WIRE_MODE_FULL, 10, 1);
	struct ring_record report = { .op = REPORT_HASH, .flags = RING_NOTED, .count = 1, .page = 1 };

	(void)state;
	assert_false(a->tells_notes);
	assert_true(b->tells_notes && c->tells_notes);
	report.value = hash_of(1); /* it tells all the same */
	assert_int_equal(engine_report(sim.engine, a->vm, &report, NULL), 0);
	note(b, 1, 1);
	sim_settle(&sim);
	assert_int_equal(shared_of(a), 0);
}

/* A worker of an earlier release is not ordered what it does not know; its VM is scanned as ever. */
static void who_knows_no_notes_is_ordered_none(void **state)
{
	struct sim_vm *a = sim_vm_new(&sim, WIRE_MODE_FULL), *b = new_vm(10, 1, 1);

	(void)state;
	a->lacks_notes = true;
	connect_filled(a, 10, 1, 1);
	assert_true(sim_scan_all(&sim));
	engine_set_mode(sim.engine, a->vm, WIRE_MODE_ZERO);
	run_for(2);
	engine_set_mode(sim.engine, a->vm, WIRE_MODE_FULL);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(shared_of(a) + shared_of(b), 20);
}

/* A mode that is set while the VM runs is followed. */
static void notes_follow_the_mode(void **state)
{
	struct sim_vm *a = new_vm_in(WIRE_MODE_HINTS, 10, 1), *b = new_vm_in(WIRE_MODE_HINTS, 10, 1);

	(void)state;
	note(a, 1, 10);
	note(b, 1, 10);
	sim_settle(&sim);
	assert_int_equal(shared_of(a), 10);
	engine_set_mode(sim.engine, a->vm, WIRE_MODE_OFF);
	run_for(2);
	assert_false(a->tells_notes);
	assert_int_equal(shared_of(a), 0);
	engine_set_mode(sim.engine, a->vm, WIRE_MODE_HINTS);
	run_for(2);
	assert_true(a->tells_notes);
	note(a, 1, 5);
	sim_settle(&sim);
	assert_int_equal(shared_of(a), 5);
}

/* What others map is not known yet: a second copy of it would stay. */
static void notes_wait_for_who_comes_back(void **state)
{
	struct sim_vm *a = new_vm(10, 1, 1), *b;

	(void)state;
	new_vm(10, 1, 1);
	assert_true(sim_scan_all(&sim));
	sim_kill_engine(&sim);
	sim_start(&sim);
	b = sim_vm_new(&sim, WIRE_MODE_HINTS);
	sim_vm_add_region(b, 10);
	sim_vm_connect(b);
	run_for(1);
	assert_false(b->tells_notes);
	sim_vm_connect(a);
	run_for(8);
	assert_true(b->tells_notes);
}

/* ---- order ---- */

static void noted_pages_need_no_second_look(void **state)
{
	struct sim_vm *a = new_vm(10, 1, 1), *b = new_vm(10, 100, 1);

	(void)state;
	assert_true(sim_scan_all(&sim));
	sim_write(b, 1, 1); /* as a's first; a slow pass would wait for another one */
	note(b, 1, 1);
	sim_settle(&sim);
	assert_int_equal(shared_of(a), 1);
	assert_int_equal(shared_of(b), 1);
}

/** Notes for a second, in each tick: @return slices of slow passes that the VM was ordered meanwhile. */
static unsigned slices_beside_notes(struct sim_vm *vm, bool noting)
{
	struct ring_record order;
	unsigned slices = 0;

	for (unsigned i = 0; i < 100; i++) {
		if (noting)
			report(vm, REPORT_HASH, 1, 1, hash_of(1)); /* keeps it heard of */
		if (noting)
			sim_note(vm, 1 + i);
		sim_take_reports(vm, UINT32_MAX);
		sim_tick(&sim, SECOND / 100);
		while (engine_next_order(sim.engine, vm->vm, &order)) {
			slices += order.op == ORDER_SCAN;
			if (order.op == ORDER_SCAN || order.op == ORDER_AUDIT)
				report(vm, REPORT_SCANNED, order.page, order.count, 10);
		}
	}
	return slices;
}

static void slow_passes_come_after_notes_but_do_come(void **state)
{
	struct sim_vm *a;
	unsigned alone, beside = 0;

	(void)state;
	sim.settings.scan_interval_seconds = 1;
	sim.settings.scan_cpu_percent = 100;
	restart_with_settings();
	a = new_vm(60000, 1, 1);
	assert_true(sim_scan_all(&sim));
	alone = slices_beside_notes(a, false);
	assert_true(alone >= 20);
	for (unsigned second = 0; second < 5; second++)
		beside += slices_beside_notes(a, true);
	assert_true(beside >= 3 && beside <= alone);
	run_for(1);
	assert_true(slices_beside_notes(a, false) >= alone / 2);
}

/* ---- looks that come too early ---- */

static void a_note_during_an_order_counts_once_that_has_failed(void **state)
{
	struct sim_vm *a = new_vm_in(WIRE_MODE_HINTS, 10, 1), *b = new_vm_in(WIRE_MODE_HINTS, 10, 1),
		      *c = new_vm_in(WIRE_MODE_HINTS, 10, 101);

	(void)state;
	note(a, 1, 1);
	note(c, 1, 1);
	sim_settle(&sim);
	note(b, 1, 1);
	sim_take_reports(b, UINT32_MAX); /* a is asked for its page */
	sim_take_orders(a, UINT32_MAX);
	sim_work(a, UINT32_MAX);
	sim_take_reports(a, UINT32_MAX); /* both are ordered to merge */
	sim_write(b, 1, 101);            /* another read, of what c has */
	note(b, 1, 1);
	sim_settle(&sim);
	assert_int_equal(shared_of(b), 1);
	assert_int_equal(shared_of(c), 1);
	assert_int_equal(b->pages[1].slot, c->pages[1].slot);
}

/* ---- stability ---- */

/** Reads contents that both have into page 1 of both. */
static void read_into_both(struct sim_vm *a, struct sim_vm *b, uint32_t content)
{
	sim_write(a, 1, content);
	sim_write(b, 1, content);
	note(a, 1, 1);
	note(b, 1, 1);
	sim_settle(&sim);
}

static void a_page_that_diverges_again_and_again_waits(void **state)
{
	struct sim_vm *a, *b;
	uint64_t merged;

	(void)state;
	sim.settings.scan_interval_seconds = 0;
	restart_with_settings();
	a = new_vm_in(WIRE_MODE_HINTS, 10, 1);
	b = new_vm_in(WIRE_MODE_HINTS, 10, 1);
	read_into_both(a, b, 500);
	read_into_both(a, b, 501); /* diverged once: that can happen to any */
	assert_int_equal(shared_of(a) + shared_of(b), 2);
	read_into_both(a, b, 502);
	assert_int_equal(shared_of(a) + shared_of(b), 0);
	assert_int_equal(unstable_of(a) + unstable_of(b), 2);
	run_for(3); /* nobody reads it again */
	assert_int_equal(shared_of(a) + shared_of(b), 2);
	merged = sim.merged;
	for (unsigned i = 0; i < 60 * 10; i++) { /* ten times a second, for a minute */
		read_into_both(a, b, 600 + i);
		sim_tick(&sim, SECOND / 10);
	}
	assert_true(sim.merged - merged <= 2 * 8);
	run_for(40);
	assert_int_equal(shared_of(a) + shared_of(b), 2);
	run_for(150); /* all is forgiven */
	read_into_both(a, b, 503);
	assert_int_equal(shared_of(a) + shared_of(b), 2);
}

static void a_page_that_diverges_now_and_then_does_not_wait(void **state)
{
	struct sim_vm *a = new_vm_in(WIRE_MODE_HINTS, 10, 1), *b = new_vm_in(WIRE_MODE_HINTS, 10, 1);

	(void)state;
	for (uint32_t i = 0; i < 20; i++) {
		read_into_both(a, b, 500 + i);
		assert_int_equal(shared_of(a) + shared_of(b), 2);
		run_for(10);
	}
	assert_int_equal(unstable_of(a) + unstable_of(b), 0);
}

/** A page that can never be held is not tried for ever. */
static void a_page_that_is_busy_again_and_again_waits(void **state)
{
	struct sim_vm *a = new_vm_in(WIRE_MODE_HINTS, 10, 1), *b = new_vm_in(WIRE_MODE_HINTS, 10, 1);
	struct engine_vm_counters counters;

	(void)state;
	note(a, 1, 10);
	note(b, 1, 10);
	sim_settle(&sim);
	for (uint32_t i = 0; i < 10; i++)
		sim_write(b, 1 + i, 50 + i);
	run_for(20);
	a->refuse_percent = 100;
	for (uint32_t i = 0; i < 10; i++) {
		sim_write(a, 1 + i, 50 + i);
		note(b, 1 + i, 1);
	}
	for (unsigned i = 0; i < 30; i++) {
		note(a, 1, 10);
		sim_settle(&sim);
		sim_tick(&sim, SECOND / 10);
	}
	engine_vm_counters(a->vm, &counters);
	assert_true(counters.busy + counters.full <= 200);
}

/* ---- limits ---- */

/** Contents that nobody else has, without end, hold nobody up. */
static void one_that_notes_without_end_starves_nobody(void **state)
{
	struct sim_vm *liar = new_vm_in(WIRE_MODE_HINTS, 10000, 100000), *a = new_vm_in(WIRE_MODE_HINTS, 1000, 1),
		      *b = new_vm_in(WIRE_MODE_HINTS, 1000, 1);

	(void)state;
	note(a, 1, 1000);
	note(b, 1, 1000);
	for (uint32_t round = 0; round < 20; round++) {
		for (uint32_t i = 1; i <= 10000; i++) {
			sim_write(liar, i, 200000 + round * 10000 + i);
			sim_note(liar, i);
		}
		sim_take_reports(liar, 2048); /* as the daemon does: then everybody else has a turn */
		for (unsigned i = 0; i < 2; i++) {
			sim_take_reports(i ? a : b, 2048);
			sim_take_orders(i ? a : b, UINT32_MAX);
			sim_work(i ? a : b, UINT32_MAX);
		}
		sim_tick(&sim, 2000);
	}
	assert_int_equal(shared_of(a), 1000);
	assert_int_equal(shared_of(b), 1000);
}

/** More runs than can be remembered that have to wait. */
static void what_is_unstable_is_bounded(void **state)
{
	struct sim_vm *a, *b;
	uint64_t before;

	(void)state;
	sim.settings.scan_interval_seconds = 0;
	restart_with_settings();
	a = new_vm_in(WIRE_MODE_HINTS, 6000, 1);
	b = new_vm_in(WIRE_MODE_HINTS, 6000, 1);
	before = engine_memory_bytes(sim.engine);
	for (uint32_t round = 0; round < 3; round++) {
		for (uint32_t i = 1; i <= 6000; i += 2) {
			sim_write(a, i, 10000 * (round + 1) + i);
			sim_write(b, i, 10000 * (round + 1) + i);
			sim_note(a, i);
			sim_note(b, i);
		}
		sim_settle(&sim);
		assert_int_equal(shared_of(a), round < 2 ? 3000 : 0);
	}
	assert_int_equal(unstable_of(a), 3000);
	assert_true(engine_memory_bytes(sim.engine) - before < 400000);
	run_for(10);
	assert_int_equal(shared_of(a), 1024);
	note(a, 1, 6000);
	note(b, 1, 6000);
	sim_settle(&sim);
	assert_true(shared_of(a) >= 3000);
}

/* A page that has diverged again and again, and is looked at once more just when somebody asks for a pass. */
static void a_pass_shares_what_is_looked_at_besides(void **state)
{
	struct sim_vm *a = new_vm(10, 1, 1), *b = new_vm(10, 50000, 1);
	struct ring_record order;
	struct page page;

	(void)state;
	assert_true(sim_scan_all(&sim));
	sim.settings.scan_interval_seconds = 0;
	engine_change_settings(sim.engine, &sim.settings);
	page = (struct page){ vm_region(b->vm, 1), 0 };
	for (uint32_t i = 0; i < STABILITY_LEVELS; i++)
		stability_disturbed(page, sim.now_usec);
	later_add(page, sim.now_usec);
	engine_scan(sim.engine, b->vm);
	sim_tick(&sim, 2000);
	assert_true(next_order(b, ORDER_SCAN, &order) && next_order(b, ORDER_SCAN, &order));
	assert_int_equal(report(b, REPORT_HASH, 1, 1, hash_of(1)), 0);
	assert_true(next_order(a, ORDER_FETCH, &order));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ENGINE_TEST(hints_share_what_is_noted_and_nothing_else),
		ENGINE_TEST(hints_share_with_full),
		ENGINE_TEST(noted_zeros_are_given_back),
		ENGINE_TEST(who_wants_no_hints_is_told_so),
		ENGINE_TEST(who_knows_no_notes_is_ordered_none),
		ENGINE_TEST(notes_follow_the_mode),
		ENGINE_TEST(notes_wait_for_who_comes_back),
		ENGINE_TEST(noted_pages_need_no_second_look),
		ENGINE_TEST(slow_passes_come_after_notes_but_do_come),
		ENGINE_TEST(a_note_during_an_order_counts_once_that_has_failed),
		ENGINE_TEST(a_page_that_diverges_again_and_again_waits),
		ENGINE_TEST(a_page_that_diverges_now_and_then_does_not_wait),
		ENGINE_TEST(a_page_that_is_busy_again_and_again_waits),
		ENGINE_TEST(one_that_notes_without_end_starves_nobody),
		ENGINE_TEST(what_is_unstable_is_bounded),
		ENGINE_TEST(a_pass_shares_what_is_looked_at_besides),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
