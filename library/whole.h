/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lets blocks that were broken for sharing, and kept from collapsing since, become 2 MiB pages again. */
#ifndef PAGEFUSE_LIBRARY_WHOLE_H
#define PAGEFUSE_LIBRARY_WHOLE_H

#include <stdbool.h>
#include <stdint.h>

#include "library/region.h"
#include "protocol/ring.h"

/** A block that the kernel should make a 2 MiB page of. */
struct whole_block {
	uint64_t start; /* 0: none */
	bool gathered;  /* it is one mapping */
};

/**
 * Carries out a WHOLE order: gives its pages the VMM's setting for 2 MiB pages in this region again, if no more of them
 * are shared or zero than the order says; these get memory of their own then. @gather: also brings them into one
 * mapping, even if there is no other reason to. Worker thread, memory lock held. *ret_block: the block, if the kernel
 * should make a 2 MiB page of it now: then whole_collapse() has to follow. @return KEPT or RELEASED.
 */
enum ring_whole whole_release(const struct ring_record *order, bool gather, struct whole_block *ret_block);
/**
 * Has the kernel collapse the block. This takes a copy of 2 MiB, and threads that touch the block wait meanwhile.
 * Worker thread, without the lock, which was released just before. @return 0; -EINVAL (it is not one mapping), -errno.
 */
int whole_collapse(const struct whole_block *block);
/**
 * The VMM is about to have its memory made 2 MiB pages (MADV_COLLAPSE), which the kernel refuses where it is not
 * anonymous: it becomes plain, and each block wholly in the range one mapping, with all of its pages present. Any VMM
 * thread, memory lock held.
 */
void whole_before_collapse(struct region *region, uint64_t index, uint64_t count);
/**
 * Waits until the kernel is not collapsing any block that [start, start+length) touches, and will not before the lock
 * is released. Releases the lock meanwhile. Any VMM thread, memory lock held.
 */
void whole_wait(uint64_t start, uint64_t length);
/** In the child of a fork. */
void whole_forget(void);

#endif
