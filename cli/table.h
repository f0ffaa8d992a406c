/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tables on standard output: a line for each object of a JSON array. */
#ifndef PAGEFUSE_CLI_TABLE_H
#define PAGEFUSE_CLI_TABLE_H

#include <jansson.h>
#include <libsmartcols.h>
#include <stddef.h>

/** Out of memory is remembered in *@error, to be returned once the line is full. */
void table_set_cell(struct libscols_line *line, size_t column, const char *text, int *error);

/** Prints @rows; @columns adds all columns, @add a line for one of them; both return 0 or -ENOMEM. @return the same. */
int table_print(const json_t *rows, int (*columns)(struct libscols_table *table),
		int (*add)(struct libscols_table *table, const json_t *row));

#endif
