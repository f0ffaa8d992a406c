/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/summary.h"

#include <inttypes.h>

#include "cli/document.h"
#include "cli/format.h"

/** What the daemon quotes may come from a file's name: it must not steer the terminal. */
static void print_plain(FILE *out, const char *text)
{
	char plain[512];

	fputs(format_plain(plain, sizeof(plain), text), out);
}

void summary_daemon(FILE *out, const json_t *status)
{
	const json_t *daemon = json_object_get(status, "daemon");
	struct format_buffer uptime, memory;

	fprintf(out, "pagefused %" PRId64 ": up %s, %.1fs CPU, %s memory, store on ", field_integer(daemon, "pid"),
		format_seconds(&uptime, (uint64_t)field_real(daemon, metrics[METRIC_DAEMON_UPTIME].name)),
		field_real(daemon, metrics[METRIC_DAEMON_CPU].name),
		field_metric_text(&memory, daemon, METRIC_DAEMON_MEMORY));
	print_plain(out, field_text(daemon, "store"));
	fputc('\n', out);
}

void summary_shared(FILE *out, const json_t *status)
{
	const json_t *host = json_object_get(status, "host");

	fprintf(out, "PSHARE/MB: %" PRId64 " shared, %" PRId64 " common, %" PRId64 " zero: %" PRId64 " saving\n",
		pages_to_mb(field_metric(host, METRIC_HOST_SHARED)),
		pages_to_mb(field_metric(host, METRIC_HOST_COMMON)), pages_to_mb(field_metric(host, METRIC_HOST_ZERO)),
		pages_to_mb(field_metric(host, METRIC_HOST_SAVED)));
}

void summary_store(FILE *out, const json_t *status)
{
	const json_t *host = json_object_get(status, "host");

	fprintf(out, "STORE/MB:  %" PRId64 " store, %" PRId64 " overhead%s\n",
		bytes_to_mb(field_metric(host, METRIC_HOST_STORE)),
		bytes_to_mb(field_metric(host, METRIC_HOST_OVERHEAD)),
		field_metric(host, METRIC_HOST_STORE_FULL) ? "; full: nothing new is shared until there is room" : "");
}

void summary_memory(FILE *out, const json_t *status)
{
	const json_t *memory = json_object_get(status, "memory");
	const json_t *thresholds = json_object_get(memory, "threshold_bytes");
	const char *error = field_text(memory, "error");

	if (memory == NULL)
		return;
	fputs("MEM/MB:    ", out);
	if (thresholds)
		fprintf(out, "%" PRId64 " total, %" PRId64 " free, %" PRId64 " minfree: ",
			bytes_to_mb(field_integer(memory, "total_bytes")),
			bytes_to_mb(field_integer(memory, "free_bytes")),
			bytes_to_mb(field_integer(memory, "min_free_bytes")));
	print_plain(out, field_text(memory, "state"));
	fputs(" state", out);
	if (thresholds)
		fprintf(out,
			" (high above %" PRId64 ", clear below %" PRId64 ", soft %" PRId64 ", hard %" PRId64
			", low %" PRId64 ")",
			bytes_to_mb(field_integer(thresholds, "high")), bytes_to_mb(field_integer(thresholds, "clear")),
			bytes_to_mb(field_integer(thresholds, "soft")), bytes_to_mb(field_integer(thresholds, "hard")),
			bytes_to_mb(field_integer(thresholds, "low")));
	if (*error)
		fputs("; no new figures: ", out);
	print_plain(out, error);
	fputc('\n', out);
}

void summary_exposure(FILE *out, const json_t *status)
{
	const json_t *host = json_object_get(status, "host"), *memory = json_object_get(status, "memory");
	int64_t uncovered = field_metric(host, METRIC_HOST_UNCOVERED);

	if (json_object_get(host, metrics[METRIC_HOST_EXPOSED].name) == NULL)
		return;
	fprintf(out, "EXPOSE/MB: %" PRId64 " exposed", pages_to_mb(field_metric(host, METRIC_HOST_EXPOSED)));
	if (json_object_get(memory, "swap_free_bytes") != NULL) {
		fprintf(out, ", %" PRId64 " free, %" PRId64 " swap free: ",
			bytes_to_mb(field_integer(memory, "free_bytes")),
			bytes_to_mb(field_integer(memory, "swap_free_bytes")));
		if (uncovered > 0)
			fprintf(out, "%" PRId64 " not covered, if guests write all that is shared",
				bytes_to_mb(uncovered));
		else
			fputs("covered", out);
	}
	if (json_object_get(memory, "exposure_max_bytes") != NULL)
		fprintf(out, ", %" PRId64 " max", bytes_to_mb(field_integer(memory, "exposure_max_bytes")));
	if (field_metric(host, METRIC_HOST_EXPOSURE_HELD) > 0)
		fprintf(out, "; nothing new is shared of %" PRId64 " of the VMs",
			field_metric(host, METRIC_HOST_EXPOSURE_HELD));
	fputc('\n', out);
}

const char *summary_vm_state(const json_t *vm)
{
	if (!field_bool(vm, "connected"))
		return "not connected";
	if (field_bool(vm, "scanning"))
		return "scanning";
	if (json_array_size(json_object_get(vm, "refused")) > 0 || field_metric(vm, METRIC_VM_EXPOSURE_HELD))
		return "see doctor";
	return "idle";
}
