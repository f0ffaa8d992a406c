/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory that was left alone for a while is offered again, as the VMM does not do so a second time. */
#ifndef PAGEFUSE_LIBRARY_AGAIN_H
#define PAGEFUSE_LIBRARY_AGAIN_H

#include <stdint.h>

/** What never became a region for @reason (enum wire_reason), which has ended for this range. Without the lock. */
void again_offer(uint64_t start, uint64_t length, uint32_t reason);

/**
 * Now and then, looks for memory that was left alone under a userfaultfd of the VMM's which has been closed. Worker,
 * without the lock.
 */
void again_look(void);

#endif
