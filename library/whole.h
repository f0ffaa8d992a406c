/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Blocks that were broken for sharing, and are kept from collapsing since, may be 2 MiB pages again. */
#ifndef PAGEFUSE_LIBRARY_WHOLE_H
#define PAGEFUSE_LIBRARY_WHOLE_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/ring.h"

/** One that the kernel is to make a 2 MiB page of. */
struct whole_block {
	uint64_t start; /* 0: none */
	bool gathered;  /* it is one mapping */
};

/**
 * A WHOLE order: gives its pages the setting for 2 MiB pages again that the VMM has made for its region, if no more of
 * them than it says are shared or zero; these get memory of their own then. @gather: and brings them into one mapping,
 * even if there is no other reason to. Worker thread, memory lock held. *ret_block: if the kernel is to make a 2 MiB
 * page of it now: then whole_collapse() has to follow. @return KEPT or RELEASED.
 */
enum ring_whole whole_release(const struct ring_record *order, bool gather, struct whole_block *ret_block);
/**
 * Has the kernel do so. It takes that a copy of 2 MiB, and whoever touches it waits meanwhile. Worker thread, without
 * the lock, which was let go just before. @return 0; -EINVAL (it is not one mapping), -errno.
 */
int whole_collapse(const struct whole_block *block);
/**
 * Waits until the kernel is at no block that [start, start+length) touches, and is not before the lock is let go. Lets
 * it go meanwhile. Any VMM thread, memory lock held.
 */
void whole_wait(uint64_t start, uint64_t length);
/** In the child of a fork. */
void whole_forget(void);

#endif
