/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tables for people: a line for each element of an array of the daemon's. */
#ifndef PAGEFUSE_CLI_TABLE_H
#define PAGEFUSE_CLI_TABLE_H

#include <jansson.h>
#include <libsmartcols.h>
#include <stddef.h>

/** Out of memory is remembered in @error, -ENOMEM, and reported once the line is full. */
void table_set_cell(struct libscols_line *line, size_t column, const char *text, int *error);

/**
 * Prints @rows on standard output. @columns makes the table's columns, @add the line of one row; both return 0 or
 * -errno, as does this.
 */
int table_print(const json_t *rows, int (*columns)(struct libscols_table *table),
		int (*add)(struct libscols_table *table, const json_t *row));

#endif
