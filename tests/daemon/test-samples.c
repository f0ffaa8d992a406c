/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rings of samples: how many are kept, and when one is wanted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "daemon/samples.h"

#define ID SERIES_GUEST_SHARED
#define OTHER SERIES_VM_USED

static void expect(const struct samples *samples, uint32_t count, int64_t first)
{
	assert_int_equal(samples_count(samples, ID), count);
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(samples_at(samples, ID, i), first + i);
}

static void nothing_is_set_up(void **state)
{
	struct samples *samples = NULL;

	(void)state;
	assert_false(samples_any(samples) || samples_any_due(samples, 1000) || samples_due(samples, ID, 1000));
	assert_int_equal(samples_count(samples, ID), 0);
	assert_int_equal(samples_setting(samples, ID).period_seconds, 0);
	samples_disable(samples, ID);
	samples_free(samples);
}

static void the_last_are_kept(void **state)
{
	struct samples *samples = NULL;

	(void)state;
	assert_int_equal(samples_set_up(&samples, ID, 1, 3), 0);
	expect(samples, 0, 0);
	for (int64_t i = 0; i < 10; i++) {
		assert_true(samples_due(samples, ID, 100 + (uint64_t)i));
		samples_add(samples, ID, 100 + (uint64_t)i, i);
		expect(samples, i < 3 ? (uint32_t)i + 1 : 3, i < 3 ? 0 : i - 2);
	}
	assert_int_equal(samples_count(samples, OTHER), 0);
	assert_int_equal(samples_set_up(&samples, ID, 1, 1), 0);
	expect(samples, 0, 0);
	samples_add(samples, ID, 1, 7);
	samples_add(samples, ID, 2, 8);
	expect(samples, 1, 8);
	samples_free(samples);
}

static void one_for_each_period(void **state)
{
	struct samples *samples = NULL;

	(void)state;
	assert_int_equal(samples_set_up(&samples, ID, 5, SERIES_SAMPLES_MAX), 0);
	assert_int_equal(samples_set_up(&samples, OTHER, 100, 1), 0);
	samples_add(samples, OTHER, 10, 0);
	samples_add(samples, ID, 10, 0);
	assert_false(samples_due(samples, ID, 14) || samples_any_due(samples, 14));
	assert_true(samples_due(samples, ID, 15) && samples_any_due(samples, 15));
	/* Late: one value, and the next one a period later. */
	assert_true(samples_due(samples, ID, 99));
	samples_add(samples, ID, 99, 1);
	assert_false(samples_due(samples, ID, 103));
	assert_true(samples_due(samples, ID, 104));
	samples_free(samples);
}

static void what_is_disabled_keeps_only_its_setting(void **state)
{
	struct samples *samples = NULL;

	(void)state;
	assert_int_equal(samples_enable(&samples, ID), 0);
	assert_int_equal(samples_setting(samples, ID).period_seconds, 1);
	assert_int_equal(samples_setting(samples, ID).size, 1);
	assert_int_equal(samples_set_up(&samples, ID, 7, 9), 0);
	samples_add(samples, ID, 1, 5);
	assert_int_equal(samples_enable(&samples, ID), 0);
	expect(samples, 1, 5);
	samples_disable(samples, ID);
	expect(samples, 0, 0);
	assert_false(samples_any(samples) || samples_any_due(samples, 1000));
	assert_int_equal(samples_enable(&samples, ID), 0);
	assert_true(samples_any(samples) && samples_any_due(samples, 0));
	expect(samples, 0, 0);
	assert_int_equal(samples_setting(samples, ID).period_seconds, 7);
	assert_int_equal(samples_setting(samples, ID).size, 9);
	samples_free(samples);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_set_up),
		cmocka_unit_test(the_last_are_kept),
		cmocka_unit_test(one_for_each_period),
		cmocka_unit_test(what_is_disabled_keeps_only_its_setting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
