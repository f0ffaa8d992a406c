/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * However a VM answers, the pass over another one, for which somebody waits, is over after few steps; and its own, too,
 * if it goes on answering. A step is a tick of two milliseconds, in which those that are honest answer all they are
 * asked: so few that nobody is given up for being silent meanwhile.
 */
#include "engine/state.h"
#include "tests/engine/harness.h"

#define STEPS 1000u
#define OTHERS_STEPS 30u /* that a pass over a small VM takes, with its barriers */
#define OWN_STEPS 200u   /* some barriers more */
#define LIARS_MAX 4u
#define LIAR_PAGES 10u

/** A VM that answers what suits it. It is silent for the simulation, which does nothing for it. */
struct liar {
	struct sim_vm *vm;
	uint32_t page;           /* that it lies about, the first of its newest region */
	uint32_t next_page;      /* of the next region */
	struct ring_record scan; /* under way there */
	struct ring_record merge;
	uint64_t ticket; /* of the pass that it has ended */
	uint32_t lies;
};

static struct liar liars[LIARS_MAX];
static uint32_t liar_count;

static void work_honestly(void)
{
	for (uint32_t i = 0; i < SIM_VMS; i++) {
		if (sim.vms[i] == NULL || sim.vms[i]->silent)
			continue;
		sim_take_orders(sim.vms[i], UINT32_MAX);
		sim_work(sim.vms[i], UINT32_MAX);
		sim_take_reports(sim.vms[i], UINT32_MAX);
	}
}

static void step(void)
{
	sim_tick(&sim, 2000);
	work_honestly();
}

/** Has the liars tell theirs, step by step. @return after how many the ticket has come true; STEPS: it has not. */
static uint32_t steps_until_done(const struct sim_vm *vm, uint64_t ticket, void (*lie)(struct liar *))
{
	uint32_t steps = 0;

	while (steps < STEPS && !engine_scan_done(sim.engine, vm->vm, ticket)) {
		for (uint32_t i = 0; i < liar_count; i++)
			lie(&liars[i]);
		step();
		steps++;
	}
	return steps;
}

static void await_order(struct liar *liar, uint8_t op, struct ring_record *ret)
{
	bool found = false;

	for (uint32_t i = 0; i < 10 && !found; i++) {
		found = next_order(liar->vm, op, ret);
		if (!found)
			step();
	}
	assert_true(found);
}

/** Two VMs that share contents 1 to 10, and @count others that lie from now on. @return one of the two. */
static struct sim_vm *begin(uint32_t count)
{
	struct sim_vm *honest = new_vm(10, 1, 1);

	new_vm(10, 1, 1);
	liar_count = count;
	for (uint32_t i = 0; i < count; i++)
		liars[i] = (struct liar){ .vm = new_vm(LIAR_PAGES, 500 + 100 * i, 1), .next_page = 1 + LIAR_PAGES };
	assert_true(sim_scan_all(&sim));
	for (uint32_t i = 0; i < count; i++)
		liars[i].vm->silent = true;
	return honest;
}

/* ---- looks that come too early ---- */

/** @content is one that is shared: the page is ordered to be merged. */
static void see(struct liar *liar, uint32_t page, uint32_t content)
{
	assert_int_equal(report(liar->vm, REPORT_HASH, page, 1, hash_of(content)), 0);
}

static void end_scan(struct liar *liar)
{
	assert_int_equal(report(liar->vm, REPORT_SCANNED, liar->scan.page, liar->scan.count, LIAR_PAGES), 0);
}

/** A pass begins over a new region, and is under way. Its first page is ordered to be merged. */
static void add_region(struct liar *liar)
{
	liar->page = liar->next_page;
	liar->next_page += LIAR_PAGES;
	assert_int_equal(report(liar->vm, REPORT_REGION_ADD, liar->page, 1, LIAR_PAGES), 0);
	await_order(liar, ORDER_SCAN, &liar->scan);
	see(liar, liar->page, 1);
	await_order(liar, ORDER_MERGE, &liar->merge);
}

/** Ends a pass while it owes the answer to a MERGE, so that the barrier after it waits for that; and begins another. */
static void leave_unanswered(struct liar *liar)
{
	liar->ticket = engine_scan(sim.engine, liar->vm->vm);
	await_order(liar, ORDER_SCAN, &liar->scan);
	see(liar, 1, 1);
	await_order(liar, ORDER_MERGE, &liar->merge);
	end_scan(liar);
	add_region(liar);
}

/** The page has another content than when it was ordered to be merged: it differs, and is ordered to be merged anew. */
static void look_in_vain(struct liar *liar)
{
	see(liar, liar->page, 2 + liar->lies++ % 2);
	assert_int_equal(report(liar->vm, REPORT_DIFFERS, liar->page, 1, liar->merge.slot), 0);
	assert_true(next_order(liar->vm, ORDER_MERGE, &liar->merge));
}

/** The same, and some regions come, one at a time; pages of earlier ones keep their unanswered orders. */
static void look_in_vain_and_grow(struct liar *liar)
{
	look_in_vain(liar);
	if (liar->lies % 2 == 0 && liar->lies <= 16) {
		end_scan(liar);
		add_region(liar);
	}
}

/** The same, in place of the one before. */
static void look_in_vain_and_announce_again(struct liar *liar)
{
	look_in_vain(liar);
	assert_int_equal(report(liar->vm, REPORT_REGION_REMOVE, liar->page, 1, 0), 0);
	end_scan(liar);
	add_region(liar);
}

static void expect_bounded(uint32_t count, void (*lie)(struct liar *))
{
	struct sim_vm *honest = begin(count);

	for (uint32_t i = 0; i < count; i++)
		leave_unanswered(&liars[i]);
	for (uint32_t round = 0; round < 3; round++)
		assert_in_range(steps_until_done(honest, engine_scan(sim.engine, honest->vm), lie), 1, OTHERS_STEPS);
	for (uint32_t i = 0; i < count; i++)
		assert_in_range(steps_until_done(liars[i].vm, liars[i].ticket, lie), 0, OWN_STEPS);
}

static void looks_in_vain(void **state)
{
	(void)state;
	expect_bounded(1, look_in_vain);
}

static void looks_in_vain_at_more_regions(void **state)
{
	(void)state;
	expect_bounded(1, look_in_vain_and_grow);
}

static void looks_in_vain_at_regions_announced_again(void **state)
{
	(void)state;
	expect_bounded(1, look_in_vain_and_announce_again);
}

static void looks_in_vain_of_many(void **state)
{
	(void)state;
	expect_bounded(LIARS_MAX, look_in_vain);
}

static void looks_in_vain_of_many_at_regions_announced_again(void **state)
{
	(void)state;
	expect_bounded(LIARS_MAX, look_in_vain_and_announce_again);
}

/* ---- contents that are not there ---- */

/** All pages of the liar have one content, it says; the second waits until the first has been fetched. */
static void offer_alike(struct liar *liar)
{
	for (uint32_t i = 1; i <= LIAR_PAGES; i++)
		for (uint32_t look = 0; look < 2; look++) /* one that has changed is believed the second time only */
			see(liar, i, 7000);
}

/** The page that is fetched cannot be had, so it is another one's turn; and it is there again. */
static void refuse_fetch(struct liar *liar)
{
	struct ring_record fetch;

	if (!next_order(liar->vm, ORDER_FETCH, &fetch))
		return;
	assert_int_equal(report(liar->vm, REPORT_BUSY, fetch.page, 1, 0), 0);
	see(liar, fetch.page, 7000);
}

static void fetches_refused_in_turn(void **state)
{
	struct sim_vm *honest = begin(1);

	(void)state;
	offer_alike(&liars[0]);
	for (uint32_t round = 0; round < 3; round++)
		assert_in_range(steps_until_done(honest, engine_scan(sim.engine, honest->vm), refuse_fetch), 1,
				OTHERS_STEPS + LIAR_PAGES);
}

/* ---- one answer at a time ---- */

#define SLOW_PAGES 200u
#define SLOW_TICKS 200u                /* from one answer to the next: 20 seconds */
#define PATIENCE_TICKS (2 * 3000u + 2) /* a barrier under way, and the one that is waited for: 5 minutes each */

static struct ring_record owed[SLOW_PAGES];
static uint32_t owed_count, owed_next, slow_ticks;

static void take_slow_orders(struct liar *liar)
{
	struct ring_record order;

	while (engine_next_order(sim.engine, liar->vm->vm, &order)) {
		if (order.op == ORDER_MERGE || order.op == ORDER_FETCH) {
			assert_true(owed_count < SLOW_PAGES);
			owed[owed_count++] = order;
		} else {
			assert_int_equal(report(liar->vm, REPORT_SCANNED, order.page, order.count, 1), 0);
		}
	}
}

/** Looks are done with at once, and something is said at any time, but of all else one page is refused at a time. */
static void answer_slowly(struct liar *liar)
{
	struct ring_record *order;

	take_slow_orders(liar);
	see(liar, SLOW_PAGES, 8000 + slow_ticks);
	if (++slow_ticks % SLOW_TICKS != 0 || owed_next == owed_count)
		return;
	order = &owed[owed_next];
	assert_int_equal(report(liar->vm, REPORT_BUSY, order->page, 1, order->slot), 0);
	order->page++;
	order->slot++;
	owed_next += --order->count == 0;
}

/** @return ticks of 0.1 seconds until a pass over @vm is over. */
static uint32_t ticks_until_done(const struct sim_vm *vm)
{
	uint64_t ticket = engine_scan(sim.engine, vm->vm);
	uint32_t ticks = 0;

	for (; ticks < 2 * PATIENCE_TICKS && !engine_scan_done(sim.engine, vm->vm, ticket); ticks++) {
		answer_slowly(&liars[0]);
		sim_tick(&sim, SECOND / 10);
		work_honestly();
	}
	return ticks;
}

static void expect_soon(const struct sim_vm *honest, const struct sim_vm *other)
{
	for (uint32_t round = 0; round < 3; round++) {
		assert_in_range(ticks_until_done(honest), 1, OTHERS_STEPS);
		assert_in_range(ticks_until_done(other), 1, OTHERS_STEPS);
	}
}

/** A VM that owes so many answers is really waited for, once; after that, not before it has given them. */
static void expect_left_behind(const struct sim_vm *honest, const struct sim_vm *other)
{
	assert_in_range(ticks_until_done(honest), 2900, PATIENCE_TICKS);
	expect_soon(honest, other);
	assert_true(owed_next < owed_count);
}

static struct sim_vm *begin_slow(void)
{
	owed_count = owed_next = slow_ticks = 0;
	liar_count = 1;
	liars[0] = (struct liar){ .vm = new_vm(SLOW_PAGES, 1, 1) };
	return new_vm(10, 9000, 1);
}

static void merges_answered_slowly(void **state)
{
	struct sim_vm *honest = begin_slow(), *other;

	(void)state;
	assert_true(sim_scan_all(&sim));
	liars[0].vm->silent = true;
	other = new_vm(10, 9000, 1);
	new_vm(SLOW_PAGES, 20000, 1);
	new_vm(SLOW_PAGES, 20000, 1);
	assert_in_range(ticks_until_done(other), 1, OTHERS_STEPS);
	for (uint32_t i = 1; i < SLOW_PAGES; i++)
		for (uint32_t look = 0; look < 2; look++)
			see(&liars[0], i, 20000 + i);
	expect_left_behind(honest, other);
}

static void fetches_answered_slowly(void **state)
{
	struct sim_vm *honest = begin_slow(), *other;

	(void)state;
	assert_true(sim_scan_all(&sim));
	liars[0].vm->silent = true;
	other = new_vm(SLOW_PAGES - 1, 1, 1); /* the same, and the liar is asked for each page */
	expect_left_behind(honest, other);
}

/** More pages of one content than can wait for its FETCH: others find room all the same, to be scanned and to wait. */
static void many_pages_that_wait(void **state)
{
	const uint32_t many = 70000, few = 1000;
	struct sim_vm *honest, *other;

	(void)state;
	begin_slow();
	honest = new_vm(few, 9000, 1);
	other = new_vm(few, 9000, 1);
	assert_true(sim_scan_all(&sim));
	liars[0].vm->silent = true;
	assert_int_equal(report(liars[0].vm, REPORT_REGION_ADD, SLOW_PAGES + 1, 1, many), 0);
	for (uint32_t i = 1; i <= many; i++)
		see(&liars[0], SLOW_PAGES + i, 7000);
	for (uint32_t i = 1; i <= few; i++) {
		sim_write(honest, i, 30000 + i);
		sim_write(other, i, 30000 + i);
	}
	assert_in_range(ticks_until_done(honest), 2900, PATIENCE_TICKS);
	expect_soon(honest, other);
	assert_int_equal(shared_of(honest) + shared_of(other), 2 * few);
}

/* ---- more looks that come too early than are remembered ---- */

#define EARLY_PAGES (3 * VM_SIGHTINGS_MAX)

/* Until the pass of @vm is over, while the others do nothing. */
static void work_alone(struct sim_vm *vm)
{
	while (engine_is_scanning(vm->vm)) {
		sim_tick(&sim, 2000);
		sim_take_orders(vm, UINT32_MAX);
		sim_work(vm, UINT32_MAX);
		sim_take_reports(vm, UINT32_MAX);
	}
}

/**
 * All pages of two VMs are ordered to merge as they were, after a look at them as they are has been ordered: more than
 * are remembered. @tickets: of their passes.
 */
static void look_too_early(struct sim_vm *vms[2], uint64_t tickets[2])
{
	sim.settings.scan_interval_seconds = 0; /* no slow pass finds them */
	restart_with_settings();
	vms[1] = new_vm(EARLY_PAGES, 1, 1);
	assert_true(sim_scan_all(&sim));
	vms[0] = new_vm(EARLY_PAGES, 1, 1);
	work_alone(vms[0]);
	sim_take_orders(vms[1], UINT32_MAX);
	sim_work(vms[1], UINT32_MAX); /* fetched, and not told yet */
	for (uint32_t page = 1; page <= EARLY_PAGES; page++) {
		sim_write(vms[0], page, 10000 + page);
		sim_write(vms[1], page, 10000 + page);
	}
	tickets[0] = engine_scan(sim.engine, vms[0]->vm);
	tickets[1] = engine_scan(sim.engine, vms[1]->vm);
	sim_tick(&sim, 2000);
	sim_take_orders(vms[0], UINT32_MAX);
	sim_take_reports(vms[1], UINT32_MAX);
	assert_true(sim_work(vms[0], UINT32_MAX)); /* the looks; the merges are not taken yet */
	sim_take_reports(vms[0], UINT32_MAX);
	assert_true(vms[0]->vm->lost_sightings);
}

static void looks_that_come_too_early(void **state)
{
	struct sim_vm *vms[2];
	uint64_t tickets[2];

	(void)state;
	look_too_early(vms, tickets);
	for (unsigned i = 0; i < 2; i++)
		while (!engine_scan_done(sim.engine, vms[i]->vm, tickets[i])) {
			sim_tick(&sim, 2000);
			sim_settle(&sim);
		}
	assert_int_equal(shared_of(vms[0]), EARLY_PAGES);
	assert_int_equal(shared_of(vms[1]), EARLY_PAGES);
}

/* Whoever has a region come whenever a pass is over always has another one on its way. That ends, too. */
static void looks_that_come_too_early_at_more_regions(void **state)
{
	struct sim_vm *vms[2];
	uint64_t tickets[2];
	uint32_t regions;

	(void)state;
	look_too_early(vms, tickets);
	regions = vms[0]->next_page;
	for (uint32_t i = 0; !engine_scan_done(sim.engine, vms[0]->vm, tickets[0]); i++) {
		assert_true(i < 10000);
		if (vms[0]->vm->pass_ticket == 0) {
			assert_int_equal(report(vms[0], REPORT_REGION_ADD, regions, 1, 1), 0);
			if (regions > vms[0]->next_page)
				assert_int_equal(report(vms[0], REPORT_REGION_REMOVE, regions - 1, 1, 0), 0);
			regions++;
		}
		sim_tick(&sim, 2000);
		for (unsigned j = 0; j < 2; j++) {
			sim_take_orders(vms[j], UINT32_MAX);
			sim_work(vms[j], UINT32_MAX);
			sim_take_reports(vms[j], UINT32_MAX);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ENGINE_TEST(looks_in_vain),
		ENGINE_TEST(looks_in_vain_at_more_regions),
		ENGINE_TEST(looks_in_vain_at_regions_announced_again),
		ENGINE_TEST(looks_in_vain_of_many),
		ENGINE_TEST(looks_in_vain_of_many_at_regions_announced_again),
		ENGINE_TEST(fetches_refused_in_turn),
		ENGINE_TEST(merges_answered_slowly),
		ENGINE_TEST(fetches_answered_slowly),
		ENGINE_TEST(many_pages_that_wait),
		ENGINE_TEST(looks_that_come_too_early),
		ENGINE_TEST(looks_that_come_too_early_at_more_regions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
