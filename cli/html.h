/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writes markup that is HTML and XML at once. The one place that escapes: formats have the markup and are literals,
 * and what is put into them is text, whoever it is from.
 */
#ifndef PAGEFUSE_CLI_HTML_H
#define PAGEFUSE_CLI_HTML_H

#include <stdio.h>

/**
 * As fprintf(), but that text for %s is escaped, as text or as the value of an attribute in quotes. Knows besides
 * %d, %u, %zu, %ld, %.Nf with one digit, and %%.
 */
void html_printf(FILE *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

/**
 * Escapes: <, >, &, quotes. What is not to be seen or would turn the order of what stands around it (control and format
 * characters, line separators), is written as \uNNNN, and a byte that is no UTF-8 as \xNN.
 */
void html_text(FILE *out, const char *text);

#endif
