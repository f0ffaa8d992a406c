/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "common/hash-impl.h"

static bool have_avx2(void)
{
#ifdef __x86_64__
	return __builtin_cpu_supports("avx2");
#else
	return false;
#endif
}

uint64_t page_hash(const void *page, uint64_t seed)
{
	if (have_avx2())
		return page_hash_avx2(page, seed);
	return XXH3_64bits_withSeed(page, PAGE_BYTES, seed);
}

uint64_t line_hash(const void *line, uint64_t seed)
{
	return XXH3_64bits_withSeed(line, LINE_BYTES, seed);
}

bool page_is_zero(const void *page)
{
	const uint64_t *word = page;

	if (word[0] != 0)
		return false;
	/* Equal to itself shifted by one word, and the first word is zero: all are. */
	return memcmp(word, word + 1, PAGE_BYTES - sizeof(*word)) == 0;
}
