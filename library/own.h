/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The library's own mappings: the scratch, tables, windows of the store, rings. The VMM does not know of them, and
 * calls for all of its memory are not meant for them: mlockall() would populate them, windows with memory for every
 * hole in the store, and count them against RLIMIT_MEMLOCK. So none of them stays locked after that call.
 */
#ifndef PAGEFUSE_LIBRARY_OWN_H
#define PAGEFUSE_LIBRARY_OWN_H

#include <stdbool.h>
#include <stdint.h>

/**
 * mmap() of @bytes at @offset of @fd: neither locked nor populated, even under mlockall(MCL_FUTURE). Any thread.
 * @return an address or -errno.
 */
long own_map(uint64_t bytes, int prot, int flags, int fd, uint64_t offset);

/**
 * Whether the VMM's address space is limited: then we take no more of it than we must. Worker; as of the last
 * own_look_at_limits().
 */
bool own_addresses_are_limited(void);
void own_look_at_limits(void);

/** After mlockall(): unlocks such a mapping. Any thread that knows that the mapping exists. */
void own_unlock(uint64_t start, uint64_t bytes);

/** The same for anonymous memory; also gives back the pages that mlockall() has populated. */
void own_unlock_table(uint64_t start, uint64_t bytes);

#endif
