/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * All that a VMM calls and the preload stands in the way of, by number. Each such call has a mark that no call of the
 * library's has, so that a system call filter can tell whose a call is.
 */
#ifndef PAGEFUSE_TESTS_PRELOAD_LIFE_H
#define PAGEFUSE_TESTS_PRELOAD_LIFE_H

#include <stdint.h>

/** The sixth argument; also fit for an offset. */
#define LIFE_MARK 0x5a5a5000

/** Pages of the memory that is lived in; @contents: of each, for pages_fill(), kept up to date. */
#define LIFE_PAGES 256u

/** A system call of the VMM's. @return -1 with errno. */
long life_call(long number, long a, long b, long c, long d, long e);

/** Lives once. @return 0, or the line in life.c where it went wrong. */
long life_live(char *memory, uint64_t *contents);

/** Discards some pages, opens and closes a file, reads into some: once more. @which: of so many threads. */
long life_hurry(char *memory, uint64_t *contents, unsigned which, unsigned threads);

#endif
