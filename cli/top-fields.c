/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/top-fields.h"

#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/document.h"
#include "cli/format.h"
#include "cli/summary.h"

enum kind {
	KIND_TEXT,
	KIND_PID,
	KIND_METRIC,
	KIND_RATE,
	KIND_STATE,
	KIND_WHY,
};

struct field {
	enum kind kind;
	bool usual;        /* shown unless it is chosen away */
	enum metric_id id; /* KIND_METRIC: has the title, and what it is unless that is said here */
	const char *title;
	const char *key; /* in the VM's object */
	const char *help;
};

/* clang-format off */
#define TEXT(title, usual, key, help) { KIND_TEXT, usual, 0, title, key, help }
#define METRIC(id, usual, help) { KIND_METRIC, usual, id, NULL, NULL, help }
#define RATE(title, usual, key, help) { KIND_RATE, usual, 0, title, key, help }

static const struct field fields[FIELD_END] = {
	[FIELD_NAME] = TEXT("NAME", true, "name",
		"What the VM is called."),
	[FIELD_PID] = { KIND_PID, false, 0, "PID", "pid",
		"The VMM's process." },
	[FIELD_DOMAIN] = TEXT("DOMAIN", false, "domain",
		"It shares with VMs of the same domain only."),
	[FIELD_MODE] = TEXT("MODE", true, "mode",
		"What is shared of it: off, zero, hints or full."),
	[FIELD_RAM] = METRIC(METRIC_VM_RAM, false, NULL),
	[FIELD_PRESENT] = METRIC(METRIC_VM_PRESENT, true, NULL),
	[FIELD_SHARED] = METRIC(METRIC_VM_SHARED, true,
		"Its pages that map a page of the store and have not been written since."),
	[FIELD_ZERO] = METRIC(METRIC_VM_ZERO, true,
		"Its pages that were full of zeros and have been given back to the kernel."),
	[FIELD_SAVED] = METRIC(METRIC_VM_SAVED, true,
		"What it saves: shared + zero, less its part of the copies that are kept."),
	[FIELD_EXPOSED] = METRIC(METRIC_VM_EXPOSED, false,
		"What it takes of memory if it writes all that it shares, and its zeros."),
	[FIELD_COWH] = METRIC(METRIC_VM_WOULD_SAVE, false,
		"What sharing would save besides, if 2 MiB pages were split for it now."),
	[FIELD_DIVERGED] = METRIC(METRIC_VM_DIVERGED, true,
		"Pages that were shared, and written since: private copies."),
	[FIELD_DIVERGED_RATE] = RATE("DIV/S", true, TOP_DIVERGED_RATE,
		"Pages a second by which DIVERGED has grown: copied on write, less those shared again."),
	[FIELD_HINTED] = METRIC(METRIC_VM_HINTED, false, NULL),
	[FIELD_MAPPINGS] = METRIC(METRIC_VM_MAPPINGS, false, NULL),
	[FIELD_HOLD_P99] = METRIC(METRIC_VM_HOLD_P99, false,
		"For how long pages were held while they were compared, the 99th percentile."),
	[FIELD_CPU] = METRIC(METRIC_VM_WORKER_CPU, false, NULL),
	[FIELD_CPU_PERCENT] = RATE("%CPU", true, TOP_CPU_PERCENT,
		"What the worker thread inside the VMM takes of a CPU."),
	[FIELD_STATE] = { KIND_STATE, true, 0, "STATE", NULL,
		"idle, scanning, not connected, or see doctor." },
	[FIELD_WHY] = { KIND_WHY, true, 0, "WHY", NULL,
		"What keeps memory of it from being shared, and how much." },
};
/* clang-format on */

const char *top_field_title(enum top_field field)
{
	return fields[field].kind == KIND_METRIC ? metrics[fields[field].id].column : fields[field].title;
}

const char *top_field_help(enum top_field field)
{
	return fields[field].help ? fields[field].help : metrics[fields[field].id].help;
}

bool top_field_is_number(enum top_field field)
{
	return fields[field].kind == KIND_PID || fields[field].kind == KIND_METRIC || fields[field].kind == KIND_RATE;
}

static const char *key_of(enum top_field field)
{
	return fields[field].kind == KIND_METRIC ? metrics[fields[field].id].name : fields[field].key;
}

/* ---- which fields ---- */

void top_view_init(struct top_view *view)
{
	*view = (struct top_view){ .sort = FIELD_SAVED };
	for (enum top_field field = 0; field < FIELD_END; field++)
		view->shown[field] = fields[field].usual;
}

enum top_field top_field_find(const char *title, size_t length)
{
	enum top_field field = 0;

	while (field < FIELD_END && (strlen(top_field_title(field)) != length ||
				     strncasecmp(top_field_title(field), title, length) != 0))
		field++;
	return field;
}

const char *top_view_choose(struct top_view *view, const char *list)
{
	memset(view->shown, 0, sizeof(view->shown));
	for (;;) {
		size_t length = strcspn(list, ",");
		enum top_field field = top_field_find(list, length);

		if (field == FIELD_END)
			return list;
		view->shown[field] = true;
		if (list[length] == '\0')
			return NULL;
		list += length + 1;
	}
}

/* ---- what they say ---- */

const char *top_vm_why(const json_t *vm, char text[TOP_TEXT_SIZE])
{
	size_t length = 0, i;
	const json_t *refused;

	text[0] = '\0';
	if (field_metric(vm, METRIC_VM_EXPOSURE_HELD))
		length = (size_t)snprintf(text, TOP_TEXT_SIZE, "exposure_max");
	json_array_foreach(json_object_get(vm, "refused"), i, refused) {
		char reason[64];
		struct format_buffer bytes;

		length += (size_t)snprintf(text + length, TOP_TEXT_SIZE - length, "%s%s %s", length > 0 ? ", " : "",
					   format_plain(reason, sizeof(reason), field_text(refused, "reason")),
					   format_bytes(&bytes, field_integer(refused, "bytes")));
		if (length >= TOP_TEXT_SIZE)
			break;
	}
	return text;
}

const char *top_field_text(enum top_field field, const json_t *vm, char text[TOP_TEXT_SIZE])
{
	struct format_buffer buffer;

	if (top_field_is_number(field) && json_object_get(vm, key_of(field)) == NULL)
		return strcpy(text, "-");
	switch (fields[field].kind) {
	case KIND_TEXT:
		return format_plain(text, TOP_TEXT_SIZE, field_text(vm, fields[field].key));
	case KIND_PID:
		snprintf(text, TOP_TEXT_SIZE, "%" PRId64, field_integer(vm, fields[field].key));
		break;
	case KIND_METRIC:
		return strcpy(text, field_metric_text(&buffer, vm, fields[field].id));
	case KIND_RATE:
		snprintf(text, TOP_TEXT_SIZE, "%.1f", field_real(vm, fields[field].key));
		break;
	case KIND_STATE:
		return strcpy(text, summary_vm_state(vm));
	case KIND_WHY:
		return top_vm_why(vm, text);
	}
	return text;
}

/* ---- rates ---- */

/** By the daemon's clock, which the figures are of. 0: these are not two documents of one daemon. */
static double seconds_between(const json_t *before, const json_t *after)
{
	const json_t *old = json_object_get(before, "daemon"), *new = json_object_get(after, "daemon");
	const char *uptime = metrics[METRIC_DAEMON_UPTIME].name;
	double seconds = field_real(new, uptime) - field_real(old, uptime);

	return field_integer(old, "pid") == field_integer(new, "pid") && seconds > 0 ? seconds : 0;
}

/** @return name -> VM, which borrows nothing; NULL without memory. */
static json_t *index_vms(const json_t *status)
{
	json_t *by_name = json_object(), *vm;
	size_t i;

	json_array_foreach(json_object_get(status, "vms"), i, vm)
		json_object_set(by_name, field_text(vm, "name"), vm);
	return by_name;
}

static double growth(const json_t *old, const json_t *new, enum metric_id id)
{
	return field_real(new, metrics[id].name) - field_real(old, metrics[id].name);
}

void top_rates_add(json_t *status, const json_t *before)
{
	double seconds = seconds_between(before, status);
	json_t *by_name, *vm;
	size_t i;

	if (seconds <= 0)
		return;
	by_name = index_vms(before);
	json_array_foreach(json_object_get(status, "vms"), i, vm) {
		const json_t *old = json_object_get(by_name, field_text(vm, "name"));
		double cpu = growth(old, vm, METRIC_VM_WORKER_CPU);

		if (old == NULL || field_integer(old, "pid") != field_integer(vm, "pid"))
			continue; /* another VM */
		json_object_set_new(vm, TOP_DIVERGED_RATE,
				    json_real(growth(old, vm, METRIC_VM_DIVERGED) / seconds));
		if (cpu >= 0) /* else the worker began anew */
			json_object_set_new(vm, TOP_CPU_PERCENT, json_real(100 * cpu / seconds));
	}
	json_decref(by_name);
}

/* ---- which VMs ---- */

/** What is not known comes after all that is. */
static int compare_numbers(const json_t *a, const json_t *b, const char *key)
{
	bool known_a = json_object_get(a, key) != NULL, known_b = json_object_get(b, key) != NULL;
	double value_a = field_real(a, key), value_b = field_real(b, key);

	if (known_a != known_b)
		return known_a ? -1 : 1;
	return value_a > value_b ? -1 : value_a < value_b;
}

static int compare(const void *a, const void *b, void *user)
{
	const struct top_view *view = user;
	const json_t *vm_a = *(const json_t *const *)a, *vm_b = *(const json_t *const *)b;
	char text_a[TOP_TEXT_SIZE], text_b[TOP_TEXT_SIZE];
	int order;

	if (top_field_is_number(view->sort))
		order = compare_numbers(vm_a, vm_b, key_of(view->sort));
	else
		order = strcmp(top_field_text(view->sort, vm_a, text_a), top_field_text(view->sort, vm_b, text_b));
	if (order != 0)
		return view->reversed ? -order : order;
	return strcmp(field_text(vm_a, "name"), field_text(vm_b, "name"));
}

int top_view_rows(const struct top_view *view, const json_t *vms, const json_t ***ret_rows, size_t *ret_count)
{
	const json_t **rows = malloc((json_array_size(vms) + 1) * sizeof(const json_t *)), *vm;
	size_t i, count = 0;

	if (rows == NULL)
		return -ENOMEM;
	json_array_foreach(vms, i, vm)
		if (view->filter[0] == '\0' || fnmatch(view->filter, field_text(vm, "name"), 0) == 0)
			rows[count++] = vm;
	qsort_r(rows, count, sizeof(const json_t *), compare, (void *)view);
	*ret_rows = rows;
	*ret_count = count;
	return 0;
}
