/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Figures in texts of the kernel, such as /proc/meminfo, /proc/PID/status, memory.stat and memory.max. Any thread. */
#ifndef PAGEFUSE_COMMON_FIGURES_H
#define PAGEFUSE_COMMON_FIGURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/** The value, in bytes, of the line "@key: NUMBER kB" of @text. @return 0, -ENOENT, -EINVAL. */
int figures_bytes(const char *text, const char *key, uint64_t *ret);
/** The value of the line "@key NUMBER" or "@key: NUMBER" of @text. @return 0, -ENOENT, -EINVAL. */
int figures_count(const char *text, const char *key, uint64_t *ret);
/** A number alone, as cgroup files have it; "max" is UINT64_MAX. @return 0, -EINVAL. */
int figures_number(const char *text, uint64_t *ret);

struct figure {
	const char *key;
	uint64_t value; /* bytes if the line ends with "kB"; unchanged unless found */
	bool found;
};

/** Looks for @count figures in the lines of @file, and closes it. NULL: there is no such file, nothing is found. */
void figures_read(FILE *file, struct figure *figures, size_t count);

#endif
