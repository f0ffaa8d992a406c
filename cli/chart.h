/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Charts as SVG, inside a page whose style has their classes (report.css). Each has a title and a description for
 * who does not see it. Plain code; @title and texts are anybody's and escaped, classes are words of ours.
 */
#ifndef PAGEFUSE_CLI_CHART_H
#define PAGEFUSE_CLI_CHART_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct chart_part {
	const char *class; /* of its colour */
	double value;      /* from 0 on */
};

/** Parts beside each other, from the left, where @total is the whole width; what would go beyond is cut. */
void chart_bar(FILE *out, const char *title, const char *description, const struct chart_part *parts, size_t count,
	       double total);

/** A bar with zones, each up to a value, @end the last one's, and a mark. */
void chart_scale(FILE *out, const char *title, const char *description, const struct chart_part *zones, size_t count,
		 double end, double mark);

struct chart_line {
	const char *class;
	const int64_t *values_kb; /* the oldest first */
	size_t count;             /* from 2 on */
	int64_t period_seconds;
};

/** Lines over the time until now, with axes; bytes upwards. */
void chart_lines(FILE *out, const char *title, const char *description, const struct chart_line *lines, size_t count);
/** One line without axes. */
void chart_spark(FILE *out, const char *title, const char *description, const struct chart_line *line);

struct chart_matrix {
	const char *const *names;
	const double *values; /* of row @i and column @k at i * count + k, each twice; < 0: not known */
	size_t count;         /* from 2 on */
	double most;          /* that has the full colour */
	/** What a cell's title says. */
	void (*tell)(FILE *out, size_t row, size_t column, void *user);
	void *user;
};

/** A triangle: what each two have with each other. */
void chart_matrix(FILE *out, const char *title, const char *description, const struct chart_matrix *matrix);

#endif
