/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where figures of free memory are read: of the host, of a cgroup with a limit, or from a file. What is read is judged
 * by others; what cannot be read, or is no number, is an error.
 *
 *   host    MemTotal, MemAvailable and SwapFree of /proc/meminfo
 *   cgroup  its limit, and that less its usage, where the cache of files counts as free; and what it may still have of
 *           swap, of version 2 only; but never more than what the host has. Without a limit of memory, or with one
 *           beyond the host's: the host
 *   file    in the form of /proc/meminfo; without SwapFree there is no swap
 */
#ifndef PAGEFUSE_DAEMON_MEMORY_FIGURES_H
#define PAGEFUSE_DAEMON_MEMORY_FIGURES_H

#include <stddef.h>

#include "daemon/memory-state.h"

#define MEMORY_SOURCE_HOST "host"

/** Which of these a source turned out to be. */
enum memory_kind {
	MEMORY_OF_HOST,
	MEMORY_OF_CGROUP1,
	MEMORY_OF_CGROUP2,
	MEMORY_OF_FILE,
};

/** "host", "cgroup" or "file". */
const char *memory_kind_name(enum memory_kind kind);

/**
 * Reads the figures of @source: "host", or a path. A directory is taken as a cgroup.
 * @ret_kind: MEMORY_OF_HOST also for a cgroup without a limit, as the figures are the host's then.
 * @ret_error: one line for a person if the result is not 0; it begins with the source.
 * @return 0 or -errno.
 */
int memory_figures_read(const char *source, struct memory_figures *ret, enum memory_kind *ret_kind, char *ret_error,
			size_t error_size);

/** From what a cgroup and the host say: @limit, @usage, @cache of files, and @swap that it may still have, bytes. */
void memory_figures_of_cgroup(const struct memory_figures *host, uint64_t limit, uint64_t usage, uint64_t cache,
			      uint64_t swap, struct memory_figures *ret);

#endif
