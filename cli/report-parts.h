/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The parts of the page of `pagefuse report`. Each writes sections of a document that report-page.h describes.
 * report-page.c calls the sections; all call report-parts.c, which calls none of them.
 */
#ifndef PAGEFUSE_CLI_REPORT_PARTS_H
#define PAGEFUSE_CLI_REPORT_PARTS_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

#define REPORT_TITLE_SIZE 512 /* of a chart's title, which may have two names */

extern const char report_style[];

/* ---- report-parts.c ---- */

/** A field that has pages, in bytes; what no host has is cut. */
int64_t report_pages(const json_t *object, const char *key);
/** The same of one that has bytes. */
int64_t report_bytes(const json_t *object, const char *key);
/** A sum of sizes, which goes no further than one of them can. */
int64_t report_add(int64_t sum, int64_t bytes);
/** A field that counts something, from 0 on. */
int64_t report_count(const json_t *object, const char *key);
struct report_column {
	const char *title;
	const char *class; /* n: figures; chart; NULL */
};

#define REPORT_COLUMNS(columns) columns, sizeof(columns) / sizeof((columns)[0])

/** Begins a table. Rows of as many cells follow, of which one is a title (th, scope "row"), and then the end. */
void report_begin_table(FILE *out, const char *caption, const struct report_column *columns, size_t count);
void report_end_table(FILE *out);
/** A cell with a size. */
void report_size_cell(FILE *out, int64_t bytes);

/* ---- sections ---- */

void report_savings(FILE *out, const json_t *document);
void report_history(FILE *out, const json_t *document);
void report_vms(FILE *out, const json_t *document);
void report_pairs(FILE *out, const json_t *document);
void report_modules(FILE *out, const json_t *document);
void report_findings(FILE *out, const json_t *document);
void report_exposure(FILE *out, const json_t *document);
void report_memory(FILE *out, const json_t *document);

#endif
