/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Swap for a test, gone again when the test ends, however it ends. */
#ifndef PAGEFUSE_TESTS_SUPPORT_SWAP_H
#define PAGEFUSE_TESTS_SUPPORT_SWAP_H

#include <stdbool.h>
#include <stdint.h>

/** Whether the host has swap of its own. */
bool swap_is_there(void);

/**
 * Makes a swap file in the working directory if the host has no swap, and returns in a child process. The parent stays
 * behind, removes the file when the child has ended, and ends with the child's status. Skips the test without the
 * right.
 */
void swap_begin(void);

/**
 * Makes a memory control group with a limit and returns in a child as above, which is in it. If the kernel kills the
 * child for want of memory, another one begins with half as much more, a few times. Call it after swap_begin(), if
 * both, so that who removes the swap cannot be killed with it. Skips the test where there is no such controller.
 */
void swap_group_begin(uint64_t limit_bytes);

#endif
