/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every figure of the status document: what it is called there, its unit, and how it is shown. The daemon takes the
 * values (daemon/metrics.c), the CLI shows them; pagefuse(1) has the names and the help texts (tests/layers/docs.py).
 * Names stay.
 *
 * And a second table for `pagefuse metrics`, of metrics by VirtualBox's names, of which the daemon keeps samples.
 * pagefuse-metrics(1) has their help texts.
 */
#ifndef PAGEFUSE_PROTOCOL_METRICS_H
#define PAGEFUSE_PROTOCOL_METRICS_H

#include <stdbool.h>

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
	METRIC_DAEMON_TURN_STEPS,

	METRIC_HOST_SHARED,
	METRIC_HOST_COMMON,
	METRIC_HOST_ZERO,
	METRIC_HOST_SAVED,
	METRIC_HOST_SAVED_BYTES,
	METRIC_HOST_EXPOSED,
	METRIC_HOST_UNCOVERED,
	METRIC_HOST_EXPOSURE_HELD,
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
	METRIC_VM_EXPOSED,
	METRIC_VM_WHOLE,
	METRIC_VM_BROKEN,
	METRIC_VM_READY,
	METRIC_VM_WOULD_SAVE,
	METRIC_VM_EXPOSURE_HELD,
	METRIC_VM_EXPOSURE_HELD_PAGES,
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
	bool so_far;        /* counted since daemon or VMM began: it only grows meanwhile. Else of this moment */
};

extern const struct metric metrics[METRIC_END];

#define SERIES_UNIT "kB" /* of all values: 1024 bytes */
#define SERIES_VALUE_MAX (METRIC_VALUE_MAX / 1024)
#define SERIES_PERIOD_SECONDS_MAX 86400
#define SERIES_SAMPLES_MAX 240 /* 8 bytes each, for a metric of a VM */

/** In the order in which they are listed. */
enum series_id {
	SERIES_HOST_TOTAL,
	SERIES_HOST_USED,
	SERIES_HOST_FREE,
	SERIES_VMM_USED,
	SERIES_VMM_FREE,
	SERIES_VMM_BALLOONED,
	SERIES_VMM_SHARED,
	SERIES_VMM_SAVED,

	SERIES_VM_USED,
	SERIES_GUEST_TOTAL,
	SERIES_GUEST_FREE,
	SERIES_GUEST_BALLOON,
	SERIES_GUEST_SHARED,
	SERIES_GUEST_CACHE,

	SERIES_END,
};

struct metric_series {
	const char *name;        /* VirtualBox's; RAM/VMM/Saved is added to these */
	enum metric_scope scope; /* METRIC_OF_HOST or METRIC_OF_VM */
	const char *help;        /* what it is, for a person */
	const char *lacks;       /* why the value cannot be measured; NULL: it can */
};

extern const struct metric_series metric_series[SERIES_END];

#endif
