/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/control.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/metrics.h"
#include "daemon/vm.h"

/* ---- building documents; each function fails by returning NULL, and NULL poisons what it is put into ---- */

static json_t *number(uint64_t value)
{
	return json_integer(value > METRIC_VALUE_MAX ? METRIC_VALUE_MAX : (json_int_t)value);
}

static json_t *error(const char *code, const char *message, const char *value)
{
	return json_pack("{s:{s:s,s:s,s:s}}", "error", "code", code, "message", message, "value", value);
}

/* ---- status ---- */

static json_t *metric_value(const struct metrics_snapshot *snapshot, enum metric_id id)
{
	int64_t value = metrics_value(snapshot, id);

	switch (metrics[id].unit) {
	case METRIC_NSEC:
		return json_real((double)value / 1e9);
	case METRIC_FLAG:
		return json_boolean(value);
	default:
		return json_integer(value);
	}
}

/* Puts the metrics of @scope into @object. @return it, or NULL. */
static json_t *add_metrics(json_t *object, const struct metrics_snapshot *snapshot, enum metric_scope scope)
{
	int r = 0;

	for (enum metric_id id = 0; id < METRIC_END; id++)
		if (metrics[id].scope == scope)
			r |= json_object_set_new(object, metrics[id].name, metric_value(snapshot, id));
	if (r == 0)
		return object;
	json_decref(object);
	return NULL;
}

static json_t *daemon_object(const struct control *control, const struct metrics_snapshot *snapshot)
{
	json_t *object = add_metrics(json_pack("{s:i}", "pid", (int)getpid()), snapshot, METRIC_OF_DAEMON);
	json_t *rest = json_pack("{s:s,s:s,s:s}", "version", PAGEFUSE_VERSION, "socket", control->socket_path, "store",
				 store_kind_name(SLIST_FIRST(&control->domains->list)->store));

	json_object_update(object, rest);
	json_decref(rest);
	return object;
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
static uint64_t refused_bytes(const struct daemon_vm *vm, uint32_t reason)
{
	uint64_t stated = vm->refused_bytes[reason];
	struct engine_vm_counters counters;

	if (stated == 0 || daemon_vm_engine_vm(vm) == NULL)
		return stated;
	engine_vm_last_counted(daemon_vm_engine_vm(vm), &counters);
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

static json_t *refused_array(const struct daemon_vm *vm)
{
	json_t *array = json_array();

	for (uint32_t reason = 1; reason < WIRE_REASON_END; reason++)
		if (refused_bytes(vm, reason) > 0)
			json_array_append_new(array, refused_object(reason, refused_bytes(vm, reason)));
	return array;
}

static bool is_scanning(const struct daemon_vm *vm)
{
	uint64_t done, total;

	if (vm->connection.engine_vm == NULL)
		return false;
	engine_scan_progress(vm->connection.engine_vm, &done, &total);
	return done < total;
}

static json_t *vm_object(struct daemon_vm *vm, struct metrics_snapshot *snapshot)
{
	json_t *object = json_pack("{s:s,s:s,s:i,s:I,s:s,s:b,s:b}", "name", vm->name,
				   "domain", vm->domain->name,
				   "pid", (int)vm->pid,
				   "uid", (json_int_t)vm->uid,
				   "mode", wire_mode_name(vm->mode),
				   "connected", daemon_vm_is_connected(vm),
				   "scanning", is_scanning(vm));

	metrics_take_vm(snapshot, vm);
	object = add_metrics(object, snapshot, METRIC_OF_VM);
	json_object_set_new(object, "refused", refused_array(vm));
	return object;
}

static bool may_see(uid_t uid, const struct daemon_vm *vm)
{
	return uid == 0 || uid == geteuid() || uid == vm->uid;
}

/* What a domain has is no business of users that have no part in it. */
static bool may_see_domain(uid_t uid, const struct domain *domain)
{
	const struct daemon_vm *vm;

	if (uid == 0 || uid == geteuid())
		return true;
	TAILQ_FOREACH(vm, &domain->vms, entries)
		if (vm->name[0] && vm->uid == uid)
			return true;
	return false;
}

/* The host's figures, but for the overhead, which is not of any domain. */
static json_t *domain_object(const struct domain *domain)
{
	struct metrics_snapshot snapshot = { 0 };
	const struct daemon_vm *vm;
	unsigned count = 0;
	json_t *object;

	TAILQ_FOREACH(vm, &domain->vms, entries)
		count += vm->name[0] != 0;
	metrics_add_domain(&snapshot, domain);
	object = add_metrics(json_pack("{s:s,s:i}", "name", domain->name, "vms", (int)count), &snapshot,
			     METRIC_OF_HOST);
	json_object_del(object, metrics[METRIC_HOST_OVERHEAD].name);
	return object;
}

static json_t *on_status(const struct control *control, uid_t uid)
{
	struct metrics_snapshot snapshot;
	const struct domain *domain;
	struct daemon_vm *vm = NULL;
	json_t *vms = json_array(), *domains = json_array();

	metrics_take(&snapshot, control->started_usec);
	SLIST_FOREACH(domain, &control->domains->list, entries)
		if (may_see_domain(uid, domain)) {
			metrics_add_domain(&snapshot, domain);
			json_array_append_new(domains, domain_object(domain));
		}
	while ((vm = daemon_vm_next(control->domains, vm)) != NULL)
		if (vm->name[0] && may_see(uid, vm))
			json_array_append_new(vms, vm_object(vm, &snapshot));
	return json_pack("{s:o,s:o,s:o,s:o}", "daemon", daemon_object(control, &snapshot), "host",
			 add_metrics(json_object(), &snapshot, METRIC_OF_HOST),
			 "domains", domains,
			 "vms", vms);
}

/* ---- whose VM ---- */

static struct daemon_vm *find_vm(const struct control *control, const char *name)
{
	struct daemon_vm *vm = NULL;

	while ((vm = daemon_vm_next(control->domains, vm)) != NULL)
		if (vm->name[0] && strcmp(vm->name, name) == 0)
			return vm;
	return NULL;
}

/* @ret_error: an error document if the result is NULL. */
static struct daemon_vm *find_own_vm(const struct control *control, uid_t uid, const json_t *name, json_t **ret_error)
{
	struct daemon_vm *vm;

	if (!json_is_string(name)) {
		*ret_error = error("bad-request", "a VM's name has to be a string", "");
		return NULL;
	}
	vm = find_vm(control, json_string_value(name));
	if (vm == NULL)
		*ret_error = error("unknown-vm", "there is no VM of this name; pagefuse list shows them",
				   json_string_value(name));
	else if (!may_see(uid, vm))
		*ret_error = error("not-permitted", "this VM belongs to another user", json_string_value(name));
	else
		return vm;
	return NULL;
}

/* ---- modify ---- */

static json_t *on_modify(const struct control *control, uid_t uid, const json_t *request)
{
	const char *name = json_string_value(json_object_get(request, "mode"));
	json_t *problem;
	struct daemon_vm *vm = find_own_vm(control, uid, json_object_get(request, "name"), &problem);
	int mode = name ? wire_mode_parse(name) : -EINVAL;

	if (vm == NULL)
		return problem;
	if (mode < 0)
		return error("bad-request", "\"mode\" has to be off, zero, hints or full", name ? name : "mode");
	if (vm->mode != (enum wire_mode)mode)
		log_info("VM %s: mode %s from now on, it was %s", daemon_vm_describe(vm), name,
			 wire_mode_name(vm->mode));
	daemon_vm_set_mode(vm, (enum wire_mode)mode);
	return json_pack("{s:s,s:s,s:o}", "name", vm->name, "mode", wire_mode_name(vm->mode), "unsharing_pages",
			 number(vm->connection.engine_vm ? engine_pages_to_unshare(vm->connection.engine_vm) : 0));
}

/* ---- memory-map ---- */

static json_t *on_memory_map(const struct control *control, uid_t uid, const json_t *request)
{
	json_t *problem, *ranges;
	const struct daemon_vm *vm = find_own_vm(control, uid, json_object_get(request, "name"), &problem);

	if (vm == NULL)
		return problem;
	ranges = json_array();
	for (uint32_t i = 0; i < vm->guest_map.count; i++) {
		const struct wire_range *range = &vm->guest_map.ranges[i];

		json_array_append_new(ranges, json_pack("{s:o,s:o,s:o}", "gpa", number(range->gfn * PAGE_BYTES),
							"bytes", number(range->pages * PAGE_BYTES),
							"page", number(range->page)));
	}
	return json_pack("{s:s,s:o}", "name", vm->name, "ranges", ranges);
}

/* ---- scan ---- */

/*
 * A ticket names the connection and the engine's ticket: serial << 32 | ticket. A VM without a connection cannot be
 * scanned and gets ticket 0, which counts as gone.
 */
static json_t *start_scan(struct daemon_vm *vm)
{
	const struct daemon_vm_connection *connection = &vm->connection;
	uint64_t ticket = 0;

	if (connection->engine_vm)
		ticket = (uint64_t)connection->serial << 32 |
			 (uint32_t)engine_scan(vm->domain->engine, connection->engine_vm);
	domain_schedule_pump(vm->domain);
	return json_pack("{s:s,s:I}", "name", vm->name, "ticket", (json_int_t)ticket);
}

static json_t *scan_named(const struct control *control, uid_t uid, const json_t *names)
{
	json_t *tickets, *name, *problem;
	struct daemon_vm *vm;
	size_t i;

	json_array_foreach(names, i, name)
		if (find_own_vm(control, uid, name, &problem) == NULL)
			return problem;
	tickets = json_array();
	json_array_foreach(names, i, name) {
		vm = find_own_vm(control, uid, name, &problem);
		json_array_append_new(tickets, start_scan(vm));
	}
	return tickets;
}

static json_t *scan_all(const struct control *control, uid_t uid)
{
	json_t *tickets = json_array();
	struct daemon_vm *vm = NULL;

	while ((vm = daemon_vm_next(control->domains, vm)) != NULL)
		if (vm->name[0] && daemon_vm_is_connected(vm) && may_see(uid, vm))
			json_array_append_new(tickets, start_scan(vm));
	return tickets;
}

static json_t *on_scan(const struct control *control, uid_t uid, const json_t *request)
{
	const json_t *names = json_object_get(request, "names");
	json_t *tickets;

	if (names && !json_is_array(names))
		return error("bad-request", "\"names\" has to be an array of VM names", "names");
	tickets = json_array_size(names) > 0 ? scan_named(control, uid, names) : scan_all(control, uid);
	if (!json_is_array(tickets))
		return tickets; /* an error document, or no memory */
	return json_pack("{s:o}", "tickets", tickets);
}

/* ---- scan-progress ---- */

static const struct daemon_vm *find_serial(const struct control *control, uint64_t serial)
{
	const struct daemon_vm *vm = NULL;

	while ((vm = daemon_vm_next(control->domains, vm)) != NULL)
		if (vm->connection.engine_vm && vm->connection.serial == serial)
			return vm;
	return NULL;
}

/* @name: for the reply, in case the VM is gone. */
static json_t *progress_of(const struct control *control, uid_t uid, const char *name, uint64_t ticket)
{
	const struct daemon_vm *scanned = find_serial(control, ticket >> 32);
	uint64_t done = 0, total = 0;
	bool gone = true, finished = false;

	if (scanned && may_see(uid, scanned)) {
		const struct engine_vm *engine_vm = scanned->connection.engine_vm;

		gone = false;
		finished = engine_scan_done(scanned->domain->engine, engine_vm, (uint32_t)ticket);
		engine_scan_progress(engine_vm, &done, &total);
		name = scanned->name;
	}
	return json_pack("{s:s,s:o,s:o,s:b,s:b}", "name", name,
			 "done_pages", number(done),
			 "total_pages", number(total),
			 "finished", finished,
			 "gone", gone);
}

static json_t *on_scan_progress(const struct control *control, uid_t uid, const json_t *request)
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
		uint64_t value = (uint64_t)json_integer_value(ticket);

		if (!json_is_integer(ticket)) {
			json_decref(vms);
			return error("bad-request",
				     "a ticket has to be a number, or an object that has it as \"ticket\"", "tickets");
		}
		json_array_append_new(vms, progress_of(control, uid, name ? name : "", value));
	}
	return json_pack("{s:o}", "vms", vms);
}

/* ---- admit ---- */

static json_t *on_admit(const struct control *control, const struct admission_peer *peer, const json_t *request)
{
	const char *name = json_string_value(json_object_get(request, "name"));
	const char *wanted = json_string_value(json_object_get(request, "domain"));
	char domain[WIRE_DOMAIN_MAX], reason[ADMISSION_REASON_SIZE];

	if (name == NULL || !wire_name_is_valid(name))
		return error("bad-request", "a VM's name has to be a string that can be one", "name");
	if (wanted && *wanted && !wire_domain_is_valid(wanted))
		return error("bad-request", "that cannot be a domain's name", wanted);
	if (admission_try(control->admission, peer, name, wanted ? wanted : "", domain, reason) < 0)
		return error("not-permitted", reason, wanted ? wanted : "");
	return json_pack("{s:s}", "domain", domain);
}

/* ---- requests and replies ---- */

static json_t *answer(const struct control *control, const struct admission_peer *peer, const char *text, size_t size)
{
	uid_t uid = peer->credentials->uid;
	json_t *request = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL), *reply;
	const char *command;

	if (request == NULL)
		return error("bad-request", "the request is no JSON object", "");
	command = json_string_value(json_object_get(request, "command"));
	if (command == NULL)
		reply = error("bad-request", "the request has no \"command\"", "");
	else if (strcmp(command, "status") == 0)
		reply = on_status(control, uid);
	else if (strcmp(command, "memory-map") == 0)
		reply = on_memory_map(control, uid, request);
	else if (strcmp(command, "modify") == 0)
		reply = on_modify(control, uid, request);
	else if (strcmp(command, "scan") == 0)
		reply = on_scan(control, uid, request);
	else if (strcmp(command, "scan-progress") == 0)
		reply = on_scan_progress(control, uid, request);
	else if (strcmp(command, "admit") == 0)
		reply = on_admit(control, peer, request);
	else
		reply = error("unknown-command", "this daemon does not know the command", command);
	json_decref(request);
	return reply;
}

char *control_answer(const struct control *control, const struct admission_peer *peer, const char *text, size_t size)
{
	json_t *reply = answer(control, peer, text, size);
	char *document;

	if (reply == NULL)
		reply = error("no-memory", "the daemon is out of memory", "");
	document = reply ? json_dumps(reply, JSON_COMPACT) : NULL;
	json_decref(reply);
	return document;
}
