/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the running kernel can do, found out by trying. Each returns 0 or -errno and leaves nothing open. */
#ifndef PAGEFUSE_CLI_KERNEL_PROBE_H
#define PAGEFUSE_CLI_KERNEL_PROBE_H

#include <stdbool.h>
#include <stdint.h>

#define PROBE_FEATURE_WP_SHMEM (UINT64_C(1) << 12) /* UFFD_FEATURE_WP_HUGETLBFS_SHMEM */
#define PROBE_FEATURE_MOVE (UINT64_C(1) << 16)     /* UFFD_FEATURE_MOVE */

/**
 * userfaultfd(2): *ret_features as UFFDIO_API tells them, *ret_full whether faults of kernel mode are handled, too,
 * which KVM needs. -ENOSYS, -EPERM, ...
 */
int probe_userfaultfd(uint64_t *ret_features, bool *ret_full);
/** Whether /dev/userfaultfd gives one, too: -ENOENT, -EACCES, ... */
int probe_userfaultfd_device(void);
/** PAGEMAP_SCAN on the process's own pagemap: -ENOTTY on older kernels. */
int probe_pagemap_scan(void);

#endif
