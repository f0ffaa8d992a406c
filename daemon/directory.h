/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A directory that one process at a time uses. */
#ifndef PAGEFUSE_DAEMON_DIRECTORY_H
#define PAGEFUSE_DAEMON_DIRECTORY_H

/**
 * Makes the directory @path for this user alone, if it is not there, and locks it. Logs errors.
 * @return a descriptor that is the lock, for the caller to close; -EBUSY if another process has it, -EPERM if it is
 * another user's, -errno.
 */
int directory_lock(const char *path);

#endif
