/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which page frames the agent's own mappings have. */
#ifndef PAGEFUSE_AGENT_PAGEMAP_H
#define PAGEFUSE_AGENT_PAGEMAP_H

#include <stddef.h>
#include <stdint.h>

/**
 * Opens /proc/self/pagemap. @return a descriptor; -EPERM: without CAP_SYS_ADMIN it does not show page frames; -errno.
 */
int pagemap_open(void);

/**
 * @ret_pfns: of the @pages pages from @address on (page aligned), 0 for those that are not mapped.
 * @return 0, -errno; -EIO if it ends too early.
 */
int pagemap_read(int pagemap, const void *address, size_t pages, uint64_t *ret_pfns);

#endif
