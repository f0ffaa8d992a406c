/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What who looks at all pages of a VM is told of each. */
#include "tests/engine/harness.h"

#define SLOT_UNKNOWN 12345u

static enum engine_page_state state_of(const struct sim_vm *vm, uint32_t page, uint32_t *ret_slot)
{
	enum engine_page_state state;

	*ret_slot = SLOT_UNKNOWN;
	engine_page_states(vm->vm, page, 1, &state, ret_slot);
	return state;
}

static void assert_states(const struct sim_vm *vm, uint32_t page, uint32_t count, enum engine_page_state expected)
{
	uint32_t slot;

	for (uint32_t i = page; i < page + count; i++)
		assert_int_equal(state_of(vm, i, &slot), expected);
}

static void what_nothing_is_known_of_is_passed_over(void **state)
{
	enum engine_page_state alike;
	struct sim_vm *vm = sim_vm_new(&sim, WIRE_MODE_HINTS);

	(void)state;
	assert_int_equal(sim_vm_add_region(vm, 5000), 0);
	for (uint32_t i = 1; i <= 5000; i++)
		sim_write(vm, i, i);
	sim_vm_connect(vm);
	run_for(1);
	assert_int_equal(engine_pages_alike(vm->vm, 1, 100000, &alike), 5000);
	assert_int_equal(alike, ENGINE_PAGE_PRIVATE);
	assert_int_equal(engine_pages_alike(vm->vm, 4990, 7, &alike), 7);
	assert_int_equal(engine_pages_alike(vm->vm, 5001, 100000, &alike), 100000);
	assert_int_equal(alike, ENGINE_PAGE_ABSENT);
	assert_states(vm, 1, 5000, ENGINE_PAGE_PRIVATE);
	assert_states(vm, 5001, 3, ENGINE_PAGE_ABSENT);
	sim_note(vm, 2000);
	run_for(1);
	assert_int_equal(engine_pages_alike(vm->vm, 1, 100000, &alike), 1024); /* the block it is in begins there */
	assert_int_equal(engine_pages_alike(vm->vm, 2000, 100000, &alike), 0);
	assert_int_equal(engine_pages_alike(vm->vm, 2049, 100000, &alike), 5000 - 2048);
}

static void each_page_is_what_the_engine_holds_it_for(void **state)
{
	struct sim_vm *a = new_vm(200, 1, 1), *b = new_vm(100, 1, 1);
	uint32_t slot;

	(void)state;
	for (uint32_t i = 51; i <= 60; i++)
		sim_write(b, i, 0);
	assert_true(sim_scan_all(&sim));
	assert_states(a, 1, 50, ENGINE_PAGE_SHARED);
	assert_states(a, 51, 10, ENGINE_PAGE_PRIVATE);
	assert_states(a, 61, 40, ENGINE_PAGE_SHARED);
	assert_states(a, 101, 100, ENGINE_PAGE_PRIVATE);
	assert_states(b, 51, 10, ENGINE_PAGE_ZERO);
	for (uint32_t i = 1; i <= 50; i++) {
		assert_int_equal(state_of(a, i, &slot), ENGINE_PAGE_SHARED);
		assert_int_equal(slot, a->pages[i].slot);
		assert_int_equal(slot, b->pages[i].slot);
	}
	sim_write(a, 7, 7000);
	assert_true(sim_scan_all(&sim));
	assert_states(a, 7, 1, ENGINE_PAGE_DIVERGED);
	assert_states(b, 7, 1, ENGINE_PAGE_SHARED);
	for (uint32_t i = 1; i <= 3; i++) { /* again and again: it is left alone for now */
		sim_write(a, 7, 7);
		assert_true(sim_scan_all(&sim));
		assert_states(a, 7, 1, ENGINE_PAGE_SHARED);
		sim_write(a, 7, 7000 + i);
		assert_true(sim_scan_all(&sim));
	}
	assert_states(a, 7, 1, ENGINE_PAGE_BUSY);
	run_for(100);
	assert_states(a, 7, 1, ENGINE_PAGE_DIVERGED);
}

/* Nobody answers the orders. */
static void what_is_under_way_is_busy(void **state)
{
	struct sim_vm *a = new_vm(10, 1, 1), *b = new_vm(10, 1, 1);

	(void)state;
	assert_int_equal(report(a, REPORT_HASH, 3, 1, hash_of(3)), 0);
	assert_states(a, 3, 1, ENGINE_PAGE_PRIVATE);
	assert_int_equal(report(b, REPORT_HASH, 3, 1, hash_of(3)), 0);
	assert_int_equal(report(b, REPORT_ZERO, 5, 1, 0), 0);
	assert_states(a, 3, 1, ENGINE_PAGE_BUSY);
	assert_states(b, 5, 1, ENGINE_PAGE_BUSY);
	assert_states(b, 6, 1, ENGINE_PAGE_PRIVATE);
}

static void pages_of_whole_blocks_are_huge(void **state)
{
	const uint32_t block = ENGINE_BLOCK_PAGES;
	struct sim_vm *vm = sim_vm_new(&sim, WIRE_MODE_FULL);
	enum engine_page_state alike;

	(void)state;
	sim_set_large(&sim, ENGINE_LARGE_KEEP, ENGINE_LARGE_KEEP);
	assert_int_equal(sim_vm_add_region(vm, 3 * block), 0);
	for (uint32_t i = 1; i <= 3 * block; i++)
		sim_write(vm, i, i);
	assert_true(sim_collapse(vm, 1 + block));
	sim_vm_connect(vm);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(engine_pages_alike(vm->vm, 1, block, &alike), 0);
	assert_states(vm, 1, block, ENGINE_PAGE_PRIVATE);
	assert_states(vm, 1 + block, block, ENGINE_PAGE_HUGE);
	assert_states(vm, 1 + 2 * block, block, ENGINE_PAGE_PRIVATE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ENGINE_TEST(what_nothing_is_known_of_is_passed_over),
		ENGINE_TEST(each_page_is_what_the_engine_holds_it_for),
		ENGINE_TEST(what_is_under_way_is_busy),
		ENGINE_TEST(pages_of_whole_blocks_are_huge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
