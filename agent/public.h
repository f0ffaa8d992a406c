/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which files may be named: regular ones on a disk that every user of this guest may read. What is public in here can
 * be shared with others without telling them anything.
 */
#ifndef PAGEFUSE_AGENT_PUBLIC_H
#define PAGEFUSE_AGENT_PUBLIC_H

#include <stdbool.h>
#include <sys/stat.h>

/** Whether everybody may go into the folder that @status is of. */
bool public_folder(const struct stat *status);

/** Whether @status is of a file of which pages can be named, as far as it tells. */
bool public_file(const struct stat *status);

/** Whether what @fd is of is on a file system that caches what it has on a disk of this guest. Asks once for a device.
 */
bool public_file_system(int fd, const struct stat *status);

/**
 * Opens @name in the folder @folder for reading, without following links, and without a trace in its access time.
 * @ret_status is of what was opened. @return a descriptor, -EACCES if it is not public, -errno.
 */
int public_open_at(int folder, const char *name, struct stat *ret_status);

/** The same of an absolute path without links in it, all of whose folders have to be public. */
int public_open(const char *path, struct stat *ret_status);

#endif
