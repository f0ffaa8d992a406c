/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading fields of the daemon's JSON, and printing it. What is missing or of another type reads as 0, false or "". */
#ifndef PAGEFUSE_CLI_DOCUMENT_H
#define PAGEFUSE_CLI_DOCUMENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "cli/format.h"
#include "protocol/metrics.h"

int64_t field_integer(const json_t *object, const char *key);
double field_real(const json_t *object, const char *key);
bool field_bool(const json_t *object, const char *key);
/** Never NULL; belongs to @object. */
const char *field_text(const json_t *object, const char *key);

/** The value of a metric in the object that has those of its scope, in its unit; but seconds if that is nsec. */
int64_t field_metric(const json_t *object, enum metric_id id);
/** The same for a person, with its unit. @return the buffer's text. */
const char *field_metric_text(struct format_buffer *buffer, const json_t *object, enum metric_id id);

/** The VM called @name in a status document, which keeps it; NULL if there is none. */
json_t *status_find_vm(const json_t *status, const char *name);

/** Prints @document and a line end on standard output; in one line if @compact. @return enum cli_exit. */
int document_print(const json_t *document, bool compact);

#endif
