/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the screen looks like. Only plain ASCII is ever written, so it is the same in every locale. */
#include <ncurses.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/document.h"
#include "cli/format.h"
#include "cli/summary.h"
#include "cli/top-screen.h"
#include "cli/top-terminal.h"

#define INDENT 11         /* of what goes on: behind "PSHARE/MB: " */
#define NAME_WIDTH_MAX 24 /* of names of VMs and domains */
#define NUMBER_WIDTH 6    /* of figures, at least: "-1023M" */
#define LINES_OF_TABLE 3  /* that the figures above it leave: message, titles, and one row */
#define LINE_SIZE 1024

/** @text at the beginning of line @y, as much as there is room for; nothing below the screen. */
static void put(int y, const char *text, unsigned attribute)
{
	if (y >= LINES)
		return;
	attrset((int)attribute);
	mvaddnstr(y, 0, text, COLS);
	attrset(A_NORMAL);
}

/* ---- the figures above ---- */

/** How much of @text goes into a line of @width: up to a blank, if there is one. */
static size_t line_length(const char *text, size_t width)
{
	size_t length = strlen(text), end = width;

	if (length <= width)
		return length;
	while (end > 0 && text[end] != ' ')
		end--;
	return end > 0 ? end : width;
}

/** @text in as many lines as it takes. @return the line below it, or @end. */
static int put_wrapped(int y, int end, const char *text, unsigned attribute)
{
	int indent = 0;

	while (y < end && *text != '\0') {
		size_t length = line_length(text, COLS > indent ? (size_t)(COLS - indent) : 1);

		attrset((int)attribute);
		mvaddnstr(y++, indent, text, (int)length);
		attrset(A_NORMAL);
		text += length + (text[length] == ' ');
		indent = COLS > 3 * INDENT ? INDENT : 0;
	}
	return y;
}

/** A line of the summary. @return the line below it. */
static int put_summary(int y, int end, const json_t *status, void (*summary)(FILE *out, const json_t *status),
		       unsigned attribute)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (out == NULL)
		return y;
	summary(out, status);
	if (fclose(out) == 0) {
		text[strcspn(text, "\n")] = '\0';
		y = put_wrapped(y, end, text, attribute);
	}
	free(text);
	return y;
}

static unsigned attribute_of_memory(const json_t *status)
{
	const char *state = field_text(json_object_get(status, "memory"), "state");

	if (strcmp(state, "hard") == 0 || strcmp(state, "low") == 0)
		return terminal_attribute(COLOUR_ALARM);
	return strcmp(state, "soft") == 0 ? terminal_attribute(COLOUR_WARNING) : A_NORMAL;
}

static int put_first(const struct top *top, int end)
{
	const struct top_view *view = &top->wish.view;
	const json_t *daemon = json_object_get(top->status, "daemon");
	char line[LINE_SIZE], clock[16], filter[4 * TOP_FILTER_SIZE];
	struct format_buffer uptime;
	struct tm local;
	size_t vms = json_array_size(json_object_get(top->status, "vms")), length;

	localtime_r(&top->taken, &local);
	strftime(clock, sizeof(clock), "%H:%M:%S", &local);
	length = (size_t)snprintf(
		line, sizeof(line), "%s  up %s, %zu VM%s, by %s%s, every %gs", clock,
		format_seconds(&uptime, (uint64_t)field_real(daemon, metrics[METRIC_DAEMON_UPTIME].name)), vms,
		vms == 1 ? "" : "s", top_field_title(view->sort), view->reversed ? " reversed" : "",
		top->wish.delay_msec / 1000.0);
	if (view->filter[0] != '\0')
		snprintf(line + length, sizeof(line) - length, ", %zu like %s", top->rows_count,
			 format_plain(filter, sizeof(filter), view->filter));
	return put_wrapped(0, end, line, A_NORMAL);
}

/** @return the line below the figures of the host. */
static int put_host(const struct top *top)
{
	const json_t *host = json_object_get(top->status, "host");
	int end = LINES > LINES_OF_TABLE + 1 ? LINES - LINES_OF_TABLE : 1, y = put_first(top, end);
	bool full = field_metric(host, METRIC_HOST_STORE_FULL);
	bool uncovered = field_metric(host, METRIC_HOST_UNCOVERED) > 0;

	y = put_summary(y, end, top->status, summary_shared, A_NORMAL);
	y = put_summary(y, end, top->status, summary_store, full ? terminal_attribute(COLOUR_WARNING) : A_NORMAL);
	y = put_summary(y, end, top->status, summary_memory, attribute_of_memory(top->status));
	return put_summary(y, end, top->status, summary_exposure,
			   uncovered ? terminal_attribute(COLOUR_ALARM) : A_NORMAL);
}

/** A line for an error, the current input, or the keys to press. */
static void put_message(const struct top *top, int y)
{
	char line[LINE_SIZE] = "";

	if (top->prompt == PROMPT_DELAY)
		snprintf(line, sizeof(line), "Seconds between refreshes: %s_", top->input);
	else if (top->prompt == PROMPT_FILTER)
		snprintf(line, sizeof(line), "Names of VMs, with * and ?, or nothing for all: %s_", top->input);
	else if (top->remark[0] != '\0')
		snprintf(line, sizeof(line), "%s", top->remark);
	else if (top->trouble[0] != '\0')
		snprintf(line, sizeof(line), "No new figures, trying again: %s", top->trouble);
	put(y, line, top->prompt == PROMPT_NONE ? terminal_attribute(COLOUR_WARNING) : A_BOLD);
}

/* ---- the table ---- */

struct column {
	enum top_field field;
	int width; /* negative: to the left */
};

static int width_of(const struct top *top, enum top_field field)
{
	char text[TOP_TEXT_SIZE];
	int width = (int)strlen(top_field_title(field));

	if (top_field_is_number(field))
		return width > NUMBER_WIDTH ? width : NUMBER_WIDTH;
	for (size_t i = 0; i < top->rows_count; i++) {
		int length = (int)strlen(top_field_text(field, top->rows[i], text));

		if (length > width)
			width = length;
	}
	return -(width < NAME_WIDTH_MAX || field == FIELD_WHY ? width : NAME_WIDTH_MAX);
}

static size_t choose_columns(const struct top *top, struct column columns[FIELD_END])
{
	size_t count = 0;

	for (enum top_field field = 0; field < FIELD_END; field++)
		if (top->wish.view.shown[field])
			columns[count++] = (struct column){ field, width_of(top, field) };
	return count;
}

/** Appends a cell to @line. A name that is too long ends with '+'; a figure is never cut. */
static void add_cell(char line[LINE_SIZE], const struct column *column, char *text)
{
	size_t length = strlen(line), most = (size_t)-column->width;

	if (column->width < 0 && strlen(text) > most)
		memcpy(text + most - 1, "+", 2);
	snprintf(line + length, LINE_SIZE - length, "%s%*s", length > 0 ? "  " : "", column->width, text);
}

static void put_titles(int y, const struct column *columns, size_t count)
{
	char line[LINE_SIZE] = "", title[TOP_TEXT_SIZE];

	for (size_t i = 0; i < count; i++)
		add_cell(line, &columns[i], strcpy(title, top_field_title(columns[i].field)));
	put(y, line, A_REVERSE);
}

static void put_row(int y, const struct column *columns, size_t count, const json_t *vm)
{
	char line[LINE_SIZE] = "", text[TOP_TEXT_SIZE];

	for (size_t i = 0; i < count; i++) {
		top_field_text(columns[i].field, vm, text);
		add_cell(line, &columns[i], text);
	}
	put(y, line, A_NORMAL);
}

static void put_table(struct top *top, int y)
{
	struct column columns[FIELD_END];
	size_t count = choose_columns(top, columns), room = LINES > y + 1 ? (size_t)(LINES - y - 1) : 0;
	size_t last_first = top->rows_count > room ? top->rows_count - room : 0;

	if (top->first_row > last_first)
		top->first_row = last_first;
	top->page_rows = room > 0 ? room : 1;
	put_titles(y, columns, count);
	for (size_t i = 0; i < room && top->first_row + i < top->rows_count; i++)
		put_row(y + 1 + (int)i, columns, count, top->rows[top->first_row + i]);
	if (top->rows_count == 0)
		put(y + 1, top->wish.view.filter[0] ? "No VM is called so." : "No VM shares memory yet.", A_NORMAL);
}

/* ---- the other pages ---- */

static const char *const help[] = {
	"q        quit",
	"space    refresh now",
	"s        seconds between refreshes",
	"f        which columns are shown",
	"o        by which column the VMs are sorted",
	"< >      sort by the column to the left, to the right; as the arrows do",
	"r        reverse the order",
	"/        only VMs of a name; * and ? stand for what is any",
	"up down  scroll; also by page, to the beginning (Home) and the end (End)",
	"",
	"Figures above: pagefuse(1), FIGURES. Columns: f shows what each is.",
	"Any key goes back.",
};

static void put_help(void)
{
	for (size_t i = 0; i < sizeof(help) / sizeof(*help); i++)
		put((int)i, help[i], A_NORMAL);
}

static void put_fields(const struct top *top)
{
	const struct top_view *view = &top->wish.view;
	bool sorting = top->page == PAGE_SORT;
	const char *does = sorting ? "sorts by that column" : "shows or hides a column";
	char title[LINE_SIZE];

	snprintf(title, sizeof(title), "A letter %s; any other key goes back:", does);
	put(0, title, A_BOLD);
	for (enum top_field field = 0; field < FIELD_END; field++) {
		char line[LINE_SIZE];
		bool marked = sorting ? field == view->sort : view->shown[field];

		snprintf(line, sizeof(line), "%c %c  %-8s  %s", marked ? '*' : ' ', top_field_letter(field),
			 top_field_title(field), top_field_help(field));
		put((int)field + 1, line, marked ? A_BOLD : A_NORMAL);
	}
}

void top_draw(struct top *top)
{
	int y;

	erase();
	if (top->page == PAGE_HELP) {
		put_help();
	} else if (top->page != PAGE_TABLE) {
		put_fields(top);
	} else {
		y = put_host(top);
		put_message(top, y);
		put_table(top, y + 1);
	}
	refresh();
}
