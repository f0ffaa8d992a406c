/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a page was when it was last looked at, so that the next look need not read all of it.
 *
 * Theory of Operation. Of each page the hash is kept, and a sample: a hash of two of its 64 cache lines. A look
 * compares the sample with these; are they as they were, the page is taken to be. Whoever fills a page anew changes all
 * of its lines, and is seen at once. What changes a few words only may not be, and then what is told is not so any
 * more, as it can be of any page by the time that it is told: a hash is advice. Every LOOKS_PER_HASH-th look reads the
 * whole page, whatever the sample says, and the next sample is of other lines.
 *
 * What the daemon orders to be fetched, merged or given back is forgotten, so that one look more shows what it is.
 */
#ifndef PAGEFUSE_LIBRARY_LOOKS_H
#define PAGEFUSE_LIBRARY_LOOKS_H

#include <stdint.h>

#define LOOKS_PER_HASH 16u

/** Of a page. All zero: nothing is known. */
struct look {
	uint32_t hash_low, hash_high;
	uint32_t sample;
};

enum look_kind {
	LOOK_NONE, /* not known: the page is to be read */
	LOOK_HASH,
	LOOK_ZERO, /* full of zeros */
};

/** What @page still seems to be, and counts. @ret_hash: by @seed, if LOOK_HASH is returned. */
enum look_kind look_by_sample(struct look *look, const void *page, uint64_t seed, uint64_t *ret_hash);
/** @page, whose number is @number, was read: it is of @kind, and its hash by @seed is @hash. */
void look_keep(struct look *look, const void *page, uint32_t number, enum look_kind kind, uint64_t hash, uint64_t seed);
/** Fetches what look_by_sample() will read. */
void look_prefetch(const struct look *look, const void *page);

/** Touches no memory where nothing is known. */
static inline void look_forget(struct look *look)
{
	if (look->sample != 0)
		look->sample = 0;
}

#endif
