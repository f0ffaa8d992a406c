/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/control.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/process.h"
#include "daemon/pump.h"

#define JSON_INTEGER_MAX ((UINT64_C(1) << 53) - 1) /* what every JSON reader can take */

/* ---- building documents; each function fails by returning NULL, and NULL poisons what it is put into ---- */

/* Also for numbers that a VMM made up. */
static json_t *number(uint64_t value)
{
	return json_integer((json_int_t)(value > JSON_INTEGER_MAX ? JSON_INTEGER_MAX : value));
}

static json_t *signed_number(int64_t value)
{
	return value < 0 ? json_integer(value) : number((uint64_t)value);
}

static json_t *seconds(uint64_t nsec)
{
	return json_real((double)(nsec > JSON_INTEGER_MAX ? JSON_INTEGER_MAX : nsec) / 1e9);
}

static json_t *error(const char *code, const char *message, const char *value)
{
	return json_pack("{s:{s:s,s:s,s:s}}", "error", "code", code, "message", message, "value", value);
}

/* ---- what the daemon costs ---- */

/* Anonymous memory of this process: tables and buffers, without the store, which is counted by itself. */
static uint64_t own_memory_bytes(void)
{
	FILE *file = fopen("/proc/self/status", "re");
	uint64_t kib = 0;
	char line[256];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "RssAnon: %" SCNu64, &kib) == 1)
			break;
	if (file)
		fclose(file);
	return kib * 1024;
}

static uint64_t ring_bytes(const struct daemon *daemon)
{
	const struct session *session;
	uint64_t bytes = 0;
	struct stat st;

	LIST_FOREACH(session, &daemon->sessions, entries)
		if (session->ring_fd >= 0 && fstat(session->ring_fd, &st) == 0)
			bytes += (uint64_t)st.st_blocks * 512;
	return bytes;
}

static uint64_t own_cpu_nsec(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000 +
	       (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
}

/* ---- status ---- */

static json_t *daemon_object(const struct daemon *daemon, uint64_t memory_bytes)
{
	uint64_t uptime_usec = daemon_now_usec() - daemon->started_usec;

	return json_pack("{s:i,s:o,s:o,s:o,s:s,s:s,s:s}", "pid", (int)getpid(),
			 "uptime_seconds", seconds(uptime_usec * 1000),
			 "cpu_seconds", seconds(own_cpu_nsec()),
			 "memory_bytes", number(memory_bytes),
			 "version", PAGEFUSE_VERSION,
			 "socket", daemon->socket_path,
			 "store", store_kind_name(daemon->store));
}

static json_t *host_object(struct daemon *daemon, uint64_t memory_bytes)
{
	const struct engine_counters *counters = daemon_counters(daemon);

	return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "shared_pages", number(counters->shared_pages),
			 "common_pages", number(counters->common_pages),
			 "zero_pages", number(counters->zero_pages),
			 "saved_pages", signed_number(counters->saved_pages),
			 "saved_bytes", signed_number(counters->saved_pages * (int64_t)PAGE_BYTES),
			 "store_bytes", number(store_used_bytes(daemon->store)),
			 "overhead_bytes", number(memory_bytes + ring_bytes(daemon)));
}

static json_t *refused_object(uint32_t reason, uint64_t bytes)
{
	return json_pack("{s:s,s:s,s:o}", "reason", wire_reason_name(reason),
			 "text", wire_reason_text(reason),
			 "bytes", number(bytes));
}

/*
 * How much is left alone for a reason. What a VMM says of all its RAM, or of all diverged pages, counts as much as
 * there is of that in the same document.
 */
static uint64_t refused_bytes(const struct process *process, uint32_t reason)
{
	uint64_t stated = process->refused_bytes[reason];
	struct engine_vm_counters counters;

	if (stated == 0 || process_vm(process) == NULL)
		return stated;
	engine_vm_last_counted(process_vm(process), &counters);
	switch (reason) {
	case WIRE_REASON_NO_SWAP:
		return counters.diverged_pages * PAGE_BYTES;
	case WIRE_REASON_PLAIN_REFERENCES:
	case WIRE_REASON_NO_USERFAULTFD:
	case WIRE_REASON_NO_PAGEMAP:
	case WIRE_REASON_NESTED:
	case WIRE_REASON_UNSEEN_CALLS:
		return counters.ram_pages * PAGE_BYTES;
	default:
		return stated;
	}
}

static json_t *refused_array(const struct process *process)
{
	json_t *array = json_array();

	for (uint32_t reason = 1; reason < WIRE_REASON_END; reason++)
		if (refused_bytes(process, reason) > 0)
			json_array_append_new(array, refused_object(reason, refused_bytes(process, reason)));
	return array;
}

static bool is_scanning(const struct process *process)
{
	uint64_t done, total;

	if (process->session == NULL || process->session->vm == NULL)
		return false;
	engine_scan_progress(process->session->vm, &done, &total);
	return done < total;
}

/* From the engine: confirmed, and of the same moment as the host's. */
static json_t *counted_object(const struct process *process)
{
	struct engine_vm_counters counters = { 0 };

	if (process_vm(process))
		engine_vm_last_counted(process_vm(process), &counters);
	return json_pack("{s:s,s:i,s:I,s:s,s:b,s:b,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "name", process->name,
			 "pid", (int)process->pid,
			 "uid", (json_int_t)process->uid,
			 "mode", wire_mode_name(process->mode),
			 "connected", process->session != NULL,
			 "scanning", is_scanning(process),
			 "ram_bytes", number(counters.ram_pages * PAGE_BYTES),
			 "shared_pages", number(counters.shared_pages),
			 "zero_pages", number(counters.zero_pages),
			 "diverged_pages", number(counters.diverged_pages),
			 "present_pages", number(counters.present_pages),
			 "saved_pages", signed_number(counters.saved_pages),
			 "no_mapping_pages", number(counters.full));
}

/* From the VMM: what it says. */
static json_t *stated_object(const struct process *process)
{
	const struct ring_stats *stats = &process->stats;

	return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "busy_pages", number(stats->busy_pages),
			 "kept_private_pages", number(stats->kept_private_pages),
			 "mappings", number(stats->mappings),
			 "mappings_limit", number(stats->mappings_limit),
			 "worker_cpu_seconds", seconds(stats->cpu_nsec),
			 "hold_p50_usec", number(stats->hold_p50_usec),
			 "hold_p99_usec", number(stats->hold_p99_usec),
			 "hold_max_usec", number(stats->hold_max_usec));
}

static json_t *vm_object(struct process *process)
{
	json_t *vm, *stated;

	if (process->session)
		pump_take_statistics(process->session);
	vm = counted_object(process);
	stated = stated_object(process);
	if (vm && stated)
		json_object_update(vm, stated);
	json_decref(stated);
	if (vm)
		json_object_set_new(vm, "refused", refused_array(process));
	return vm;
}

static bool may_see(const struct session *session, const struct process *process)
{
	uid_t uid = session->peer.uid;

	return uid == 0 || uid == geteuid() || uid == process->uid;
}

static json_t *on_status(struct session *session)
{
	struct daemon *daemon = session->daemon;
	uint64_t memory_bytes = own_memory_bytes();
	struct process *process;
	/* The host first: it counts what the VMs' saved pages are taken from. */
	json_t *host = host_object(daemon, memory_bytes), *vms = json_array();

	TAILQ_FOREACH(process, &daemon->processes, entries)
		if (process->name[0] && may_see(session, process))
			json_array_append_new(vms, vm_object(process));
	return json_pack("{s:o,s:o,s:o}", "daemon", daemon_object(daemon, memory_bytes), "host", host, "vms", vms);
}

/* ---- scan ---- */

static struct process *find_vm(const struct daemon *daemon, const char *name)
{
	struct process *process;

	TAILQ_FOREACH(process, &daemon->processes, entries)
		if (process->name[0] && strcmp(process->name, name) == 0)
			return process;
	return NULL;
}

/* @ret_error: an error document if the result is NULL. */
static struct process *find_own_vm(const struct session *session, const json_t *name, json_t **ret_error)
{
	struct process *process;

	if (!json_is_string(name)) {
		*ret_error = error("bad-request", "a VM's name has to be a string", "");
		return NULL;
	}
	process = find_vm(session->daemon, json_string_value(name));
	if (process == NULL)
		*ret_error = error("unknown-vm", "there is no VM of this name; pagefuse list shows them",
				   json_string_value(name));
	else if (!may_see(session, process))
		*ret_error = error("not-permitted", "this VM belongs to another user", json_string_value(name));
	else
		return process;
	return NULL;
}

/*
 * A ticket names the connection and the engine's ticket: serial << 32 | ticket. A VM without a connection cannot be
 * scanned and gets ticket 0, which counts as gone.
 */
static json_t *start_scan(struct process *process)
{
	struct session *session = process->session;
	uint64_t ticket = 0;

	if (session && session->vm)
		ticket = (uint64_t)session->serial << 32 | (uint32_t)engine_scan(process->daemon->engine, session->vm);
	daemon_schedule_pump(process->daemon);
	return json_pack("{s:s,s:I}", "name", process->name, "ticket", (json_int_t)ticket);
}

static json_t *scan_named(struct session *session, const json_t *names)
{
	json_t *tickets, *name, *problem;
	struct process *process;
	size_t i;

	json_array_foreach(names, i, name)
		if (find_own_vm(session, name, &problem) == NULL)
			return problem;
	tickets = json_array();
	json_array_foreach(names, i, name) {
		process = find_own_vm(session, name, &problem);
		json_array_append_new(tickets, start_scan(process));
	}
	return tickets;
}

static json_t *scan_all(struct session *session)
{
	json_t *tickets = json_array();
	struct process *process;

	TAILQ_FOREACH(process, &session->daemon->processes, entries)
		if (process->name[0] && process->session && may_see(session, process))
			json_array_append_new(tickets, start_scan(process));
	return tickets;
}

static json_t *on_scan(struct session *session, const json_t *request)
{
	const json_t *names = json_object_get(request, "names");
	json_t *tickets;

	if (names && !json_is_array(names))
		return error("bad-request", "\"names\" has to be an array of VM names", "names");
	tickets = json_array_size(names) > 0 ? scan_named(session, names) : scan_all(session);
	if (!json_is_array(tickets))
		return tickets; /* an error document, or no memory */
	return json_pack("{s:o}", "tickets", tickets);
}

/* ---- scan-progress ---- */

static const struct session *find_serial(const struct daemon *daemon, uint64_t serial)
{
	const struct session *session;

	LIST_FOREACH(session, &daemon->sessions, entries)
		if (session->vm && session->serial == serial)
			return session;
	return NULL;
}

/* @name: for the reply, in case the VM is gone. */
static json_t *progress_of(const struct session *session, const char *name, uint64_t ticket)
{
	const struct session *scanned = find_serial(session->daemon, ticket >> 32);
	uint64_t done = 0, total = 0;
	bool gone = true, finished = false;

	if (scanned && may_see(session, scanned->process)) {
		gone = false;
		finished = engine_scan_done(session->daemon->engine, scanned->vm, (uint32_t)ticket);
		engine_scan_progress(scanned->vm, &done, &total);
		name = scanned->process->name;
	}
	return json_pack("{s:s,s:o,s:o,s:b,s:b}", "name", name,
			 "done_pages", number(done),
			 "total_pages", number(total),
			 "finished", finished,
			 "gone", gone);
}

static json_t *on_scan_progress(const struct session *session, const json_t *request)
{
	const json_t *tickets = json_object_get(request, "tickets");
	json_t *vms, *entry;
	size_t i;

	if (!json_is_array(tickets))
		return error("bad-request", "\"tickets\" has to be an array, as the reply to \"scan\" had it",
			     "tickets");
	if (json_array_size(tickets) > ENGINE_VMS_MAX)
		return error("bad-request", "\"tickets\" has more entries than there can be VMs", "tickets");
	vms = json_array();
	json_array_foreach(tickets, i, entry) {
		const json_t *ticket = json_is_object(entry) ? json_object_get(entry, "ticket") : entry;
		const char *name = json_string_value(json_object_get(entry, "name"));

		if (!json_is_integer(ticket)) {
			json_decref(vms);
			return error("bad-request",
				     "a ticket has to be a number, or an object that has it as \"ticket\"", "tickets");
		}
		json_array_append_new(vms,
				      progress_of(session, name ? name : "", (uint64_t)json_integer_value(ticket)));
	}
	return json_pack("{s:o}", "vms", vms);
}

/* ---- requests and replies ---- */

static json_t *answer(struct session *session, const char *text, size_t size)
{
	json_t *request = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL), *reply;
	const char *command;

	if (request == NULL)
		return error("bad-request", "the request is no JSON object", "");
	command = json_string_value(json_object_get(request, "command"));
	if (command == NULL)
		reply = error("bad-request", "the request has no \"command\"", "");
	else if (strcmp(command, "status") == 0)
		reply = on_status(session);
	else if (strcmp(command, "scan") == 0)
		reply = on_scan(session, request);
	else if (strcmp(command, "scan-progress") == 0)
		reply = on_scan_progress(session, request);
	else
		reply = error("unknown-command", "this daemon does not know the command", command);
	json_decref(request);
	return reply;
}

char *control_answer(struct session *session, const char *text, size_t size)
{
	json_t *reply = answer(session, text, size);
	char *document;

	if (reply == NULL)
		reply = error("no-memory", "the daemon is out of memory", "");
	document = reply ? json_dumps(reply, JSON_COMPACT) : NULL;
	json_decref(reply);
	return document;
}
