/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The hash is the same with and without AVX2, and depends on every byte and on the seed; zero pages are told apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/hash.h"
#include "common/page.h"

static _Alignas(PAGE_BYTES) uint8_t page[PAGE_BYTES];

static void equals_the_reference(void **state)
{
	(void)state;
	for (size_t i = 0; i < PAGE_BYTES; i++)
		page[i] = (uint8_t)(i * 131 + (i >> 8));
	for (uint64_t seed = 0; seed < UINT64_C(64) << 32; seed += UINT64_C(1) << 32 | 1)
		assert_int_equal(page_hash(page, seed), XXH3_64bits_withSeed(page, PAGE_BYTES, seed));
}

static void every_byte_counts(void **state)
{
	uint64_t hash;

	(void)state;
	memset(page, 0, sizeof(page));
	hash = page_hash(page, 1);
	assert_int_not_equal(hash, page_hash(page, 2));
	for (size_t i = 0; i < PAGE_BYTES; i++) {
		assert_true(page_is_zero(page));
		page[i] = 0x10;
		assert_false(page_is_zero(page));
		assert_int_not_equal(page_hash(page, 1), hash);
		page[i] = 0;
	}
	assert_int_equal(page_hash(page, 1), hash);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equals_the_reference),
		cmocka_unit_test(every_byte_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
