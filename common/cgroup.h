/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Limits of control groups, of both versions, as processes are under them. For programs, as proc.h. */
#ifndef PAGEFUSE_COMMON_CGROUP_H
#define PAGEFUSE_COMMON_CGROUP_H

#include <stdint.h>
#include <sys/types.h>

/**
 * The least memory limit, bytes, of the control groups that process @pid is in, up to the root of the hierarchy:
 * memory.max of version 2, memory.limit_in_bytes of version 1. @root is "" but in tests. @return UINT64_MAX: none, or
 * it cannot be seen.
 */
uint64_t cgroup_memory_limit(const char *root, pid_t pid);

#endif
