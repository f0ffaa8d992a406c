/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What `pagefuse top` can tell of a VM, and which VMs it shows in which order. Plain code: no terminal, no clock. */
#ifndef PAGEFUSE_CLI_TOP_FIELDS_H
#define PAGEFUSE_CLI_TOP_FIELDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/** In the order in which they are shown. */
enum top_field {
	FIELD_NAME,
	FIELD_PID,
	FIELD_DOMAIN,
	FIELD_MODE,
	FIELD_RAM,
	FIELD_PRESENT,
	FIELD_SHARED,
	FIELD_ZERO,
	FIELD_SAVED,
	FIELD_EXPOSED,
	FIELD_COWH,
	FIELD_DIVERGED,
	FIELD_DIVERGED_RATE,
	FIELD_HINTED,
	FIELD_MAPPINGS,
	FIELD_HOLD_P99,
	FIELD_CPU,
	FIELD_CPU_PERCENT,
	FIELD_STATE,
	FIELD_WHY,
	FIELD_END,
};

#define TOP_FILTER_SIZE 64
#define TOP_TEXT_SIZE 256

/* What is made of two documents, in each VM's object of the later one; missing where there is nothing to compare. */
#define TOP_DIVERGED_RATE "diverged_pages_per_second"
#define TOP_CPU_PERCENT "worker_cpu_percent"

struct top_view {
	bool shown[FIELD_END];
	enum top_field sort;
	bool reversed;                /* not the most, or A, first, but the least, or Z */
	char filter[TOP_FILTER_SIZE]; /* a shell wildcard for names; "": all VMs */
};

/** The usual columns, those that save most first. */
void top_view_init(struct top_view *view);
/** Takes over "saved,name,…" for the columns. @return NULL, or the part that is no title, until the next comma. */
const char *top_view_choose(struct top_view *view, const char *list);
/** @return FIELD_END if @length bytes of @title are none. */
enum top_field top_field_find(const char *title, size_t length);

const char *top_field_title(enum top_field field);
/** What it is, a sentence for a person. */
const char *top_field_help(enum top_field field);
/** For columns whose figures belong to the right. */
bool top_field_is_number(enum top_field field);

/** What a person is shown of @vm, plain ASCII; "-": not known. @return @text. */
const char *top_field_text(enum top_field field, const json_t *vm, char text[TOP_TEXT_SIZE]);
/** What of its memory is left alone, and how much, or what else keeps it from sharing; "". @return @text. */
const char *top_vm_why(const json_t *vm, char text[TOP_TEXT_SIZE]);

/** Adds the rates since @before, an earlier document or NULL, to @status. Without memory they are missing. */
void top_rates_add(json_t *status, const json_t *before);

/** The VMs to show, sorted; the array is the caller's, the VMs are @vms'. @return 0, -ENOMEM. */
int top_view_rows(const struct top_view *view, const json_t *vms, const json_t ***ret_rows, size_t *ret_count);

#endif
