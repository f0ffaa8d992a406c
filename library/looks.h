/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A record of a page's content when it was last read, so that the next look need not read all of it.
 *
 * Theory of Operation. For each page some bits of the hash are kept, and a sample: a hash of two of its 64 cache lines,
 * the first of which is not all zeros if the page has such a line. A look compares the sample with these lines. If they
 * are unchanged, the page is assumed, and reported, to be unchanged. A page that is refilled is noticed at once, as all
 * of its lines change. A page in which a few words change may not be noticed; then the daemon's hash is stale, as that
 * of any page can be by the time it is reported: a hash is advice.
 *
 * So that a page which changes all the time is not mistaken for a stable one, samples count only after two reads have
 * found the same content. From then on every LOOKS_PER_READ-th look reads the page, whatever the sample says, and the
 * next sample is of other lines; after such a read has found the same content again, every LOOKS_PER_READ_MOST-th.
 *
 * The record of a page that the daemon orders to be fetched, merged or given back is dropped: the next look reads it.
 */
#ifndef PAGEFUSE_LIBRARY_LOOKS_H
#define PAGEFUSE_LIBRARY_LOOKS_H

#include <stdbool.h>
#include <stdint.h>

#define LOOKS_PER_READ 16u
#define LOOKS_PER_READ_MOST 64u

/** The record of one page. All zero: nothing is known. */
struct look {
	uint32_t hash;
	uint32_t sample;
};

/**
 * Compares @page with its sample, and counts the look. @return whether the content seems to be what two reads have
 * found; also false if it is the page's turn to be read.
 */
bool look_compare(struct look *look, const void *page, uint64_t seed);

/**
 * Before @page, the @number-th of its region, is read: the next sample. Taken first, so that the sample is never newer
 * than the content that is read.
 */
uint32_t look_take_sample(const struct look *look, const void *page, uint32_t number, uint64_t seed);
/**
 * The page was read, and its hash is @hash, any number for zeros. @asked: the read was requested, and does not count as
 * the page's turn.
 */
void look_keep(struct look *look, uint32_t sample, uint32_t number, uint64_t hash, bool asked);
/** Prefetches the lines that look_compare() will read. */
void look_prefetch(const struct look *look, const void *page);

/** Drops the record. Touches no memory where there is none. */
static inline void look_forget(struct look *look)
{
	if (look->sample != 0)
		look->sample = 0;
}

#endif
