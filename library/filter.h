/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* System call filters (seccomp): whether one lets through what the library calls. */
#ifndef PAGEFUSE_LIBRARY_FILTER_H
#define PAGEFUSE_LIBRARY_FILTER_H

#include <linux/filter.h>
#include <stdbool.h>

/**
 * Whether @program would let every call of made-calls.h through, or have it fail as the kernel could, which is not
 * enough for those that end something: it is run for each of them, on both ways where it looks at what can be anything.
 * Programs that take too long are not believed. Any thread; makes no call.
 */
bool filter_lets_through(const struct sock_fprog *program);

#endif
