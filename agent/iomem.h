/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /proc/iomem: where this guest has RAM, and where in it the kernel's code and read-only data are. */
#ifndef PAGEFUSE_AGENT_IOMEM_H
#define PAGEFUSE_AGENT_IOMEM_H

#include <stdio.h>

#include "protocol/agent.h"

#define IOMEM_KERNEL_MAX 4 /* ranges of the kernel */

struct iomem {
	unsigned ram_count, kernel_count;
	struct agent_pages ram[AGENT_RAM_RANGES_MAX]; /* ascending and apart, none empty: whole pages only */
	struct agent_pages kernel[IOMEM_KERNEL_MAX];
};

/**
 * Reads @file, which is of the form of /proc/iomem.
 * @return 0; -EPERM, the kernel hides the addresses (from who is not root); -ENODATA, no RAM is in there; -E2BIG, more
 * ranges than there is room for; -EINVAL, a line that cannot be, whose number is in @ret_line.
 */
int iomem_read(FILE *file, struct iomem *ret, unsigned *ret_line);

#endif
