/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The checksum of guest files and memory: 64 bits, plain C, cheap under emulation. Deliberately not the hash that
 * pagefuse uses: a fault there must not hide itself here.
 */
#ifndef PAGEFUSE_TESTS_GUESTS_SUM_H
#define PAGEFUSE_TESTS_GUESTS_SUM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SUM_START UINT64_C(0x9e3779b97f4a7c15)

static inline uint64_t sum_word(uint64_t sum, uint64_t word)
{
	sum = (sum ^ word) * UINT64_C(0xd6e8feb86659fd93);
	return sum ^ (sum >> 32);
}

/** Continues @sum over @length bytes at @data. Pieces must be multiples of 8 bytes, but for the last. */
static inline uint64_t sum_bytes(uint64_t sum, const void *data, size_t length)
{
	const char *bytes = data;
	uint64_t word;

	for (; length >= sizeof(word); bytes += sizeof(word), length -= sizeof(word)) {
		memcpy(&word, bytes, sizeof(word));
		sum = sum_word(sum, word);
	}
	if (length == 0)
		return sum;
	word = 0;
	memcpy(&word, bytes, length);
	return sum_word(sum_word(sum, word), length);
}

#endif
