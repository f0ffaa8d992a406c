/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pages of the store that are not mapped any more where they ought to be. Memory lock held. */
#ifndef PAGEFUSE_LIBRARY_LOST_H
#define PAGEFUSE_LIBRARY_LOST_H

#include <stdbool.h>
#include <stdint.h>

#include "library/part.h"

/** Whether a part has lost its pages of the store, by a call that was made for all of it or not at all. */
bool lost_any(const struct part *part);

/**
 * A call that maps other memory in [start, start+length), or none, has failed, and may have done a part of it: what is
 * not there any more leaves its regions. Without /proc, what is mapped there is taken for what was there before.
 */
void lost_settle(uint64_t start, uint64_t length);

#endif
