/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/memory-state.h"

#include <stddef.h>

#define GIB (UINT64_C(1) << 30)
#define TOTAL_MAX (UINT64_C(1) << 52) /* bytes; no machine has as much */

static const struct {
	uint64_t bytes;
	uint32_t percent;
} scale[] = { { 4 * GIB, 6 }, { 8 * GIB, 4 }, { 16 * GIB, 2 }, { UINT64_MAX, 1 } };

uint64_t memory_min_free(const struct memory_least *least, uint64_t total_bytes)
{
	uint64_t sum = 0;

	if (least->bytes != 0)
		return least->bytes;
	if (least->percent != 0)
		return memory_threshold_bytes(total_bytes, least->percent);
	for (size_t i = 0; i < sizeof(scale) / sizeof(*scale) && total_bytes > 0; i++) {
		uint64_t part = total_bytes < scale[i].bytes ? total_bytes : scale[i].bytes;

		sum += memory_threshold_bytes(part, scale[i].percent);
		total_bytes -= part;
	}
	return sum;
}

uint64_t memory_threshold_bytes(uint64_t min_free, uint32_t percent)
{
	return (uint64_t)((__uint128_t)min_free * percent / 100);
}

bool memory_figures_are_sane(const struct memory_figures *figures)
{
	return figures->total_bytes > 0 && figures->total_bytes <= TOTAL_MAX &&
	       figures->free_bytes <= figures->total_bytes && figures->swap_bytes <= TOTAL_MAX;
}

enum memory_state memory_state_next(enum memory_state state, const struct memory_thresholds *thresholds,
				    uint64_t min_free, uint64_t free_bytes, bool stalled)
{
	/* By state: below the first it is that one or a worse one, above the second it is a better one. */
	const uint32_t falls[] = { 0, thresholds->clear, thresholds->soft, thresholds->hard, thresholds->low };
	const uint32_t rises[] = { 0, thresholds->high, thresholds->clear, thresholds->soft, thresholds->hard };
	unsigned best = stalled ? MEMORY_SOFT : MEMORY_HIGH, worst = MEMORY_LOW;

	for (unsigned i = MEMORY_CLEAR; i <= MEMORY_LOW; i++)
		if (i > best && free_bytes < memory_threshold_bytes(min_free, falls[i]))
			best = i;
	while (worst > best && free_bytes > memory_threshold_bytes(min_free, rises[worst]))
		worst--;
	if (state < best)
		return best;
	return state > worst ? worst : state;
}

const char *memory_state_name(enum memory_state state)
{
	static const char *const names[] = { "high", "clear", "soft", "hard", "low" };

	return state < MEMORY_STATES ? names[state] : "?";
}
