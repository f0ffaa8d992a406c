/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/looks.h"

#include "common/hash.h"
#include "common/page.h"

#define LINES (PAGE_BYTES / LINE_BYTES)
#define LINES_APART 27u /* as changes tend to be contiguous */
#define LINES_NEXT 11u  /* odd, so that every line is reached */

/* The fields of a look's sample: state, first line, looks since the page was read, hash of the lines. */
#define STATE_SHIFT 30
#define LINE_SHIFT 24
#define COUNT_SHIFT 18
#define COUNT_MASK (LOOKS_PER_READ_MOST - 1)
#define LINE_MASK ((LINES - 1) << LINE_SHIFT)
#define HASH_MASK ((UINT32_C(1) << COUNT_SHIFT) - 1)

enum look_state {
	LOOK_NONE,
	LOOK_ONCE,   /* one read has found this content: the page has to be read again */
	LOOK_TWICE,  /* two reads in a row have found it */
	LOOK_STABLE, /* and one more read, LOOKS_PER_READ looks later */
};

static enum look_state state_of(const struct look *look)
{
	return (enum look_state)(look->sample >> STATE_SHIFT);
}

static uint32_t line_of(const struct look *look)
{
	return (look->sample & LINE_MASK) >> LINE_SHIFT;
}

static uint32_t count_of(const struct look *look)
{
	return look->sample >> COUNT_SHIFT & COUNT_MASK;
}

static bool is_its_turn(const struct look *look)
{
	return count_of(look) == (state_of(look) == LOOK_STABLE ? LOOKS_PER_READ_MOST : LOOKS_PER_READ) - 1;
}

static const char *line_at(const void *page, uint32_t line)
{
	return (const char *)page + line % LINES * LINE_BYTES;
}

static bool line_is_zero(const void *page, uint32_t line)
{
	const uint64_t *words = (const void *)line_at(page, line);
	uint64_t all = 0;

	for (unsigned i = 0; i < LINE_BYTES / sizeof(*words); i++)
		all |= words[i];
	return all == 0;
}

/* With the session's seed, so that records of another session do not match. */
static uint32_t sample_hash(const void *page, uint32_t line, uint64_t seed)
{
	return (uint32_t)line_hash(line_at(page, line + LINES_APART), line_hash(line_at(page, line), seed)) & HASH_MASK;
}

bool look_compare(struct look *look, const void *page, uint64_t seed)
{
	if (state_of(look) < LOOK_TWICE || is_its_turn(look) ||
	    sample_hash(page, line_of(look), seed) != (look->sample & HASH_MASK))
		return false;
	look->sample += UINT32_C(1) << COUNT_SHIFT;
	return true;
}

uint32_t look_take_sample(const struct look *look, const void *page, uint32_t number, uint64_t seed)
{
	uint32_t line = state_of(look) == LOOK_NONE ? number % LINES : (line_of(look) + LINES_NEXT) % LINES;

	for (unsigned i = 1; i < LINES && line_is_zero(page, line); i++)
		line = (line + LINES_NEXT) % LINES;
	return line << LINE_SHIFT | sample_hash(page, line, seed);
}

/*
 * Spreads the turns of pages that were found in one pass over different passes; LINES neighbouring pages share a turn.
 */
static uint32_t first_count(uint32_t number, enum look_state state)
{
	uint32_t stretch = number / LINES;

	if (state == LOOK_TWICE)
		return stretch % LOOKS_PER_READ;
	return stretch / LOOKS_PER_READ * LOOKS_PER_READ % LOOKS_PER_READ_MOST;
}

void look_keep(struct look *look, uint32_t sample, uint32_t number, uint64_t hash, bool asked)
{
	enum look_state before = state_of(look), state = before;
	bool in_turn = before >= LOOK_TWICE && is_its_turn(look) && !asked;
	uint32_t count = in_turn ? 0 : count_of(look);

	if (before == LOOK_NONE || look->hash != (uint32_t)hash) {
		state = LOOK_ONCE;
	} else if (before == LOOK_ONCE || (before == LOOK_TWICE && in_turn)) {
		state = before + 1;
		count = first_count(number, state);
	}
	look->hash = (uint32_t)hash;
	look->sample = (uint32_t)state << STATE_SHIFT | count << COUNT_SHIFT | (sample & (LINE_MASK | HASH_MASK));
}

void look_prefetch(const struct look *look, const void *page)
{
	if (state_of(look) < LOOK_TWICE)
		return;
	__builtin_prefetch(line_at(page, line_of(look)));
	__builtin_prefetch(line_at(page, line_of(look) + LINES_APART));
}
