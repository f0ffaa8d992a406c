/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading /proc, for programs; the library has its own way, without stdio. */
#ifndef PAGEFUSE_COMMON_PROC_H
#define PAGEFUSE_COMMON_PROC_H

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

/** Opens @root/proc/@pid/@file for reading; @root is "" but in tests. @return NULL with errno set. */
FILE *proc_open(const char *root, pid_t pid, const char *file);

/** Whether @text is in a line of @file that begins with @start; read from where it is. */
bool proc_find(FILE *file, const char *start, const char *text);

/** The next process in the directory @proc, an open /proc. @return its pid, or 0: that was the last. */
pid_t proc_next(DIR *proc);

#endif
