/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Text from others, which may or may not be UTF-8. Plain code. */
#ifndef PAGEFUSE_CLI_UTF8_H
#define PAGEFUSE_CLI_UTF8_H

#include <stddef.h>
#include <stdint.h>

/**
 * The character that begins @text, which is not at its end.
 * @return how many bytes it has; 0: the first one begins none, and *ret_character is that byte.
 */
size_t utf8_next(const char *text, uint32_t *ret_character);

/** @text, with each byte that is no UTF-8 as \xNN. The caller's; NULL: no memory. */
char *utf8_clean(const char *text);

#endif
