/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbers in texts of people. */
#ifndef PAGEFUSE_COMMON_NUMBER_H
#define PAGEFUSE_COMMON_NUMBER_H

#include <stdint.h>

/**
 * Reads the decimal number that @text begins with: no sign, no blanks. *ret_rest is what follows it. Any thread.
 * @return 0, -EINVAL (it begins with no digit), -ERANGE (beyond 64 bits).
 */
int number_parse(const char *text, uint64_t *ret, const char **ret_rest);

#endif
