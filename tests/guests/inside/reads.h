/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads of 4 KiB from the disk, one after the other and past the guest's page cache, as fio's with direct=1 and psync.
 * Each block has a page of its own that it is read into, always the same.
 */
#ifndef PAGEFUSE_TESTS_GUESTS_READS_H
#define PAGEFUSE_TESTS_GUESTS_READS_H

#include <stdbool.h>
#include <stdint.h>

/** Writes to all of these pages, so that they are nobody else's. @return 0 or -errno. */
int reads_fill(void);

/**
 * Reads all blocks, in order or at @random. @ret_usec: how long it took; @ret_sum: of what was read, the same in both
 * orders. @return 0 or -errno.
 */
int reads_time(bool random, uint64_t *ret_usec, uint64_t *ret_sum);

#endif
