/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Discards of the VMM's over pages that were shared. Memory lock held. */
#ifndef PAGEFUSE_LIBRARY_DISCARDS_H
#define PAGEFUSE_LIBRARY_DISCARDS_H

#include <stdbool.h>
#include <stdint.h>

#include "library/part.h"

/**
 * Before the VMM's call: pages in the store become anonymous memory, as the call alone would bring the store's bytes
 * back. Where other memory lies before them, which the kernel may refuse to discard, the call is made here, piece by
 * piece. @return 0: the VMM's call has to follow, for all of it; 1: all is done; -errno: the kernel's error, or that
 * for pages of the store that cannot be discarded. *ret_end: where the discards ended, unless 0 is returned.
 */
int discards_before(uint64_t start, uint64_t length, int advice, uint64_t *ret_end);
/**
 * Makes the kernel's call for one piece. If parts of it are not mapped, sets *holes and discards the rest. @return 0,
 * or -errno: the kernel has stopped.
 */
int discards_call(uint64_t start, uint64_t end, int advice, bool *holes);
/**
 * Before MADV_REMOVE. @return 0: nothing of the store is there, the VMM's call has to follow; or the -errno that the
 * kernel would return for anonymous memory; everything before that is done.
 */
int discards_refuse_remove(uint64_t start, uint64_t length);
/**
 * After the call: pages of zeros that had been given back are no longer counted; missing pages are not marked as
 * filled.
 */
void discards_after(const struct part *part);

#endif
