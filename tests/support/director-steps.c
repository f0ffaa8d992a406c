/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whole steps: runs of any length are split into orders, and waited for. */
#include "tests/support/director.h"
#include "tests/support/test.h"

static uint32_t longest_of(enum ring_order op)
{
	switch (op) {
	case ORDER_SCAN:
	case ORDER_AUDIT:
		return RING_SCAN_PAGES_MAX;
	case ORDER_FETCH:
		return 1;
	default:
		return RING_RUN_PAGES_MAX;
	}
}

/** Splits a long run into orders and waits for all. */
static int order_all(struct director_vm *vm, enum ring_order op, uint32_t page, uint32_t count, uint32_t slot)
{
	uint32_t longest = longest_of(op);

	vm->present = 0;
	for (uint32_t i = 0; i < count; i += longest)
		director_order(vm, op, page + i, count - i < longest ? count - i : longest, slot + i);
	return director_wait(vm);
}

uint32_t director_scan(struct director_vm *vm, uint32_t page, uint32_t count)
{
	return order_all(vm, ORDER_SCAN, page, count, 0) < 0 ? 0 : (uint32_t)vm->present;
}

uint32_t director_audit(struct director_vm *vm, uint32_t page, uint32_t count)
{
	return order_all(vm, ORDER_AUDIT, page, count, 0) < 0 ? 0 : (uint32_t)vm->present;
}

uint32_t director_answers(const struct director_vm *vm, uint32_t page, uint32_t count, enum ring_report answer)
{
	uint32_t found = 0;

	for (uint32_t i = page; i < page + count; i++)
		found += vm->pages[i].answer == answer;
	return found;
}

uint32_t director_count(const struct director_vm *vm, uint32_t page, uint32_t count, enum director_state state)
{
	uint32_t found = 0;

	for (uint32_t i = page; i < page + count; i++)
		found += vm->pages[i].state == state;
	return found;
}

uint32_t director_fetch(struct director_vm *vm, uint32_t page, uint32_t count, uint32_t slot)
{
	test_check(count <= RING_STAGING_PAGES, "fetching %u pages at once", count);
	return order_all(vm, ORDER_FETCH, page, count, slot) < 0 ? 0
								 : director_answers(vm, page, count, REPORT_FETCHED);
}

uint32_t director_merge(struct director_vm *vm, uint32_t page, uint32_t count, uint32_t slot)
{
	return order_all(vm, ORDER_MERGE, page, count, slot) < 0 ? 0 : director_answers(vm, page, count, REPORT_MERGED);
}

uint32_t director_zero(struct director_vm *vm, uint32_t page, uint32_t count)
{
	return order_all(vm, ORDER_ZERO, page, count, 0) < 0 ? 0 : director_answers(vm, page, count, REPORT_ZEROED);
}

void director_unshare(struct director_vm *vm, uint32_t page, uint32_t count)
{
	order_all(vm, ORDER_UNSHARE, page, count, 0);
}

/** Orders a merge of each stretch that has been fetched to [slot, ...). */
static void merge_fetched(struct director_vm *vm, uint32_t page, uint32_t count, uint32_t slot)
{
	uint32_t length;

	for (uint32_t i = 0; i < count; i += length + 1) {
		for (length = 0; i + length < count && vm->pages[page + i + length].answer == REPORT_FETCHED;)
			length++;
		if (length > 0)
			director_order(vm, ORDER_MERGE, page + i, length, slot + i);
	}
}

uint32_t director_share(struct director_vm *vm, uint32_t page, uint32_t count)
{
	uint32_t merged = 0;

	for (uint32_t i = 0; i < count; i += RING_STAGING_PAGES) {
		uint32_t n = count - i < RING_STAGING_PAGES ? count - i : RING_STAGING_PAGES;
		uint32_t slot = director_take_slots(vm->director, n);

		director_fetch(vm, page + i, n, slot);
		merge_fetched(vm, page + i, n, slot);
		if (director_wait(vm) < 0)
			return 0;
		merged += director_answers(vm, page + i, n, REPORT_MERGED);
	}
	return merged;
}
