/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/examination.h"

#include <string.h>

#include "cli/document.h"
#include "cli/format.h"
#include "cli/host-checks.h"
#include "cli/host-facts.h"
#include "cli/vm-checks.h"
#include "cli/vmm-process.h"

static void check_daemon(struct examination *examination)
{
	const json_t *daemon = json_object_get(examination->status, "daemon");

	if (daemon == NULL)
		return;
	if (strcmp(field_text(daemon, "store"), "memfd") == 0)
		findings_add(&examination->findings, SEVERITY_NOTE, "store", NULL,
			     "Run pagefused as root for a store that no VMM can write.",
			     "pagefused keeps shared pages in memfds: a VMM of the same user that was broken into "
			     "could write them");
	if (strcmp(field_text(daemon, "version"), PAGEFUSE_VERSION) != 0)
		findings_add(&examination->findings, SEVERITY_NOTE, "version", NULL,
			     "Install both from the same release.", "pagefused is of version %s, this program of %s",
			     field_text(daemon, "version"), PAGEFUSE_VERSION);
}

static void check_exposure(struct examination *examination)
{
	const json_t *host = json_object_get(examination->status, "host");
	struct format_buffer exposed, uncovered;

	if (field_metric(host, METRIC_HOST_UNCOVERED) > 0)
		findings_add(&examination->findings, SEVERITY_NOTE, "uncovered", NULL,
			     "Leave more memory or swap free; [memory] exposure_max in pagefused.conf(5) sets a limit.",
			     "if guests write all that they share they take %s, of which %s are not free",
			     field_metric_text(&exposed, host, METRIC_HOST_EXPOSED),
			     field_metric_text(&uncovered, host, METRIC_HOST_UNCOVERED));
}

static void check_host(struct examination *examination)
{
	const json_t *daemon = json_object_get(examination->status, "daemon");
	struct host_facts facts;

	host_facts_read("", (pid_t)field_integer(daemon, "pid"), &facts);
	host_facts_probe(&facts);
	host_facts_daemon(&facts, examination->status != NULL ? &examination->peer : NULL);
	host_checks(&facts, &examination->findings);
	check_daemon(examination);
	check_exposure(examination);
}

/* @return whether it was asked about; notes that there is such a VM. */
static bool take_wanted(struct examination *examination, const char *name)
{
	if (examination->name == NULL)
		return true;
	if (strcmp(examination->name, name) != 0)
		return false;
	examination->name_seen = true;
	return true;
}

static void check_known_vms(struct examination *examination)
{
	const json_t *vm;
	size_t i;

	json_array_foreach(json_object_get(examination->status, "vms"), i, vm) {
		struct vmm_process process;
		bool readable;

		if (!take_wanted(examination, field_text(vm, "name")))
			continue;
		readable = vmm_process_read("", (pid_t)field_integer(vm, "pid"), &process) == 0;
		vm_checks(vm, readable ? &process : NULL, &examination->findings);
		if (readable)
			vmm_process_done(&process);
	}
}

static bool is_known(const json_t *status, pid_t pid)
{
	const json_t *vm;
	size_t i;

	json_array_foreach(json_object_get(status, "vms"), i, vm)
		if (field_integer(vm, "pid") == pid)
			return true;
	return false;
}

static void visit_vmm(const struct vmm_process *process, void *context)
{
	struct examination *examination = context;

	if (is_known(examination->status, process->pid) || !take_wanted(examination, process->name))
		return;
	stray_vmm_checks(process, examination->cli->socket_path,
			 examination->name != NULL ? SEVERITY_ERROR : SEVERITY_WARNING, &examination->findings);
}

int examination_look(struct examination *examination)
{
	int r;

	check_host(examination);
	check_known_vms(examination);
	r = vmm_process_each("", visit_vmm, examination);
	if (r < 0) {
		complain("/proc: %s; mount it to have processes looked at", strerror(-r));
		return CLI_FAILED;
	}
	return CLI_DONE;
}
