/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The facts about this host that decide whether and how well memory can be shared. Collecting is apart from judging. */
#ifndef PAGEFUSE_CLI_HOST_FACTS_H
#define PAGEFUSE_CLI_HOST_FACTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

struct kernel_version {
	unsigned major, minor, patch;
};

#define FACT_UNKNOWN (-1)

struct host_facts {
	struct kernel_version kernel;
	char kernel_release[65];
	uid_t user; /* who we are */

	int userfaultfd_error; /* 0 or -errno of the system call */
	bool userfaultfd_full; /* faults of kernel mode are handled, too */
	uint64_t userfaultfd_features;
	int userfaultfd_device_error; /* 0 or -errno of /dev/userfaultfd */
	int pagemap_scan_error;

	int64_t max_map_count; /* these five: FACT_UNKNOWN if it cannot be read */
	int64_t unprivileged_userfaultfd;
	int64_t ksm_run;
	int64_t ram_bytes;
	int64_t swap_bytes;
	char thp[16]; /* always, madvise, never, or "" */
	bool nested_kvm;
	uint64_t daemon_memory_limit_bytes; /* of the daemon's memory cgroup, UINT64_MAX: none, or no daemon */
	bool userfaultfd_lent;              /* by the daemon that serves us, as far as can be known */
};

/** @text: "6.18.44-amd64". @return whether it begins with a version; missing parts are 0. */
bool kernel_version_parse(const char *text, struct kernel_version *ret_version);
/** <0, 0, >0, as strcmp(). */
int kernel_version_compare(struct kernel_version a, struct kernel_version b);

/**
 * Reads what can be read below @root ("" but in tests) in /proc and /sys. @daemon_pid: 0 if there is none.
 * What must be tried, host_facts_probe() tries.
 */
void host_facts_read(const char *root, pid_t daemon_pid, struct host_facts *ret_facts);
void host_facts_probe(struct host_facts *facts);
/**
 * Sets what depends on the daemon's user; @peer: its credentials, or NULL if there is none. After host_facts_probe().
 */
void host_facts_daemon(struct host_facts *facts, const struct ucred *peer);

#endif
