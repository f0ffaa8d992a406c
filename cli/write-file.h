/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef PAGEFUSE_CLI_WRITE_FILE_H
#define PAGEFUSE_CLI_WRITE_FILE_H

#include <stddef.h>
#include <sys/types.h>

/**
 * Replaces the file at @path by one with @text: readers find the old file or the new one, never a part. A symbolic link
 * is replaced, not followed. @mode: of the new file, whatever the umask is. @return 0, -errno.
 */
int write_file(const char *path, const char *text, size_t size, mode_t mode);

#endif
