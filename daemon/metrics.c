/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/proc-stat.h"
#include "daemon/pump.h"
#include "daemon/turn.h"

/* Anonymous memory of this process: tables and buffers, without the store, which is counted separately. */
static uint64_t own_memory_bytes(void)
{
	struct proc_memory memory = { 0 };

	(void)proc_memory_read(getpid(), &memory);
	return memory.resident_bytes;
}

static uint64_t own_cpu_nsec(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000 +
	       (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
}

void metrics_take_domain(struct metrics_snapshot *ret, const struct domain *domain)
{
	*ret = (struct metrics_snapshot){
		.store_bytes = store_used_bytes(domain->store),
		.store_full = engine_store_room(domain->engine) != ENGINE_ROOM,
		.rings_bytes = domain->rings_bytes,
	};
	engine_counters(domain->engine, &ret->host);
}

void metrics_add_domain(struct metrics_snapshot *snapshot, const struct metrics_snapshot *domain)
{
	const struct engine_counters *counters = &domain->host;

	snapshot->host.shared_pages += counters->shared_pages;
	snapshot->host.common_pages += counters->common_pages;
	snapshot->host.zero_pages += counters->zero_pages;
	snapshot->host.saved_pages += counters->saved_pages;
	snapshot->host.large_blocks += counters->large_blocks;
	snapshot->host.broken_blocks += counters->broken_blocks;
	snapshot->host.ready_pages += counters->ready_pages;
	snapshot->host.would_save_pages += counters->would_save_pages;
	snapshot->host.held_vms += counters->held_vms;
	snapshot->store_bytes += domain->store_bytes;
	snapshot->store_full |= domain->store_full;
	snapshot->rings_bytes += domain->rings_bytes;
}

void metrics_take(struct metrics_snapshot *ret, uint64_t started_usec, const struct memory_watch *memory)
{
	*ret = (struct metrics_snapshot){
		.uptime_nsec = (clock_now_usec() - started_usec) * 1000,
		.cpu_nsec = own_cpu_nsec(),
		.memory_bytes = own_memory_bytes(),
		.cover_bytes = memory_watch_cover(memory),
	};
}

void metrics_take_vm(struct daemon_vm *vm, struct engine_vm_counters *ret_counters, struct ring_stats *ret_stated)
{
	const struct engine_vm *engine_vm = daemon_vm_engine_vm(vm);

	if (vm->connection.engine_vm)
		pump_take_statistics(vm);
	*ret_stated = vm->stats;
	if (engine_vm)
		engine_vm_last_counted(engine_vm, ret_counters);
	else
		*ret_counters = (struct engine_vm_counters){ 0 };
}

/* Also for numbers that a VMM invented. */
static int64_t bounded(uint64_t value)
{
	return value > METRIC_VALUE_MAX ? METRIC_VALUE_MAX : (int64_t)value;
}

static uint64_t exposed_pages(const struct engine_counters *host)
{
	return host->shared_pages + host->zero_pages;
}

static uint64_t uncovered_bytes(const struct metrics_snapshot *snapshot)
{
	uint64_t bytes = exposed_pages(&snapshot->host) * PAGE_BYTES;

	return bytes > snapshot->cover_bytes ? bytes - snapshot->cover_bytes : 0;
}

int64_t metrics_value(const struct metrics_snapshot *snapshot, enum metric_id id)
{
	const struct engine_counters *host = &snapshot->host;
	const struct engine_vm_counters *vm = &snapshot->vm;
	const struct ring_stats *stated = &snapshot->stated;

	switch (id) {
	case METRIC_DAEMON_UPTIME:
		return bounded(snapshot->uptime_nsec);
	case METRIC_DAEMON_CPU:
		return bounded(snapshot->cpu_nsec);
	case METRIC_DAEMON_MEMORY:
		return bounded(snapshot->memory_bytes);
	case METRIC_DAEMON_TURN_USEC:
		return bounded(turn_longest_usec());
	case METRIC_DAEMON_TURN_CPU_USEC:
		return bounded(turn_longest_cpu_usec());
	case METRIC_DAEMON_TURN_REPORTS:
		return bounded(turn_most(TURN_REPORTS));
	case METRIC_DAEMON_TURN_ORDERS:
		return bounded(turn_most(TURN_ORDERS));
	case METRIC_DAEMON_TURN_PACKETS:
		return bounded(turn_most(TURN_PACKETS));
	case METRIC_DAEMON_TURN_ITEMS:
		return bounded(turn_most(TURN_ITEMS));
	case METRIC_DAEMON_TURN_STEPS:
		return bounded(turn_most(TURN_STEPS));
	case METRIC_HOST_SHARED:
		return bounded(host->shared_pages);
	case METRIC_HOST_COMMON:
		return bounded(host->common_pages);
	case METRIC_HOST_ZERO:
		return bounded(host->zero_pages);
	case METRIC_HOST_SAVED:
		return host->saved_pages;
	case METRIC_HOST_SAVED_BYTES:
		return host->saved_pages * (int64_t)PAGE_BYTES;
	case METRIC_HOST_EXPOSED:
		return bounded(exposed_pages(host));
	case METRIC_HOST_UNCOVERED:
		return bounded(uncovered_bytes(snapshot));
	case METRIC_HOST_EXPOSURE_HELD:
		return host->held_vms;
	case METRIC_HOST_WHOLE:
		return bounded(host->large_blocks);
	case METRIC_HOST_BROKEN:
		return bounded(host->broken_blocks);
	case METRIC_HOST_READY:
		return bounded(host->ready_pages);
	case METRIC_HOST_WOULD_SAVE:
		return bounded(host->would_save_pages);
	case METRIC_HOST_STORE:
		return bounded(snapshot->store_bytes);
	case METRIC_HOST_STORE_FULL:
		return snapshot->store_full;
	case METRIC_HOST_OVERHEAD:
		return bounded(snapshot->memory_bytes + snapshot->rings_bytes);
	case METRIC_VM_RAM:
		return bounded(vm->ram_pages * PAGE_BYTES);
	case METRIC_VM_SHARED:
		return bounded(vm->shared_pages);
	case METRIC_VM_ZERO:
		return bounded(vm->zero_pages);
	case METRIC_VM_DIVERGED:
		return bounded(vm->diverged_pages);
	case METRIC_VM_PRESENT:
		return bounded(vm->present_pages);
	case METRIC_VM_SAVED:
		return vm->saved_pages;
	case METRIC_VM_EXPOSED:
		return bounded(vm->shared_pages + vm->zero_pages);
	case METRIC_VM_WHOLE:
		return bounded(vm->large_blocks);
	case METRIC_VM_BROKEN:
		return bounded(vm->broken_blocks);
	case METRIC_VM_READY:
		return bounded(vm->ready_pages);
	case METRIC_VM_WOULD_SAVE:
		return bounded(vm->would_save_pages);
	case METRIC_VM_EXPOSURE_HELD:
		return vm->held;
	case METRIC_VM_EXPOSURE_HELD_PAGES:
		return bounded(vm->held_pages);
	case METRIC_VM_HINTED:
		return bounded(stated->noted_pages);
	case METRIC_VM_HINTED_HASHED:
		return bounded(stated->noted_hashed);
	case METRIC_VM_HINTED_SHARED:
		return bounded(vm->noted_shared);
	case METRIC_VM_HINTED_UNSTABLE:
		return bounded(vm->noted_unstable);
	case METRIC_VM_UNSHARING:
		return bounded(vm->unsharing_pages);
	case METRIC_VM_NO_MAPPING:
		return bounded(vm->full);
	case METRIC_VM_BUSY:
		return bounded(stated->busy_pages);
	case METRIC_VM_KEPT_PRIVATE:
		return bounded(stated->kept_private_pages);
	case METRIC_VM_MAPPINGS:
		return bounded(stated->mappings);
	case METRIC_VM_MAPPINGS_LIMIT:
		return bounded(stated->mappings_limit);
	case METRIC_VM_WORKER_CPU:
		return bounded(stated->cpu_nsec);
	case METRIC_VM_HOLD_P50:
		return bounded(stated->hold_p50_usec);
	case METRIC_VM_HOLD_P99:
		return bounded(stated->hold_p99_usec);
	case METRIC_VM_HOLD_MAX:
		return bounded(stated->hold_max_usec);
	case METRIC_END:
		break;
	}
	return 0;
}
