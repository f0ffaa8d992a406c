/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a peer calls something that people are shown: a file's path, as a rule. */
#ifndef PAGEFUSE_PROTOCOL_LABEL_H
#define PAGEFUSE_PROTOCOL_LABEL_H

#include <stdbool.h>
#include <stddef.h>

#define LABEL_MAX 255 /* bytes */

/** Whether @label can be one: 1 to LABEL_MAX bytes of UTF-8 without control characters. */
bool label_is_valid(const char *label, size_t bytes);

/** The label that is as near to @text as can be: UTF-8 to be shown, and its end if it is too long. */
void label_from(const char *text, char ret[LABEL_MAX + 1]);

#endif
