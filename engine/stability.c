/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/stability.h"

#define LEVEL_SHIFT 12
#define TIME_MASK ((1u << LEVEL_SHIFT) - 1)
#define TICK_USEC UINT64_C(500000)
#define SPAN_LEAST_TICKS 16u

static unsigned level_of(uint16_t word)
{
	return word >> LEVEL_SHIFT & 7;
}

/* How long a page is left alone that has diverged @level times. */
static unsigned wait_ticks(unsigned level)
{
	return level < 2 ? 0 : 1u << (level - 1);
}

static unsigned span_ticks(unsigned level)
{
	return wait_ticks(level) * 4 > SPAN_LEAST_TICKS ? wait_ticks(level) * 4 : SPAN_LEAST_TICKS;
}

static unsigned passed_ticks(uint16_t word, uint64_t now_usec)
{
	return ((unsigned)(now_usec / TICK_USEC) - word) & TIME_MASK;
}

void stability_disturbed(struct page page, uint64_t now_usec)
{
	uint16_t *word = &page.region->stability[page.index];
	unsigned level = level_of(*word);

	level = level > 0 && passed_ticks(*word, now_usec) < span_ticks(level) ? level + 1 : 1;
	level = level < STABILITY_LEVELS ? level : STABILITY_LEVELS;
	*word = (uint16_t)((*word & STABILITY_NOTED) | level << LEVEL_SHIFT |
			   ((unsigned)(now_usec / TICK_USEC) & TIME_MASK));
}

uint64_t stability_wait_usec(struct page page, uint64_t now_usec)
{
	uint16_t word = page.region->stability[page.index];
	unsigned passed = passed_ticks(word, now_usec), wait = wait_ticks(level_of(word));

	return wait > 0 && passed <= wait ? (wait - passed + 1) * TICK_USEC : 0;
}
