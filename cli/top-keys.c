/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What keys do. */
#include <ncurses.h>
#include <stdio.h>
#include <string.h>

#include "cli/top-screen.h"

#define KEY_ESCAPE 27
#define KEY_RETURN '\r'
#define KEY_DELETE 127

static const char letters[] = "abcdefghijklmnoprstu"; /* of columns; without q, which people press to quit */

_Static_assert(sizeof(letters) == FIELD_END + 1, "a letter for each column");

char top_field_letter(enum top_field field)
{
	return letters[field];
}

/** @return FIELD_END if @key is no letter of one. */
static enum top_field field_of(int key)
{
	const char *letter = key >= 'a' && key <= 'z' ? strchr(letters, key) : NULL;

	return letter ? (enum top_field)(letter - letters) : FIELD_END;
}

/* ---- typing ---- */

static void take_input(struct top *top)
{
	if (top->prompt == PROMPT_FILTER) {
		snprintf(top->wish.view.filter, sizeof(top->wish.view.filter), "%s", top->input);
		top->first_row = 0;
		top_choose_rows(top);
	} else if (cli_parse_seconds(top->input, &top->wish.delay_msec)) {
		top_refresh(top);
	} else {
		snprintf(top->remark, sizeof(top->remark), "'%s': not a time; give seconds from 0.1 to %d", top->input,
			 CLI_SECONDS_MAX);
	}
}

static void type(struct top *top, int key)
{
	size_t length = strlen(top->input);

	switch (key) {
	case KEY_ESCAPE:
		top->prompt = PROMPT_NONE;
		break;
	case KEY_RETURN:
	case KEY_ENTER:
	case '\n':
		take_input(top);
		top->prompt = PROMPT_NONE;
		break;
	case KEY_BACKSPACE:
	case KEY_DELETE:
	case '\b':
		if (length > 0)
			top->input[length - 1] = '\0';
		break;
	default:
		if (key >= ' ' && key <= '~' && length + 1 < sizeof(top->input))
			top->input[length] = (char)key;
	}
}

static void begin_prompt(struct top *top, enum prompt prompt)
{
	memset(top->input, 0, sizeof(top->input));
	top->prompt = prompt;
}

/* ---- the pages ---- */

static void on_columns_key(struct top *top, int key)
{
	enum top_field field = field_of(key);

	if (field == FIELD_END)
		top->page = PAGE_TABLE;
	else
		top->wish.view.shown[field] = !top->wish.view.shown[field];
}

static void sort_by(struct top *top, enum top_field field)
{
	top->wish.view.sort = field;
	top->first_row = 0;
	top_choose_rows(top);
}

static void on_sort_key(struct top *top, int key)
{
	enum top_field field = field_of(key);

	if (field != FIELD_END)
		sort_by(top, field);
	top->page = PAGE_TABLE;
}

/** Sorts by the next column that is shown, to the right (@step 1) or left (-1). */
static void move_sort(struct top *top, int step)
{
	int field = (int)top->wish.view.sort;

	do {
		field += step;
		if (field < 0 || field >= FIELD_END)
			return;
	} while (!top->wish.view.shown[field]);
	sort_by(top, (enum top_field)field);
}

static void scroll_rows(struct top *top, bool down, size_t rows)
{
	if (down)
		top->first_row += rows;
	else
		top->first_row -= top->first_row < rows ? top->first_row : rows;
}

static void on_moving_key(struct top *top, int key)
{
	switch (key) {
	case KEY_UP:
	case KEY_DOWN:
		scroll_rows(top, key == KEY_DOWN, 1);
		break;
	case KEY_PPAGE:
	case KEY_NPAGE:
		scroll_rows(top, key == KEY_NPAGE, top->page_rows);
		break;
	case KEY_HOME:
		top->first_row = 0;
		break;
	case KEY_END:
		top->first_row = top->rows_count;
		break;
	case KEY_LEFT:
	case '<':
		move_sort(top, -1);
		break;
	case KEY_RIGHT:
	case '>':
		move_sort(top, 1);
		break;
	}
}

static void on_table_key(struct top *top, int key)
{
	switch (key) {
	case 'q':
		top->quit = true;
		break;
	case 'h':
	case '?':
		top->page = PAGE_HELP;
		break;
	case 'f':
		top->page = PAGE_COLUMNS;
		break;
	case 'o':
		top->page = PAGE_SORT;
		break;
	case 'r':
		top->wish.view.reversed = !top->wish.view.reversed;
		top_choose_rows(top);
		break;
	case 's':
		begin_prompt(top, PROMPT_DELAY);
		break;
	case '/':
		begin_prompt(top, PROMPT_FILTER);
		break;
	case ' ':
		top_refresh(top);
		break;
	default:
		on_moving_key(top, key);
	}
}

void top_key(struct top *top, int key)
{
	if (key == KEY_RESIZE) /* no key: the terminal's size has changed */
		return;
	top->remark[0] = '\0';
	if (top->prompt != PROMPT_NONE)
		type(top, key);
	else if (top->page == PAGE_TABLE)
		on_table_key(top, key);
	else if (top->page == PAGE_COLUMNS)
		on_columns_key(top, key);
	else if (top->page == PAGE_SORT)
		on_sort_key(top, key);
	else
		top->page = PAGE_TABLE;
}
