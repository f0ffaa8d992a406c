/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/host-facts.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/kernel-probe.h"
#include "common/cgroup.h"
#include "common/figures.h"

static FILE *open_file(const char *root, const char *format, ...) __attribute__((format(printf, 2, 3)));

static FILE *open_file(const char *root, const char *format, ...)
{
	char path[PATH_MAX];
	int head = snprintf(path, sizeof(path), "%s", root), tail;
	va_list arguments;

	if (head < 0 || (size_t)head >= sizeof(path))
		return NULL;
	va_start(arguments, format);
	tail = vsnprintf(path + head, sizeof(path) - (size_t)head, format, arguments);
	va_end(arguments);
	if (tail < 0 || (size_t)tail >= sizeof(path) - (size_t)head)
		return NULL;
	return fopen(path, "re");
}

/** The first line of a file, without its end; "" if it cannot be read. Closes @file. */
static void read_line(FILE *file, char *ret, size_t size)
{
	ret[0] = '\0';
	if (file == NULL)
		return;
	if (fgets(ret, (int)size, file) == NULL)
		ret[0] = '\0';
	ret[strcspn(ret, "\n")] = '\0';
	fclose(file);
}

static int64_t read_number(FILE *file)
{
	char line[64], *end;
	long long number;

	read_line(file, line, sizeof(line));
	number = strtoll(line, &end, 10);
	return end == line ? FACT_UNKNOWN : number;
}

bool kernel_version_parse(const char *text, struct kernel_version *ret_version)
{
	struct kernel_version version = { 0 };

	if (sscanf(text, "%5u.%5u.%5u", &version.major, &version.minor, &version.patch) < 2)
		return false;
	*ret_version = version;
	return true;
}

int kernel_version_compare(struct kernel_version a, struct kernel_version b)
{
	if (a.major != b.major)
		return a.major < b.major ? -1 : 1;
	if (a.minor != b.minor)
		return a.minor < b.minor ? -1 : 1;
	return a.patch == b.patch ? 0 : a.patch < b.patch ? -1
							  : 1;
}

static void read_memory(const char *root, struct host_facts *facts)
{
	struct figure figures[] = { { .key = "MemTotal" }, { .key = "SwapTotal" } };

	figures_read(open_file(root, "/proc/meminfo"), figures, 2);
	facts->ram_bytes = figures[0].found ? (int64_t)figures[0].value : FACT_UNKNOWN;
	facts->swap_bytes = figures[1].found ? (int64_t)figures[1].value : FACT_UNKNOWN;
}

/** The word in brackets: "always [madvise] never". */
static void read_thp(const char *root, struct host_facts *facts)
{
	char line[64], *begin, *end;

	facts->thp[0] = '\0';
	read_line(open_file(root, "/sys/kernel/mm/transparent_hugepage/enabled"), line, sizeof(line));
	begin = strchr(line, '[');
	end = begin ? strchr(begin, ']') : NULL;
	if (end != NULL)
		snprintf(facts->thp, sizeof(facts->thp), "%.*s", (int)(end - begin - 1), begin + 1);
}

/** Built into the kernel, both modules have their parameters there. */
static bool read_nested(const char *root)
{
	static const char *const modules[] = { "kvm_intel", "kvm_amd" };
	bool nested = false;
	char line[8];

	for (size_t i = 0; i < sizeof(modules) / sizeof(modules[0]); i++) {
		read_line(open_file(root, "/sys/module/%s/parameters/nested", modules[i]), line, sizeof(line));
		nested = nested || line[0] == 'Y' || line[0] == '1';
	}
	return nested;
}

void host_facts_read(const char *root, pid_t daemon_pid, struct host_facts *ret_facts)
{
	struct host_facts facts = { .user = geteuid() };

	read_line(open_file(root, "/proc/sys/kernel/osrelease"), facts.kernel_release, sizeof(facts.kernel_release));
	kernel_version_parse(facts.kernel_release, &facts.kernel);
	facts.max_map_count = read_number(open_file(root, "/proc/sys/vm/max_map_count"));
	facts.unprivileged_userfaultfd = read_number(open_file(root, "/proc/sys/vm/unprivileged_userfaultfd"));
	facts.ksm_run = read_number(open_file(root, "/sys/kernel/mm/ksm/run"));
	read_memory(root, &facts);
	read_thp(root, &facts);
	facts.nested_kvm = read_nested(root);
	facts.daemon_memory_limit_bytes = cgroup_memory_limit(root, daemon_pid);
	*ret_facts = facts;
}

void host_facts_probe(struct host_facts *facts)
{
	facts->userfaultfd_error = probe_userfaultfd(&facts->userfaultfd_features, &facts->userfaultfd_full);
	facts->userfaultfd_device_error = probe_userfaultfd_device();
	facts->pagemap_scan_error = probe_pagemap_scan();
}

/*
 * A daemon opens /dev/userfaultfd and lends it to its VMs. One of this ordinary user's own can open what we can;
 * another user's is root's, and can if there is such a device. One in another pid namespace may have a /dev of its own.
 */
void host_facts_daemon(struct host_facts *facts, const struct ucred *peer)
{
	bool is_ours = peer == NULL || (peer->uid == facts->user && peer->uid != 0);
	bool is_elsewhere = peer != NULL && peer->pid == 0;

	facts->userfaultfd_lent = facts->userfaultfd_device_error == 0 ||
				  (!is_ours && (is_elsewhere || facts->userfaultfd_device_error != -ENOENT));
}
