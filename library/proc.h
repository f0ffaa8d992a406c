/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Small files of /proc and /sys, read by system calls alone. */
#ifndef PAGEFUSE_LIBRARY_PROC_H
#define PAGEFUSE_LIBRARY_PROC_H

#include <stddef.h>

/** Reads the start of a file into @text, zero terminated. Any thread. @return the length of @text, or -errno. */
long proc_read(const char *path, char *text, size_t size);

#endif
