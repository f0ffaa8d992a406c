/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The director's random steps. */
#include "tests/support/director.h"
#include "tests/support/test.h"

/** Merges with content that is wrong in one byte per page: all must differ. */
static void churn_wrong(struct director_vm *vm, uint32_t page, uint32_t count, uint64_t *random)
{
	uint32_t slot = director_take_slots(vm->director, count);

	if (director_fetch(vm, page, count, slot) < count)
		return;
	for (uint32_t i = 0; i < count; i++)
		((uint8_t *)director_slot(vm->director, slot + i))[test_random(random) % PAGE_BYTES] ^= 0x10;
	director_merge(vm, page, count, slot);
}

/** The same as director_share(), in single pages that are all under way at the same time, last one first. */
static void churn_singles(struct director_vm *vm, uint32_t page, uint32_t count)
{
	uint32_t slot = director_take_slots(vm->director, count);

	director_scan(vm, page, count);
	if (director_fetch(vm, page, count, slot) < count)
		return;
	for (uint32_t i = count; i-- > 0;)
		director_order(vm, ORDER_MERGE, page + i, 1, slot + i);
	director_wait(vm);
}

void director_churn(struct director_vm *vm, uint32_t page, uint32_t count, uint64_t *random)
{
	uint32_t longest = count < RING_RUN_PAGES_MAX ? count : RING_RUN_PAGES_MAX;
	uint32_t length = 1 + (uint32_t)(test_random(random) % longest);
	uint32_t first = page + (uint32_t)(test_random(random) % (count - length + 1));

	vm->samples = test_random(random) % 2 == 0; /* what they tell of is compared before anything comes of it */
	switch (test_random(random) % 16) {
	case 0:
	case 1:
		director_unshare(vm, first, length);
		break;
	case 2:
		director_zero(vm, first, length);
		break;
	case 3:
		director_audit(vm, page, count);
		break;
	case 4:
		director_scan(vm, first, length);
		break;
	case 5:
		churn_wrong(vm, first, length, random);
		break;
	case 6:
		churn_singles(vm, first, length);
		break;
	default:
		director_scan(vm, first, length); /* what has diverged must be known before it can be merged again */
		director_share(vm, first, length);
	}
}
