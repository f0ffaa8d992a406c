/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Compiled with AVX2 enabled, where the architecture has it; called only where the CPU has it. */
#include "common/hash-impl.h"

uint64_t page_hash_avx2(const void *page, uint64_t seed)
{
	return XXH3_64bits_withSeed(page, PAGE_BYTES, seed);
}
