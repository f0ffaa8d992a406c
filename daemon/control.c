/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/control.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/control-internal.h"
#include "daemon/domain.h"
#include "daemon/log.h"
#include "daemon/memory-watch.h"
#include "daemon/metrics.h"
#include "daemon/turn.h"
#include "daemon/vm.h"

/* ---- building documents; each function fails by returning NULL, and NULL poisons what it is put into ---- */

json_t *control_number(uint64_t value)
{
	return json_integer(value > METRIC_VALUE_MAX ? METRIC_VALUE_MAX : (json_int_t)value);
}

json_t *control_uuid(const uint8_t uuid[UUID_BYTES])
{
	char text[UUID_TEXT] = "";

	if (uuid_is_set(uuid))
		uuid_text(uuid, text);
	return json_string(text);
}

json_t *control_error(const char *code, const char *message, const char *value)
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

static json_t *thresholds_object(const struct memory_watch *watch)
{
	const struct memory_thresholds *percent = &watch->settings.thresholds;
	const uint32_t all[] = { percent->high, percent->clear, percent->soft, percent->hard, percent->low };
	json_t *object = json_object();

	for (unsigned i = 0; i < MEMORY_STATES; i++)
		json_object_set_new(object, memory_state_name(i),
				    control_number(memory_threshold_bytes(memory_watch_min_free(watch), all[i])));
	return object;
}

/* Without figures there are none. */
static json_t *memory_object(const struct control *control)
{
	const struct memory_watch *watch = control->memory;
	const struct engine_settings *engine = control->domains->engine;
	uint64_t limit_pages = control->domains->exposure->limit_pages;
	uint64_t now = clock_now_usec();
	json_t *object = json_pack("{s:s,s:f,s:s,s:b}", "state", memory_state_name(watch->state),
				   "state_seconds", (double)(now - watch->since_usec) / 1e6,
				   "source", watch->settings.source,
				   "stalled", now < watch->stalled_until_usec);

	json_object_set_new(object, "large_pages", json_string(engine_large_names[engine->large_scans]));
	json_object_set_new(object, "large_pages_hints", json_string(engine_large_names[engine->large_hints]));
	json_object_set_new(object, "large_pages_back", json_boolean(engine->large_back));
	json_object_set_new(object, "scan_interval_seconds", json_integer(engine->scan_interval_seconds));
	json_object_set_new(object, "scan_cpu_percent", json_integer(engine->scan_cpu_percent));
	json_object_set_new(object, "exposure_max", json_string(control->exposure_max->text));
	if (limit_pages != UINT64_MAX)
		json_object_set_new(object, "exposure_max_bytes", control_number(limit_pages * PAGE_BYTES));
	if (*watch->error != 0)
		json_object_set_new(object, "error", json_string(watch->error));
	if (!watch->known)
		return object;
	json_object_set_new(object, "kind", json_string(memory_kind_name(watch->kind)));
	json_object_set_new(object, "total_bytes", control_number(watch->figures.total_bytes));
	json_object_set_new(object, "free_bytes", control_number(watch->figures.free_bytes));
	json_object_set_new(object, "swap_free_bytes", control_number(watch->figures.swap_bytes));
	json_object_set_new(object, "min_free_bytes", control_number(memory_watch_min_free(watch)));
	json_object_set_new(object, "threshold_bytes", thresholds_object(watch));
	return object;
}

/* A VM as it was when the status was asked for: the reply is made in pieces, and all of it is of that moment. */
struct seen_vm {
	char name[WIRE_NAME_MAX], domain[WIRE_DOMAIN_MAX];
	uint8_t uuid[UUID_BYTES];
	pid_t pid;
	uid_t uid;
	enum wire_mode mode;
	bool mode_kept;        /* somebody has said that it is to have this mode */
	bool mode_by_settings; /* nobody has said any for it */
	bool connected, scanning;
	bool counted; /* the engine knows it */
	uint64_t refused_bytes[WIRE_REASON_END];
	struct engine_vm_counters counters;
	struct ring_stats stated;
};

static json_t *refused_object(uint32_t reason, uint64_t bytes)
{
	return json_pack("{s:s,s:s,s:o}", "reason", wire_reason_name(reason),
			 "text", wire_reason_text(reason),
			 "bytes", control_number(bytes));
}

/*
 * How much is left alone for a reason. What a VMM says of all its RAM, or of all diverged pages, counts as much as
 * there is of that in the same document.
 */
static uint64_t refused_bytes(const struct seen_vm *vm, uint32_t reason)
{
	uint64_t stated = vm->refused_bytes[reason];

	if (stated == 0 || !vm->counted)
		return stated;
	switch (reason) {
	case WIRE_REASON_QUOTA: /* passes try the same pages again */
		return stated < vm->counters.ram_pages * PAGE_BYTES ? stated : vm->counters.ram_pages * PAGE_BYTES;
	case WIRE_REASON_NO_SWAP:
		return vm->counters.diverged_pages * PAGE_BYTES;
	case WIRE_REASON_PLAIN_REFERENCES:
	case WIRE_REASON_NO_USERFAULTFD:
	case WIRE_REASON_NO_PAGEMAP:
	case WIRE_REASON_NESTED:
	case WIRE_REASON_UNSEEN_CALLS:
		return vm->counters.ram_pages * PAGE_BYTES;
	default:
		return stated;
	}
}

static json_t *refused_array(const struct seen_vm *vm)
{
	json_t *array = json_array();

	for (uint32_t reason = 1; reason < WIRE_REASON_END; reason++)
		if (refused_bytes(vm, reason) > 0)
			json_array_append_new(array, refused_object(reason, refused_bytes(vm, reason)));
	return array;
}

static void see_vm(struct daemon_vm *vm, struct seen_vm *ret)
{
	struct metrics_snapshot snapshot;

	metrics_take_vm(&snapshot, vm);
	*ret = (struct seen_vm){
		.pid = vm->pid,
		.uid = vm->uid,
		.mode = vm->mode,
		.mode_kept = vm->mode_kept,
		.mode_by_settings = vm->mode_unsaid && !vm->mode_kept,
		.connected = daemon_vm_is_connected(vm),
		.scanning = vm->connection.engine_vm && engine_is_scanning(vm->connection.engine_vm),
		.counted = daemon_vm_engine_vm(vm) != NULL,
		.counters = snapshot.vm,
		.stated = snapshot.stated,
	};
	memcpy(ret->name, vm->name, sizeof(ret->name));
	memcpy(ret->domain, vm->domain->name, sizeof(ret->domain));
	memcpy(ret->uuid, vm->uuid, sizeof(ret->uuid));
	memcpy(ret->refused_bytes, vm->refused_bytes, sizeof(ret->refused_bytes));
	if (clock_now_usec() - vm->limited.last_usec > DAEMON_VM_LIMITED_USEC)
		ret->refused_bytes[WIRE_REASON_QUOTA] = 0;
}

static json_t *vm_object(const struct seen_vm *vm)
{
	const struct metrics_snapshot snapshot = { .vm = vm->counters, .stated = vm->stated };
	json_t *object = json_pack("{s:s,s:s,s:o,s:i,s:I,s:s,s:b,s:b,s:b,s:b}", "name", vm->name,
				   "domain", vm->domain,
				   "uuid", control_uuid(vm->uuid),
				   "pid", (int)vm->pid,
				   "uid", (json_int_t)vm->uid,
				   "mode", wire_mode_name(vm->mode),
				   "mode_kept", vm->mode_kept,
				   "mode_by_settings", vm->mode_by_settings,
				   "connected", vm->connected,
				   "scanning", vm->scanning);

	object = add_metrics(object, &snapshot, METRIC_OF_VM);
	json_object_set_new(object, "refused", refused_array(vm));
	return object;
}

bool control_may_see(uid_t uid, const struct daemon_vm *vm)
{
	return uid == 0 || uid == geteuid() || uid == vm->uid;
}

/* What a domain has is no business of users that have no part in it. */
bool control_may_see_domain(uid_t uid, const struct domain *domain)
{
	const struct daemon_vm *vm;

	if (uid == 0 || uid == geteuid())
		return true;
	TAILQ_FOREACH(vm, &domain->vms, entries)
		if (vm->name[0] && vm->uid == uid)
			return true;
	return false;
}

/* The host's figures, but for those that are not of any domain. */
static json_t *domain_object(const struct domain *domain, const struct metrics_snapshot *snapshot)
{
	const struct daemon_vm *vm;
	unsigned count = 0;
	json_t *object;

	TAILQ_FOREACH(vm, &domain->vms, entries)
		count += vm->name[0] != 0;
	object = add_metrics(json_pack("{s:s,s:i}", "name", domain->name, "vms", (int)count), snapshot,
			     METRIC_OF_HOST);
	json_object_del(object, metrics[METRIC_HOST_OVERHEAD].name);
	json_object_del(object, metrics[METRIC_HOST_UNCOVERED].name);
	return object;
}

static json_t *status_item(const struct control_answer *answer, size_t i)
{
	return vm_object(&answer->vms[i]);
}

/* @return how many there are, in answer->vms. */
static size_t see_vms(struct control_answer *answer)
{
	const struct domains *domains = answer->control->domains;
	struct daemon_vm *vm = NULL;
	size_t count = 0;

	while ((vm = daemon_vm_next(domains, vm)) != NULL)
		count += vm->name[0] && control_may_see(answer->uid, vm);
	answer->vms = calloc(count + 1, sizeof(*answer->vms));
	if (answer->vms == NULL)
		return 0;
	for (count = 0; (vm = daemon_vm_next(domains, vm)) != NULL;)
		if (vm->name[0] && control_may_see(answer->uid, vm))
			see_vm(vm, &answer->vms[count++]);
	return count;
}

static json_t *on_status(struct control_answer *answer)
{
	const struct control *control = answer->control;
	struct metrics_snapshot snapshot, part;
	const struct domain *domain;
	json_t *domains = json_array();

	metrics_take(&snapshot, control->started_usec, control->memory);
	SLIST_FOREACH(domain, &control->domains->list, entries)
		if (control_may_see_domain(answer->uid, domain)) {
			metrics_take_domain(&part, domain);
			metrics_add_domain(&snapshot, &part);
			json_array_append_new(domains, domain_object(domain, &part));
		}
	answer->list = "vms";
	answer->item = status_item;
	answer->count = see_vms(answer);
	if (answer->vms == NULL) {
		json_decref(domains);
		return NULL;
	}
	return json_pack("{s:o,s:o,s:o,s:o}", "daemon", daemon_object(control, &snapshot), "host",
			 add_metrics(json_object(), &snapshot, METRIC_OF_HOST),
			 "memory", memory_object(control),
			 "domains", domains);
}

/* ---- whose VM ---- */

struct daemon_vm *control_find_own_vm(const struct control *control, uid_t uid, const json_t *name, json_t **ret_error)
{
	struct daemon_vm *vm;

	if (!json_is_string(name)) {
		*ret_error = control_error("bad-request", "a VM's name has to be a string", "");
		return NULL;
	}
	vm = daemon_vm_named(control->domains, json_string_value(name));
	if (vm == NULL)
		*ret_error = control_error("unknown-vm", "there is no VM of this name; pagefuse list shows them",
					   json_string_value(name));
	else if (!control_may_see(uid, vm))
		*ret_error = control_error("not-permitted", "this VM belongs to another user", json_string_value(name));
	else
		return vm;
	return NULL;
}

/* ---- memory-map ---- */

static json_t *range_item(const struct control_answer *answer, size_t i)
{
	const struct wire_range *range = &answer->ranges[i];

	return json_pack("{s:o,s:o,s:o}", "gpa", control_number(range->gfn * PAGE_BYTES),
			 "bytes", control_number(range->pages * PAGE_BYTES),
			 "page", control_number(range->page));
}

static json_t *on_memory_map(struct control_answer *answer, const json_t *request)
{
	json_t *problem;
	const struct daemon_vm *vm = control_find_own_vm(answer->control, answer->uid, json_object_get(request, "name"),
							 &problem);

	if (vm == NULL)
		return problem;
	answer->count = vm->guest_map.count;
	answer->ranges = calloc(answer->count + 1, sizeof(*answer->ranges));
	if (answer->ranges == NULL)
		return NULL;
	if (answer->count > 0)
		memcpy(answer->ranges, vm->guest_map.ranges, answer->count * sizeof(*answer->ranges));
	answer->list = "ranges";
	answer->item = range_item;
	return json_pack("{s:s}", "name", vm->name);
}

/* ---- scan ---- */

/*
 * A ticket names the connection and the engine's ticket: serial << 32 | ticket. A VM without a connection cannot be
 * scanned and gets ticket 0, which counts as gone.
 */
static uint64_t start_scan(struct daemon_vm *vm)
{
	const struct daemon_vm_connection *connection = &vm->connection;

	if (connection->engine_vm == NULL)
		return 0;
	domain_schedule_pump(vm->domain);
	return (uint64_t)connection->serial << 32 |
	       (uint32_t)engine_scan(vm->domain->engine, connection->engine_vm);
}

static json_t *scan_item(const struct control_answer *answer, size_t i)
{
	const char *name = json_string_value(json_array_get(answer->names, i));
	struct daemon_vm *vm = daemon_vm_named(answer->control->domains, name);

	return json_pack("{s:s,s:I}", "name", name, "ticket",
			 (json_int_t)(vm && control_may_see(answer->uid, vm) ? start_scan(vm) : 0));
}

static json_t *all_names(const struct control_answer *answer)
{
	const struct daemon_vm *vm = NULL;
	json_t *names = json_array();

	while ((vm = daemon_vm_next(answer->control->domains, vm)) != NULL)
		if (vm->name[0] && daemon_vm_is_connected(vm) && control_may_see(answer->uid, vm))
			json_array_append_new(names, json_string(vm->name));
	return names;
}

static json_t *on_scan(struct control_answer *answer, const json_t *request)
{
	json_t *names = json_object_get(request, "names"), *name, *problem;
	size_t i;

	if (names && !json_is_array(names))
		return control_error("bad-request", "\"names\" has to be an array of VM names", "names");
	if (json_array_size(names) > ENGINE_VMS_MAX)
		return control_error("bad-request", "\"names\" has more entries than there can be VMs", "names");
	json_array_foreach(names, i, name)
		if (control_find_own_vm(answer->control, answer->uid, name, &problem) == NULL)
			return problem;
	answer->names = json_array_size(names) > 0 ? json_incref(names) : all_names(answer);
	answer->list = "tickets";
	answer->item = scan_item;
	answer->count = json_array_size(answer->names);
	return answer->names ? json_object() : NULL;
}

/* ---- scan-progress ---- */

/* @name: for the reply, in case the VM is gone. */
static json_t *progress_of(const struct control_answer *answer, const char *name, uint64_t ticket)
{
	const struct daemon_vm *scanned = daemon_vm_of_serial(answer->control->domains, ticket >> 32);
	uint64_t done = 0, total = 0;
	bool gone = true, finished = false;

	if (scanned && scanned->connection.engine_vm && control_may_see(answer->uid, scanned)) {
		const struct engine_vm *engine_vm = scanned->connection.engine_vm;

		gone = false;
		finished = engine_scan_done(scanned->domain->engine, engine_vm, (uint32_t)ticket);
		engine_scan_progress(engine_vm, &done, &total);
		name = scanned->name;
	}
	return json_pack("{s:s,s:o,s:o,s:b,s:b}", "name", name,
			 "done_pages", control_number(done),
			 "total_pages", control_number(total),
			 "finished", finished,
			 "gone", gone);
}

static const json_t *ticket_of(const json_t *entry)
{
	return json_is_object(entry) ? json_object_get(entry, "ticket") : entry;
}

static json_t *progress_item(const struct control_answer *answer, size_t i)
{
	const json_t *entry = json_array_get(answer->names, i);
	const char *name = json_string_value(json_object_get(entry, "name"));

	return progress_of(answer, name ? name : "", (uint64_t)json_integer_value(ticket_of(entry)));
}

static json_t *on_scan_progress(struct control_answer *answer, const json_t *request)
{
	json_t *tickets = json_object_get(request, "tickets"), *entry;
	size_t i;

	if (!json_is_array(tickets))
		return control_error("bad-request", "\"tickets\" has to be an array, as the reply to \"scan\" had it",
				     "tickets");
	if (json_array_size(tickets) > ENGINE_VMS_MAX)
		return control_error("bad-request", "\"tickets\" has more entries than there can be VMs", "tickets");
	json_array_foreach(tickets, i, entry)
		if (!json_is_integer(ticket_of(entry)))
			return control_error("bad-request",
					     "a ticket has to be a number, or an object that has it as \"ticket\"",
					     "tickets");
	answer->names = json_incref(tickets);
	answer->list = "vms";
	answer->item = progress_item;
	answer->count = json_array_size(tickets);
	return json_object();
}

/* ---- admit ---- */

static json_t *on_admit(const struct control *control, const struct admission_peer *peer, const json_t *request)
{
	const char *name = json_string_value(json_object_get(request, "name"));
	const char *wanted = json_string_value(json_object_get(request, "domain"));
	const char *text = json_string_value(json_object_get(request, "uuid"));
	char domain[WIRE_DOMAIN_MAX], reason[ADMISSION_REASON_SIZE];
	const struct kept_vm *kept;
	uint8_t uuid[UUID_BYTES];

	if (name == NULL || !wire_name_is_valid(name))
		return control_error("bad-request", "a VM's name has to be a string that can be one", "name");
	if (wanted && *wanted && !wire_domain_is_valid(wanted))
		return control_error("bad-request", "that cannot be a domain's name", wanted);
	if (admission_try(control->admission, peer, name, wanted ? wanted : "", domain, reason) < 0)
		return control_error("not-permitted", reason, wanted ? wanted : "");
	if (uuid_parse(text ? text : "", uuid) < 0 && text && *text)
		return control_error("bad-request", "that is no UUID", text);
	kept = kept_find(control->kept, peer->credentials->uid, uuid, name);
	return json_pack("{s:s,s:s,s:b}", "domain", domain, "kept_mode", kept ? wire_mode_name(kept->mode) : "",
			 "lends_userfaultfd", domain_lends_userfaultfd());
}

/* ---- requests and replies ---- */

/* @return what the reply begins with, or all of it; what it goes on with is in @answer. NULL: no memory. */
static json_t *begin(struct control_answer *answer, const struct admission_peer *peer, const json_t *request)
{
	const struct control *control = answer->control;
	const char *command = json_string_value(json_object_get(request, "command"));

	if (request == NULL)
		return control_error("bad-request", "the request is no JSON object", "");
	if (command == NULL)
		return control_error("bad-request", "the request has no \"command\"", "");
	if (strcmp(command, "status") == 0)
		return on_status(answer);
	if (strcmp(command, "memory-map") == 0)
		return on_memory_map(answer, request);
	if (strcmp(command, "metrics") == 0 || strcmp(command, "set-metrics") == 0)
		return control_metrics(answer, request, strcmp(command, "set-metrics") == 0);
	if (strcmp(command, "modules") == 0)
		return control_modules(answer, request);
	if (strcmp(command, "map") == 0)
		return control_map(answer, request);
	if (strcmp(command, "modify") == 0)
		return control_modify(answer, peer, request);
	if (strcmp(command, "kept") == 0)
		return control_kept(answer);
	if (strcmp(command, "scan") == 0)
		return on_scan(answer, request);
	if (strcmp(command, "scan-progress") == 0)
		return on_scan_progress(answer, request);
	if (strcmp(command, "estimate") == 0)
		return control_estimate(answer, request);
	if (strcmp(command, "admit") == 0)
		return on_admit(control, peer, request);
	return control_error("unknown-command", "this daemon does not know the command", command);
}

/* The object @head without its end, if a list is to follow. */
static void write_head(struct control_answer *answer, const json_t *head)
{
	char *text = json_dumps(head, JSON_COMPACT);
	size_t length = text ? strlen(text) : 0;

	answer->failed = text == NULL;
	if (text && answer->item == NULL)
		fputs(text, answer->stream);
	else if (text)
		fprintf(answer->stream, "%.*s%s\"%s\":[", (int)length - 1, text, length > 2 ? "," : "", answer->list);
	free(text);
}

/*
 * What changes nothing for anybody, and takes of the daemon no more than its answer; but for what would tell which
 * pages of two VMs are equal.
 */
static bool only_tells(const json_t *request)
{
	static const char *const commands[] = { "status", "metrics", "memory-map", "modules", "map" };
	const char *command = json_string_value(json_object_get(request, "command"));

	if (json_object_get(request, "with"))
		return false;
	for (size_t i = 0; command && i < sizeof(commands) / sizeof(*commands); i++)
		if (strcmp(command, commands[i]) == 0)
			return true;
	return false;
}

struct control_answer *control_begin(const struct control *control, const struct admission_peer *peer, const char *text,
				     size_t size)
{
	struct control_answer *answer = calloc(1, sizeof(*answer));
	json_t *request = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL), *head;

	if (answer == NULL) {
		json_decref(request);
		return NULL;
	}
	answer->control = control;
	answer->uid = peer->credentials->uid;
	if (only_tells(request) && admission_sees_all(control->admission, peer))
		answer->uid = geteuid();
	answer->stream = open_memstream(&answer->text, &answer->size);
	head = begin(answer, peer, request);
	if (head == NULL) {
		answer->item = NULL;
		answer->gather = NULL;
		head = control_error("no-memory", "the daemon is out of memory", "");
	}
	if (answer->stream && answer->gather == NULL)
		write_head(answer, head);
	json_decref(head);
	json_decref(request);
	return answer;
}

/* @return whether the reply has begun. */
static bool gather(struct control_answer *answer)
{
	json_t *head = answer->gather(answer);

	if (head == NULL)
		return false;
	answer->gather = NULL;
	write_head(answer, head);
	json_decref(head);
	return true;
}

bool control_go_on(struct control_answer *answer)
{
	size_t left, end;

	if (answer->stream == NULL || answer->failed)
		return true;
	if (answer->gather)
		return gather(answer) && answer->item == NULL;
	if (answer->item == NULL)
		return true;
	left = answer->count - answer->next;
	end = answer->next + (left < CONTROL_ITEMS_PER_TURN ? left : CONTROL_ITEMS_PER_TURN);
	turn_note(TURN_ITEMS, end - answer->next);
	for (; answer->next < end; answer->next++) {
		json_t *item = answer->item(answer, answer->next);

		if (!json_is_null(item)) {
			if (answer->written)
				fputc(',', answer->stream);
			answer->failed |= item == NULL || json_dumpf(item, answer->stream, JSON_COMPACT) < 0;
			answer->written = true;
		}
		json_decref(item);
	}
	if (answer->next < answer->count)
		return false;
	if (answer->next_list) {
		answer->next = 0;
		answer->written = false;
		answer->next_list(answer);
		return false;
	}
	fputs("]}", answer->stream);
	return true;
}

char *control_end(struct control_answer *answer)
{
	char *text = NULL;

	if (answer == NULL)
		return NULL;
	answer->failed |= answer->stream == NULL || ferror(answer->stream);
	if (answer->stream && fclose(answer->stream) == 0 && !answer->failed)
		text = answer->text;
	else
		free(answer->text);
	free(answer->vms);
	free(answer->ranges);
	free(answer->kept);
	json_decref(answer->names);
	json_decref(answer->granted);
	control_metrics_free(answer->metrics);
	control_estimate_free(answer->estimate);
	control_modules_free(answer->modules);
	control_map_free(answer->map);
	free(answer);
	return text;
}
