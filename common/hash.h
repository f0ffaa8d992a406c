/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The hash that finds candidates: XXH3-64 of one page, seeded per daemon so that a guest cannot prepare collisions.
 * It decides nothing: equal hashes are always followed by a comparison of all bytes.
 */
#ifndef PAGEFUSE_COMMON_HASH_H
#define PAGEFUSE_COMMON_HASH_H

#include <stdbool.h>
#include <stdint.h>

/** Hash of the PAGE_BYTES at @page. Any thread; allocates nothing; uses AVX2 where the CPU has it. */
uint64_t page_hash(const void *page, uint64_t seed);

/** Hash of the LINE_BYTES at @line, the same way. */
uint64_t line_hash(const void *line, uint64_t seed);

/** Whether all PAGE_BYTES at @page are zero. Any thread; leaves at the first other byte. */
bool page_is_zero(const void *page);

#endif
