/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/looks.h"

#include "common/hash.h"
#include "common/page.h"

#define LINES (PAGE_BYTES / LINE_BYTES)
#define LINES_APART 27u /* as changes come in stretches */
#define LINES_NEXT 11u  /* odd, so that it comes to every line */

/* In a look's sample: kind, first line, looks since the page was read, hash of the lines. */
#define KIND_SHIFT 30
#define LINE_SHIFT 24
#define COUNT_SHIFT 20
#define COUNT_MAX (LOOKS_PER_READ - 1)
#define LINE_MASK ((LINES - 1) << LINE_SHIFT)
#define HASH_MASK ((UINT32_C(1) << COUNT_SHIFT) - 1)

static enum look_kind kind_of(const struct look *look)
{
	return (enum look_kind)(look->sample >> KIND_SHIFT);
}

static uint32_t line_of(const struct look *look)
{
	return (look->sample & LINE_MASK) >> LINE_SHIFT;
}

static uint32_t count_of(const struct look *look)
{
	return look->sample >> COUNT_SHIFT & COUNT_MAX;
}

static uint64_t hash_of(const struct look *look)
{
	return (uint64_t)look->hash_high << 32 | look->hash_low;
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

/* By the session's seed: a record of another session is found to be none. */
static uint32_t sample_hash(const void *page, uint32_t line, uint64_t seed)
{
	return (uint32_t)line_hash(line_at(page, line + LINES_APART), line_hash(line_at(page, line), seed)) & HASH_MASK;
}

enum look_kind look_by_sample(struct look *look, const void *page, uint64_t seed, uint64_t *ret_hash)
{
	enum look_kind kind = kind_of(look);

	if (kind == LOOK_NONE || kind == LOOK_ONCE || count_of(look) == COUNT_MAX ||
	    sample_hash(page, line_of(look), seed) != (look->sample & HASH_MASK))
		return LOOK_NONE;
	look->sample += UINT32_C(1) << COUNT_SHIFT;
	*ret_hash = hash_of(look);
	return kind;
}

uint32_t look_take_sample(const struct look *look, const void *page, uint32_t number, uint64_t seed)
{
	uint32_t line = kind_of(look) == LOOK_NONE ? number % LINES : (line_of(look) + LINES_NEXT) % LINES;

	for (unsigned i = 1; i < LINES && line_is_zero(page, line); i++)
		line = (line + LINES_NEXT) % LINES;
	return line << LINE_SHIFT | sample_hash(page, line, seed);
}

void look_keep(struct look *look, uint32_t sample, uint32_t number, enum look_kind kind, uint64_t hash, bool asked)
{
	uint32_t count = count_of(look) == COUNT_MAX && !asked ? 0 : count_of(look);

	if (kind_of(look) == LOOK_NONE || hash_of(look) != hash)
		kind = LOOK_ONCE;
	else if (kind_of(look) == LOOK_ONCE) /* pages that one pass finds have their turns in different ones */
		count = number / LINES % LOOKS_PER_READ;
	look->hash_low = (uint32_t)hash;
	look->hash_high = (uint32_t)(hash >> 32);
	look->sample = (uint32_t)kind << KIND_SHIFT | count << COUNT_SHIFT | (sample & (LINE_MASK | HASH_MASK));
}

void look_prefetch(const struct look *look, const void *page)
{
	if (kind_of(look) != LOOK_HASH && kind_of(look) != LOOK_ZERO)
		return;
	__builtin_prefetch(line_at(page, line_of(look)));
	__builtin_prefetch(line_at(page, line_of(look) + LINES_APART));
}
