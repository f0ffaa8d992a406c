/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Control groups that processes are in, and their limits, of both versions. For programs, as proc.h. */
#ifndef PAGEFUSE_COMMON_CGROUP_H
#define PAGEFUSE_COMMON_CGROUP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/**
 * The least memory limit, bytes, of the control groups that process @pid is in, up to the root of the hierarchy:
 * memory.max of version 2, memory.limit_in_bytes of version 1. @root is "" but in tests. @return UINT64_MAX: none, or
 * it cannot be seen.
 */
uint64_t cgroup_memory_limit(const char *root, pid_t pid);

/**
 * The path of process @pid in the unified hierarchy; @ret is "" if that is not there, or has no room, which is @size
 * bytes. @root as above. Below a group that a user was given he chooses names, as long as the kernel allows.
 */
void cgroup_path(const char *root, pid_t pid, char *ret, size_t size);

#endif
