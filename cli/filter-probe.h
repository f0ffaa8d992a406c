/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* System call filters (seccomp) that this process has inherited, and that the VMM will inherit in its turn. */
#ifndef PAGEFUSE_CLI_FILTER_PROBE_H
#define PAGEFUSE_CLI_FILTER_PROBE_H

#include <stdbool.h>

/** How many there are; on kernels before 5.9, 1 if any. */
unsigned filter_probe_count(void);

/**
 * Whether they let through what the library calls: @preload makes these calls in a child, which a filter may end.
 * Waits for it.
 */
bool filter_probe_try(const char *preload);

#endif
