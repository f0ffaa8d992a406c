/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/vm-checks.h"

#include <inttypes.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#include "cli/document.h"
#include "cli/format.h"
#include "cli/host-checks.h"
#include "cli/shell-command.h"
#include "common/page.h"
#include "protocol/wire.h"

/** Share of the mapping limit, percent, from which on it is worth a word: always, and if merges have been refused. */
#define MAPPINGS_WARN_PERCENT 80
#define MAPPINGS_SCARCE_PERCENT 40
/** Share of a VM's RAM, percent, that would be saved inside 2 MiB pages, from which on it is worth a word. */
#define LARGE_PERCENT 1

static const struct {
	enum wire_reason reason;
	const char *remedy;
} remedies[] = {
	{ WIRE_REASON_SHARED_MAPPING,
	  "Start the VM without share=on and memfd (libvirt: no <access mode='shared'/>, no <source type='memfd'/>); "
	  "vhost-user and virtiofs need them, and exclude sharing." },
	{ WIRE_REASON_FILE_BACKED,
	  "Use the default RAM or memory-backend-ram instead of memory-backend-file, -memfd or -mem-path (libvirt: no "
	  "<source/> and no <hugepages/> in <memoryBacking>)." },
	{ WIRE_REASON_HUGETLB,
	  "Take the RAM from ordinary pages: no hugetlb=on, no -mem-path on hugetlbfs (libvirt: no <hugepages/>)." },
	{ WIRE_REASON_LOCKED, "Start the VM without -overcommit mem-lock=on (libvirt: <memoryBacking><locked/>)." },
	{ WIRE_REASON_VMM_USERFAULTFD, "Wait until the migration or background snapshot is over." },
	{ WIRE_REASON_DEVICE_DMA, "Use virtio devices instead of VFIO passthrough where memory is to be shared." },
	{ WIRE_REASON_PLAIN_REFERENCES,
	  "Use cache=writeback for disks on NFS, Ceph or 9p, and virtio-scsi instead of vhost-scsi." },
	{ WIRE_REASON_NO_USERFAULTFD,
	  "Run pagefused as root, so that it can lend one, or set vm.unprivileged_userfaultfd=1." },
	{ WIRE_REASON_NO_PAGEMAP, "Let the VMM open its own /proc/self/pagemap, on a kernel from 6.7 on." },
	{ WIRE_REASON_NO_SWAP,
	  "Configure some swap, such as 64 MiB of zram: written pages pass through it one by one, none stays there." },
	{ WIRE_REASON_RAM_LIMIT,
	  "Raise [limits] vm_ram_size or user_ram_percent in pagefused.conf(5); all VMs of a domain together have at "
	  "most 8 TiB." },
	{ WIRE_REASON_QUOTA,
	  "See [limits] in pagefused.conf(5), and [store] size; what the VM gets of memory later counts by itself." },
	{ WIRE_REASON_NESTED,
	  "Start it with a CPU model without vmx and svm (-cpu ...,vmx=off,svm=off), boot Linux 6.13 or newer, or load "
	  "kvm_intel or kvm_amd with nested=0." },
	{ WIRE_REASON_ATTRIBUTE,
	  "Have the VMM not bind RAM to NUMA nodes (QEMU: host-nodes=, libvirt: <numatune>), nor use protection keys, "
	  "memory tags, mseal(), or advice such as MADV_DONTFORK on parts of it." },
	{ WIRE_REASON_TOO_MANY_REGIONS, "Give the VM its RAM in fewer and larger pieces." },
	{ WIRE_REASON_MEM_MERGE, "Have the VMM offer it again (QEMU: qom-set the backend's merge to true)." },
	{ WIRE_REASON_PROTECTED,
	  "Nothing, if it is a guest's ROM; other memory takes part again once it can be read and written." },
	{ WIRE_REASON_UNSEEN_CALLS,
	  "Restart it without pagefuse, as what it discarded may have kept old bytes; share only VMMs that call libc "
	  "for it (no io_uring, no bare system calls)." },
	{ WIRE_REASON_SECCOMP,
	  "Start the VMM without its own confinement (cloud-hypervisor: --seccomp false), or let its filter allow what "
	  "pagefuse-preload(7) lists." },
	{ WIRE_REASON_EARLIER_STORE,
	  "What the guest writes takes part again; to have that for all of it, restart or migrate the VM." },
};

static const char *find_remedy(const char *reason)
{
	for (size_t i = 0; i < sizeof(remedies) / sizeof(remedies[0]); i++)
		if (strcmp(wire_reason_name(remedies[i].reason), reason) == 0)
			return remedies[i].remedy;
	return "See pagefuse-doctor(1).";
}

/** The subject of a finding has to be a constant: the daemon's word is looked up among ours. */
static const char *find_subject(const char *reason)
{
	for (uint32_t i = 1; i < WIRE_REASON_END; i++)
		if (strcmp(wire_reason_name(i), reason) == 0)
			return wire_reason_name(i);
	return "refused";
}

static void remedy_for_mappings(const json_t *vm, char *ret, size_t size)
{
	int64_t limit = field_metric(vm, METRIC_VM_MAPPINGS_LIMIT);
	int64_t wanted = max_map_count_for(field_metric(vm, METRIC_VM_RAM));

	while (wanted < limit * 2 && wanted < INT32_MAX / 2)
		wanted *= 2;
	snprintf(ret, size, "Set vm.max_map_count=%" PRId64 " by sysctl; it counts at once, also for VMs that run.",
		 wanted);
}

static void check_refused(const json_t *vm, const char *name, struct findings *findings)
{
	int64_t ram_bytes = field_metric(vm, METRIC_VM_RAM);
	const json_t *refused;
	size_t i;

	json_array_foreach(json_object_get(vm, "refused"), i, refused) {
		const char *reason = field_text(refused, "reason");
		int64_t bytes = field_integer(refused, "bytes");
		struct format_buffer buffer;

		/* Where all RAM that was offered is left alone, nothing is shared. */
		findings_add(findings, bytes < ram_bytes ? SEVERITY_WARNING : SEVERITY_ERROR, find_subject(reason),
			     name, find_remedy(reason), "%s of its memory are left alone: %s",
			     format_bytes(&buffer, bytes), field_text(refused, "text"));
	}
}

/** It has said why it says nothing any more. */
static bool is_silent(const json_t *vm)
{
	const json_t *refused;
	size_t i;

	json_array_foreach(json_object_get(vm, "refused"), i, refused)
		if (strcmp(field_text(refused, "reason"), wire_reason_name(WIRE_REASON_SECCOMP)) == 0)
			return true;
	return false;
}

static void check_connected(const json_t *vm, const char *name, struct findings *findings)
{
	if (!field_bool(vm, "connected") && !is_silent(vm))
		findings_add(findings, SEVERITY_WARNING, "not-connected", name,
			     "It comes back by itself; if it does not, see pagefused's log for why it was dropped.",
			     "process %" PRId64
			     " is not connected: it runs on and keeps what is shared, but nothing new is shared",
			     field_integer(vm, "pid"));
}

static void check_mappings(const json_t *vm, const char *name, struct findings *findings)
{
	int64_t mappings = field_metric(vm, METRIC_VM_MAPPINGS), limit = field_metric(vm, METRIC_VM_MAPPINGS_LIMIT);
	int64_t refused = field_metric(vm, METRIC_VM_NO_MAPPING);
	char remedy[160];

	if (limit <= 0 ||
	    mappings < limit / 100 * (refused > 0 ? MAPPINGS_SCARCE_PERCENT : MAPPINGS_WARN_PERCENT))
		return;
	remedy_for_mappings(vm, remedy, sizeof(remedy));
	findings_add(findings, SEVERITY_WARNING, "map-limit", name, remedy,
		     "%" PRId64 " of %" PRId64 " mappings are in use, and sharing stops before the limit: %" PRId64
		     " times an equal page stayed private",
		     mappings, limit, refused);
}

static void check_kept_private(const json_t *vm, const char *name, struct findings *findings)
{
	int64_t pages = field_metric(vm, METRIC_VM_KEPT_PRIVATE);

	if (pages > 0 && !findings_has(findings, wire_reason_name(WIRE_REASON_NO_SWAP), name))
		findings_add(findings, SEVERITY_NOTE, wire_reason_name(WIRE_REASON_NO_SWAP), name,
			     find_remedy(wire_reason_name(WIRE_REASON_NO_SWAP)),
			     "%" PRId64
			     " times a written page stayed private, as a device might be writing into it",
			     pages);
}

static void check_large_pages(const json_t *vm, const char *name, struct findings *findings)
{
	int64_t bytes = field_metric(vm, METRIC_VM_RAM) / 100 * LARGE_PERCENT;
	struct format_buffer buffer;

	if (field_metric(vm, METRIC_VM_WOULD_SAVE) <= bytes / (int64_t)PAGE_BYTES)
		return;
	findings_add(findings, SEVERITY_NOTE, "large-pages", name,
		     "It is shared when memory gets short, which `pagefuse status` tells; the section [memory] in "
		     "pagefused.conf(5) has 2 MiB pages split sooner.",
		     "%s would be saved besides if 2 MiB pages were split for it",
		     field_metric_text(&buffer, vm, METRIC_VM_WOULD_SAVE));
}

static void check_exposure(const json_t *vm, const char *name, struct findings *findings)
{
	if (field_metric(vm, METRIC_VM_EXPOSURE_HELD))
		findings_add(findings, SEVERITY_WARNING, "exposure", name,
			     "Raise [memory] exposure_max in pagefused.conf(5), which SIGHUP applies, or leave more "
			     "memory free where it is a share of that; what was put off is shared by the next pass "
			     "then.",
			     "nothing new is shared of it, as it has its share of exposure_max: %" PRId64
			     " times a page was left to later passes",
			     field_metric(vm, METRIC_VM_EXPOSURE_HELD_PAGES));
}

/** The reason for its mode, if that was not set by the command that started it. */
static const char *mode_reason(const json_t *vm)
{
	if (field_bool(vm, "mode_kept"))
		return ", as `pagefuse modifyvm` has kept it";
	return field_bool(vm, "mode_by_settings") ? ", as [vms] preload_mode says of VMs that come by the preload alone"
						  : "";
}

/** What a VM shares less of, by its mode, and the options of `pagefuse modifyvm` for more. */
static const struct {
	enum wire_mode mode;
	enum severity severity;
	const char *text, *purpose, *options;
} limited_modes[] = {
	{ WIRE_MODE_OFF, SEVERITY_ERROR, "nothing of it is shared", "share its memory", "--page-fusion on" },
	{ WIRE_MODE_HINTS, SEVERITY_NOTE, "only what it reads from its disks is shared", "share all equal pages",
	  "--mode full" },
	{ WIRE_MODE_ZERO, SEVERITY_NOTE, "only pages full of zeros are given back", "share all equal pages",
	  "--mode full" },
};

static void check_mode(const json_t *vm, const char *name, struct findings *findings)
{
	const char *mode = field_text(vm, "mode");

	for (size_t i = 0; i < sizeof(limited_modes) / sizeof(*limited_modes); i++) {
		char *command, *remedy;

		if (strcmp(mode, wire_mode_name(limited_modes[i].mode)) != 0)
			continue;
		command = shell_command("modifyvm", name, limited_modes[i].options);
		if (command == NULL || asprintf(&remedy, "To %s: `%s`, which counts now and whenever it starts again.",
						limited_modes[i].purpose, command) < 0) {
			findings->incomplete = true;
			free(command);
			return;
		}
		findings_add(findings, limited_modes[i].severity, "mode", name, remedy, "mode %s%s: %s", mode,
			     mode_reason(vm), limited_modes[i].text);
		free(remedy);
		free(command);
	}
}

/* ---- QEMU's command line ---- */

/** An option, a word of its value, and what that means for sharing. */
static const struct {
	const char *option, *value, *word;
	const char *subject, *text;
} hindrances[] = {
	{ "machine", "", "mem-merge=off", "mem-merge", "mem-merge=off: QEMU does not offer its RAM for sharing" },
	{ "M", "", "mem-merge=off", "mem-merge", "mem-merge=off: QEMU does not offer its RAM for sharing" },
	{ "object", "memory-backend-", "share=on", "shared-mapping",
	  "share=on: a memory backend is mapped MAP_SHARED" },
	{ "object", "memory-backend-", "hugetlb=on", "hugetlb", "hugetlb=on: a memory backend is of hugetlb pages" },
	{ "object", "memory-backend-memfd", "", "file-backed",
	  "memory-backend-memfd: RAM is a memfd, which cannot be shared" },
	{ "object", "memory-backend-file", "", "file-backed",
	  "memory-backend-file: RAM is a file, which cannot be shared" },
	{ "mem-path", "", "", "file-backed", "-mem-path: RAM is a file, which cannot be shared" },
	{ "overcommit", "", "mem-lock=on", "locked", "mem-lock=on: RAM is locked" },
	{ "device", "vfio-", "", "device-dma", "a VFIO device: RAM is pinned for it" },
	{ "device", "vhost-scsi", "", "plain-references", "vhost-scsi: I/O that a hold cannot see" },
};

/** {"qom-type":"memory-backend-ram","share":true}, as libvirt writes, becomes "memory-backend-ram,share=on". */
static char *flatten_json(const char *text)
{
	json_t *object = json_loads(text, 0, NULL), *value;
	char *flat = NULL, *longer;
	const char *key, *kind;

	kind = field_text(object, "qom-type");
	if (kind[0] == '\0')
		kind = field_text(object, "driver");
	flat = strdup(kind);
	json_object_foreach(object, key, value) {
		const char *word =
			json_is_boolean(value) ? (json_is_true(value) ? "on" : "off") : json_string_value(value);

		if (flat == NULL || word == NULL)
			continue;
		if (asprintf(&longer, "%s,%s=%s", flat, key, word) < 0)
			longer = NULL;
		free(flat);
		flat = longer;
	}
	json_decref(object);
	return flat;
}

static bool has_word(const char *list, const char *word)
{
	size_t length = strlen(word);

	if (length == 0)
		return true;
	for (;;) {
		size_t item = strcspn(list, ",");

		if (item == length && strncmp(list, word, length) == 0)
			return true;
		if (list[item] == '\0')
			return false;
		list += item + 1;
	}
}

static const char *option_name(const char *argument)
{
	if (argument[0] != '-')
		return "";
	return argument[1] == '-' ? argument + 2 : argument + 1;
}

/** The file that an option names for RAM, as it begins in @value; NULL: it names none. */
static const char *ram_path(const char *option, const char *value)
{
	static const char word[] = "mem-path=";
	const char *found = strstr(value, word);

	if (strcmp(option, "mem-path") == 0)
		return value;
	return found != NULL && (found == value || found[-1] == ',') ? found + strlen(word) : NULL;
}

/** Whether it is on hugetlbfs, as process @pid sees it. The file may be gone by now, or @path be a folder for it. */
static bool is_on_hugetlbfs(pid_t pid, const char *path)
{
	const char *from = path[0] == '/' ? "root" : "cwd";
	char *slash, below[PATH_MAX];
	struct statfs fs;

	snprintf(below, sizeof(below), "/proc/%d/%s/%.*s", (int)pid, from, (int)strcspn(path, ","), path);
	slash = strrchr(below, '/');
	if (statfs(below, &fs) == 0)
		return (uint32_t)fs.f_type == HUGETLBFS_MAGIC;
	*slash = '\0';
	return statfs(below, &fs) == 0 && (uint32_t)fs.f_type == HUGETLBFS_MAGIC;
}

static void check_option(const struct vmm_process *process, const char *option, const char *value, const char *name,
			 enum severity severity, struct findings *findings)
{
	const char *path = ram_path(option, value);
	bool hugetlb = path != NULL && is_on_hugetlbfs(process->pid, path);

	for (size_t i = 0; i < sizeof(hindrances) / sizeof(hindrances[0]); i++) {
		const char *subject = hindrances[i].subject, *text = hindrances[i].text, *remedy;

		if (hugetlb && strcmp(subject, "file-backed") == 0) {
			subject = "hugetlb";
			text = "RAM is a file on hugetlbfs: hugetlb pages, which cannot be shared";
		}
		remedy = find_remedy(subject);
		if (strcmp(hindrances[i].option, option) != 0 ||
		    strncmp(value, hindrances[i].value, strlen(hindrances[i].value)) != 0 ||
		    !has_word(value, hindrances[i].word) || findings_has(findings, subject, name))
			continue;
		if (strcmp(subject, "mem-merge") == 0)
			remedy = "Start the VM without it (libvirt: no <nosharepages/>).";
		findings_add(findings, severity, subject, name, remedy, "%s", text);
	}
}

static void check_command_line(const struct vmm_process *process, const char *name, enum severity severity,
			       struct findings *findings)
{
	for (char **argument = process->arguments; argument[0] != NULL && argument[1] != NULL; argument++) {
		const char *option = option_name(argument[0]);
		char *flat = NULL;

		if (option[0] == '\0')
			continue;
		if (argument[1][0] == '{')
			flat = flatten_json(argument[1]);
		check_option(process, option, flat ? flat : argument[1], name, severity, findings);
		free(flat);
	}
}

/** Where the VMM has offered no memory, and so nothing is known of any, its command line may tell why. */
static void check_ram(const json_t *vm, const char *name, const struct vmm_process *process, struct findings *findings)
{
	size_t before = findings->count;

	if (field_metric(vm, METRIC_VM_RAM) > 0 || json_array_size(json_object_get(vm, "refused")) > 0)
		return;
	if (process != NULL)
		check_command_line(process, name, SEVERITY_WARNING, findings);
	if (findings->count == before)
		findings_add(findings, SEVERITY_WARNING, "no-ram", name,
			     "For QEMU, leave mem-merge on, which is its default; other VMMs call "
			     "madvise(MADV_MERGEABLE).",
			     "it has not offered any memory for sharing");
}

void vm_checks(const json_t *vm, const struct vmm_process *process, struct findings *findings)
{
	static void (*const checks[])(const json_t *vm, const char *name, struct findings *findings) = {
		check_refused,
		check_connected,
		check_mappings,
		check_kept_private,
		check_large_pages,
		check_exposure,
		check_mode,
	};
	const char *name = field_text(vm, "name");

	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
		checks[i](vm, name, findings);
	check_ram(vm, name, process, findings);
}

void stray_vmm_checks(const struct vmm_process *process, const char *socket_path, enum severity severity,
		      struct findings *findings)
{
	const char *name = process->name;

	if (!process->readable)
		findings_add(findings, severity, "not-shared", name,
			     "Run this as root to learn whether the preload is in it.",
			     "QEMU with pid %d is not known to pagefused", (int)process->pid);
	else if (process->preload_mapped && process->socket_path[0] != '\0' &&
		 strcmp(process->socket_path, socket_path) != 0)
		findings_add(findings, SEVERITY_NOTE, "other-daemon", name,
			     "Ask that daemon (--socket); VMs of different daemons share nothing with each other.",
			     "QEMU with pid %d belongs to the daemon at %s, not to the one at %s", (int)process->pid,
			     process->socket_path, socket_path);
	else if (process->left_to_kernel)
		findings_add(findings, severity, wire_reason_name(WIRE_REASON_SECCOMP), name,
			     find_remedy(wire_reason_name(WIRE_REASON_SECCOMP)),
			     "process %d was under a system call filter that does not let the library work before it "
			     "offered memory",
			     (int)process->pid);
	else if (process->preload_mapped)
		findings_add(findings, severity, "not-connected", name,
			     "It connects once it has RAM that can be shared; both need the same PAGEFUSE_SOCKET.",
			     "QEMU with pid %d has the preload, but is not connected to this pagefused",
			     (int)process->pid);
	else if (process->preload_asked)
		findings_add(findings, severity, "preload-stripped", name,
			     "Use a QEMU that is neither setuid nor static nor has file capabilities; check the "
			     "preload's path.",
			     "QEMU with pid %d was started with the preload, but the dynamic linker has not loaded it",
			     (int)process->pid);
	else
		findings_add(findings, severity, "preload-missing", name,
			     "Start it by `pagefuse run -- COMMAND`; see pagefuse-run(1) for libvirt.",
			     "QEMU with pid %d runs without the preload, so none of its memory is shared",
			     (int)process->pid);
	check_command_line(process, name, severity, findings);
}
