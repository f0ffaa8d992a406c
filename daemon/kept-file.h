/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The file with the modes that users have set for VMs: read, and written as a whole. No event loop and no state of its
 * own: any thread may call it. It waits for the disk.
 */
#ifndef PAGEFUSE_DAEMON_KEPT_FILE_H
#define PAGEFUSE_DAEMON_KEPT_FILE_H

#include <stddef.h>
#include <sys/stat.h>

#include "daemon/kept-vms.h"

#define KEPT_FORMAT 1              /* of the file */
#define KEPT_BYTES_MAX (16u << 20) /* the same */
#define KEPT_PROBLEM_SIZE 512
#define KEPT_PATH_SIZE 4096

/**
 * Adds the VMs in the file to @vms, possibly only part of them if it fails. @ret_file: the file that was read; st_ino
 * 0: there is none.
 * @error: what is wrong, if the result is not 0. @return 0, -EINVAL, -errno.
 */
int kept_file_read(const char *path, struct kept_vms *vms, struct stat *ret_file, char error[KEPT_PROBLEM_SIZE]);

/**
 * Replaces the file's content by @count VMs. After a crash the file has either the old or the new content, and after 0
 * was returned the new one. @file: as it was read or written last; updated if the file was replaced.
 * @return 0, -ESTALE if another program has changed the file, and nothing was written, -errno.
 */
int kept_file_write(const char *path, const struct kept_vm *vms, size_t count, struct stat *file);

#endif
