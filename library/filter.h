/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* System call filters (seccomp): whether a filter lets the library's calls through. */
#ifndef PAGEFUSE_LIBRARY_FILTER_H
#define PAGEFUSE_LIBRARY_FILTER_H

#include <linux/filter.h>
#include <stdbool.h>

/**
 * Whether @program would let every call of made-calls.h through, or make it fail as the kernel could; calls that end
 * something must not fail. The program is run for each call, and takes both ways where it tests an argument that
 * varies. Programs that take too long are rejected. Any thread; makes no system call.
 */
bool filter_lets_through(const struct sock_fprog *program);

#endif
