/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What doctor found: a list of findings, and how it is shown. */
#ifndef PAGEFUSE_CLI_FINDINGS_H
#define PAGEFUSE_CLI_FINDINGS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum severity {
	SEVERITY_NOTE,    /* good to know */
	SEVERITY_WARNING, /* less is shared than could be, or it is less safe */
	SEVERITY_ERROR,   /* nothing is shared */
};

struct finding {
	enum severity severity;
	const char *subject; /* stable short name, not owned */
	char *vm;            /* name, or NULL if it is about the host */
	char *text;          /* what is wrong, with the value */
	char *remedy;        /* what to do */
};

struct findings {
	struct finding *list;
	size_t count;
	bool incomplete; /* memory ran out */
};

/**
 * Adds one. @subject: a string constant. @vm: NULL for the host. @remedy: copied. @format: the text.
 * Without memory, @findings is marked incomplete.
 */
void findings_add(struct findings *findings, enum severity severity, const char *subject, const char *vm,
		  const char *remedy, const char *format, ...) __attribute__((format(printf, 6, 7)));
void findings_done(struct findings *findings);

bool findings_has(const struct findings *findings, const char *subject, const char *vm);
size_t findings_count(const struct findings *findings, enum severity severity);

void findings_print(const struct findings *findings);
/** {"errors":N,"warnings":N,"findings":[{severity,subject,vm,text,remedy}]}; NULL without memory. */
json_t *findings_json(const struct findings *findings);

#endif
