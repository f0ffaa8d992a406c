/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * 2 MiB pages stay whole while the settings say so; what is inside them is known, and counted; and when they may be
 * split it is shared by that, the densest first, without another look.
 */
#include <errno.h>

#include "tests/engine/harness.h"

#define BLOCK ENGINE_BLOCK_PAGES

static struct engine_vm_counters counters_of(const struct sim_vm *vm)
{
	struct engine_vm_counters counters;

	engine_vm_counters(vm->vm, &counters);
	return counters;
}

static uint32_t whole_blocks(const struct sim_vm *vm)
{
	uint32_t count = 0;

	for (uint32_t i = 1; i < vm->next_page; i += BLOCK)
		count += vm->pages[i].large;
	return count;
}

static void set_large(enum engine_large scans, enum engine_large hints)
{
	sim_set_large(&sim, scans, hints);
}

/* @blocks 2 MiB pages with contents from @first on. */
static struct sim_vm *new_large(uint32_t blocks, uint32_t first)
{
	struct sim_vm *vm = sim_vm_new(&sim, WIRE_MODE_FULL);

	assert_int_equal(sim_vm_add_region(vm, blocks * BLOCK), 0);
	for (uint32_t i = 0; i < blocks * BLOCK; i++)
		sim_write(vm, 1 + i, first + i);
	for (uint32_t i = 0; i < blocks; i++)
		assert_true(sim_collapse(vm, 1 + i * BLOCK));
	sim_vm_connect(vm);
	return vm;
}

/* Nothing is looked at by itself from here on. */
static void stop_passes(void)
{
	sim.settings.scan_interval_seconds = sim.settings.audit_interval_seconds = 0;
	engine_change_settings(sim.engine, &sim.settings);
}

static void nothing_is_split_while_memory_is_high(void **state)
{
	struct sim_vm *a, *b;

	(void)state;
	set_large(ENGINE_LARGE_KEEP, ENGINE_LARGE_KEEP);
	a = new_large(4, 1);
	b = new_large(4, 1);
	for (uint32_t i = 1; i <= 100; i++)
		sim_write(b, i, 0);
	assert_true(sim_scan_all(&sim));
	run_for(100);
	assert_int_equal(whole_blocks(a) + whole_blocks(b), 8);
	assert_int_equal(sim.merge_orders + sim.fetch_orders, 0); /* not even asked for */
	assert_int_equal(host().store_pages, 0);
	assert_int_equal(host().large_blocks, 8);
	assert_int_equal(host().broken_blocks, 0);
	assert_int_equal(host().ready_pages, 8 * BLOCK);
	assert_int_equal(host().would_save_pages, 4 * BLOCK - 100 + 100);
	assert_int_equal(counters_of(a).ready_pages, 4 * BLOCK);
}

static void all_is_shared_without_another_look(void **state)
{
	struct sim_vm *a, *b;
	uint64_t would;

	(void)state;
	set_large(ENGINE_LARGE_KEEP, ENGINE_LARGE_KEEP);
	a = new_large(4, 1);
	b = new_large(4, 1);
	for (uint32_t i = 1; i <= 100; i++)
		sim_write(b, i, 0);
	assert_true(sim_scan_all(&sim));
	would = host().would_save_pages;
	stop_passes();
	set_large(ENGINE_LARGE_ALWAYS, ENGINE_LARGE_ALWAYS);
	run_for(1);
	assert_int_equal(host().saved_pages, would);
	assert_int_equal(shared_of(a), 4 * BLOCK - 100);
	assert_int_equal(shared_of(b), 4 * BLOCK - 100);
	assert_int_equal(counters_of(b).zero_pages, 100);
	assert_int_equal(whole_blocks(a) + whole_blocks(b), 0);
	assert_int_equal(host().broken_blocks, 8);
	assert_int_equal(host().large_blocks, 0);
	assert_int_equal(host().would_save_pages, 0);
}

/* Memory gets short, and there is plenty again; what has come to be a 2 MiB page meanwhile stays one. */
static void high_clear_high(void **state)
{
	struct sim_vm *a, *b;

	(void)state;
	set_large(ENGINE_LARGE_KEEP, ENGINE_LARGE_KEEP);
	a = new_large(2, 1);
	b = new_large(2, 1);
	assert_true(sim_scan_all(&sim));
	set_large(ENGINE_LARGE_DENSE, ENGINE_LARGE_DENSE);
	run_for(1);
	assert_int_equal(shared_of(a) + shared_of(b), 4 * BLOCK);
	set_large(ENGINE_LARGE_KEEP, ENGINE_LARGE_KEEP);
	for (uint32_t i = 1; i <= BLOCK; i++) { /* the guest gives the memory back, and takes it again */
		sim_discard(a, i);
		sim_work(a, 1);
	}
	run_for(40);
	for (uint32_t i = 1; i <= BLOCK; i++)
		sim_write(a, i, i);
	assert_true(sim_collapse(a, 1));
	run_for(100);
	assert_int_equal(whole_blocks(a), 1);
	assert_int_equal(shared_of(a), BLOCK);
	assert_int_equal(counters_of(a).would_save_pages, BLOCK); /* b has it, in the store */
	assert_int_equal(counters_of(a).large_blocks, 1);
	set_large(ENGINE_LARGE_DENSE, ENGINE_LARGE_DENSE);
	run_for(1);
	assert_int_equal(shared_of(a), 2 * BLOCK);
	assert_int_equal(whole_blocks(a), 0);
}

/* Of @vm's block @index only the first @pages pages are to be had elsewhere. */
static void dilute(struct sim_vm *vm, uint32_t index, uint32_t pages)
{
	for (uint32_t i = pages; i < BLOCK; i++)
		sim_write(vm, 1 + index * BLOCK + i, 1000000 + index * BLOCK + i);
}

static void only_dense_ones_are_split(void **state)
{
	struct sim_vm *a, *b;

	(void)state;
	set_large(ENGINE_LARGE_KEEP, ENGINE_LARGE_KEEP);
	sim.settings.dense_pages = 200;
	a = new_large(3, 1);
	b = new_large(3, 1);
	dilute(b, 0, 200);
	dilute(b, 1, 199);
	dilute(b, 2, 10);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(host().would_save_pages, 409);
	stop_passes();
	set_large(ENGINE_LARGE_DENSE, ENGINE_LARGE_DENSE);
	run_for(1);
	assert_int_equal(shared_of(a), 200);
	assert_int_equal(shared_of(b), 200);
	assert_int_equal(whole_blocks(a), 2);
	assert_int_equal(whole_blocks(b), 2);
	assert_int_equal(host().would_save_pages, 209);
	set_large(ENGINE_LARGE_ALWAYS, ENGINE_LARGE_ALWAYS);
	run_for(1);
	assert_int_equal(shared_of(b), 409);
	assert_int_equal(whole_blocks(a) + whole_blocks(b), 0);
}

/* The orders come block by block, those of the densest one before those of the next. */
static void the_densest_come_first(void **state)
{
	static const uint32_t matching[] = { 30, 500, 120, 300 };
	static const uint32_t expected[] = { 1, 3, 2, 0 };
	struct sim_vm *small, *large;
	uint32_t seen = 0, left = 0;

	(void)state;
	set_large(ENGINE_LARGE_KEEP, ENGINE_LARGE_KEEP);
	small = new_vm(4 * BLOCK, 1, 1);
	(void)new_vm(4 * BLOCK, 1, 1); /* so all is in the store */
	large = new_large(4, 1);
	for (uint32_t i = 0; i < 4; i++)
		dilute(large, i, matching[i]);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(shared_of(small), 4 * BLOCK);
	assert_int_equal(shared_of(large), 0);
	stop_passes();
	large->silent = true;
	set_large(ENGINE_LARGE_ALWAYS, ENGINE_LARGE_ALWAYS);
	for (uint32_t i = 0; i < 100; i++)
		sim_tick(&sim, 2000);
	sim_take_orders(large, UINT32_MAX);
	for (uint32_t i = large->down.head; i < large->down.tail; i++) {
		const struct ring_record *order = &large->down.items[i].record;

		if (order->op != ORDER_MERGE)
			continue;
		if (left == 0) {
			assert_in_range(seen, 0, 3);
			left = matching[expected[seen++]];
		}
		assert_int_equal((order->page - 1) / BLOCK, expected[seen - 1]);
		assert_true(order->flags & RING_MAY_SPLIT);
		left -= order->count;
	}
	assert_int_equal(seen, 4);
	assert_int_equal(left, 0);
	large->silent = false;
}

/* Small pages are shared as ever, and find what a 2 MiB page has without breaking it. */
static void small_pages_are_shared_among_themselves(void **state)
{
	struct sim_vm *large, *a, *b;

	(void)state;
	set_large(ENGINE_LARGE_KEEP, ENGINE_LARGE_KEEP);
	large = new_large(1, 1);
	assert_true(sim_scan_all(&sim)); /* the table knows its pages */
	a = new_vm(BLOCK, 1, 1);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(host().shared_pages, 0);
	assert_int_equal(sim.fetch_orders, 0);
	assert_int_equal(counters_of(large).would_save_pages, BLOCK);
	b = new_vm(BLOCK, 1, 1);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(shared_of(a) + shared_of(b), 2 * BLOCK);
	assert_int_equal(host().saved_pages, BLOCK);
	run_for(100);
	assert_int_equal(shared_of(large), 0);
	assert_int_equal(whole_blocks(large), 1);
	assert_int_equal(counters_of(large).would_save_pages, BLOCK);
}

/* Until @vm has been given orders to merge, and has not begun with them. */
static void await_merges(struct sim_vm *vm)
{
	for (uint32_t i = 0; i < 20; i++) {
		sim_tick(&sim, 2000);
		sim_take_orders(vm, UINT32_MAX);
		if (vm->down.head < vm->down.tail && vm->down.items[vm->down.head].record.op == ORDER_MERGE)
			break;
		sim_work(vm, UINT32_MAX);
		sim_take_reports(vm, UINT32_MAX);
	}
}

/* A page is small when it is looked at, and part of a 2 MiB page when its order comes. */
static void a_collapse_meanwhile_is_no_split(void **state)
{
	struct sim_vm *a, *b, *c;

	(void)state;
	set_large(ENGINE_LARGE_KEEP, ENGINE_LARGE_KEEP);
	a = new_vm(BLOCK, 1, 1);
	b = new_vm(BLOCK, 1, 1);
	assert_true(sim_scan_all(&sim));
	c = new_vm(BLOCK, 1, 1);
	await_merges(c);
	assert_true(sim_collapse(c, 1));
	assert_true(sim_scan_all(&sim));
	assert_int_equal(whole_blocks(c), 1);
	assert_int_equal(shared_of(a) + shared_of(b), 2 * BLOCK);
	assert_int_equal(shared_of(c), 0);
	assert_int_equal(counters_of(c).would_save_pages, BLOCK);
	stop_passes();
	set_large(ENGINE_LARGE_ALWAYS, ENGINE_LARGE_ALWAYS);
	run_for(1);
	assert_int_equal(shared_of(c), BLOCK);
}

/* The same, and any may be split by the time its answer comes. */
static void a_refusal_comes_when_more_is_allowed(void **state)
{
	struct sim_vm *c;

	(void)state;
	set_large(ENGINE_LARGE_KEEP, ENGINE_LARGE_KEEP);
	(void)new_vm(BLOCK, 1, 1);
	(void)new_vm(BLOCK, 1, 1);
	assert_true(sim_scan_all(&sim));
	stop_passes();
	c = new_vm(BLOCK, 1, 1);
	dilute(c, 0, 100); /* not dense */
	await_merges(c);
	assert_true(sim_collapse(c, 1));
	sim_work(c, UINT32_MAX);
	set_large(ENGINE_LARGE_ALWAYS, ENGINE_LARGE_ALWAYS);
	for (uint32_t i = 0; i < 100; i++) /* nothing is ready yet */
		sim_tick(&sim, 2000);
	assert_int_equal(shared_of(c), 0);
	run_for(2);
	assert_int_equal(shared_of(c), 100);
}

/* A block was dense, all of it was ordered, and nothing came of that: it is judged anew. */
static void who_was_dense_once_is_not_for_ever(void **state)
{
	struct sim_vm *large;

	(void)state;
	set_large(ENGINE_LARGE_KEEP, ENGINE_LARGE_KEEP);
	(void)new_vm(BLOCK, 1, 1);
	(void)new_vm(BLOCK, 1, 1);
	assert_true(sim_scan_all(&sim));
	large = new_large(1, 1);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(counters_of(large).would_save_pages, BLOCK);
	large->silent = true;
	set_large(ENGINE_LARGE_DENSE, ENGINE_LARGE_DENSE);
	for (uint32_t i = 0; i < 100; i++)
		sim_tick(&sim, 2000);
	assert_int_equal(counters_of(large).would_save_pages, 0); /* all of it is ordered */
	dilute(large, 0, 0);
	large->silent = false;
	sim_settle(&sim);
	for (uint32_t i = 0; i < 2; i++)
		assert_true(sim_scan_all(&sim));
	for (uint32_t i = 1; i <= 10; i++)
		sim_write(large, i, i);
	assert_true(sim_scan_all(&sim));
	run_for(100);
	assert_int_equal(whole_blocks(large), 1);
	assert_int_equal(counters_of(large).would_save_pages, 10);
	sim_write(large, BLOCK, BLOCK);
	for (uint32_t i = 11; i < sim.settings.dense_pages; i++)
		sim_write(large, i, i);
	assert_true(sim_scan_all(&sim));
	run_for(1);
	assert_int_equal(shared_of(large), sim.settings.dense_pages);
}

/* What hints name may split 2 MiB pages though what passes find may not; or only dense ones. */
static void hints_have_a_setting_of_their_own(void **state)
{
	struct sim_vm *a, *b;

	(void)state;
	set_large(ENGINE_LARGE_KEEP, ENGINE_LARGE_ALWAYS);
	a = new_large(2, 1);
	b = new_large(2, 1);
	sim_settle(&sim);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(host().shared_pages, 0);
	for (uint32_t i = 1; i <= 10; i++) {
		sim_note(a, i);
		sim_note(b, i);
	}
	sim_settle(&sim);
	assert_true(host().shared_pages >= 20);
	assert_int_equal(whole_blocks(a), 1);
	assert_int_equal(whole_blocks(b), 1);
	/* What else is in a block that is broken is small, and shared as such. */
	assert_true(sim_scan_all(&sim));
	assert_int_equal(host().shared_pages, 2 * BLOCK);

	set_large(ENGINE_LARGE_KEEP, ENGINE_LARGE_DENSE);
	dilute(b, 1, 127); /* one too few */
	for (uint32_t i = 0; i < 3; i++)
		assert_true(sim_scan_all(&sim)); /* the twins of the others in a's block are forgotten */
	for (uint32_t i = 1; i <= 10; i++) {
		sim_note(a, BLOCK + i);
		sim_note(b, BLOCK + i);
	}
	run_for(1);
	assert_int_equal(host().shared_pages, 2 * BLOCK);
	sim_write(b, BLOCK + 128, 128 + BLOCK);
	sim_note(a, BLOCK + 128);
	sim_note(b, BLOCK + 128);
	run_for(1);
	assert_true(host().shared_pages > 2 * BLOCK);
	assert_int_equal(whole_blocks(b), 0);
}

/* A hash that was ready says nothing of a page that has gone, or is another one by now. */
static void what_is_gone_is_not_counted(void **state)
{
	struct sim_vm *a, *b;

	(void)state;
	set_large(ENGINE_LARGE_KEEP, ENGINE_LARGE_KEEP);
	a = new_large(2, 1);
	b = new_large(2, 1);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(host().would_save_pages, 2 * BLOCK);
	for (uint32_t i = 1; i <= BLOCK; i++)
		sim_discard(b, i);
	assert_true(sim_scan_all(&sim));
	assert_true(sim_scan_all(&sim));
	assert_int_equal(counters_of(b).ready_pages, BLOCK);
	assert_int_equal(counters_of(b).large_blocks, 1);
	assert_int_equal(host().would_save_pages, BLOCK);
	for (uint32_t i = BLOCK + 1; i <= 2 * BLOCK; i++)
		sim_write(b, i, 500000 + i);
	assert_true(sim_scan_all(&sim));
	assert_true(sim_scan_all(&sim));
	assert_int_equal(host().would_save_pages, 0);
	sim_vm_remove_region(a, 0);
	sim_settle(&sim);
	assert_int_equal(host().ready_pages, BLOCK);
	sim_vm_remove_region(b, 0);
	sim_settle(&sim);
	assert_int_equal(host().ready_pages + host().large_blocks, 0);
}

/* However much there is to release, ticks match so many pages at most, and nothing is dropped for want of room. */
static void work_of_a_tick_is_bounded(void **state)
{
	struct sim_vm *a, *b;

	(void)state;
	set_large(ENGINE_LARGE_KEEP, ENGINE_LARGE_KEEP);
	a = new_large(40, 1);
	b = new_large(40, 1);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(host().would_save_pages, 40 * BLOCK);
	stop_passes();
	a->silent = b->silent = true;
	set_large(ENGINE_LARGE_ALWAYS, ENGINE_LARGE_ALWAYS);
	for (uint32_t i = 0; i < 50; i++) {
		uint64_t before = host().would_save_pages;

		sim_tick(&sim, 2000);
		assert_in_range(before - host().would_save_pages, 0, 4096);
	}
	assert_int_equal(counters_of(a).dropped_orders + counters_of(b).dropped_orders, 0); /* it waits for room */
	a->silent = b->silent = false;
	run_for(2);
	assert_int_equal(host().saved_pages, 40 * BLOCK);
}

/* Before they are taken orders are changed when memory is high again. */
static void orders_under_way_are_called_back(void **state)
{
	struct sim_vm *a, *b;

	(void)state;
	set_large(ENGINE_LARGE_KEEP, ENGINE_LARGE_KEEP);
	a = new_vm(BLOCK, 1, 1);
	(void)new_vm(BLOCK, 1, 1);
	b = new_large(1, 1);
	assert_true(sim_scan_all(&sim));
	set_large(ENGINE_LARGE_ALWAYS, ENGINE_LARGE_ALWAYS);
	for (uint32_t i = 0; i < 10; i++)
		sim_tick(&sim, 2000);
	assert_int_equal(counters_of(b).would_save_pages, 0); /* all of it is ordered */
	set_large(ENGINE_LARGE_KEEP, ENGINE_LARGE_KEEP);
	run_for(1);
	assert_int_equal(whole_blocks(b), 1);
	assert_int_equal(shared_of(b), 0);
	assert_int_equal(shared_of(a), BLOCK);
	assert_int_equal(counters_of(b).would_save_pages, BLOCK);
}

/* Blocks do not begin where the region does. */
static void blocks_begin_where_the_vmm_says(void **state)
{
	struct engine_vm *vm;
	struct ring_record record = { .op = REPORT_REGION_ADD, .count = 1 + 500, .page = 1, .value = 600 };
	struct engine_vm_counters counters;

	(void)state;
	assert_int_equal(engine_add_vm(sim.engine, WIRE_MODE_FULL, &vm), 0);
	assert_int_equal(engine_report(sim.engine, vm, &record, NULL), 0);
	record = (struct ring_record){ .op = REPORT_READY, .count = 1, .page = 1 };
	assert_int_equal(engine_report(sim.engine, vm, &record, NULL), 0);
	set_large(ENGINE_LARGE_KEEP, ENGINE_LARGE_KEEP);
	record = (struct ring_record){ .op = REPORT_HASH, .flags = RING_INSIDE_HUGE, .count = 1, .page = 12 };
	record.value = 7;
	assert_int_equal(engine_report(sim.engine, vm, &record, NULL), 0);
	record.page = 13; /* the first one of the next block */
	assert_int_equal(engine_report(sim.engine, vm, &record, NULL), 0);
	record.page = 12 + BLOCK;
	assert_int_equal(engine_report(sim.engine, vm, &record, NULL), 0);
	engine_vm_counters(vm, &counters);
	assert_int_equal(counters.large_blocks, 2);
	assert_int_equal(counters.ready_pages, 3);
	assert_null(engine_check(sim.engine));
	engine_remove_vm(sim.engine, vm);
}

static void give_back(bool back)
{
	sim.settings.large_back = back;
	engine_change_settings(sim.engine, &sim.settings);
}

/* The VM drops all of its block @block, and uses it anew for what nobody else has. */
static void use_anew(struct sim_vm *vm, uint32_t block)
{
	static uint32_t next = 1000000;

	for (uint32_t i = 1 + block * BLOCK; i <= (block + 1) * BLOCK; i++)
		sim_discard(vm, i);
	run_for(60);
	for (uint32_t i = 1 + block * BLOCK; i <= (block + 1) * BLOCK; i++)
		sim_write(vm, i, next++);
	run_for(60);
}

/* Two VMs that have shared all of their @blocks 2 MiB pages while memory was short, and there is plenty again. */
static void share_blocks(uint32_t blocks, struct sim_vm **ret_a, struct sim_vm **ret_b)
{
	set_large(ENGINE_LARGE_KEEP, ENGINE_LARGE_KEEP);
	*ret_a = new_large(blocks, 1);
	*ret_b = new_large(blocks, 1);
	assert_true(sim_scan_all(&sim));
	set_large(ENGINE_LARGE_ALWAYS, ENGINE_LARGE_ALWAYS);
	run_for(2);
	set_large(ENGINE_LARGE_KEEP, ENGINE_LARGE_KEEP);
	assert_int_equal(host().broken_blocks, 2 * blocks);
	assert_int_equal(whole_blocks(*ret_a) + whole_blocks(*ret_b), 0);
}

static void what_shares_nothing_is_given_back(void **state)
{
	struct sim_vm *a, *b;

	(void)state;
	share_blocks(3, &a, &b);
	use_anew(a, 1);
	assert_int_equal(sim.blocks_given_back, 0); /* memory has not been plentiful for long enough */
	give_back(true);
	run_for(120);
	assert_int_equal(sim.blocks_given_back, 1);
	assert_true(a->pages[1 + BLOCK].large);
	assert_int_equal(host().broken_blocks, 5);
	assert_int_equal(host().large_blocks, 1);
	assert_int_equal(shared_of(a), 2 * BLOCK);
	assert_int_equal(shared_of(b), 3 * BLOCK);
	assert_int_equal(sim.splits, 6);
	use_anew(b, 2);
	give_back(false);
	use_anew(a, 0);
	run_for(120);
	assert_int_equal(host().broken_blocks, 4); /* b's, before it ended */
}

/* What was written since it was shared is no hindrance. */
static void what_was_written_is_given_back(void **state)
{
	struct sim_vm *a, *b;

	(void)state;
	share_blocks(2, &a, &b);
	for (uint32_t i = 1; i <= BLOCK; i++)
		sim_write(a, i, 2000000 + i);
	run_for(60);
	assert_true(counters_of(a).diverged_pages > 0);
	give_back(true);
	run_for(120);
	assert_int_equal(sim.blocks_given_back, 1);
	assert_int_equal(counters_of(a).broken_blocks, 1);
	assert_int_equal(counters_of(a).diverged_pages, 0);
}

/* Where little is shared it depends on the settings; and what is given back so is not shared again in high. */
static void little_that_is_shared_can_be_given_up(void **state)
{
	struct sim_vm *a, *b;

	(void)state;
	share_blocks(2, &a, &b);
	for (uint32_t i = 11; i <= BLOCK; i++)
		sim_write(a, i, 2000000 + i);
	run_for(60);
	sim.settings.large_back_pages = 9;
	give_back(true);
	run_for(120);
	assert_int_equal(sim.blocks_given_back, 0);
	sim.settings.large_back_pages = 10;
	set_large(ENGINE_LARGE_ALWAYS, ENGINE_LARGE_KEEP);
	run_for(120);
	assert_int_equal(sim.blocks_given_back, 0); /* it would be split at once */
	sim.settings.dense_pages = 10;
	set_large(ENGINE_LARGE_KEEP, ENGINE_LARGE_KEEP);
	run_for(120);
	assert_int_equal(sim.blocks_given_back, 0); /* it would be dense */
	sim.settings.dense_pages = 11;
	set_large(ENGINE_LARGE_DENSE, ENGINE_LARGE_DENSE);
	run_for(120);
	assert_int_equal(sim.blocks_given_back, 1);
	assert_int_equal(shared_of(a), BLOCK);
	assert_int_equal(whole_blocks(a), 1);
	assert_int_equal(sim.splits, 4);
}

/* Ten in a second, as each makes the VM wait. */
static void they_are_given_back_one_by_one(void **state)
{
	struct sim_vm *a, *b;

	(void)state;
	share_blocks(30, &a, &b);
	for (uint32_t i = 0; i < 30; i++)
		use_anew(a, i);
	give_back(true);
	run_for(1);
	assert_in_range(sim.blocks_given_back, 5, 11);
	run_for(10);
	assert_int_equal(sim.blocks_given_back, 30);
}

static void those_that_know_nothing_of_it_are_not_asked(void **state)
{
	struct sim_vm *a, *b;

	(void)state;
	share_blocks(2, &a, &b);
	a->lacks_whole = true;
	sim_vm_disconnect(a);
	sim_vm_connect(a);
	run_for(60);
	use_anew(a, 0);
	give_back(true);
	run_for(120);
	assert_int_equal(sim.blocks_given_back, 0);
}

/* What was split is known after VMs have come back, to whatever daemon, and by whatever they say. */
static void who_comes_back_tells_what_was_split(void **state)
{
	struct sim_vm *a, *b;

	(void)state;
	share_blocks(3, &a, &b);
	use_anew(a, 1);
	sim_vm_disconnect(a);
	sim_vm_connect(a);
	assert_int_equal(counters_of(a).broken_blocks, 3);
	assert_int_equal(report(a, REPORT_BROKEN, 1, 1, 0), 0); /* twice */
	assert_int_equal(counters_of(a).broken_blocks, 3);
	assert_int_equal(report(a, REPORT_BROKEN, 1 + 3 * BLOCK, 1, 0), -EPROTO);
	assert_int_equal(report(a, REPORT_WHOLE, 1, BLOCK, WHOLE_IS), -EPROTO);
	give_back(true);
	run_for(120);
	assert_int_equal(sim.blocks_given_back, 1);
	assert_int_equal(counters_of(a).broken_blocks, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ENGINE_TEST(nothing_is_split_while_memory_is_high),
		ENGINE_TEST(all_is_shared_without_another_look),
		ENGINE_TEST(high_clear_high),
		ENGINE_TEST(only_dense_ones_are_split),
		ENGINE_TEST(the_densest_come_first),
		ENGINE_TEST(small_pages_are_shared_among_themselves),
		ENGINE_TEST(a_collapse_meanwhile_is_no_split),
		ENGINE_TEST(a_refusal_comes_when_more_is_allowed),
		ENGINE_TEST(who_was_dense_once_is_not_for_ever),
		ENGINE_TEST(hints_have_a_setting_of_their_own),
		ENGINE_TEST(what_is_gone_is_not_counted),
		ENGINE_TEST(work_of_a_tick_is_bounded),
		ENGINE_TEST(orders_under_way_are_called_back),
		ENGINE_TEST(blocks_begin_where_the_vmm_says),
		ENGINE_TEST(what_shares_nothing_is_given_back),
		ENGINE_TEST(what_was_written_is_given_back),
		ENGINE_TEST(little_that_is_shared_can_be_given_up),
		ENGINE_TEST(they_are_given_back_one_by_one),
		ENGINE_TEST(those_that_know_nothing_of_it_are_not_asked),
		ENGINE_TEST(who_comes_back_tells_what_was_split),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
