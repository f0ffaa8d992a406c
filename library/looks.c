/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/looks.h"

#include <stdbool.h>

#include "common/hash.h"
#include "common/page.h"

#define LINES (PAGE_BYTES / LINE_BYTES)
#define LINES_APART 27u /* as changes come in stretches */
#define LINES_NEXT 11u  /* odd, so that it comes to every line */

/* In a look's sample: kind, first line, looks since the page was read, hash of the lines. */
#define KIND_SHIFT 30
#define LINE_SHIFT 24
#define COUNT_SHIFT 20
#define COUNT_MAX (LOOKS_PER_HASH - 1)
#define HASH_MASK ((UINT32_C(1) << COUNT_SHIFT) - 1)

static uint32_t line_of(const struct look *look)
{
	return look->sample >> LINE_SHIFT & (LINES - 1);
}

static const char *line_at(const void *page, uint32_t line)
{
	return (const char *)page + line % LINES * LINE_BYTES;
}

/* By the session's seed: a look of another session is found to be none. */
static uint32_t sample_hash(const void *page, uint32_t line, uint64_t seed)
{
	return (uint32_t)line_hash(line_at(page, line + LINES_APART), line_hash(line_at(page, line), seed)) & HASH_MASK;
}

enum look_kind look_by_sample(struct look *look, const void *page, uint64_t seed, uint64_t *ret_hash)
{
	enum look_kind kind = (enum look_kind)(look->sample >> KIND_SHIFT);
	uint32_t count = look->sample >> COUNT_SHIFT & COUNT_MAX;

	if (kind == LOOK_NONE || count == COUNT_MAX ||
	    sample_hash(page, line_of(look), seed) != (look->sample & HASH_MASK))
		return LOOK_NONE;
	look->sample += UINT32_C(1) << COUNT_SHIFT;
	*ret_hash = (uint64_t)look->hash_high << 32 | look->hash_low;
	return kind;
}

void look_keep(struct look *look, const void *page, uint32_t number, enum look_kind kind, uint64_t hash, uint64_t seed)
{
	bool known = look->sample != 0;
	uint32_t line = known ? (line_of(look) + LINES_NEXT) % LINES : number % LINES;
	/* Pages that are read by one pass have their turns to be read again in different ones. */
	uint32_t count = known ? 0 : number / LINES % LOOKS_PER_HASH;

	look->hash_low = (uint32_t)hash;
	look->hash_high = (uint32_t)(hash >> 32);
	look->sample = (uint32_t)kind << KIND_SHIFT | line << LINE_SHIFT | count << COUNT_SHIFT |
		       sample_hash(page, line, seed);
}

void look_prefetch(const struct look *look, const void *page)
{
	if (look->sample == 0)
		return;
	__builtin_prefetch(line_at(page, line_of(look)));
	__builtin_prefetch(line_at(page, line_of(look) + LINES_APART));
}
