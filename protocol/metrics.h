/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every figure of the status document: what it is called there, its unit, and how it is shown. The daemon takes the
 * values (daemon/metrics.c), the CLI shows them; pagefuse(1) has the names and the help texts (tests/layers/docs.py).
 * Names stay.
 */
#ifndef PAGEFUSE_PROTOCOL_METRICS_H
#define PAGEFUSE_PROTOCOL_METRICS_H

#define METRIC_VALUE_MAX ((INT64_C(1) << 53) - 1) /* what every JSON reader can take */

/** The object of the status document that a metric is in. */
enum metric_scope {
	METRIC_OF_DAEMON,
	METRIC_OF_HOST,
	METRIC_OF_VM,
};

enum metric_unit {
	METRIC_COUNT,
	METRIC_PAGES,
	METRIC_BYTES,
	METRIC_NSEC, /* of the value; the document has seconds, with a fraction */
	METRIC_USEC,
	METRIC_FLAG, /* 0 or 1; the document has false or true */
};

/** In the order in which the document has them. */
enum metric_id {
	METRIC_DAEMON_UPTIME,
	METRIC_DAEMON_CPU,
	METRIC_DAEMON_MEMORY,
	METRIC_DAEMON_TURN_USEC,
	METRIC_DAEMON_TURN_CPU_USEC,
	METRIC_DAEMON_TURN_REPORTS,
	METRIC_DAEMON_TURN_ORDERS,
	METRIC_DAEMON_TURN_PACKETS,
	METRIC_DAEMON_TURN_ITEMS,

	METRIC_HOST_SHARED,
	METRIC_HOST_COMMON,
	METRIC_HOST_ZERO,
	METRIC_HOST_SAVED,
	METRIC_HOST_SAVED_BYTES,
	METRIC_HOST_WHOLE,
	METRIC_HOST_BROKEN,
	METRIC_HOST_READY,
	METRIC_HOST_WOULD_SAVE,
	METRIC_HOST_STORE,
	METRIC_HOST_STORE_FULL,
	METRIC_HOST_OVERHEAD,

	METRIC_VM_RAM,
	METRIC_VM_SHARED,
	METRIC_VM_ZERO,
	METRIC_VM_DIVERGED,
	METRIC_VM_PRESENT,
	METRIC_VM_SAVED,
	METRIC_VM_WHOLE,
	METRIC_VM_BROKEN,
	METRIC_VM_READY,
	METRIC_VM_WOULD_SAVE,
	METRIC_VM_HINTED,
	METRIC_VM_HINTED_HASHED,
	METRIC_VM_HINTED_SHARED,
	METRIC_VM_HINTED_UNSTABLE,
	METRIC_VM_UNSHARING,
	METRIC_VM_NO_MAPPING,
	METRIC_VM_BUSY,
	METRIC_VM_KEPT_PRIVATE,
	METRIC_VM_MAPPINGS,
	METRIC_VM_MAPPINGS_LIMIT,
	METRIC_VM_WORKER_CPU,
	METRIC_VM_HOLD_P50,
	METRIC_VM_HOLD_P99,
	METRIC_VM_HOLD_MAX,

	METRIC_END,
};

struct metric {
	const char *name; /* of the field in the status document */
	enum metric_scope scope;
	enum metric_unit unit;
	const char *column; /* title in the table of `pagefuse status`; NULL: is not in it */
	const char *label;  /* in `pagefuse showvminfo`; NULL: has no line of its own there */
	const char *help;   /* what it is, for a person */
};

extern const struct metric metrics[METRIC_END];

#endif
