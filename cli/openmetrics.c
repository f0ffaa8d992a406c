/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/openmetrics.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "cli/document.h"

#define NAME_SIZE 96

/* What is written into, and how. */
struct writer {
	FILE *out;
	enum openmetrics_format format;
};

enum family_type {
	FAMILY_GAUGE,
	FAMILY_COUNTER,
	FAMILY_INFO,
};

/* VMs' names may contain anything: escapes what would end a label or a line. The document is valid UTF-8. */
static void write_escaped(const struct writer *writer, const char *text)
{
	for (; *text != 0; text++)
		if (*text == '\n')
			fputs("\\n", writer->out);
		else if (*text == '\\' || *text == '"')
			fprintf(writer->out, "\\%c", *text);
		else
			fputc(*text, writer->out);
}

/* The classic format knows counters by the names of their samples, and no info. Samples are the same in both. */
static void write_family(const struct writer *writer, const char *name, enum family_type type, const char *help)
{
	static const char *const types[] = { "gauge", "counter", "info" };
	bool classic = writer->format == OPENMETRICS_CLASSIC;
	const char *suffix = "";

	if (classic && type == FAMILY_COUNTER)
		suffix = "_total";
	if (classic && type == FAMILY_INFO)
		suffix = "_info";
	fprintf(writer->out, "# TYPE %s%s %s\n# HELP %s%s ", name, suffix,
		types[classic && type == FAMILY_INFO ? FAMILY_GAUGE : type], name, suffix);
	/* The same as in labels, but that the classic format takes a quotation mark as it is. */
	for (; *help != 0; help++)
		fprintf(writer->out, *help == '"' && !classic ? "\\%c" : "%c", *help);
	fputc('\n', writer->out);
}

/* One label; @first: of its sample. */
static void write_label(const struct writer *writer, bool first, const char *name, const char *value)
{
	fprintf(writer->out, "%s%s=\"", first ? "{" : ",", name);
	write_escaped(writer, value);
	fputc('"', writer->out);
}

/* "{vm=…,domain=…" for a VM, "{domain=…" for a domain, nothing else. @return whether there is any. */
static bool write_owner(const struct writer *writer, const json_t *object, const char *kind)
{
	bool is_vm = strcmp(kind, "vm") == 0;

	if (is_vm)
		write_label(writer, true, "domain", field_text(object, "domain"));
	else if (strcmp(kind, "domain") != 0)
		return false;
	write_label(writer, !is_vm, kind, field_text(object, "name"));
	return true;
}

/* ---- the table's metrics ---- */

/* "usec" is no base unit: seconds are. */
static void family_name(char ret[NAME_SIZE], const char *kind, const struct metric *metric)
{
	size_t length = strlen(metric->name);
	bool is_usec = metric->unit == METRIC_USEC;

	if (is_usec)
		length -= strlen("_usec");
	snprintf(ret, NAME_SIZE, "pagefuse_%s_%.*s%s", kind, (int)length, metric->name, is_usec ? "_seconds" : "");
}

static void write_value(const struct writer *writer, const json_t *object, enum metric_id id)
{
	switch (metrics[id].unit) {
	case METRIC_NSEC:
		fprintf(writer->out, " %.9g\n", field_real(object, metrics[id].name));
		break;
	case METRIC_USEC:
		fprintf(writer->out, " %.9g\n", (double)field_metric(object, id) / 1e6);
		break;
	case METRIC_COUNT:
	case METRIC_PAGES:
	case METRIC_BYTES:
	case METRIC_FLAG:
		fprintf(writer->out, " %" PRId64 "\n", field_metric(object, id));
		break;
	}
}

/* Metric @id of each of @objects. A daemon of an earlier release has fewer; a domain's are some of the host's. */
static void write_metric(const struct writer *writer, const char *kind, enum metric_id id, const json_t *objects)
{
	const struct metric *metric = &metrics[id];
	char name[NAME_SIZE];
	const json_t *object;
	bool begun = false;
	size_t i;

	family_name(name, kind, metric);
	json_array_foreach(objects, i, object) {
		if (json_object_get(object, metric->name) == NULL)
			continue;
		if (!begun)
			write_family(writer, name, metric->so_far ? FAMILY_COUNTER : FAMILY_GAUGE, metric->help);
		begun = true;
		fprintf(writer->out, "%s%s", name, metric->so_far ? "_total" : "");
		if (write_owner(writer, object, kind))
			fputc('}', writer->out);
		write_value(writer, object, id);
	}
}

static void write_metrics(const struct writer *writer, const char *kind, enum metric_scope scope, const json_t *objects)
{
	for (enum metric_id id = 0; id < METRIC_END; id++)
		if (metrics[id].scope == scope)
			write_metric(writer, kind, id, objects);
}

static void write_one(const struct writer *writer, const char *kind, enum metric_scope scope, json_t *object)
{
	json_t *objects = json_pack("[O]", object);

	write_metrics(writer, kind, scope, objects);
	json_decref(objects);
}

/* ---- the other parts of the document ---- */

static void write_gauge(const struct writer *writer, const char *name, const char *help, int64_t value)
{
	write_family(writer, name, FAMILY_GAUGE, help);
	fprintf(writer->out, "%s %" PRId64 "\n", name, value);
}

static void write_daemon_info(const struct writer *writer, const json_t *daemon)
{
	write_family(writer, "pagefuse_daemon", FAMILY_INFO, "What pagefused is.");
	fputs("pagefuse_daemon_info", writer->out);
	write_label(writer, true, "version", field_text(daemon, "version"));
	write_label(writer, false, "store", field_text(daemon, "store"));
	fputs("} 1\n", writer->out);
}

static void write_memory_state(const struct writer *writer, const json_t *memory)
{
	static const char *const states[] = { "high", "clear", "soft", "hard", "low" };
	const char *state = field_text(memory, "state");

	write_family(writer, "pagefuse_memory_state", FAMILY_GAUGE, "How short memory is; one of these is 1.");
	for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++) {
		fputs("pagefuse_memory_state", writer->out);
		write_label(writer, true, "state", states[i]);
		fprintf(writer->out, "} %d\n", strcmp(state, states[i]) == 0);
	}
}

static void write_memory(const struct writer *writer, const json_t *memory)
{
	static const struct {
		const char *field, *name, *help;
	} figures[] = {
		{ "total_bytes", "pagefuse_memory_total_bytes", "Memory of host or cgroup, whichever is watched." },
		{ "free_bytes", "pagefuse_memory_free_bytes", "How much of it programs could have without swapping." },
		{ "swap_free_bytes", "pagefuse_memory_swap_free_bytes", "Swap that is free." },
		{ "min_free_bytes", "pagefuse_memory_min_free_bytes", "What the states' thresholds are made of." },
	};
	json_t *thresholds = json_object_get(memory, "threshold_bytes"), *bytes;
	const char *state;

	if (memory == NULL)
		return;
	write_memory_state(writer, memory);
	write_gauge(writer, "pagefuse_memory_stalled", "Whether tasks have waited for memory just now.",
		    field_bool(memory, "stalled"));
	for (size_t i = 0; i < sizeof(figures) / sizeof(*figures); i++)
		if (json_object_get(memory, figures[i].field))
			write_gauge(writer, figures[i].name, figures[i].help, field_integer(memory, figures[i].field));
	if (thresholds == NULL)
		return;
	write_family(writer, "pagefuse_memory_threshold_bytes", FAMILY_GAUGE,
		     "Free memory below which a state begins; above which high does.");
	json_object_foreach(thresholds, state, bytes) {
		fputs("pagefuse_memory_threshold_bytes", writer->out);
		write_label(writer, true, "state", state);
		fprintf(writer->out, "} %" PRId64 "\n", (int64_t)json_integer_value(bytes));
	}
}

static void write_vm_flag(const struct writer *writer, const json_t *vms, const char *field, const char *name,
			  const char *help)
{
	const json_t *vm;
	size_t i;

	write_family(writer, name, FAMILY_GAUGE, help);
	json_array_foreach(vms, i, vm) {
		fputs(name, writer->out);
		write_owner(writer, vm, "vm");
		fprintf(writer->out, "} %d\n", field_bool(vm, field));
	}
}

static void write_vm_infos(const struct writer *writer, const json_t *vms)
{
	const json_t *vm;
	size_t i;

	write_family(writer, "pagefuse_vm", FAMILY_INFO, "Which VM it is, and what is shared of it.");
	json_array_foreach(vms, i, vm) {
		fputs("pagefuse_vm_info", writer->out);
		write_owner(writer, vm, "vm");
		write_label(writer, false, "uuid", field_text(vm, "uuid"));
		write_label(writer, false, "mode", field_text(vm, "mode"));
		fprintf(writer->out, ",pid=\"%" PRId64 "\",uid=\"%" PRId64 "\"} 1\n", field_integer(vm, "pid"),
			field_integer(vm, "uid"));
	}
}

static void write_refusals(const struct writer *writer, const json_t *vms)
{
	const json_t *vm, *refused;
	size_t i, j;

	write_family(writer, "pagefuse_vm_refused_bytes", FAMILY_GAUGE,
		     "RAM of which nothing is shared now, by the reason; pagefuse-doctor(1) explains each.");
	json_array_foreach(vms, i, vm)
		json_array_foreach(json_object_get(vm, "refused"), j, refused) {
			fputs("pagefuse_vm_refused_bytes", writer->out);
			write_owner(writer, vm, "vm");
			write_label(writer, false, "reason", field_text(refused, "reason"));
			fprintf(writer->out, "} %" PRId64 "\n", field_integer(refused, "bytes"));
		}
}

static void write_status(const struct writer *writer, const json_t *status)
{
	const json_t *vms = json_object_get(status, "vms");
	json_t *daemon = json_object_get(status, "daemon");

	write_daemon_info(writer, daemon);
	write_one(writer, "daemon", METRIC_OF_DAEMON, daemon);
	write_one(writer, "host", METRIC_OF_HOST, json_object_get(status, "host"));
	write_memory(writer, json_object_get(status, "memory"));
	write_metrics(writer, "domain", METRIC_OF_HOST, json_object_get(status, "domains"));
	write_gauge(writer, "pagefuse_host_vms", "VMs that are shown here.", (int64_t)json_array_size(vms));
	if (json_array_size(vms) == 0)
		return;
	write_vm_infos(writer, vms);
	write_vm_flag(writer, vms, "connected", "pagefuse_vm_connected", "Whether its VMM is connected.");
	write_vm_flag(writer, vms, "scanning", "pagefuse_vm_scanning", "Whether its memory is being looked at.");
	write_metrics(writer, "vm", METRIC_OF_VM, vms);
	write_refusals(writer, vms);
}

/* ---- all ---- */

const char *openmetrics_content_type(enum openmetrics_format format)
{
	return format == OPENMETRICS_1 ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
				       : "text/plain; version=0.0.4; charset=utf-8";
}

void openmetrics_write(FILE *out, enum openmetrics_format format, const json_t *status)
{
	const struct writer writer = { .out = out, .format = format };

	write_gauge(&writer, "pagefuse_up", "Whether pagefused has answered.", status != NULL);
	if (status)
		write_status(&writer, status);
	if (format == OPENMETRICS_1)
		fputs("# EOF\n", out);
}
