/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Discards of the VMM's over pages that were shared. Memory lock held. */
#ifndef PAGEFUSE_LIBRARY_DISCARDS_H
#define PAGEFUSE_LIBRARY_DISCARDS_H

#include <stdbool.h>
#include <stdint.h>

#include "library/part.h"

/**
 * Before the VMM's call: what is in the store becomes anonymous memory, as the call would bring the store's bytes back.
 * Where other memory lies before it, which the kernel may refuse to discard, the call is made here, piece by piece.
 * @return 0: the VMM's call has to follow, for all of it; 1: all is done; -errno: what the kernel says of it, or of
 * pages of the store that cannot be discarded. *ret_end: how far it has come, but for 0.
 */
int discards_before(uint64_t start, uint64_t length, int advice, uint64_t *ret_end);
/**
 * The kernel's part of it for one piece. Where nothing is mapped, that is noted in *holes, and the rest is done.
 * @return 0, or -errno: the kernel has stopped.
 */
int discards_call(uint64_t start, uint64_t end, int advice, bool *holes);
/**
 * Before MADV_REMOVE. @return 0: nothing of the store is there, the VMM's call has to follow; or the -errno that it
 * would give over anonymous memory, of what lies before that all is done.
 */
int discards_refuse_remove(uint64_t start, uint64_t length);
/** After the call: zeros that had been given back are no longer ours to count; what is missing now is not filled. */
void discards_after(const struct part *part);

#endif
