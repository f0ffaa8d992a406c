/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How short of memory the host is, in ESX's states and on its scale: plain code, no I/O and no clock.
 *
 *                 falls into it below      rises out of it above     (of minFree, by default)
 *   high          -                        -
 *   clear         100 %                    400 %
 *   soft           64 %                    100 %
 *   hard           32 %                     64 %
 *   low            16 %                     32 %
 *
 * minFree is a sliding scale: 6 % of the first 4 GiB, 4 % of the next 8, 2 % of the next 16, and 1 % of the rest.
 * docs/design/memory-states.md tells why.
 */
#ifndef PAGEFUSE_DAEMON_MEMORY_STATE_H
#define PAGEFUSE_DAEMON_MEMORY_STATE_H

#include <stdbool.h>
#include <stdint.h>

/** From plenty to none. */
enum memory_state {
	MEMORY_HIGH,
	MEMORY_CLEAR,
	MEMORY_SOFT,
	MEMORY_HARD,
	MEMORY_LOW,
	MEMORY_STATES
};

/** How much there is, how much could be had without swapping, and how much of swap is free besides. */
struct memory_figures {
	uint64_t total_bytes, free_bytes, swap_bytes;
};

/** What minFree is: so many bytes, or so much of all memory; or, both 0, the sliding scale. */
struct memory_least {
	uint64_t bytes;
	uint32_t percent;
};

/** Percent of minFree; each is more than the next one. */
struct memory_thresholds {
	uint32_t high;                   /* above: high */
	uint32_t clear, soft, hard, low; /* below: this state; above: one better than the next one */
};

/** minFree, of a host with @total_bytes of memory. */
uint64_t memory_min_free(const struct memory_least *least, uint64_t total_bytes);
/** @percent of @min_free. */
uint64_t memory_threshold_bytes(uint64_t min_free, uint32_t percent);
/** Whether the figures are possible. */
bool memory_figures_are_sane(const struct memory_figures *figures);
/**
 * The state after @state when @free_bytes are free. @stalled: tasks wait for memory, which counts as soft at least.
 */
enum memory_state memory_state_next(enum memory_state state, const struct memory_thresholds *thresholds,
				    uint64_t min_free, uint64_t free_bytes, bool stalled);
/** "high" and so on. */
const char *memory_state_name(enum memory_state state);

#endif
