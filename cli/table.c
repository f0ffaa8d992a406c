/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/table.h"

#include <errno.h>

void table_set_cell(struct libscols_line *line, size_t column, const char *text, int *error)
{
	if (scols_line_set_data(line, column, text) < 0)
		*error = -ENOMEM;
}

int table_print(const json_t *rows, int (*columns)(struct libscols_table *table),
		int (*add)(struct libscols_table *table, const json_t *row))
{
	struct libscols_table *table = scols_new_table();
	json_t *row;
	size_t i;
	int r = table ? columns(table) : -ENOMEM;

	if (r == 0)
		json_array_foreach(rows, i, row) {
			r = add(table, row);
			if (r < 0)
				break;
		}
	if (r == 0)
		r = scols_print_table(table);
	scols_unref_table(table);
	return r;
}
