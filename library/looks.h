/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a page was when it was last read, so that the next look need not read all of it.
 *
 * Theory of Operation. Of each page some bits of the hash are kept, and a sample: a hash of two of its 64 cache lines,
 * the first of which is not all zeros if any is not. A look compares the sample with these lines. If they are as they
 * were, the page is taken to be, and told to be the same. A page that is filled anew is seen at once, as all of its
 * lines change. One in which a few words change may not be; then what the daemon knows of it is stale, as it can be of
 * any page by the time that it is told: a hash is advice.
 *
 * So that a page which changes all the time is not taken for a stable one, samples count only once two reads have found
 * the same content. After that every LOOKS_PER_READ-th look reads the page, whatever the sample says, and the next
 * sample is of other lines; once such a read has found the same again, every LOOKS_PER_READ_MOST-th.
 *
 * The record of a page that the daemon orders to be fetched, merged or given back is dropped: the next look reads it.
 */
#ifndef PAGEFUSE_LIBRARY_LOOKS_H
#define PAGEFUSE_LIBRARY_LOOKS_H

#include <stdbool.h>
#include <stdint.h>

#define LOOKS_PER_READ 16u
#define LOOKS_PER_READ_MOST 64u

/** Of a page. All zero: nothing is known. */
struct look {
	uint32_t hash;
	uint32_t sample;
};

/**
 * Compares @page with its sample, and counts the look. @return whether it seems to be what two reads have found it to
 * be; false also if it is to be read in its turn.
 */
bool look_compare(struct look *look, const void *page, uint64_t seed);

/**
 * Before @page, the @number-th of its region, is read: the next sample. Taken first, it is never of content that came
 * after what is read.
 */
uint32_t look_take_sample(const struct look *look, const void *page, uint32_t number, uint64_t seed);
/**
 * The page was read, and its hash is @hash, any number for zeros. @asked: whatever was known of it; its turn comes all
 * the same.
 */
void look_keep(struct look *look, uint32_t sample, uint32_t number, uint64_t hash, bool asked);
/** Fetches what look_compare() will read. */
void look_prefetch(const struct look *look, const void *page);

/** Drops the record. Touches no memory where there is none. */
static inline void look_forget(struct look *look)
{
	if (look->sample != 0)
		look->sample = 0;
}

#endif
