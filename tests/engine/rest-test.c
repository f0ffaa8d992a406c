/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Ticks pass VMs by that are at rest, and nobody can tell: neither by what is done for them, nor by when. */
#include "engine/rest.h"
#include "tests/engine/harness.h"

#define PAGES 10u
#define TICK_USEC 10000u
#define SILENCE_USEC (10 * SECOND) /* see watch.c */

static bool is_at_rest(const struct sim_vm *vm)
{
	return rest_awake(sim.engine, vm->vm->index) == NULL;
}

static void settle_until_all_rest(struct sim_vm *const *vms, unsigned count)
{
	unsigned rest = 0;

	for (unsigned i = 0; i < 1000 && rest < count; i++) {
		sim_tick(&sim, TICK_USEC);
		sim_settle(&sim);
		sim_tick(&sim, TICK_USEC);
		rest = 0;
		for (unsigned j = 0; j < count; j++)
			rest += is_at_rest(vms[j]);
	}
	assert_int_equal(rest, count);
}

static void begin(struct sim_vm *vms[2])
{
	vms[0] = new_vm(PAGES, 1, 1);
	vms[1] = new_vm(PAGES, 1, 1);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(shared_of(vms[0]), PAGES);
	settle_until_all_rest(vms, 2);
}

/* Nothing is under way, and nothing due for a second at least: a tick looks at neither. */
static void they_rest_until_something_is_due(void **state)
{
	uint64_t next = UINT64_MAX;
	struct sim_vm *vms[2];

	(void)state;
	sim.settings.audit_interval_seconds = 0;
	sim.settings.scan_interval_seconds = 100;
	restart_with_settings();
	begin(vms);
	for (unsigned i = 0; i < 2; i++) {
		uint64_t until = sim.engine->rest.until_usec[vms[i]->vm->index];

		next = until < next ? until : next;
	}
	assert_true(next > sim.now_usec + 2 * SECOND);
	while (sim.now_usec + TICK_USEC < next) {
		sim_tick(&sim, TICK_USEC);
		assert_true(is_at_rest(vms[0]) && is_at_rest(vms[1]));
		assert_int_equal(vms[0]->vm->orders.length + vms[1]->vm->orders.length, 0);
		assert_true(sim.now_usec - sim.engine->rest.all_usec < SECOND);
	}
	sim_tick(&sim, next - sim.now_usec);
	assert_int_not_equal(vms[0]->vm->orders.length + vms[1]->vm->orders.length, 0);
}

/* How many scans a VM is ordered in @seconds, if the engine is called when it says so. */
static unsigned scans_in(const struct sim_vm *vm, uint64_t seconds)
{
	uint64_t end = sim.now_usec + seconds * SECOND, before = vm->vm->scanned;

	while (sim.now_usec < end) {
		sim.now_usec += engine_tick(sim.engine, sim.now_usec);
		assert_true(sim.now_usec - sim.engine->rest.all_usec <= SECOND + TICK_USEC);
		sim_settle(&sim);
	}
	return (unsigned)(vm->vm->scanned - before);
}

/* A slow pass in 10 seconds, an audit in 5, each of one slice. */
static void what_is_due_is_done(void **state)
{
	struct sim_vm *vms[2];

	(void)state;
	sim.settings.audit_interval_seconds = 5;
	sim.settings.scan_interval_seconds = 10;
	restart_with_settings();
	begin(vms);
	for (unsigned i = 0; i < 2; i++)
		assert_in_range(scans_in(vms[i], 100), 10 + 20 - 2, 10 + 20 + 2);
}

/* What changes is not shared, so it is seen twice. */
static void see_changed(struct sim_vm *vm, uint32_t content)
{
	sim_write(vm, 1, content);
	assert_int_equal(report(vm, REPORT_DIVERGED, 1, 1, 0), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(report(vm, REPORT_HASH, 1, 1, hash_of(content)), 0);
}

/* What one VM reports wakes another, for which there is an order now. That it was at rest before is no silence. */
static void silence_begins_with_the_order(void **state)
{
	uint64_t began;
	struct sim_vm *vms[2];

	(void)state;
	sim.settings.audit_interval_seconds = sim.settings.scan_interval_seconds = 0;
	restart_with_settings();
	begin(vms);
	see_changed(vms[1], 700);
	settle_until_all_rest(vms, 2);
	while (sim.now_usec - sim.engine->rest.all_usec < SECOND - 2 * TICK_USEC)
		sim_tick(&sim, TICK_USEC);
	assert_true(is_at_rest(vms[1]));
	vms[1]->silent = true;
	began = sim.now_usec;
	see_changed(vms[0], 700);
	while (!vms[1]->vm->unresponsive && sim.now_usec - began < 2 * SILENCE_USEC) {
		sim_tick(&sim, TICK_USEC);
		sim_take_orders(vms[0], UINT32_MAX);
		sim_work(vms[0], UINT32_MAX);
		sim_take_reports(vms[0], UINT32_MAX);
	}
	assert_in_range(sim.now_usec - began, SILENCE_USEC, SILENCE_USEC + 5 * TICK_USEC);
}

/* Whatever people ask for begins with the next tick. */
static void requests_wake(void **state)
{
	struct sim_vm *vms[2];

	(void)state;
	sim.settings.audit_interval_seconds = sim.settings.scan_interval_seconds = 0;
	restart_with_settings();
	begin(vms);
	engine_scan(sim.engine, vms[0]->vm);
	assert_false(is_at_rest(vms[0]));
	assert_true(is_at_rest(vms[1]));
	engine_set_mode(sim.engine, vms[1]->vm, WIRE_MODE_OFF);
	assert_false(is_at_rest(vms[1]));
	run_for(2);
	assert_int_equal(shared_of(vms[1]), 0);
	settle_until_all_rest(vms, 2);
	assert_true(engine_survey(vms[1]->vm));
	assert_false(is_at_rest(vms[1]));
	settle_until_all_rest(vms, 2);
	engine_look(sim.engine, vms[0]->vm, 1, 1);
	assert_false(is_at_rest(vms[0]));
	settle_until_all_rest(vms, 2);
	engine_look(sim.engine, vms[0]->vm, PAGES, 10); /* beyond all that it has */
	assert_false(is_at_rest(vms[0]));
	assert_int_equal(vms[0]->vm->orders.length, 1);
	settle_until_all_rest(vms, 2);
	sim.settings.scan_interval_seconds = 1;
	engine_change_settings(sim.engine, &sim.settings);
	assert_false(is_at_rest(vms[0]) || is_at_rest(vms[1]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ENGINE_TEST(they_rest_until_something_is_due),
		ENGINE_TEST(what_is_due_is_done),
		ENGINE_TEST(silence_begins_with_the_order),
		ENGINE_TEST(requests_wake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
