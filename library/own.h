/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The library's own mappings: the scratch, tables, windows of the store, rings. The VMM does not know of them, and
 * what it says of all its memory is not meant for them: under mlockall() they would be filled, windows with memory for
 * every hole in the store, and count against RLIMIT_MEMLOCK. So none of them is locked for longer than that call takes.
 */
#ifndef PAGEFUSE_LIBRARY_OWN_H
#define PAGEFUSE_LIBRARY_OWN_H

#include <stdbool.h>
#include <stdint.h>

/**
 * mmap() of @bytes at @offset of @fd: neither locked nor filled, also under mlockall(MCL_FUTURE). Any thread.
 * @return an address or -errno.
 */
long own_map(uint64_t bytes, int prot, int flags, int fd, uint64_t offset);

/**
 * Whether there is a limit on the VMM's addresses: then what it may have is its own, and we take no more than we must.
 * Worker; as of the last own_look_at_limits().
 */
bool own_addresses_are_limited(void);
void own_look_at_limits(void);

/** After mlockall(): unlocks such a mapping. Any thread that knows it to be there. */
void own_unlock(uint64_t start, uint64_t bytes);

/** The same for anonymous memory, and gives back the pages that mlockall() has filled it with. */
void own_unlock_table(uint64_t start, uint64_t bytes);

#endif
