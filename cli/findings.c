/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/findings.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/utf8.h"

static const char *const severity_names[] = {
	[SEVERITY_NOTE] = "note",
	[SEVERITY_WARNING] = "warning",
	[SEVERITY_ERROR] = "error",
};

static void finding_done(struct finding *finding)
{
	free(finding->vm);
	free(finding->text);
	free(finding->remedy);
}

static bool finding_init(struct finding *finding, const char *vm, const char *remedy, const char *format,
			 va_list arguments) __attribute__((format(printf, 4, 0)));

/* Words of a process's command line or environment may be any bytes, of which JSON takes UTF-8 only. */
static bool finding_init(struct finding *finding, const char *vm, const char *remedy, const char *format,
			 va_list arguments)
{
	char *text;

	if (vasprintf(&text, format, arguments) < 0)
		text = NULL;
	finding->text = text ? utf8_clean(text) : NULL;
	free(text);
	finding->remedy = utf8_clean(remedy);
	finding->vm = vm ? utf8_clean(vm) : NULL;
	return finding->text != NULL && finding->remedy != NULL && (vm == NULL || finding->vm != NULL);
}

void findings_add(struct findings *findings, enum severity severity, const char *subject, const char *vm,
		  const char *remedy, const char *format, ...)
{
	struct finding finding = { .severity = severity, .subject = subject };
	struct finding *grown;
	va_list arguments;
	bool made;

	va_start(arguments, format);
	made = finding_init(&finding, vm, remedy, format, arguments);
	va_end(arguments);
	grown = made ? reallocarray(findings->list, findings->count + 1, sizeof(*grown)) : NULL;
	if (grown == NULL) {
		finding_done(&finding);
		findings->incomplete = true;
		return;
	}
	findings->list = grown;
	findings->list[findings->count++] = finding;
}

void findings_done(struct findings *findings)
{
	for (size_t i = 0; i < findings->count; i++)
		finding_done(&findings->list[i]);
	free(findings->list);
	*findings = (struct findings){ 0 };
}

static bool same_vm(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool findings_has(const struct findings *findings, const char *subject, const char *vm)
{
	for (size_t i = 0; i < findings->count; i++)
		if (strcmp(findings->list[i].subject, subject) == 0 && same_vm(findings->list[i].vm, vm))
			return true;
	return false;
}

size_t findings_count(const struct findings *findings, enum severity severity)
{
	size_t count = 0;

	for (size_t i = 0; i < findings->count; i++)
		count += findings->list[i].severity == severity;
	return count;
}

/** Texts may quote a process's command line: control characters must not reach the terminal. */
static void print_clean(const char *text)
{
	for (; *text != '\0'; text++)
		putchar((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text);
}

static void print_finding(const struct finding *finding)
{
	printf("%s: ", severity_names[finding->severity]);
	if (finding->vm != NULL) {
		print_clean(finding->vm);
		fputs(": ", stdout);
	}
	print_clean(finding->text);
	fputs("\n    ", stdout);
	print_clean(finding->remedy);
	putchar('\n');
}

void findings_print(const struct findings *findings)
{
	size_t errors = findings_count(findings, SEVERITY_ERROR), warnings = findings_count(findings, SEVERITY_WARNING);

	for (int severity = SEVERITY_ERROR; severity >= SEVERITY_NOTE; severity--)
		for (size_t i = 0; i < findings->count; i++)
			if ((int)findings->list[i].severity == severity)
				print_finding(&findings->list[i]);
	if (errors == 0 && warnings == 0)
		puts("Nothing was found that keeps memory from being shared.");
	else
		printf("%zu error%s, %zu warning%s.\n", errors, errors == 1 ? "" : "s", warnings,
		       warnings == 1 ? "" : "s");
}

json_t *findings_json(const struct findings *findings)
{
	json_t *list = json_array();

	for (size_t i = 0; i < findings->count; i++) {
		const struct finding *finding = &findings->list[i];

		if (json_array_append_new(list, json_pack("{s:s, s:s, s:s?, s:s, s:s}", "severity",
							  severity_names[finding->severity], "subject",
							  finding->subject, "vm", finding->vm, "text", finding->text,
							  "remedy", finding->remedy)) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return json_pack("{s:I, s:I, s:o}", "errors", (json_int_t)findings_count(findings, SEVERITY_ERROR), "warnings",
			 (json_int_t)findings_count(findings, SEVERITY_WARNING), "findings", list);
}
