/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pagefuse top --batch: figures for spreadsheets and programs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/client.h"
#include "cli/document.h"
#include "cli/summary.h"
#include "cli/top.h"

/*
 * The figures of a line, behind what says whose they are. A figure that a host or a VM has not is an empty cell. New
 * ones come at the end: the places of those that are there stay.
 */
static const struct {
	enum metric_id id;
	const char *key; /* in place of a metric */
} columns[] = {
	{ METRIC_VM_RAM, NULL },
	{ METRIC_VM_PRESENT, NULL },
	{ METRIC_VM_SHARED, NULL },
	{ METRIC_HOST_COMMON, NULL },
	{ METRIC_VM_ZERO, NULL },
	{ METRIC_VM_SAVED, NULL },
	{ METRIC_VM_EXPOSED, NULL },
	{ METRIC_VM_WOULD_SAVE, NULL },
	{ METRIC_VM_DIVERGED, NULL },
	{ 0, TOP_DIVERGED_RATE },
	{ METRIC_VM_HINTED, NULL },
	{ METRIC_VM_MAPPINGS, NULL },
	{ METRIC_VM_HOLD_P99, NULL },
	{ METRIC_VM_WORKER_CPU, NULL },
	{ 0, TOP_CPU_PERCENT },
	{ METRIC_HOST_STORE, NULL },
	{ METRIC_HOST_OVERHEAD, NULL },
	{ METRIC_HOST_UNCOVERED, NULL },
	{ 0, "total_bytes" },
	{ 0, "free_bytes" },
	{ 0, "swap_free_bytes" },
	{ 0, "min_free_bytes" },
};

#define COLUMNS (sizeof(columns) / sizeof(*columns))

static const char *column_name(size_t column)
{
	return columns[column].key ? columns[column].key : metrics[columns[column].id].name;
}

static void print_titles(void)
{
	fputs("time,object,name,pid,domain,mode,state,why", stdout);
	for (size_t i = 0; i < COLUMNS; i++)
		printf(",%s", column_name(i));
	putchar('\n');
}

/**
 * A cell of plain text, as of RFC 4180. A spreadsheet takes what begins like a formula for one, and a VM can be called
 * so: an apostrophe before it makes it text.
 */
static void print_plain(const char *plain)
{
	bool quote = strpbrk(plain, "\",") != NULL;

	fputs(quote ? ",\"" : ",", stdout);
	if (plain[0] != '\0' && strchr("=+-@'", plain[0]) != NULL)
		putchar('\'');
	for (const char *c = plain; *c != '\0'; c++)
		fputs(*c == '"' ? "\"\"" : (char[]){ *c, '\0' }, stdout);
	if (quote)
		putchar('"');
}

static void print_text(const char *text)
{
	char plain[TOP_TEXT_SIZE];

	print_plain(format_plain(plain, sizeof(plain), text));
}

static void print_number(const json_t *value)
{
	putchar(',');
	if (json_is_integer(value))
		printf("%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else if (json_is_real(value))
		printf("%.15g", json_real_value(value)); /* as many digits as a double keeps */
}

/** @more: of the same; NULL: nothing. */
static void print_numbers(const json_t *object, const json_t *more)
{
	for (size_t i = 0; i < COLUMNS; i++) {
		const json_t *value = json_object_get(object, column_name(i));

		print_number(value ? value : json_object_get(more, column_name(i)));
	}
	putchar('\n');
}

static void print_host(const char *clock, const json_t *status)
{
	const json_t *memory = json_object_get(status, "memory");

	printf("%s,host,,,,", clock); /* it has no name, process, domain or mode */
	print_text(field_text(memory, "state"));
	print_text(field_text(memory, "error"));
	print_numbers(json_object_get(status, "host"), memory);
}

static void print_vm(const char *clock, const json_t *vm)
{
	char why[TOP_TEXT_SIZE];

	printf("%s,vm", clock);
	print_text(field_text(vm, "name"));
	print_number(json_object_get(vm, "pid"));
	print_text(field_text(vm, "domain"));
	print_text(field_text(vm, "mode"));
	print_plain(summary_vm_state(vm));
	print_plain(top_vm_why(vm, why));
	print_numbers(vm, NULL);
}

static int print_csv(const json_t *status, const json_t **rows, size_t count, const struct timespec *now)
{
	char clock[32];
	struct tm utc;

	gmtime_r(&now->tv_sec, &utc);
	strftime(clock, sizeof(clock), "%Y-%m-%d %H:%M:%S", &utc);
	print_host(clock, status);
	for (size_t i = 0; i < count; i++)
		print_vm(clock, rows[i]);
	return cli_finish_output();
}

/** The status document with the rates, and of the VMs those that are wanted. */
static int print_json(const json_t *status, const json_t **rows, size_t count, const struct timespec *now)
{
	int64_t msec = (int64_t)now->tv_sec * 1000 + now->tv_nsec / 1000000;
	json_t *document = json_pack("{s:f}", "time", (double)msec / 1000), *vms = json_array();
	int r;

	for (size_t i = 0; i < count; i++)
		json_array_append(vms, (json_t *)rows[i]);
	json_object_update(document, (json_t *)status);
	if (json_object_set_new(document, "vms", vms) < 0) { /* out of memory: print nothing rather than a part */
		json_decref(document);
		document = NULL;
	}
	r = document_print(document, true);
	json_decref(document);
	return r;
}

static int print(const struct cli *cli, const struct top_wish *wish, const json_t *status)
{
	struct timespec now;
	const json_t **rows;
	size_t count;
	int r;

	if (top_view_rows(&wish->view, json_object_get(status, "vms"), &rows, &count) < 0) {
		complain("top: out of memory while sorting VMs; free some");
		return CLI_FAILED;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	r = (cli->json ? print_json : print_csv)(status, rows, count, &now);
	free(rows);
	return r;
}

static int refresh(const struct cli *cli, struct client *client, const struct top_wish *wish, json_t **status)
{
	json_t *before = *status;
	int r = client_status(cli, client, status);

	if (r != CLI_DONE)
		return r;
	top_rates_add(*status, before);
	if (before == NULL && !cli->json)
		print_titles();
	json_decref(before);
	return print(cli, wish, *status);
}

int top_batch(const struct cli *cli, const struct top_wish *wish)
{
	unsigned long left = wish->count;
	struct client *client;
	json_t *status = NULL;
	int r = client_open(cli, &client);

	if (r != CLI_DONE)
		return r;
	r = refresh(cli, client, wish, &status);
	while (r == CLI_DONE && left != 1) {
		left -= left > 0;
		r = client_wait(client, wish->delay_msec);
		r = r < 0 ? client_failed(cli, r) : refresh(cli, client, wish, &status);
	}
	json_decref(status);
	client_free(client);
	return r;
}
