/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A store without room, and much that waits: what the engine does not do for that. */
#include "engine/match.h"
#include "engine/state.h"
#include "tests/engine/harness.h"

#define VMS 4u
#define PAGES 300u
#define ROOM 100u

/* ---- the work of one report ---- */

/* Everything that can come of a report: orders, pages entered, pages that are left. */
static int64_t work_done(void)
{
	int64_t done = 0;

	for (uint32_t i = 0; i < sim.engine->vms_end; i++) {
		const struct engine_vm *vm = sim.engine->vms[i];

		if (vm != NULL)
			done += (int64_t)(vm->issued + vm->fetches.length + vm->fetched + vm->counters.dropped_orders);
	}
	return done;
}

#define EQUAL 5000u

static struct sim_vm *asked, *waiting;

/* A look at a page that comes to have another content, and one more that finds it unchanged. */
static void write_and_look_twice(struct sim_vm *vm, uint32_t page, uint32_t content)
{
	sim_write(vm, page, content);
	assert_int_equal(report(vm, REPORT_HASH, page, 1, hash_of(content)), 0);
	assert_int_equal(report(vm, REPORT_HASH, page, 1, hash_of(content)), 0);
}

/* A page of one VM is asked for, and EQUAL pages of another wait for its content. */
static void let_wait(void)
{
	struct ring_record order;

	asked = new_vm(1, 50000, 0);
	waiting = new_vm(2 * EQUAL, 1000, 1);
	assert_true(sim_scan_all(&sim));
	write_and_look_twice(asked, 1, 7);
	for (uint32_t page = 1; page <= EQUAL; page++)
		write_and_look_twice(waiting, page, 7);
	assert_true(next_order(asked, ORDER_FETCH, &order));
	assert_int_equal(sim.engine->waiters.used, EQUAL);
}

static void what_waits_is_matched_a_part_at_a_time(void **state)
{
	struct ring_record fetched = { .op = REPORT_FETCHED, .count = 1, .page = 1 };
	unsigned char content[PAGE_BYTES];
	uint64_t ticks = 0;
	int64_t before;

	(void)state;
	let_wait();
	content_fill(content, 7);
	before = work_done();
	assert_int_equal(engine_report(sim.engine, asked->vm, &fetched, content), 0);
	assert_true(work_done() - before >= MATCH_PER_REPORT);
	assert_true(work_done() - before <= MATCH_PER_REPORT + 2);
	assert_null(engine_check(sim.engine));
	for (; sim.engine->waiters.used > 0 && ticks < 10; ticks++)
		sim_tick(&sim, 2000);
	assert_true(ticks <= EQUAL / MATCH_PER_TICK + 1);
	sim_settle(&sim);
	assert_int_equal(shared_of(waiting), EQUAL);
	assert_int_equal(shared_of(asked), 1);
}

static void what_cannot_be_had_is_matched_a_part_at_a_time(void **state)
{
	int64_t before;

	(void)state;
	let_wait();
	before = work_done();
	assert_int_equal(report(asked, REPORT_GONE, 1, 1, 0), 0);
	assert_true(work_done() - before <= MATCH_PER_REPORT / 2 + 1);
	before = work_done();
	/* The same for one that is about another page. */
	assert_int_equal(report(waiting, REPORT_HASH, EQUAL + 1, 1, hash_of(9)), 0);
	assert_true(work_done() - before <= MATCH_PER_REPORT / 2 + 1);
	assert_null(engine_check(sim.engine));
	assert_true(sim_scan_all(&sim));
	assert_int_equal(shared_of(waiting), EQUAL);
}

/* The same when a whole VM ends for which others wait. */
static void a_vm_that_goes_is_no_work_at_once(void **state)
{
	int64_t before;

	(void)state;
	let_wait();
	before = work_done();
	sim_vm_end(asked);
	assert_true(work_done() - before <= MATCH_PER_REPORT / 2 + 1);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(shared_of(waiting), EQUAL);
}

/* ---- a full store ---- */

static void fill_store(struct sim_vm *vms[VMS])
{
	sim.store_slots_max = ROOM;
	for (uint32_t i = 0; i < VMS; i++)
		vms[i] = new_vm(PAGES, 1, 1);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(host().store_pages, ROOM);
	assert_int_equal(host().shared_pages, VMS * ROOM);
	assert_int_equal(engine_store_room(sim.engine), ENGINE_ROOM_NO_MEMORY);
}

static void all_is_shared(void)
{
	assert_int_equal(host().shared_pages, VMS * PAGES);
	assert_int_equal(host().common_pages, PAGES);
}

/* Slow passes go over it again and again: one attempt for each time that was waited, and no more. */
static void a_full_store_is_tried_now_and_then(void **state)
{
	struct sim_vm *vms[VMS];
	uint64_t before;

	(void)state;
	fill_store(vms);
	before = sim.fetch_orders;
	run_for(60);
	assert_true(sim.fetch_orders - before <= 60 / (BACKOFF_MAX_USEC / SECOND) + 6); /* 1, 2, 4, 8 and 16 s */
	before = sim.fetch_orders;
	run_for(300);
	assert_true(sim.fetch_orders - before >= 1);
	assert_true(sim.fetch_orders - before <= 300 / (BACKOFF_MAX_USEC / SECOND) + 1);
	assert_int_equal(engine_store_room(sim.engine), ENGINE_ROOM_NO_MEMORY);
	assert_int_equal(host().shared_pages, VMS * ROOM);
}

/* Who asks for a pass has it tried at once, and no more than that comes of it. */
static void a_pass_tries_a_full_store_once(void **state)
{
	struct sim_vm *vms[VMS];
	uint64_t before;

	(void)state;
	fill_store(vms);
	before = sim.fetch_orders;
	for (uint32_t i = 0; i < 10; i++)
		assert_true(sim_scan_all(&sim));
	assert_true(sim.fetch_orders - before <= 10 * VMS);
	assert_null(engine_check(sim.engine));
}

static void slow_passes_find_that_there_is_room(void **state)
{
	struct sim_vm *vms[VMS];

	(void)state;
	fill_store(vms);
	run_for(100);
	sim.store_slots_max = 0;
	run_for(60 + BACKOFF_MAX_USEC / SECOND);
	all_is_shared();
	assert_int_equal(engine_store_room(sim.engine), ENGINE_ROOM);
}

static void a_pass_finds_that_there_is_room(void **state)
{
	struct sim_vm *vms[VMS];

	(void)state;
	fill_store(vms);
	run_for(100);
	sim.store_slots_max = 0;
	assert_true(sim_scan_all(&sim));
	all_is_shared();
	assert_int_equal(engine_store_room(sim.engine), ENGINE_ROOM);
}

/*
 * What a guest writes frees slots, and others are shared in their place: no more is asked for than that, and as much.
 */
static void room_that_comes_is_used(void **state)
{
	struct sim_vm *vms[VMS];
	uint64_t before;

	(void)state;
	fill_store(vms);
	run_for(100);
	before = sim.fetch_orders;
	for (uint32_t page = 1; page <= PAGES; page++)
		for (uint32_t i = 0; i < VMS && vms[0]->pages[page].state == SIM_SHARED; i++)
			sim_write(vms[i], page, 100000 + i * PAGES + page);
	run_for(70);
	assert_int_equal(host().store_pages, ROOM);
	assert_true(sim.fetch_orders - before <= 2 * ROOM + 70);
}

/* Whoever is parked waits for a FETCH of another VM, and no longer than others do. */
static void an_attempt_that_is_not_answered_holds_up_nobody(void **state)
{
	struct sim_vm *vms[VMS];

	(void)state;
	fill_store(vms);
	run_for(20);
	sim.store_slots_max = 0;
	vms[0]->silent = true;
	assert_true(sim_scan_all(&sim));
	assert_true(sim_scan_all(&sim));
	for (uint32_t i = 1; i < VMS; i++)
		assert_int_equal(shared_of(vms[i]), PAGES);
	assert_int_equal(sim.engine->waiters.used, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ENGINE_TEST(what_waits_is_matched_a_part_at_a_time),
		ENGINE_TEST(what_cannot_be_had_is_matched_a_part_at_a_time),
		ENGINE_TEST(a_vm_that_goes_is_no_work_at_once),
		ENGINE_TEST(a_full_store_is_tried_now_and_then),
		ENGINE_TEST(a_pass_tries_a_full_store_once),
		ENGINE_TEST(slow_passes_find_that_there_is_room),
		ENGINE_TEST(a_pass_finds_that_there_is_room),
		ENGINE_TEST(room_that_comes_is_used),
		ENGINE_TEST(an_attempt_that_is_not_answered_holds_up_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
