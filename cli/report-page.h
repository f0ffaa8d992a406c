/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The page of `pagefuse report`, made from its document alone: no daemon, no clock. The document has what other
 * commands print with --json, as they print it:
 *
 *     report    1, the version of this form
 *     title, host_name, version, time (seconds since 1970)
 *     status    of `pagefuse status`
 *     samples[] object, host, metric, unit, period, values: what pagefused keeps, see `pagefuse metrics setup`
 *     estimate  of `pagefuse estimate`
 *     modules   of `pagefuse modules`
 *     doctor    of `pagefuse doctor`
 */
#ifndef PAGEFUSE_CLI_REPORT_PAGE_H
#define PAGEFUSE_CLI_REPORT_PAGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#define REPORT_FORM 1

/** What has samples kept for the page, for a day in steps of six minutes. */
#define REPORT_PERIOD_SECONDS 360
#define REPORT_SAMPLES 240
#define REPORT_SETUP "pagefuse metrics setup --period 360 --samples 240 '*' '*/Shared,RAM/VMM/Saved,RAM/VMM/Used'"

/** @return NULL if @document can be one, else what is wrong with it. */
const char *report_problem(const json_t *document);

/** What is missing in @document counts as 0, or as a part that has nothing to tell. */
void report_page(FILE *out, const json_t *document);

#endif
