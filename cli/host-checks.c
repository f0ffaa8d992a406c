/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/host-checks.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/format.h"
#include "cli/kernel-probe.h"

static void check_kernel_version(const struct host_facts *facts, struct findings *findings)
{
	/* Kernels with known errors in UFFDIO_MOVE: from the first up to, but without, the second. */
	static const struct {
		struct kernel_version from, fixed;
		const char *error;
	} bad[] = {
		{ { 6, 8, 0 }, { 6, 12, 43 }, "races of UFFDIO_MOVE with swap and with page migration" },
		{ { 6, 13, 0 }, { 6, 18, 20 }, "an error of UFFDIO_MOVE with the huge zero page" },
		{ { 6, 19, 0 }, { 6, 19, 10 }, "an error of UFFDIO_MOVE with the huge zero page" },
	};
	static const struct kernel_version first = { 6, 8, 0 };

	if (facts->kernel.major == 0)
		return;
	if (kernel_version_compare(facts->kernel, first) < 0) {
		findings_add(findings, SEVERITY_ERROR, "kernel", NULL, "Boot Linux 6.8 or newer.",
			     "kernel %s is older than 6.8: it cannot move pages by userfaultfd", facts->kernel_release);
		return;
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (kernel_version_compare(facts->kernel, bad[i].from) >= 0 &&
		    kernel_version_compare(facts->kernel, bad[i].fixed) < 0) {
			findings_add(findings, SEVERITY_WARNING, "kernel", NULL,
				     "Boot 6.12.43, 6.18.20, 6.19.10 or newer of its series, unless your distribution "
				     "says that its kernel has the fixes.",
				     "kernel %s is known to have %s", facts->kernel_release, bad[i].error);
			return;
		}
}

static void check_userfaultfd(const struct host_facts *facts, struct findings *findings)
{
	if (facts->userfaultfd_error == -ENOSYS) {
		findings_add(findings, SEVERITY_ERROR, "userfaultfd", NULL, "Boot a kernel with CONFIG_USERFAULTFD=y.",
			     "the kernel has no userfaultfd");
		return;
	}
	if (facts->userfaultfd_error == -EPERM && facts->userfaultfd_lent)
		return;
	if (facts->userfaultfd_error < 0) {
		findings_add(findings, SEVERITY_ERROR, "userfaultfd", NULL,
			     "Run this outside the sandbox or container that forbids it, or allow userfaultfd(2) "
			     "there.",
			     "userfaultfd cannot be used: %s", strerror(-facts->userfaultfd_error));
		return;
	}
	if ((facts->userfaultfd_features & PROBE_FEATURE_MOVE) == 0)
		findings_add(findings, SEVERITY_ERROR, "userfaultfd", NULL, "Boot Linux 6.8 or newer.",
			     "userfaultfd of kernel %s cannot move pages (UFFDIO_MOVE)", facts->kernel_release);
	else if ((facts->userfaultfd_features & PROBE_FEATURE_WP_SHMEM) == 0)
		findings_add(findings, SEVERITY_WARNING, "userfaultfd", NULL,
			     "Boot a kernel with CONFIG_PTE_MARKER_UFFD_WP=y.",
			     "userfaultfd cannot write-protect shared memory: pages that diverge stay private");
}

static void check_unprivileged_userfaultfd(const struct host_facts *facts, struct findings *findings)
{
	char remedy[256];

	if (facts->userfaultfd_error < 0 || facts->userfaultfd_full || facts->userfaultfd_lent)
		return;
	snprintf(remedy, sizeof(remedy),
		 "Use a pagefused that runs as root (--socket /run/pagefuse/pagefused.sock), or, as root: setfacl -m "
		 "u:%u:rw /dev/userfaultfd, or sysctl vm.unprivileged_userfaultfd=1.",
		 (unsigned)facts->user);
	if (facts->user == 0) /* of a container */
		snprintf(remedy, sizeof(remedy),
			 "Give this container CAP_SYS_PTRACE or /dev/userfaultfd, or set "
			 "vm.unprivileged_userfaultfd=1 on the host.");
	findings_add(findings, SEVERITY_ERROR, "unprivileged-userfaultfd", NULL, remedy,
		     "userfaultfd of user %u does not see faults of kernel mode, which sharing needs "
		     "(vm.unprivileged_userfaultfd=%" PRId64 ")",
		     (unsigned)facts->user, facts->unprivileged_userfaultfd);
}

static void check_pagemap_scan(const struct host_facts *facts, struct findings *findings)
{
	if (facts->pagemap_scan_error == -ENOTTY || facts->pagemap_scan_error == -EINVAL)
		findings_add(findings, SEVERITY_ERROR, "pagemap", NULL, "Boot Linux 6.8 or newer.",
			     "kernel %s cannot scan the pagemap (PAGEMAP_SCAN, Linux 6.7)", facts->kernel_release);
	else if (facts->pagemap_scan_error < 0)
		findings_add(findings, SEVERITY_ERROR, "pagemap", NULL,
			     "Mount /proc, and run VMMs where they may open their own /proc/self/pagemap.",
			     "/proc/self/pagemap cannot be used: %s", strerror(-facts->pagemap_scan_error));
}

int64_t max_map_count_for(int64_t ram_bytes)
{
	int64_t wanted = (ram_bytes >> 20) * MAPPINGS_PER_MIB, count = 65536;

	while (count < wanted && count < INT32_MAX / 2)
		count *= 2;
	return count;
}

static void check_max_map_count(const struct host_facts *facts, struct findings *findings)
{
	struct format_buffer enough, ram;
	char remedy[128];

	if (facts->max_map_count < 0 || facts->ram_bytes < 0 ||
	    facts->max_map_count >= (facts->ram_bytes >> 20) * MAPPINGS_PER_MIB)
		return;
	snprintf(remedy, sizeof(remedy), "Set vm.max_map_count=%" PRId64 " by sysctl, and in /etc/sysctl.d to keep it.",
		 max_map_count_for(facts->ram_bytes));
	findings_add(findings, SEVERITY_WARNING, "max-map-count", NULL, remedy,
		     "vm.max_map_count=%" PRId64 " is enough for VMs of up to about %s; this host has %s",
		     facts->max_map_count, format_bytes(&enough, facts->max_map_count / MAPPINGS_PER_MIB * (1 << 20)),
		     format_bytes(&ram, facts->ram_bytes));
}

static void check_ksm(const struct host_facts *facts, struct findings *findings)
{
	if (facts->ksm_run == 1)
		findings_add(findings, SEVERITY_WARNING, "ksm", NULL,
			     "Stop it and let it unmerge: echo 2 > /sys/kernel/mm/ksm/run (and disable ksmtuned).",
			     "KSM is running too (/sys/kernel/mm/ksm/run=1): pages that it has merged are busy for "
			     "pagefuse");
}

static void check_thp(const struct host_facts *facts, struct findings *findings)
{
	if (strcmp(facts->thp, "always") == 0)
		findings_add(findings, SEVERITY_NOTE, "thp", NULL,
			     "Nothing needs to be done; where VMs lose too much speed by it, run them with --mode "
			     "zero.",
			     "huge pages are always on: sharing breaks those of 2 MiB in which equal pages lie");
}

static void check_swap(const struct host_facts *facts, struct findings *findings)
{
	if (facts->swap_bytes == 0)
		findings_add(findings, SEVERITY_NOTE, "swap", NULL,
			     "Configure some swap, for instance 64 MiB of zram: hardly any of it will be in use.",
			     "no swap: in VMs with direct I/O, shared pages that were written stay private for good");
}

static void check_memory_cgroup(const struct host_facts *facts, struct findings *findings)
{
	struct format_buffer limit;

	if (facts->daemon_memory_limit_bytes == UINT64_MAX)
		return;
	findings_add(findings, SEVERITY_WARNING, "memory-cgroup", NULL,
		     "Raise or remove MemoryMax= of pagefused's unit and the slices above it.",
		     "pagefused, whom all shared pages are charged to, may use %s at most (its control group)",
		     format_bytes(&limit, (int64_t)facts->daemon_memory_limit_bytes));
}

static void check_nested(const struct host_facts *facts, struct findings *findings)
{
	static const struct kernel_version fixed = { 6, 13, 0 };

	if (facts->nested_kvm && facts->kernel.major != 0 && kernel_version_compare(facts->kernel, fixed) < 0)
		findings_add(findings, SEVERITY_WARNING, "nested", NULL,
			     "Give them a CPU model without vmx and svm (-cpu ...,vmx=off,svm=off), boot Linux 6.13 or "
			     "newer, or load kvm_intel or kvm_amd with nested=0.",
			     "nested virtualization is on, which KVM of kernel %s does in a way that a hold does not "
			     "see: VMs that could run VMs themselves are not shared",
			     facts->kernel_release);
}

bool host_kernel_is_unfit(const struct host_facts *facts)
{
	return facts->userfaultfd_error == -ENOSYS || facts->pagemap_scan_error == -ENOTTY ||
	       facts->pagemap_scan_error == -EINVAL ||
	       (facts->userfaultfd_error == 0 && (facts->userfaultfd_features & PROBE_FEATURE_MOVE) == 0);
}

void host_obstacles(const struct host_facts *facts, struct findings *findings)
{
	check_userfaultfd(facts, findings);
	check_unprivileged_userfaultfd(facts, findings);
	check_pagemap_scan(facts, findings);
}

void host_checks(const struct host_facts *facts, struct findings *findings)
{
	static void (*const checks[])(const struct host_facts *facts, struct findings *findings) = {
		check_kernel_version,
		host_obstacles,
		check_max_map_count,
		check_ksm,
		check_thp,
		check_swap,
		check_memory_cgroup,
		check_nested,
	};

	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
		checks[i](facts, findings);
}
