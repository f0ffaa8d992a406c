/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/samples.h"

#include <errno.h>
#include <stdlib.h>

/* There are values only while it is enabled, so no old ones are shown. */
struct ring {
	struct samples_setting setting;
	int64_t *values; /* of setting.size; NULL unless it is enabled */
	uint32_t count, next;
	uint64_t due_seconds;
};

struct samples {
	struct ring rings[SERIES_END];
};

int samples_set_up(struct samples **samples, enum series_id id, uint32_t period_seconds, uint32_t size)
{
	int64_t *values = calloc(size, sizeof(*values));
	struct ring *ring;

	if (values && *samples == NULL)
		*samples = calloc(1, sizeof(**samples));
	if (values == NULL || *samples == NULL) {
		free(values);
		return -ENOMEM;
	}
	ring = &(*samples)->rings[id];
	free(ring->values);
	*ring = (struct ring){
		.setting = { .period_seconds = period_seconds, .size = size, .enabled = true },
		.values = values,
	};
	return 0;
}

int samples_enable(struct samples **samples, enum series_id id)
{
	struct samples_setting setting = samples_setting(*samples, id);

	if (setting.enabled)
		return 0;
	if (setting.period_seconds == 0)
		return samples_set_up(samples, id, 1, 1);
	return samples_set_up(samples, id, setting.period_seconds, setting.size);
}

void samples_disable(struct samples *samples, enum series_id id)
{
	struct ring *ring = samples ? &samples->rings[id] : NULL;

	if (ring == NULL)
		return;
	free(ring->values);
	*ring = (struct ring){ .setting = ring->setting };
	ring->setting.enabled = false;
}

void samples_free(struct samples *samples)
{
	for (enum series_id id = 0; samples && id < SERIES_END; id++)
		free(samples->rings[id].values);
	free(samples);
}

struct samples_setting samples_setting(const struct samples *samples, enum series_id id)
{
	return samples ? samples->rings[id].setting : (struct samples_setting){ 0 };
}

bool samples_any(const struct samples *samples)
{
	bool any = false;

	for (enum series_id id = 0; samples && id < SERIES_END; id++)
		any = any || samples->rings[id].setting.enabled;
	return any;
}

bool samples_due(const struct samples *samples, enum series_id id, uint64_t now_seconds)
{
	return samples && samples->rings[id].setting.enabled && samples->rings[id].due_seconds <= now_seconds;
}

bool samples_any_due(const struct samples *samples, uint64_t now_seconds)
{
	bool any = false;

	for (enum series_id id = 0; id < SERIES_END; id++)
		any = any || samples_due(samples, id, now_seconds);
	return any;
}

void samples_add(struct samples *samples, enum series_id id, uint64_t now_seconds, int64_t value)
{
	struct ring *ring = &samples->rings[id];

	ring->values[ring->next] = value;
	ring->next = (ring->next + 1) % ring->setting.size;
	if (ring->count < ring->setting.size)
		ring->count++;
	ring->due_seconds = now_seconds + ring->setting.period_seconds;
}

uint32_t samples_count(const struct samples *samples, enum series_id id)
{
	return samples ? samples->rings[id].count : 0;
}

int64_t samples_at(const struct samples *samples, enum series_id id, uint32_t i)
{
	const struct ring *ring = &samples->rings[id];

	return ring->values[(ring->next + ring->setting.size - ring->count + i) % ring->setting.size];
}
