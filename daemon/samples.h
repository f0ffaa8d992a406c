/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The last values of the metrics of one object, the host or a VM, in one ring each: SERIES_SAMPLES_MAX at most, one for
 * each period. Plain data, independent of the object. NULL stands for an object for which nothing was set up.
 */
#ifndef PAGEFUSE_DAEMON_SAMPLES_H
#define PAGEFUSE_DAEMON_SAMPLES_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/metrics.h"

struct samples;

/** What was set up for a metric. */
struct samples_setting {
	uint32_t period_seconds; /* 0: nothing has been */
	uint32_t size;           /* values that are kept */
	bool enabled;
};

/**
 * Keeps the last @size values (1 to SERIES_SAMPLES_MAX) from now on, one for each @period_seconds (1 or more). What was
 * kept is dropped. *samples: allocated if it is NULL. @return 0 or -ENOMEM: then all is as it was.
 */
int samples_set_up(struct samples **samples, enum series_id id, uint32_t period_seconds, uint32_t size);
/** Goes on as was set up last, or with one value a second; nothing if it is enabled. @return as above. */
int samples_enable(struct samples **samples, enum series_id id);
/** Keeps no values any more. */
void samples_disable(struct samples *samples, enum series_id id);
void samples_free(struct samples *samples);

struct samples_setting samples_setting(const struct samples *samples, enum series_id id);
/** Whether any is enabled; and whether one that is wants a value at @now_seconds. */
bool samples_any(const struct samples *samples);
bool samples_due(const struct samples *samples, enum series_id id, uint64_t now_seconds);
/** Whether any is due. */
bool samples_any_due(const struct samples *samples, uint64_t now_seconds);

/** Adds a value of one that is due. */
void samples_add(struct samples *samples, enum series_id id, uint64_t now_seconds, int64_t value);
/** How many values there are; and the one at @i, the oldest being at 0. */
uint32_t samples_count(const struct samples *samples, enum series_id id);
int64_t samples_at(const struct samples *samples, enum series_id id, uint32_t i);

#endif
