/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guest memory with content that is known by construction, so that every byte can be checked at any time without a
 * copy:
 *
 *   same       the same in every guest                       what sharing should find between guests
 *   own        made from the guest's name                    what it must not touch
 *   zeros      written with zeros                            zero pages
 *   repeated   one page that is not zero, again and again    the many-sharers case
 *   moving     rewritten all the time, page by page, with one of a few contents that are the same in all guests: pages
 *              become equal, are merged, and are written again a moment later
 *   scattered  on demand: short runs of pages that come twice, with a page of its own after each. Sharing them all
 *              would cost a mapping for every second page or so
 */
#ifndef PAGEFUSE_TESTS_GUESTS_MEMORY_H
#define PAGEFUSE_TESTS_GUESTS_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * Allocates and fills everything and starts the writer. @seed: of the guest's own pages. @divisor: 1, or by what all
 * sizes are divided. @return 0 or -errno.
 */
int memory_start(uint64_t seed, unsigned divisor);

/** Whether the writer writes. Returns once it obeys. */
void memory_set_writing(bool writing);

/** Fills another part, the same in all guests that ask for it the same number of times. @return 0 or -errno. */
int memory_add_same(size_t bytes);

/** Fills all parts anew that are neither zeros, moving nor scattered; those that are the same in all guests stay so. */
void memory_rewrite(void);

/** Fills a scattered part. @seed: of the guest's own pages. @return 0 or -errno. */
int memory_add_scattered(uint64_t seed, size_t bytes);

/** Gives every second 2 MiB of the scattered parts back; they read as zeros from then on. @return 0 or -errno. */
int memory_thin_out(void);

/** Checks every byte, with the writer held. @return the number of wrong pages; the first few are named on stderr. */
unsigned memory_check(uint64_t *ret_bytes);

/** Sum of all memory that is neither moving nor scattered. */
uint64_t memory_sum(void);

#endif
