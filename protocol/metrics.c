/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/metrics.h"

#include <stddef.h>

/* clang-format off */
#define DAEMON(name, unit, help) { name, METRIC_OF_DAEMON, unit, NULL, NULL, help }
#define HOST(name, unit, help) { name, METRIC_OF_HOST, unit, NULL, NULL, help }
#define VM(name, unit, column, label, help) { name, METRIC_OF_VM, unit, column, label, help }

const struct metric metrics[METRIC_END] = {
	[METRIC_DAEMON_UPTIME] = DAEMON("uptime_seconds", METRIC_NSEC,
		"Time since it was started."),
	[METRIC_DAEMON_CPU] = DAEMON("cpu_seconds", METRIC_NSEC,
		"CPU time that it has taken."),
	[METRIC_DAEMON_MEMORY] = DAEMON("memory_bytes", METRIC_BYTES,
		"Its own memory: tables and buffers, without the store."),
	[METRIC_DAEMON_TURN_USEC] = DAEMON("turn_max_usec", METRIC_USEC,
		"The longest that it was at one thing, while all else waited, since it was started."),
	[METRIC_DAEMON_TURN_CPU_USEC] = DAEMON("turn_max_cpu_usec", METRIC_USEC,
		"The same by its CPU time: without what it waited for a CPU, or the kernel."),
	[METRIC_DAEMON_TURN_REPORTS] = DAEMON("turn_max_reports", METRIC_COUNT,
		"The most reports of VMs that it took in at once."),
	[METRIC_DAEMON_TURN_ORDERS] = DAEMON("turn_max_orders", METRIC_COUNT,
		"The most orders that it passed on at once."),
	[METRIC_DAEMON_TURN_PACKETS] = DAEMON("turn_max_packets", METRIC_COUNT,
		"The most packets that it received at once."),
	[METRIC_DAEMON_TURN_ITEMS] = DAEMON("turn_max_items", METRIC_COUNT,
		"The most VMs or tickets that it put into a reply, or took samples of, at once."),

	[METRIC_HOST_SHARED] = HOST("shared_pages", METRIC_PAGES,
		"Guest pages that map a page of the store and have not been written since."),
	[METRIC_HOST_COMMON] = HOST("common_pages", METRIC_PAGES,
		"Pages of the store that they map: the copies that are kept."),
	[METRIC_HOST_ZERO] = HOST("zero_pages", METRIC_PAGES,
		"Guest pages that were full of zeros and have been given back to the kernel."),
	[METRIC_HOST_SAVED] = HOST("saved_pages", METRIC_PAGES,
		"shared - common + zero."),
	[METRIC_HOST_SAVED_BYTES] = HOST("saved_bytes", METRIC_BYTES,
		"The same in bytes."),
	[METRIC_HOST_STORE] = HOST("store_bytes", METRIC_BYTES,
		"Memory that the store takes. A little more than common while pages come and go."),
	[METRIC_HOST_STORE_FULL] = HOST("store_full", METRIC_FLAG,
		"Whether the store has no room for new pages. What is shared stays so."),
	[METRIC_HOST_OVERHEAD] = HOST("overhead_bytes", METRIC_BYTES,
		"What the bookkeeping takes: pagefused's own memory and the rings shared with VMMs."),

	[METRIC_VM_RAM] = VM("ram_bytes", METRIC_BYTES, "RAM", "RAM",
		"RAM that the VMM has registered."),
	[METRIC_VM_SHARED] = VM("shared_pages", METRIC_PAGES, "SHARED", "Shared",
		"Its part of the host's shared pages."),
	[METRIC_VM_ZERO] = VM("zero_pages", METRIC_PAGES, "ZERO", "Zero",
		"Its part of the host's zero pages."),
	[METRIC_VM_DIVERGED] = VM("diverged_pages", METRIC_PAGES, "DIVERGED", "Diverged",
		"Pages that were shared, and written since: private copies. They are shared again once they are "
		"equal to something."),
	[METRIC_VM_PRESENT] = VM("present_pages", METRIC_PAGES, "PRESENT", "Present",
		"Memory that the guest had touched at the last full pass, shared pages included."),
	[METRIC_VM_SAVED] = VM("saved_pages", METRIC_PAGES, "SAVED", "Saved",
		"What it saves. What the pages in the store cost is divided among the VMs by their shared pages, so "
		"that the VMs' figures add up to the host's."),
	[METRIC_VM_HINTED] = VM("hinted_pages", METRIC_PAGES, "HINTED", NULL,
		"Pages that the VMM has read from its disks, so far. One that is read again counts again."),
	[METRIC_VM_HINTED_HASHED] = VM("hinted_hashed_pages", METRIC_PAGES, NULL, NULL,
		"Pages that were hashed for that, or found full of zeros, so far."),
	[METRIC_VM_HINTED_SHARED] = VM("hinted_shared_pages", METRIC_PAGES, NULL, "Shared by hints",
		"Pages that came to be shared, or were given back as zeros, because of that, so far."),
	[METRIC_VM_HINTED_UNSTABLE] = VM("hinted_unstable_pages", METRIC_PAGES, NULL, NULL,
		"Of the hinted pages those that were left alone, so far, as they had diverged again and again."),
	[METRIC_VM_UNSHARING] = VM("unsharing_pages", METRIC_PAGES, NULL, "Unsharing",
		"Pages that are still to be given memory of their own, as the VM's mode allows them no more."),
	[METRIC_VM_NO_MAPPING] = VM("no_mapping_pages", METRIC_PAGES, NULL, NULL,
		"Pages that were not merged, so far, to spare mappings."),
	[METRIC_VM_BUSY] = VM("busy_pages", METRIC_PAGES, NULL, NULL,
		"Pages that the kernel refused to have held, so far: pinned for a device, or shared with a "
		"forked child."),
	[METRIC_VM_KEPT_PRIVATE] = VM("kept_private_pages", METRIC_PAGES, NULL, "Kept private",
		"Diverged pages that could not be held safely, so far."),
	[METRIC_VM_MAPPINGS] = VM("mappings", METRIC_COUNT, "MAPPINGS", NULL,
		"Kernel mappings of the VMM."),
	[METRIC_VM_MAPPINGS_LIMIT] = VM("mappings_limit", METRIC_COUNT, NULL, NULL,
		"How many it can have: vm.max_map_count."),
	[METRIC_VM_WORKER_CPU] = VM("worker_cpu_seconds", METRIC_NSEC, "CPU", NULL,
		"CPU time of the worker thread inside the VMM."),
	[METRIC_VM_HOLD_P50] = VM("hold_p50_usec", METRIC_USEC, NULL, NULL,
		"For how long pages were held while they were compared, the median."),
	[METRIC_VM_HOLD_P99] = VM("hold_p99_usec", METRIC_USEC, "HOLD-P99", NULL,
		"The same, the 99th percentile. A guest that writes such a page sleeps so long at most."),
	[METRIC_VM_HOLD_MAX] = VM("hold_max_usec", METRIC_USEC, NULL, NULL,
		"The same, the longest."),
};

#define OF_HOST(name, help, lacks) { name, METRIC_OF_HOST, help, lacks }
#define OF_VM(name, help, lacks) { name, METRIC_OF_VM, help, lacks }

const struct metric_series metric_series[SERIES_END] = {
	[SERIES_HOST_TOTAL] = OF_HOST("RAM/Usage/Total",
		"Memory that the host has.", NULL),
	[SERIES_HOST_USED] = OF_HOST("RAM/Usage/Used",
		"Memory of the host that is in use: all but the free.", NULL),
	[SERIES_HOST_FREE] = OF_HOST("RAM/Usage/Free",
		"Memory of the host that programs could have without swapping.", NULL),
	[SERIES_VMM_USED] = OF_HOST("RAM/VMM/Used",
		"Memory that the VMs take of the host: their processes' private memory, and the store.", NULL),
	[SERIES_VMM_FREE] = OF_HOST("RAM/VMM/Free",
		"Memory of the store that no VM maps.", NULL),
	[SERIES_VMM_BALLOONED] = OF_HOST("RAM/VMM/Ballooned",
		"Memory that balloons in the guests have taken from them.",
		"VMMs do not tell pagefuse of their balloons"),
	[SERIES_VMM_SHARED] = OF_HOST("RAM/VMM/Shared",
		"All fused memory: guest memory that maps a page of the store. The sum of the VMs'.", NULL),

	[SERIES_VM_USED] = OF_VM("RAM/Usage/Used",
		"Resident memory of the VMM process, fused memory included.", NULL),
	[SERIES_GUEST_TOTAL] = OF_VM("Guest/RAM/Usage/Total",
		"RAM of the guest, as far as its VMM has registered it.", NULL),
	[SERIES_GUEST_FREE] = OF_VM("Guest/RAM/Usage/Free",
		"Memory that the guest does not use.",
		"only the guest knows, and its agent does not tell"),
	[SERIES_GUEST_BALLOON] = OF_VM("Guest/RAM/Usage/Balloon",
		"Memory that a balloon in the guest has taken from it.",
		"neither its VMM nor its agent tells pagefuse of its balloon"),
	[SERIES_GUEST_SHARED] = OF_VM("Guest/RAM/Usage/Shared",
		"Fused memory of the VM: guest memory that maps a page of the store.", NULL),
	[SERIES_GUEST_CACHE] = OF_VM("Guest/RAM/Usage/Cache",
		"Memory that the guest uses as a cache of its disks.",
		"only the guest knows, and its agent does not tell"),
};
/* clang-format on */
