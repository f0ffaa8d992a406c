/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A histogram of hold times, and the length of holds that follows from these times. */
#include <stdatomic.h>

#include "library/hold.h"
#include "library/protections.h"

#define LONG_HOLD_USEC 2000
#define SHORTEST_HOLD 4u

static unsigned length_now = HOLD_PAGES;

/* Four buckets per doubling: bucket b covers up to 2^(b/4) µs, with the quarter steps linear. */
static _Atomic uint64_t times[160];
static _Atomic uint64_t time_max;

static unsigned bucket_of(uint64_t usec)
{
	unsigned octave;

	if (usec < 4)
		return (unsigned)usec;
	octave = 63 - (unsigned)__builtin_clzll(usec);
	return octave * 4 - 4 + (unsigned)(usec >> (octave - 2) & 3);
}

static uint64_t bucket_top(unsigned bucket)
{
	if (bucket < 4)
		return bucket;
	return ((UINT64_C(4) + bucket % 4 + 1) << (bucket / 4 - 1)) - 1;
}

/** After a long hold the next ones are shorter, and grow again page by page. */
static void adapt_length(uint64_t usec)
{
	if (usec > LONG_HOLD_USEC && !hold_length_stays)
		length_now = length_now / 2 > SHORTEST_HOLD ? length_now / 2 : SHORTEST_HOLD;
	else if (length_now < HOLD_PAGES)
		length_now++;
}

void hold_times_note(uint64_t usec)
{
	unsigned bucket = bucket_of(usec);

	if (bucket >= sizeof(times) / sizeof(*times))
		bucket = sizeof(times) / sizeof(*times) - 1;
	atomic_fetch_add_explicit(&times[bucket], 1, memory_order_relaxed);
	if (usec > atomic_load_explicit(&time_max, memory_order_relaxed))
		atomic_store_explicit(&time_max, usec, memory_order_relaxed);
	adapt_length(usec);
}

static uint64_t time_quantile(uint64_t total, uint64_t percent)
{
	uint64_t seen = 0, wanted = (total * percent + 99) / 100;

	for (unsigned i = 0; i < sizeof(times) / sizeof(*times); i++) {
		seen += atomic_load_explicit(&times[i], memory_order_relaxed);
		if (seen >= wanted && seen > 0)
			return bucket_top(i);
	}
	return 0;
}

void hold_times(uint64_t *ret_holds, uint64_t *ret_p50_usec, uint64_t *ret_p99_usec, uint64_t *ret_max_usec)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < sizeof(times) / sizeof(*times); i++)
		total += atomic_load_explicit(&times[i], memory_order_relaxed);
	*ret_holds = total;
	*ret_p50_usec = time_quantile(total, 50);
	*ret_p99_usec = time_quantile(total, 99);
	*ret_max_usec = atomic_load_explicit(&time_max, memory_order_relaxed);
}

unsigned hold_length(void)
{
	return length_now;
}
