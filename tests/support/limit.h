/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vm.max_map_count, the host's limit of mappings: what it is, and another one for this process and its children. */
#ifndef PAGEFUSE_TESTS_SUPPORT_LIMIT_H
#define PAGEFUSE_TESTS_SUPPORT_LIMIT_H

#include <stdint.h>

#define LIMIT_FILE "/proc/sys/vm/max_map_count"

uint64_t limit_read(void);

/**
 * From here on whoever reads the limit in this process, or in one that it starts, reads what limit_write() wrote; what
 * the kernel allows stays as it is. Call it before there are threads; skips the test without the right to mount.
 */
void limit_own(void);
void limit_write(uint64_t value);

#endif
