/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/metric-filter.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

const char *metric_full_name(char name[METRIC_NAME_SIZE], enum series_id id, enum aggregate aggregate)
{
	static const char *const suffixes[AGGREGATE_END] = { "", ":avg", ":min", ":max" };

	snprintf(name, METRIC_NAME_SIZE, "%s%s", metric_series[id].name, suffixes[aggregate]);
	return name;
}

/* @return whether the pattern fits any. */
static bool choose(struct metric_filter *filter, const char *pattern, bool host, bool vms)
{
	char name[METRIC_NAME_SIZE];
	bool any = false;

	for (enum series_id id = 0; id < SERIES_END; id++)
		for (enum aggregate aggregate = 0; aggregate < AGGREGATE_END; aggregate++) {
			if (!(metric_series[id].scope == METRIC_OF_HOST ? host : vms) ||
			    fnmatch(pattern, metric_full_name(name, id, aggregate), 0) != 0)
				continue;
			filter->chosen[id][aggregate] = any = true;
		}
	return any;
}

const char *metric_filter_parse(struct metric_filter *ret, const char *list, bool host, bool vms)
{
	char pattern[METRIC_NAME_SIZE];

	*ret = (struct metric_filter){ 0 };
	for (;;) {
		size_t length = strcspn(list, ",");

		if (length >= sizeof(pattern))
			return list;
		memcpy(pattern, list, length);
		pattern[length] = '\0';
		if (!choose(ret, pattern, host, vms))
			return list;
		if (list[length] == '\0')
			return NULL;
		list += length + 1;
	}
}

bool metric_filter_has(const struct metric_filter *filter, enum series_id id)
{
	bool any = false;

	for (enum aggregate aggregate = 0; aggregate < AGGREGATE_END; aggregate++)
		any = any || filter->chosen[id][aggregate];
	return any;
}

bool metric_filter_has_known(const struct metric_filter *filter, enum series_id *ret_lacking)
{
	for (enum series_id id = 0; id < SERIES_END; id++) {
		if (!metric_filter_has(filter, id))
			continue;
		if (metric_series[id].lacks == NULL)
			return true;
		*ret_lacking = id;
	}
	return false;
}

int64_t metric_aggregate(const json_t *values, enum aggregate aggregate)
{
	size_t count = json_array_size(values);
	int64_t least = SERIES_VALUE_MAX, most = 0;
	double sum = 0;

	if (count == 0)
		return 0;
	for (size_t i = 0; i < count; i++) {
		int64_t value = json_integer_value(json_array_get(values, i));

		least = value < least ? value : least;
		most = value > most ? value : most;
		sum += (double)value;
	}
	switch (aggregate) {
	case AGGREGATE_AVERAGE:
		return (int64_t)(sum / (double)count + 0.5);
	case AGGREGATE_MINIMUM:
		return least;
	case AGGREGATE_MAXIMUM:
		return most;
	default:
		return json_integer_value(json_array_get(values, count - 1));
	}
}
