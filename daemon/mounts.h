/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The mounts of the store. All that is attached anywhere is read-only; only the daemon holds a writable mount of the
 * tmpfs, and that one has no path.
 */
#ifndef PAGEFUSE_DAEMON_MOUNTS_H
#define PAGEFUSE_DAEMON_MOUNTS_H

#include <stdbool.h>
#include <stdint.h>

/** Attaches a new tmpfs of @size (as mount(8) takes it) at the directory @path. @return 0 or -errno. */
int mounts_create(const char *path, const char *size);

/** @return a directory descriptor through which the tmpfs at @path can be written, or -errno. */
int mounts_open_writable(const char *path);

/** Has the tmpfs that @tree is a directory of be of @pages pages. @return 0, -EINVAL if more are in use, -errno. */
int mounts_resize(int tree, uint64_t pages);

/** Attaches a read-only clone of the tmpfs at @path at the directory @target inside it. @return 0 or -errno. */
int mounts_clone(const char *path, const char *target);

/** Whether something is mounted at @path. */
bool mounts_is_mounted(const char *path);

/** @return 0 if it is gone, -EBUSY while anybody has a file open or mapped through it, -errno. */
int mounts_remove(const char *path);

/** Takes a mount that cannot be used out of sight; who has it open keeps it. @return 0 or -errno. */
int mounts_abandon(const char *path);

#endif
