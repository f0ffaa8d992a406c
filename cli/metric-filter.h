/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which metrics a person means: lists of names with wildcards, as VBoxManage has them. Pure functions. */
#ifndef PAGEFUSE_CLI_METRIC_FILTER_H
#define PAGEFUSE_CLI_METRIC_FILTER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "protocol/metrics.h"

/** What is made of the values of a metric: a metric by itself, whose name has a suffix. */
enum aggregate {
	AGGREGATE_NONE, /* the values */
	AGGREGATE_AVERAGE,
	AGGREGATE_MINIMUM,
	AGGREGATE_MAXIMUM,
	AGGREGATE_END,
};

#define METRIC_NAME_SIZE 64

struct metric_filter {
	bool chosen[SERIES_END][AGGREGATE_END];
};

/** "RAM/Usage/Used:avg". @return @name. */
const char *metric_full_name(char name[METRIC_NAME_SIZE], enum series_id id, enum aggregate aggregate);

/**
 * Chooses what @list, of names and shell wildcards with commas between, says of the metrics of the host, of VMs, or
 * both.
 * @return NULL, or the part of @list that fits none: until the next comma.
 */
const char *metric_filter_parse(struct metric_filter *ret, const char *list, bool host, bool vms);

/** Whether any of these is chosen. */
bool metric_filter_has(const struct metric_filter *filter, enum series_id id);
/** Whether any is whose value can be told. If not, ret_lacking is one of those that are. */
bool metric_filter_has_known(const struct metric_filter *filter, enum series_id *ret_lacking);

/** Of an array of integers; 0 of none. AGGREGATE_NONE: the last one. */
int64_t metric_aggregate(const json_t *values, enum aggregate aggregate);

#endif
