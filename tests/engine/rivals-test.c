/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Contents that have the hash of another one, which came first and was made for that: VMs of each user share them with
 * each other all the same. A page that only seemed to have one is as any other.
 */
#include "engine/state.h"
#include "tests/engine/harness.h"

#define PAGES 64u
#define ENOUGH_SECONDS 60u

static char liar, alice, bob;

/* Its contents are SIM_RIVALs: odd ones, or the even ones that have the same hashes. */
static struct sim_vm *vm_of(void *account, uint32_t odd)
{
	struct sim_vm *vm = sim_vm_new(&sim, WIRE_MODE_FULL);

	vm->account = account;
	connect_filled(vm, PAGES, SIM_RIVAL + odd, 2);
	return vm;
}

static void begin(void)
{
	sim.settings.scan_interval_seconds = 1;
	restart_with_settings();
	for (uint32_t i = 0; i < PAGES; i++)
		assert_int_equal(hash_of(SIM_RIVAL + 2 * i), hash_of(SIM_RIVAL + 2 * i + 1));
	vm_of(&liar, 0);
	vm_of(&liar, 0);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(host().common_pages, PAGES);
}

static void a_user_shares_what_has_the_hash_of_another_content(void **state)
{
	struct sim_vm *vms[4];

	(void)state;
	begin();
	vms[0] = vm_of(&alice, 1);
	vms[1] = vm_of(&bob, 1);
	vms[2] = vm_of(&alice, 1);
	vms[3] = vm_of(&bob, 1);
	run_for(ENOUGH_SECONDS);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(shared_of(vms[i]), PAGES);
	assert_int_equal(host().common_pages, 3 * PAGES); /* by each user on his own */
	sim_check_memory(&sim);
	assert_null(engine_check(sim.engine));
}

/* Passes that are asked for do, too: the second one looks again. */
static void so_do_passes_that_are_asked_for(void **state)
{
	struct sim_vm *vms[2];

	(void)state;
	begin();
	for (uint32_t i = 0; i < 2; i++)
		vms[i] = vm_of(&bob, 1);
	for (uint32_t i = 0; i < 3; i++)
		assert_true(sim_scan_all(&sim));
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(shared_of(vms[i]), PAGES);
}

/* What was under a key of its own, as nobody else has it, comes to have the content that is shared. */
static void a_page_that_is_equal_after_all_is_shared(void **state)
{
	struct sim_vm *vm;

	(void)state;
	begin();
	vm = vm_of(&bob, 1);
	run_for(ENOUGH_SECONDS);
	assert_int_equal(shared_of(vm), 0);
	for (uint32_t page = 1; page <= PAGES; page++)
		sim_write(vm, page, SIM_RIVAL + 2 * (page - 1));
	run_for(ENOUGH_SECONDS);
	assert_int_equal(shared_of(vm), PAGES);
	assert_int_equal(host().common_pages, PAGES);
}

/* Where pages that differ are forgotten at once: then nobody shares what has the hash of another content. */
static void control(void **state)
{
	struct sim_vm *vms[2];

	(void)state;
	begin();
	for (uint32_t i = 0; i < 2; i++)
		vms[i] = vm_of(&bob, 1);
	run_for(ENOUGH_SECONDS);
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(shared_of(vms[i]), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest controls[] = { ENGINE_TEST(control) }, tests[] = {
		ENGINE_TEST(a_user_shares_what_has_the_hash_of_another_content),
		ENGINE_TEST(so_do_passes_that_are_asked_for),
		ENGINE_TEST(a_page_that_is_equal_after_all_is_shared),
	};

	(void)argv;
	if (argc > 1)
		return cmocka_run_group_tests(controls, NULL, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
