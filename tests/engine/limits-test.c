/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the engine refuses and what it bounds; what it takes over when it starts again. */
#include <errno.h>

#include "engine/leaving.h"
#include "engine/state.h"
#include "tests/engine/harness.h"

/* ---- limits and lies ---- */

static void a_vm_brings_in_no_more_slots_than_it_may(void **state)
{
	(void)state;
	sim.settings.vm_slots_max = 50;
	restart_with_settings();
	new_vm(1000, 1, 1);
	new_vm(1000, 1, 1);
	assert_true(sim_scan_all(&sim));
	assert_true(host().store_pages <= 100);
}

/* What it has brought in counts against whoever maps it then: a new connection is no new limit. */
static void connecting_again_is_no_new_limit(void **state)
{
	struct sim_vm *vms[2];

	(void)state;
	sim.settings.vm_slots_max = 50;
	restart_with_settings();
	for (uint32_t i = 0; i < 2; i++)
		vms[i] = new_vm(1000, 1, 1);
	assert_true(sim_scan_all(&sim));
	for (uint32_t round = 0; round < 5; round++) {
		for (uint32_t i = 0; i < 2; i++) {
			sim_vm_disconnect(vms[i]);
			sim_vm_connect(vms[i]);
			assert_true(sim_scan_all(&sim));
		}
		assert_true(host().store_pages <= 100);
	}
	assert_true(host().store_pages >= 50);
}

/* Figures fall at once; what the pages hold is given back a part with each tick, however many there are. */
static void a_large_vm_leaves_bit_by_bit(void **state)
{
	const uint32_t per_tick = LEAVING_PER_TICK / LEAVING_HELD, pages = 5 * per_tick;
	struct sim_vm *vms[2];
	uint64_t before, ticks = 0;

	(void)state;
	for (uint32_t i = 0; i < 2; i++)
		vms[i] = new_vm(pages, 1, 1);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(host().store_pages, pages);
	sim_vm_end(vms[0]);
	sim_vm_remove_region(vms[1], 0);
	sim_take_reports(vms[1], UINT32_MAX);
	assert_int_equal(host().shared_pages, 0);
	assert_int_equal(shared_of(vms[1]), 0);
	assert_true(host().store_pages > 0);
	assert_null(engine_check(sim.engine));
	for (before = host().store_pages; host().store_pages > 0; before = host().store_pages) {
		assert_true(++ticks < 100);
		sim_tick(&sim, 2000);
		assert_true(before - host().store_pages <= per_tick);
		assert_null(engine_check(sim.engine));
	}
	assert_true(ticks >= 4);
	assert_int_equal(sim_stored(&sim), 0);
}

/* Blocks of regions that have left whose memory is there still. */
static uint32_t blocks_leaving(void)
{
	uint32_t blocks = 0;

	for (const struct region *region = sim.engine->leaving.first; region != NULL; region = region->next)
		for (uint32_t i = 0; i < region->pages; i += REGION_BLOCK)
			blocks += region->touched[i / REGION_BLOCK];
	return blocks;
}

/* Whoever reports pays for what has left: a VM that fills regions and removes them makes no heap of the daemon's. */
static void regions_that_come_and_go_make_no_heap(void **state)
{
	const uint32_t blocks = 4096, pages = blocks * REGION_BLOCK;
	struct sim_vm *vm = new_vm(1, 1, 1);
	uint32_t first = 2, ticks = 0;

	(void)state;
	for (uint32_t round = 0; round < 10; round++, first += pages) {
		assert_int_equal(report(vm, REPORT_REGION_ADD, first, 1, pages), 0);
		for (uint32_t i = 0; i < blocks; i++)
			assert_int_equal(report(vm, REPORT_HASH, first + i * REGION_BLOCK, 1, hash_of(2)), 0);
		assert_int_equal(report(vm, REPORT_REGION_REMOVE, first, 1, 0), 0);
		drop_orders(vm);
		assert_true(round > 0 || blocks_leaving() > 0);
		assert_true(blocks_leaving() <= blocks);
	}
	for (; blocks_leaving() > 0; ticks++) {
		assert_true(ticks < 100);
		sim_tick(&sim, 2000);
	}
}

static void settings_change_while_it_runs(void **state)
{
	struct sim_vm *a, *b;

	(void)state;
	sim.settings.scan_interval_seconds = sim.settings.audit_interval_seconds = 0;
	sim.settings.vm_slots_max = 10;
	restart_with_settings();
	a = new_vm(1000, 1, 1);
	b = new_vm(1000, 1, 1);
	run_for(100);
	assert_true(host().store_pages <= 20);
	sim.settings.vm_slots_max = 1000;
	sim.settings.seed++; /* stays */
	engine_change_settings(sim.engine, &sim.settings);
	sim.settings.seed--;
	run_for(100);
	assert_true(host().store_pages <= 20); /* nobody looks */
	sim.settings.scan_interval_seconds = 7 * 86400;
	engine_change_settings(sim.engine, &sim.settings);
	run_for(1); /* a week for each round, and the first slice is due */
	sim.settings.scan_interval_seconds = 2;
	engine_change_settings(sim.engine, &sim.settings);
	run_for(10);
	assert_int_equal(shared_of(a) + shared_of(b), 2000);
}

static void slots_that_are_dead_count_no_longer(void **state)
{
	struct sim_vm *a, *b;

	(void)state;
	sim.settings.vm_slots_max = 50;
	restart_with_settings();
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

static uint32_t segments_there(void)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < SIM_SEGMENTS; i++)
		count += sim.segments[i].memory != NULL;
	return count;
}

/* Each has a single slot in use. Who maps it takes a copy, and shares again elsewhere. */
static void segments_that_are_nearly_dead_are_given_back(void **state)
{
	struct sim_vm *keepers[12];
	uint64_t before;

	(void)state;
	sim.settings.segments_max = 24; /* half of which are many */
	restart_with_settings();
	before = engine_memory_bytes(sim.engine);
	for (uint32_t i = 0; i < 12; i++) {
		keepers[i] = new_vm(2, 100 + i, 0);
		assert_true(sim_scan_all(&sim));
		assert_int_equal(shared_of(keepers[i]), 2);
		for (uint32_t n = 0; n < ENGINE_SEGMENT_SLOTS / 512; n++) {
			struct sim_vm *passing = new_vm(2, 9, 0);

			assert_true(sim_scan_all(&sim));
			sim_vm_end(passing);
		}
		assert_true(segments_there() >= (i < 10 ? i + 1 : 10));
		/* Whoever does not leave costs some pages of bookkeeping, not a mebibyte. */
		assert_true(engine_memory_bytes(sim.engine) < before + (UINT64_C(3) << 19));
	}
	run_for(30);
	assert_true(sim.unshare_orders > 0);
	assert_true(segments_there() < 12);
	assert_true(sim_scan_all(&sim));
	for (uint32_t i = 0; i < 12; i++)
		assert_int_equal(shared_of(keepers[i]), 2);
	assert_int_equal(report(keepers[0], REPORT_UNSHARED, 1, 1, 0), -EPROTO);
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
	assert_int_equal(report(a, REPORT_REGION_ADD, 1, 1, 5), -EPROTO);    /* given already */
	assert_int_equal(report(a, REPORT_REGION_REMOVE, 2, 1, 0), -EPROTO); /* starts none */
	/* What has the numbers before them was gone before it was told. */
	for (uint32_t i = 20; i < 20 + 1023; i++)
		assert_int_equal(report(a, REPORT_REGION_ADD, i, 1, 1), 0);
	assert_int_equal(report(a, REPORT_REGION_ADD, 20 + 1023, 1, 1), -ENOMEM);
	assert_int_equal(report(a, REPORT_REGION_ADD, 12, 1, 1), -EPROTO); /* out of order */
	assert_int_equal(report(a, REPORT_HASH, 12, 1, 1), 0);
	assert_int_equal(report(a, REPORT_MERGED, 12, 1, 0), -EPROTO);
	drop_orders(a);
}

static uint64_t beyond(const struct sim_vm *vm)
{
	struct engine_vm_counters counters;

	engine_vm_counters(vm->vm, &counters);
	return counters.beyond_pages;
}

static void ram_beyond_the_limit_is_left_alone(void **state)
{
	struct sim_vm *a, *b;

	(void)state;
	sim.settings.vm_ram_bytes_max = 100 * PAGE_BYTES;
	restart_with_settings();
	a = new_vm(60, 1, 1);
	b = new_vm(60, 1, 1);
	assert_int_equal(report(a, REPORT_REGION_ADD, 61, 1, 41), 0);
	assert_int_equal(report(a, REPORT_REGION_ADD, 102, 1, 40), 0); /* this one has room */
	assert_int_equal(beyond(a), 41);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(shared_of(a) + shared_of(b), 120);
	assert_int_equal(report(a, REPORT_HASH, 61, 1, hash_of(1)), 0); /* says nothing */
	assert_int_equal(report(a, REPORT_MERGED, 61, 1, 0), -EPROTO);
	assert_int_equal(report(a, REPORT_REGION_REMOVE, 62, 1, 0), -EPROTO);
	assert_int_equal(report(a, REPORT_REGION_REMOVE, 61, 1, 0), 0);
	assert_int_equal(report(a, REPORT_REGION_REMOVE, 61, 1, 0), -EPROTO);
	assert_int_equal(beyond(a), 0);
	drop_orders(a);
}

/* Else what it reads there could be punched. */
static void nothing_is_adopted_beyond_the_limit(void **state)
{
	struct sim_vm *a = new_vm(60, 1, 1), *b = new_vm(60, 1, 1), *c;

	(void)state;
	assert_true(sim_scan_all(&sim));
	sim_kill_engine(&sim);
	sim.settings.vm_ram_bytes_max = 50 * PAGE_BYTES;
	sim_start(&sim);
	c = sim_vm_new(&sim, WIRE_MODE_FULL);
	assert_int_equal(engine_add_vm(sim.engine, WIRE_MODE_FULL, &c->vm), 0);
	assert_int_equal(report(c, REPORT_REGION_ADD, 1, 1, 60), 0);
	assert_int_equal(report(c, REPORT_ADOPT, 1, 1, a->pages[1].slot), -ENOSPC);
	assert_int_equal(sim_stored(&sim), 60);
	(void)b;
}

/* 2^31 pages in all have numbers; nothing of this costs memory, since nobody reports any page of it. */
static void pages_beyond_all_numbers_are_left_alone(void **state)
{
	const uint64_t half = (UINT64_C(1) << 30) - 1024;
	struct sim_vm *a = new_vm(10, 1, 1), *b = new_vm(10, 1, 1), *c = new_vm(10, 1, 1);

	(void)state;
	assert_int_equal(report(a, REPORT_REGION_ADD, 11, 1, half), 0);
	assert_int_equal(report(b, REPORT_REGION_ADD, 11, 1, half), 0);
	assert_int_equal(report(c, REPORT_REGION_ADD, 11, 1, 4096), 0);
	assert_int_equal(beyond(a) + beyond(b), 0);
	assert_int_equal(beyond(c), 4096);
	assert_true(engine_memory_bytes(sim.engine) < UINT64_C(1) << 34);
	assert_int_equal(report(a, REPORT_REGION_REMOVE, 11, 1, 0), 0);
	assert_int_equal(report(c, REPORT_REGION_ADD, 11 + 4096, 1, 4096), 0);
	assert_int_equal(beyond(c), 2 * 4096); /* a's numbers can be had again, a little later */
	run_for(1);
	assert_int_equal(beyond(c), 4096);
	assert_int_equal(report(b, REPORT_REGION_REMOVE, 11, 1, 0), 0);
	drop_orders(a);
	drop_orders(b);
	drop_orders(c);
}

/* Whoever comes and goes with all numbers there are waits until the table was swept, bit by bit; and has them then. */
static void numbers_that_are_used_up_again_come_with_time(void **state)
{
	const uint32_t half = (UINT32_C(1) << 30) - 1024;
	struct sim_vm *a = new_vm(10, 1, 1), *b = new_vm(10, 1, 1), *c = new_vm(10, 1, 1);

	(void)state;
	assert_int_equal(report(b, REPORT_REGION_ADD, 11, 1, half), 0);
	assert_int_equal(report(a, REPORT_REGION_ADD, 11, 1, half), 0);
	assert_int_equal(report(a, REPORT_REGION_REMOVE, 11, 1, 0), 0);
	assert_int_equal(report(a, REPORT_REGION_ADD, 11 + half, 1, half), 0);
	assert_int_equal(report(c, REPORT_REGION_ADD, 11, 1, half), 0); /* who comes later waits behind it */
	assert_int_equal(beyond(a), half);
	assert_int_equal(beyond(c), half);
	run_for(1);
	assert_int_equal(beyond(a), 0);
	assert_int_equal(beyond(c), half); /* and there are none for it: nothing is to come */
	assert_int_equal(report(a, REPORT_HASH, 11 + half, 1, hash_of(1)), 0);
	assert_int_equal(report(a, REPORT_REGION_REMOVE, 11 + half, 1, 0), 0);
	assert_int_equal(report(c, REPORT_REGION_REMOVE, 11, 1, 0), 0);
	assert_int_equal(report(c, REPORT_REGION_ADD, 11 + half, 1, half), 0);
	assert_int_equal(report(c, REPORT_REGION_REMOVE, 11 + half, 1, 0), 0); /* before it was its turn */
	run_for(1);
	assert_int_equal(beyond(c), 0);
	assert_int_equal(report(b, REPORT_REGION_REMOVE, 11, 1, 0), 0);
	drop_orders(a);
	drop_orders(b);
	drop_orders(c);
}

static uint64_t pages_in_orders(const struct sim_vm *vm)
{
	return vm->vm->pages.of[PAGES_ORDERED];
}

/* A VM that has as many orders as there can be, of as many pages each, and takes none. */
static struct sim_vm *have_orders_made(void)
{
	const uint32_t runs = 8192, length = RING_RUN_PAGES_MAX;
	struct sim_vm *a = new_vm(10, 1, 1);

	assert_true(sim_scan_all(&sim));
	drop_orders(a);
	assert_int_equal(report(a, REPORT_REGION_ADD, 11, 1, runs * length), 0);
	for (uint32_t i = 0; i < runs; i++)
		assert_int_equal(report(a, REPORT_ZERO, 11 + i * length, length, 0), 0);
	assert_true(pages_in_orders(a) > 8000 * length);
	(void)engine_take_steps(sim.engine);
	return a;
}

/* Ticks until nothing is left. @return how many; none does more than it may. */
static uint32_t ticks_until_withdrawn(const struct engine_vm *vm)
{
	uint32_t ticks = 0;

	while (vm->pages.of[PAGES_ORDERED] > 0) {
		assert_true(ticks++ < 1000);
		sim.now_usec += engine_tick(sim.engine, sim.now_usec);
		assert_in_range(engine_take_steps(sim.engine), 0, ENGINE_STEPS_MAX);
	}
	assert_null(engine_check(sim.engine));
	return ticks;
}

/* Who leaves with all of them, or may not share any more, has nobody else wait. */
static void orders_are_withdrawn_bit_by_bit(void **state)
{
	struct sim_vm *a = have_orders_made();
	struct engine_vm *vm = a->vm;

	(void)state;
	engine_set_mode(sim.engine, vm, WIRE_MODE_OFF);
	assert_in_range(engine_take_steps(sim.engine), 1, ENGINE_STEPS_MAX);
	assert_true(vm->pages.of[PAGES_ORDERED] > 0);
	assert_null(engine_check(sim.engine));
	assert_true(ticks_until_withdrawn(vm) > 100);
	sim_vm_end(a);
	a = have_orders_made();
	vm = a->vm;
	engine_detach_vm(sim.engine, vm);
	assert_in_range(engine_take_steps(sim.engine), 1, ENGINE_STEPS_MAX);
	assert_null(engine_check(sim.engine));
	assert_true(ticks_until_withdrawn(vm) > 100);
	sim_vm_end(a);
	a = have_orders_made(); /* without a word: what its regions hold goes as they do */
	engine_remove_vm(sim.engine, a->vm);
	a->vm = NULL;
	assert_in_range(engine_take_steps(sim.engine), 1, ENGINE_STEPS_MAX);
	assert_null(engine_check(sim.engine));
	sim_vm_end(a);
}

/* Two VMs that share one page. Those of before end, unless they are the first in their segment. */
static void use_a_stretch(uint32_t i)
{
	static struct sim_vm *pair[2];
	static bool keep;
	uint32_t before = i > 0 ? pair[0]->pages[1].slot / ENGINE_SEGMENT_SLOTS : UINT32_MAX;

	for (int j = 0; j < 2 && i > 0 && !keep; j++)
		sim_vm_end(pair[j]);
	for (int j = 0; j < 2; j++)
		pair[j] = new_vm(1, 1000 + i, 1);
	assert_true(sim_scan_all(&sim));
	if (engine_store_room(sim.engine) != ENGINE_ROOM_NO_NUMBERS)
		keep = pair[0]->pages[1].slot / ENGINE_SEGMENT_SLOTS != before;
}

/* Each segment has one slot in use: nothing new is shared, what is shared stays, and it goes on when one is empty. */
static void a_store_without_numbers_is_full(void **state)
{
	struct sim_vm *a, *b;

	(void)state;
	sim.settings.segments_max = 2;
	restart_with_settings();
	for (uint32_t i = 0; engine_store_room(sim.engine) != ENGINE_ROOM_NO_NUMBERS; i++) {
		assert_true(i < 4 * ENGINE_SEGMENT_SLOTS / 512);
		use_a_stretch(i);
	}
	assert_int_equal(sim.removed_segments, 0);
	assert_int_equal(host().common_pages, 2);
	a = new_vm(10, 5000, 1);
	b = new_vm(10, 5000, 1);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(shared_of(a) + shared_of(b), 0);
	assert_int_equal(host().common_pages, 2);
	for (uint32_t i = 0; i < SIM_VMS; i++)
		if (sim.vms[i] != NULL && sim.vms[i] != a && sim.vms[i] != b)
			sim_vm_end(sim.vms[i]);
	assert_int_equal(engine_store_room(sim.engine), ENGINE_ROOM);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(shared_of(a) + shared_of(b), 20);
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

static void new_vms_wait_for_those_from_before(void **state)
{
	struct sim_vm *a = new_vm(300, 1, 1), *b = new_vm(300, 1, 1), *c, *d;

	(void)state;
	assert_true(sim_scan_all(&sim));
	sim_kill_engine(&sim);
	sim_start(&sim);
	c = new_vm(300, 1, 1);
	d = new_vm(300, 1, 1);
	run_for(2);
	assert_int_equal(shared_of(c), 0);
	sim_vm_connect(a);
	run_for(4);
	sim_vm_connect(b);
	engine_accounted(sim.engine);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(shared_of(c) + shared_of(d), 600);
	assert_int_equal(sim_stored(&sim), 300);
}

static void new_vms_do_not_wait_for_ever(void **state)
{
	struct sim_vm *a = new_vm(300, 1, 1), *c;

	(void)state;
	new_vm(300, 1, 1);
	assert_true(sim_scan_all(&sim));
	sim_kill_engine(&sim);
	sim_start(&sim);
	c = new_vm(300, 1, 1);
	new_vm(300, 1, 1);
	run_for(8);
	assert_int_equal(shared_of(c), 300);
	sim_vm_connect(a); /* long after */
	assert_int_equal(shared_of(a), 300);
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

/* A VM that says again and again that a look came too early puts off nobody's pass but its own. */
static void early_looks_without_end_delay_nobody_else(void **state)
{
	struct sim_vm *a = new_vm(10, 1, 1), *b = new_vm(10, 1, 1), *liar = new_vm(10, 500, 1);
	struct ring_record scan, merge;
	uint64_t ticket;
	uint32_t i;

	(void)state;
	assert_true(sim_scan_all(&sim));
	engine_scan(sim.engine, liar->vm);
	sim_tick(&sim, 2000);
	assert_true(next_order(liar, ORDER_SCAN, &scan));
	assert_int_equal(report(liar, REPORT_HASH, 1, 1, hash_of(1)), 0);
	assert_true(next_order(liar, ORDER_MERGE, &merge));
	ticket = engine_scan(sim.engine, a->vm);
	for (i = 0; i < 1000 && !engine_scan_done(sim.engine, a->vm, ticket); i++) {
		assert_int_equal(report(liar, REPORT_HASH, 1, 1, hash_of(2 + i % 2)), 0);
		assert_int_equal(report(liar, REPORT_DIFFERS, 1, 1, merge.slot), 0);
		assert_true(next_order(liar, ORDER_MERGE, &merge));
		sim_tick(&sim, 2000);
		sim_take_orders(a, UINT32_MAX);
		sim_work(a, UINT32_MAX);
		sim_take_reports(a, UINT32_MAX);
		sim_take_orders(b, UINT32_MAX);
		sim_work(b, UINT32_MAX);
		sim_take_reports(b, UINT32_MAX);
	}
	assert_true(i < 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ENGINE_TEST(early_looks_without_end_delay_nobody_else),
		ENGINE_TEST(a_vm_brings_in_no_more_slots_than_it_may),
		ENGINE_TEST(connecting_again_is_no_new_limit),
		ENGINE_TEST(a_large_vm_leaves_bit_by_bit),
		ENGINE_TEST(regions_that_come_and_go_make_no_heap),
		ENGINE_TEST(settings_change_while_it_runs),
		ENGINE_TEST(slots_that_are_dead_count_no_longer),
		ENGINE_TEST(a_dead_segment_is_removed_and_used_again),
		ENGINE_TEST(segments_that_are_nearly_dead_are_given_back),
		ENGINE_TEST(a_run_ends_where_its_segment_does),
		ENGINE_TEST(regions_have_limits),
		ENGINE_TEST(ram_beyond_the_limit_is_left_alone),
		ENGINE_TEST(nothing_is_adopted_beyond_the_limit),
		ENGINE_TEST(pages_beyond_all_numbers_are_left_alone),
		ENGINE_TEST(numbers_that_are_used_up_again_come_with_time),
		ENGINE_TEST(orders_are_withdrawn_bit_by_bit),
		ENGINE_TEST(a_store_without_numbers_is_full),
		ENGINE_TEST(what_was_not_ordered_is_refused),
		ENGINE_TEST(only_the_slot_that_was_ordered_is_confirmed),
		ENGINE_TEST(nothing_but_regions_before_ready),
		ENGINE_TEST(a_run_may_span_regions),
		ENGINE_TEST(a_removed_region_is_forgotten),
		ENGINE_TEST(no_order_names_a_region_that_is_gone),
		ENGINE_TEST(a_wrong_hash_harms_nobody),
		ENGINE_TEST(a_restarted_engine_takes_over_what_is_shared),
		ENGINE_TEST(a_hint_gives_way_to_a_slot_that_is_adopted),
		ENGINE_TEST(nothing_old_is_punched_before_all_are_accounted_for),
		ENGINE_TEST(ten_restarts_do_not_grow_the_store),
		ENGINE_TEST(new_vms_wait_for_those_from_before),
		ENGINE_TEST(new_vms_do_not_wait_for_ever),
		ENGINE_TEST(a_lost_connection_keeps_its_references),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
