/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which processes map a memfd: for a daemon that cannot mount, and so cannot ask the kernel by umount. */
#ifndef PAGEFUSE_DAEMON_MAPS_H
#define PAGEFUSE_DAEMON_MAPS_H

#include <stdbool.h>
#include <sys/types.h>

/**
 * Looks for a memfd's @name in the mappings of this user's processes, those left out for which @skip says so.
 * @return whether one has it, or cannot be looked at though it belongs to this user and is younger than this process.
 */
bool maps_someone_has(const char *name, bool (*skip)(void *context, pid_t pid), void *context);

/** Whether process @pid has the memfd mapped or open, or cannot be looked at. */
bool maps_one_has(pid_t pid, const char *name);

#endif
