/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The values of protocol/metrics.h, as this daemon has them. */
#ifndef PAGEFUSE_DAEMON_METRICS_H
#define PAGEFUSE_DAEMON_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/domain.h"
#include "daemon/memory-watch.h"
#include "daemon/vm.h"
#include "engine/engine.h"
#include "protocol/metrics.h"

/**
 * What values are taken from, all of one moment: first the daemon's and the host's part, then the part of one VM after
 * the other.
 */
struct metrics_snapshot {
	uint64_t uptime_nsec, cpu_nsec, memory_bytes;
	struct engine_counters host; /* of the domains that were added: the four counts of pages */
	uint64_t store_bytes, rings_bytes;
	bool store_full;              /* of any domain */
	uint64_t cover_bytes;         /* memory and swap that are free; UINT64_MAX: nobody can tell */
	struct engine_vm_counters vm; /* confirmed */
	struct ring_stats stated;     /* what the VMM says of itself; untrusted */
};

/**
 * Takes the daemon's figures, and those of @memory; no domain is in it yet. @started_usec: when it was started, by
 * clock_now_usec().
 */
void metrics_take(struct metrics_snapshot *ret, uint64_t started_usec, const struct memory_watch *memory);
/** Takes the figures of @domain alone, as the host's part: a look at each of its VMs. */
void metrics_take_domain(struct metrics_snapshot *ret, const struct domain *domain);
/** Adds them to the host's part. */
void metrics_add_domain(struct metrics_snapshot *snapshot, const struct metrics_snapshot *domain);
/** Takes those of @vm, as they were when its domain was taken: they go into a snapshot's vm and stated. */
void metrics_take_vm(struct daemon_vm *vm, struct engine_vm_counters *ret_counters, struct ring_stats *ret_stated);

/** @return the value in the metric's unit, METRIC_VALUE_MAX at most. */
int64_t metrics_value(const struct metrics_snapshot *snapshot, enum metric_id id);

#endif
