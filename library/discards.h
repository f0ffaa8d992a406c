/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Discards of the VMM's over pages that were shared. Memory lock held. */
#ifndef PAGEFUSE_LIBRARY_DISCARDS_H
#define PAGEFUSE_LIBRARY_DISCARDS_H

#include <stdint.h>

#include "library/part.h"

/**
 * Before the VMM's call: what is in the store becomes anonymous memory, as the call would bring the store's bytes back.
 * @return 0; 1: some pages had to be filled with zeros; -errno: some are not discarded, and cannot be.
 */
int discards_before(const struct part *part, int advice);
/** Makes the whole call in place of the VMM's, where some pages were filled: but for these. @return 1 or -errno. */
int discards_rest(uint64_t start, uint64_t length, int advice);
/** After the call: zeros that had been given back are no longer ours to count. */
void discards_after(const struct part *part);

#endif
