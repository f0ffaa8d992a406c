/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Offers memory again that was left alone for a while, as the VMM does not offer it a second time. */
#ifndef PAGEFUSE_LIBRARY_AGAIN_H
#define PAGEFUSE_LIBRARY_AGAIN_H

#include <stdint.h>

/**
 * Offers memory that never became a region because of @reason (enum wire_reason), which no longer applies to this
 * range. Without the lock.
 */
void again_offer(uint64_t start, uint64_t length, uint32_t reason);

/**
 * Now and then, looks for memory that was left alone under a userfaultfd of the VMM's which has been closed. Worker,
 * without the lock.
 */
void again_look(void);

#endif
