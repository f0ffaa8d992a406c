/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which metrics a list with wildcards means, and what averages are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "cli/metric-filter.h"

static struct metric_filter filter;

static unsigned chosen(void)
{
	unsigned count = 0;

	for (enum series_id id = 0; id < SERIES_END; id++)
		for (enum aggregate aggregate = 0; aggregate < AGGREGATE_END; aggregate++)
			count += filter.chosen[id][aggregate];
	return count;
}

static void names(void **state)
{
	char name[METRIC_NAME_SIZE];

	(void)state;
	assert_string_equal(metric_full_name(name, SERIES_VM_USED, AGGREGATE_NONE), "RAM/Usage/Used");
	assert_string_equal(metric_full_name(name, SERIES_GUEST_BALLOON, AGGREGATE_AVERAGE),
			    "Guest/RAM/Usage/Balloon:avg");
	assert_string_equal(metric_full_name(name, SERIES_VM_USED, AGGREGATE_MINIMUM), "RAM/Usage/Used:min");
	assert_string_equal(metric_full_name(name, SERIES_VM_USED, AGGREGATE_MAXIMUM), "RAM/Usage/Used:max");
	for (enum series_id id = 0; id < SERIES_END; id++)
		assert_true(metric_series[id].name && metric_series[id].help && metric_series[id].scope);
}

static void lists(void **state)
{
	(void)state;
	assert_null(metric_filter_parse(&filter, "*", true, true));
	assert_int_equal(chosen(), SERIES_END * AGGREGATE_END);
	assert_null(metric_filter_parse(&filter, "*", false, true));
	assert_int_equal(chosen(), 6 * AGGREGATE_END);
	assert_null(metric_filter_parse(&filter, "RAM/Usage/Used", true, true));
	assert_int_equal(chosen(), 2);
	assert_null(metric_filter_parse(&filter, "RAM/Usage/Used,RAM/VMM/*", true, false));
	assert_int_equal(chosen(), 1 + 5 * AGGREGATE_END);
	assert_null(metric_filter_parse(&filter, "RAM/VMM/????:m??,RAM/VMM/Used:min", true, true));
	assert_int_equal(chosen(), 2 * 2);
	assert_true(metric_filter_has(&filter, SERIES_VMM_USED) && !metric_filter_has(&filter, SERIES_VMM_SHARED));
}

static void what_fits_nothing_is_told(void **state)
{
	char deep[3 * METRIC_NAME_SIZE];

	(void)state;
	assert_string_equal(metric_filter_parse(&filter, "RAM/VMM/Shared", false, true), "RAM/VMM/Shared");
	assert_string_equal(metric_filter_parse(&filter, "*,CPU/*,*", true, true), "CPU/*,*");
	assert_string_equal(metric_filter_parse(&filter, "", true, true), "");
	assert_string_equal(metric_filter_parse(&filter, "*,", true, true), "");
	assert_string_equal(metric_filter_parse(&filter, "RAM/Usage/Used:sum", true, true), "RAM/Usage/Used:sum");
	memset(deep, '*', sizeof(deep));
	deep[sizeof(deep) - 1] = '\0';
	assert_ptr_equal(metric_filter_parse(&filter, deep, true, true), deep);
}

static void what_lacks_a_value_is_known(void **state)
{
	enum series_id lacking = SERIES_END;

	(void)state;
	assert_null(metric_filter_parse(&filter, "Guest/RAM/Usage/Free*,*/Cache", true, true));
	assert_false(metric_filter_has_known(&filter, &lacking));
	assert_non_null(metric_series[lacking].lacks);
	assert_null(metric_filter_parse(&filter, "Guest/*", true, true));
	assert_true(metric_filter_has_known(&filter, &lacking));
}

static void aggregates(void **state)
{
	json_t *values = json_pack("[i, i, i, i]", 7, 2, 9, 3), *none = json_array();

	(void)state;
	assert_int_equal(metric_aggregate(values, AGGREGATE_NONE), 3);
	assert_int_equal(metric_aggregate(values, AGGREGATE_AVERAGE), 5);
	assert_int_equal(metric_aggregate(values, AGGREGATE_MINIMUM), 2);
	assert_int_equal(metric_aggregate(values, AGGREGATE_MAXIMUM), 9);
	for (enum aggregate aggregate = 0; aggregate < AGGREGATE_END; aggregate++)
		assert_int_equal(metric_aggregate(none, aggregate), 0);
	json_decref(values);
	json_decref(none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(lists),
		cmocka_unit_test(what_fits_nothing_is_told),
		cmocka_unit_test(what_lacks_a_value_is_known),
		cmocka_unit_test(aggregates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
