/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/chart.h"

#include <stdbool.h>
#include <string.h>

#include "cli/format.h"
#include "cli/html.h"

#define BAR_HEIGHT 16
#define SCALE_HEIGHT 26

/* ---- beginnings ---- */

/* Attributes may follow, and then tell(). */
static void begin(FILE *out, const char *class)
{
	html_printf(out, "<svg class=\"%s\" xmlns=\"http://www.w3.org/2000/svg\" role=\"img\"", class);
}

static void tell(FILE *out, const char *title, const char *description)
{
	html_printf(out, "><title>%s</title><desc>%s</desc>", title, description);
}

static double percent_of(double value, double total)
{
	if (!(value > 0) || !(total > 0))
		return 0;
	return value < total ? 100 * value / total : 100;
}

/* ---- bars ---- */

static void put_parts(FILE *out, const struct chart_part *parts, size_t count, double total, int top, int height)
{
	double at = 0;

	for (size_t i = 0; i < count; i++) {
		double width = percent_of(parts[i].value, total);

		if (width > 100 - at)
			width = 100 - at;
		if (width <= 0)
			continue;
		html_printf(out, "<rect class=\"%s\" x=\"%.3f%%\" y=\"%d\" width=\"%.3f%%\" height=\"%d\"/>",
			    parts[i].class, at, top, width, height);
		at += width;
	}
}

void chart_bar(FILE *out, const char *title, const char *description, const struct chart_part *parts, size_t count,
	       double total)
{
	begin(out, "bar");
	html_printf(out, " width=\"100%%\" height=\"%d\"", BAR_HEIGHT);
	tell(out, title, description);
	html_printf(out, "<rect class=\"track\" width=\"100%%\" height=\"%d\" rx=\"3\"/>", BAR_HEIGHT);
	put_parts(out, parts, count, total, 0, BAR_HEIGHT);
	fputs("</svg>", out);
}

void chart_scale(FILE *out, const char *title, const char *description, const struct chart_part *zones, size_t count,
		 double end, double mark)
{
	struct chart_part parts[8];
	double before = 0, at;

	for (size_t i = 0; i < count && i < 8; i++) {
		double until = zones[i].value < end ? zones[i].value : end;

		parts[i] = (struct chart_part){ .class = zones[i].class, .value = until > before ? until - before : 0 };
		before = until > before ? until : before;
	}
	at = percent_of(mark, end);
	begin(out, "scale");
	html_printf(out, " width=\"100%%\" height=\"%d\"", SCALE_HEIGHT);
	tell(out, title, description);
	put_parts(out, parts, count < 8 ? count : 8, end, 5, BAR_HEIGHT);
	html_printf(out, "<line class=\"mark\" x1=\"%.3f%%\" x2=\"%.3f%%\" y1=\"0\" y2=\"%d\"/>", at, at, SCALE_HEIGHT);
	fputs("</svg>", out);
}

/* ---- lines ---- */

#define LINES_WIDTH 960
#define LINES_HEIGHT 260
#define LINES_LEFT 72
#define LINES_RIGHT 14
#define LINES_TOP 12
#define LINES_BOTTOM 30
#define TIME_TICKS 4

static double most_of(const struct chart_line *line)
{
	double most = 0;

	for (size_t i = 0; i < line->count; i++)
		most = (double)line->values_kb[i] > most ? (double)line->values_kb[i] : most;
	return most;
}

static double span_of(const struct chart_line *line)
{
	return (double)(line->count - 1) * (double)line->period_seconds;
}

/* Where values of a line lie: the newest at the right. */
struct plot {
	double left, top, width, height;
	double span_seconds, most_kb;
};

static void put_points(FILE *out, const struct plot *plot, const struct chart_line *line)
{
	for (size_t i = 0; i < line->count; i++) {
		double ago = (double)(line->count - 1 - i) * (double)line->period_seconds;
		double part = plot->most_kb > 0 ? (double)line->values_kb[i] / plot->most_kb : 0;

		html_printf(out, "%s%.1f,%.1f", i > 0 ? " " : "",
			    plot->left + plot->width * (1 - ago / plot->span_seconds),
			    plot->top + plot->height * (1 - part));
	}
}

static void put_line(FILE *out, const struct plot *plot, const struct chart_line *line, bool area)
{
	double begin = plot->left + plot->width * (1 - span_of(line) / plot->span_seconds);
	double bottom = plot->top + plot->height;

	if (area) {
		html_printf(out, "<polygon class=\"area %s\" points=\"%.1f,%.1f ", line->class, begin, bottom);
		put_points(out, plot, line);
		html_printf(out, " %.1f,%.1f\"/>", plot->left + plot->width, bottom);
	}
	html_printf(out, "<polyline class=\"line %s\" points=\"", line->class);
	put_points(out, plot, line);
	fputs("\"/>", out);
}

/* A power of two, as the units are: from 2 to 5 of them make the axis. */
static double step_of(double most_kb)
{
	double step = 4;

	while (step * 5 < most_kb)
		step *= 2;
	return step;
}

static void put_axes(FILE *out, const struct plot *plot, double step_kb)
{
	double right = plot->left + plot->width, bottom = plot->top + plot->height;
	struct format_buffer buffer;

	for (int64_t at = 0; at <= (int64_t)plot->most_kb; at += (int64_t)step_kb) {
		double y = bottom - plot->height * (double)at / plot->most_kb;

		html_printf(out, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", plot->left,
			    right, y, y);
		html_printf(out, "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%s</text>",
			    plot->left - 8, y + 4, format_size(&buffer, at * 1024));
	}
	for (unsigned i = 0; i <= TIME_TICKS; i++) {
		double ago = plot->span_seconds * (TIME_TICKS - i) / TIME_TICKS;
		const char *anchor = i == 0 ? "start" : i == TIME_TICKS ? "end"
									: "middle";

		html_printf(out, "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">",
			    plot->left + plot->width * i / TIME_TICKS, bottom + 20, anchor);
		if (i == TIME_TICKS)
			fputs("now</text>", out);
		else
			html_printf(out, "%s ago</text>", format_seconds(&buffer, (uint64_t)ago));
	}
}

void chart_lines(FILE *out, const char *title, const char *description, const struct chart_line *lines, size_t count)
{
	struct plot plot = {
		.left = LINES_LEFT,
		.top = LINES_TOP,
		.width = LINES_WIDTH - LINES_LEFT - LINES_RIGHT,
		.height = LINES_HEIGHT - LINES_TOP - LINES_BOTTOM,
		.span_seconds = 1,
	};
	double most = 4, step;

	for (size_t i = 0; i < count; i++) {
		plot.span_seconds = span_of(&lines[i]) > plot.span_seconds ? span_of(&lines[i]) : plot.span_seconds;
		most = most_of(&lines[i]) > most ? most_of(&lines[i]) : most;
	}
	step = step_of(most);
	for (plot.most_kb = step; plot.most_kb < most;)
		plot.most_kb += step;
	begin(out, "lines");
	html_printf(out, " viewBox=\"0 0 %d %d\"", LINES_WIDTH, LINES_HEIGHT);
	tell(out, title, description);
	put_axes(out, &plot, step);
	for (size_t i = 0; i < count; i++)
		put_line(out, &plot, &lines[i], i == 0);
	fputs("</svg>", out);
}

void chart_spark(FILE *out, const char *title, const char *description, const struct chart_line *line)
{
	struct plot plot = {
		.left = 1,
		.top = 2,
		.width = 88,
		.height = 18,
		.span_seconds = span_of(line),
		.most_kb = most_of(line),
	};

	begin(out, "spark");
	html_printf(out, " viewBox=\"0 0 90 22\" width=\"90\" height=\"22\"");
	tell(out, title, description);
	put_line(out, &plot, line, false);
	fputs("</svg>", out);
}

/* ---- a triangle ---- */

#define LABEL_WIDTH_MAX 260

static double label_width(const struct chart_matrix *matrix, double letter)
{
	size_t longest = 0;

	for (size_t i = 0; i < matrix->count; i++)
		longest = strlen(matrix->names[i]) > longest ? strlen(matrix->names[i]) : longest;
	return (double)longest * letter < LABEL_WIDTH_MAX ? (double)longest * letter : LABEL_WIDTH_MAX;
}

static void put_cell(FILE *out, const struct chart_matrix *matrix, size_t row, size_t column, int size)
{
	double value = matrix->values[row * matrix->count + column];
	double part = matrix->most > 0 && value > 0 ? value / matrix->most : 0;

	html_printf(out, "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"",
		    value < 0 ? "unknown" : "heat", (int)column * size, (int)row * size, size - 1, size - 1);
	if (value >= 0)
		html_printf(out, " fill-opacity=\"%.2f\"", part > 0 ? 0.1 + 0.9 * (part < 1 ? part : 1) : 0.04);
	fputs("><title>", out);
	matrix->tell(out, row, column, matrix->user);
	fputs("</title></rect>", out);
}

void chart_matrix(FILE *out, const char *title, const char *description, const struct chart_matrix *matrix)
{
	int size = matrix->count <= 10 ? 34 : matrix->count <= 24 ? 22
								  : 13;
	int letters = size < 16 ? 10 : 12, side = (int)matrix->count * size;
	int width = side + (int)label_width(matrix, letters * 0.62) + 4;

	begin(out, "matrix");
	html_printf(out, " viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\"", width, side, width, side);
	tell(out, title, description);
	for (size_t row = 0; row < matrix->count; row++) {
		for (size_t column = 0; column < row; column++)
			put_cell(out, matrix, row, column, size);
		html_printf(out, "<text class=\"%s\" x=\"%d\" y=\"%d\">%s</text>",
			    letters < 12 ? "fine" : "label", (int)row * size + 4,
			    (int)row * size + size / 2 + letters / 3, matrix->names[row]);
	}
	fputs("</svg>", out);
}
