/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which module each page is named as part of: what was set is found, in order, and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>

#include "daemon/labels.h"
#include "tests/support/test.h"

#define ROOM 7u

/* Walks over all of it, and compares with @modules, by page; -1: it is not named. */
static void expect(const struct labels *labels, uint32_t first, uint32_t count, const int32_t *modules)
{
	uint32_t pages[ROOM], found[ROOM], seen = 0, named = 0;
	uint64_t at = 0;
	int n;

	while ((n = labels_next(labels, at, ROOM, pages, found, &at)) >= 0)
		for (int i = 0; i < n; i++, seen++) {
			assert_in_range(pages[i], first, first + count - 1);
			assert_int_equal(modules[pages[i] - first], found[i]);
			if (i > 0)
				assert_true(pages[i] > pages[i - 1]);
		}
	for (uint32_t i = 0; i < count; i++)
		named += modules[i] >= 0;
	assert_int_equal(seen, named);
}

static void nothing_is_named(void **state)
{
	struct labels labels = { 0 };
	int32_t none = -1;

	(void)state;
	expect(&labels, 0, 1, &none);
	labels_clear(&labels, 5, 1000000);
	assert_int_equal(labels.count, 0);
	labels_done(&labels);
}

static void the_last_name_counts(void **state)
{
	static int32_t modules[3 * LABELS_BLOCK];
	const uint32_t first = 5 * LABELS_BLOCK - 10;
	struct labels labels = { 0 };
	uint64_t random = 1;

	(void)state;
	for (uint32_t i = 0; i < 3 * LABELS_BLOCK; i++)
		modules[i] = -1;
	for (unsigned round = 0; round < 200; round++) {
		uint32_t from = (uint32_t)(test_random(&random) % (3 * LABELS_BLOCK));
		uint32_t count = (uint32_t)(test_random(&random) % 5000) + 1;
		uint32_t module = (uint32_t)(test_random(&random) % 100);
		bool clears = test_random(&random) % 3 == 0;

		module = module == 0 ? LABELS_MODULES_MAX - 1 : module;
		count = count < 3 * LABELS_BLOCK - from ? count : 3 * LABELS_BLOCK - from;
		if (clears)
			labels_clear(&labels, first + from, count);
		else
			labels_set(&labels, first + from, count, module);
		for (uint32_t i = from; i < from + count; i++)
			modules[i] = clears ? -1 : (int32_t)module;
	}
	expect(&labels, first, 3 * LABELS_BLOCK, modules);
	labels_done(&labels);
}

/* Blocks come in any order; and the last page that there can be ends the walk. */
static void pages_are_far_apart(void **state)
{
	static const uint32_t sorted[] = { 1, 3 * LABELS_BLOCK, 900 * LABELS_BLOCK, UINT32_MAX - LABELS_BLOCK,
					   UINT32_MAX };
	static const uint32_t pages[] = { UINT32_MAX, 1, 900 * LABELS_BLOCK, 3 * LABELS_BLOCK,
					  UINT32_MAX - LABELS_BLOCK };
	struct labels labels = { 0 };
	uint32_t found, module, seen = 0;
	uint64_t at = 0;
	int n;

	(void)state;
	for (uint32_t i = 0; i < 5; i++)
		labels_set(&labels, pages[i], 1, i);
	assert_int_equal(labels.count, 5);
	while ((n = labels_next(&labels, at, 1, &found, &module, &at)) >= 0)
		if (n > 0) {
			assert_true(seen < 5);
			assert_int_equal(found, sorted[seen++]);
			assert_int_equal(pages[module], found);
		}
	assert_int_equal(seen, 5);
	labels_done(&labels);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_named),
		cmocka_unit_test(the_last_name_counts),
		cmocka_unit_test(pages_are_far_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
