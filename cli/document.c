/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/document.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

int64_t field_integer(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

double field_real(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

bool field_bool(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

const char *field_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : "";
}

int64_t field_metric(const json_t *object, enum metric_id id)
{
	if (metrics[id].unit == METRIC_FLAG)
		return field_bool(object, metrics[id].name);
	return field_integer(object, metrics[id].name);
}

const char *field_metric_text(struct format_buffer *buffer, const json_t *object, enum metric_id id)
{
	switch (metrics[id].unit) {
	case METRIC_PAGES:
		return format_pages(buffer, field_metric(object, id));
	case METRIC_BYTES:
		return format_bytes(buffer, field_metric(object, id));
	case METRIC_USEC:
		return format_usec(buffer, (uint64_t)field_metric(object, id));
	case METRIC_NSEC:
		snprintf(buffer->text, sizeof(buffer->text), "%.1fs", field_real(object, metrics[id].name));
		break;
	case METRIC_COUNT:
		snprintf(buffer->text, sizeof(buffer->text), "%" PRId64, field_metric(object, id));
		break;
	case METRIC_FLAG:
		return strcpy(buffer->text, field_metric(object, id) ? "yes" : "no");
	}
	return buffer->text;
}

json_t *status_find_vm(const json_t *status, const char *name)
{
	json_t *vm;
	size_t i;

	json_array_foreach(json_object_get(status, "vms"), i, vm)
		if (strcmp(field_text(vm, "name"), name) == 0)
			return vm;
	return NULL;
}

int document_print(const json_t *document, bool compact)
{
	/* As many digits as a double keeps: with one more 3725.4 is 3725.4000000000001. */
	size_t flags = (compact ? JSON_COMPACT : JSON_INDENT(2)) | JSON_REAL_PRECISION(15);

	if (document == NULL || json_dumpf(document, stdout, flags) < 0) {
		complain("cannot write the JSON document: out of memory or no room at standard output; free some");
		return CLI_FAILED;
	}
	putchar('\n');
	return cli_finish_output();
}
