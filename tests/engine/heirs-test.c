/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who is charged for a slot maps it, or says so: who maps it no longer is not charged for what others claim to map. */
#include "engine/state.h"
#include "tests/engine/harness.h"

#define PAGES 300u
#define ENOUGH_SECONDS 60u

static char alice, bob, carol;

static struct sim_vm *vm_of(void *account, uint32_t first)
{
	struct sim_vm *vm = sim_vm_new(&sim, WIRE_MODE_FULL);

	vm->account = account;
	connect_filled(vm, PAGES, first, 1);
	return vm;
}

static uint64_t charged(const struct sim_vm *vm)
{
	struct engine_vm_limits usage;

	engine_vm_usage(vm->vm, &usage);
	return usage.slots;
}

/* All slots that are charged to @account, also those of VMs that are gone. */
static uint64_t charged_to(const void *account)
{
	uint64_t count = 0;

	for (uint32_t i = 1; i < SLOT_OWNERS; i++)
		if (sim.engine->slots.owners[i].account == account)
			count += slots_owned(&sim.engine->slots, (uint16_t)i);
	return count;
}

/* Each of its pages gets a content that nobody else has. */
static void write_all(struct sim_vm *vm, uint32_t first)
{
	for (uint32_t page = 1; page <= PAGES; page++)
		sim_write(vm, page, first + page);
}

static void setup_settings(void)
{
	sim.settings.scan_interval_seconds = 1;
	sim.settings.audit_interval_seconds = 1;
	restart_with_settings();
}

/* Two VMs of two users with the same contents, which are charged to the first one. */
static void share(struct sim_vm *ret[2])
{
	struct sim_vm *a, *b;

	setup_settings();
	a = vm_of(&alice, 1);
	b = vm_of(&bob, 1);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(charged(a) + charged(b), PAGES);
	ret[0] = charged(a) == PAGES ? a : b;
	ret[1] = charged(a) == PAGES ? b : a;
	assert_int_equal(charged(ret[0]), PAGES);
}

static void who_maps_it_no_longer_is_not_charged(void **state)
{
	struct sim_vm *vms[2];

	(void)state;
	share(vms);
	write_all(vms[0], 10000);
	run_for(ENOUGH_SECONDS);
	assert_int_equal(shared_of(vms[1]), PAGES); /* or claims to */
	assert_int_equal(charged_to(vms[0]->account), 0);
	assert_int_equal(charged(vms[1]), PAGES);
}

static void what_a_user_leaves_behind_is_charged_to_whoever_claims_it(void **state)
{
	struct sim_vm *vms[2];
	const void *account;

	(void)state;
	share(vms);
	account = vms[0]->account;
	sim_vm_end(vms[0]);
	run_for(ENOUGH_SECONDS);
	assert_int_equal(charged_to(account), 0);
	assert_int_equal(charged(vms[1]), PAGES);
	assert_null(engine_check(sim.engine));
}

static void it_stays_with_a_user_who_maps_it_still(void **state)
{
	struct sim_vm *first, *second;
	uint64_t before;

	(void)state;
	setup_settings();
	first = vm_of(&alice, 1);
	second = vm_of(&alice, 1);
	assert_true(sim_scan_all(&sim));
	vm_of(&bob, 1);
	assert_true(sim_scan_all(&sim));
	before = charged_to(&alice);
	assert_int_equal(before, PAGES);
	write_all(second, 10000);
	run_for(ENOUGH_SECONDS);
	assert_int_equal(charged_to(&alice), before);
	write_all(first, 20000);
	run_for(ENOUGH_SECONDS);
	assert_int_equal(charged_to(&alice), 0);
	assert_int_equal(charged_to(&bob), PAGES);
}

static void limit_slots(const struct sim_vm *vm, uint64_t slots)
{
	const struct engine_vm_limits limits = { .ram_pages = UINT64_MAX, .known_pages = UINT64_MAX, .slots = slots };

	engine_vm_set_limits(vm->vm, &limits);
}

/* Of those who map it one is charged that may have more; but if there is none, one that may not. */
static void who_has_room_is_charged_first(void **state)
{
	struct sim_vm *vms[2], *roomy;

	(void)state;
	share(vms);
	roomy = vm_of(&carol, 1);
	assert_true(sim_scan_all(&sim));
	limit_slots(vms[1], PAGES / 3);
	limit_slots(roomy, PAGES / 3);
	write_all(vms[0], 10000);
	run_for(ENOUGH_SECONDS);
	assert_int_equal(shared_of(vms[1]) + shared_of(roomy), 2 * PAGES);
	assert_int_equal(charged_to(vms[0]->account), 0);
	assert_in_range(charged(roomy), PAGES / 3, 2 * PAGES / 3); /* both have as many, and the rest is anybody's */
	assert_in_range(charged(vms[1]), PAGES / 3, 2 * PAGES / 3);
	write_all(roomy, 20000);
	run_for(ENOUGH_SECONDS);
	assert_int_equal(charged(vms[1]), PAGES);
	assert_int_equal(charged(roomy), 0);
	assert_null(engine_check(sim.engine));
}

/* A claim that is answered late, when the walk has been over it. */
static void a_late_claim_is_charged(void **state)
{
	struct sim_vm *a, *b, *late;

	(void)state;
	setup_settings();
	a = vm_of(&alice, 1);
	b = vm_of(&alice, 1);
	assert_true(sim_scan_all(&sim));
	late = vm_of(&bob, 1);
	late->silent = true;
	engine_scan(sim.engine, late->vm);
	for (uint32_t page = 1; page <= PAGES; page++)
		assert_int_equal(report(late, REPORT_HASH, page, 1, hash_of(page)), 0);
	write_all(a, 10000);
	write_all(b, 20000);
	run_for(ENOUGH_SECONDS);
	assert_int_equal(shared_of(late), 0);
	assert_int_equal(charged_to(&alice), PAGES);
	late->silent = false;
	run_for(ENOUGH_SECONDS);
	assert_int_equal(shared_of(late), PAGES);
	assert_int_equal(charged_to(&alice), 0);
}

/* Where nobody looks: then who maps it no longer is charged still. */
static void control(void **state)
{
	struct sim_vm *vms[2];

	(void)state;
	share(vms);
	write_all(vms[0], 10000);
	run_for(ENOUGH_SECONDS);
	assert_int_equal(charged(vms[0]), PAGES);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest controls[] = { ENGINE_TEST(control) }, tests[] = {
		ENGINE_TEST(who_maps_it_no_longer_is_not_charged),
		ENGINE_TEST(what_a_user_leaves_behind_is_charged_to_whoever_claims_it),
		ENGINE_TEST(it_stays_with_a_user_who_maps_it_still),
		ENGINE_TEST(who_has_room_is_charged_first),
		ENGINE_TEST(a_late_claim_is_charged),
	};

	(void)argv;
	if (argc > 1)
		return cmocka_run_group_tests(controls, NULL, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
