/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/control.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/control-internal.h"
#include "daemon/domain.h"
#include "daemon/turn.h"
#include "daemon/vm.h"

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
	answer->by_thread = true;
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

/* @return the beginning of the reply, or all of it; the rest is described in @answer. NULL: no memory. */
static json_t *begin(struct control_answer *answer, const struct admission_peer *peer, const json_t *request)
{
	const struct control *control = answer->control;
	const char *command = json_string_value(json_object_get(request, "command"));

	if (request == NULL)
		return control_error("bad-request", "the request is no JSON object", "");
	if (command == NULL)
		return control_error("bad-request", "the request has no \"command\"", "");
	if (strcmp(command, "status") == 0)
		return control_status(answer);
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
 * Whether @request changes nothing for anybody and costs the daemon no more than its reply. Comparing two VMs is
 * excluded, as it shows which of their pages are equal.
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

/* ---- lists that a thread writes ---- */

static struct control_answer *answer_of(struct document *document)
{
	return (struct control_answer *)((char *)document - offsetof(struct control_answer, document));
}

/* No more is written. */
static void close_text(struct control_answer *answer)
{
	if (answer->stream == NULL)
		return;
	answer->failed |= ferror(answer->stream) != 0;
	answer->failed |= fclose(answer->stream) != 0; /* now text and size are what they are to be */
	answer->stream = NULL;
}

static void free_answer(struct control_answer *answer)
{
	close_text(answer);
	free(answer->text);
	control_status_free(&answer->status);
	free(answer->ranges);
	free(answer->kept);
	json_decref(answer->names);
	json_decref(answer->granted);
	control_metrics_free(answer->metrics);
	control_estimate_free(answer->estimate);
	control_modules_free(answer->modules);
	control_map_free(answer->map);
	fair_user_put(answer->document.payer);
	free(answer);
}

/* Writes the beginning of the reply. @head: NULL without memory. It is freed. */
static void begin_reply(struct control_answer *answer, json_t *head)
{
	if (head == NULL) {
		answer->by_thread = false;
		answer->item = NULL;
		head = control_error("no-memory", "the daemon is out of memory", "");
	}
	write_head(answer, head);
	json_decref(head);
}

/* Writes some items more. @return whether that is all. */
static bool write_items(struct control_answer *answer, size_t most)
{
	size_t left = answer->count - answer->next, end = answer->next + (left < most ? left : most);

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

static bool copy_document(struct document *document)
{
	struct control_answer *answer = answer_of(document);

	if (answer->copy)
		begin_reply(answer, answer->copy(answer));
	return answer->item && !answer->failed;
}

/* In the thread, which alone has @document's answer. It also frees the large copies, which takes long. */
static void make_document(struct document *document)
{
	struct control_answer *answer = answer_of(document);

	while (!answer->failed && !write_items(answer, SIZE_MAX))
		;
	close_text(answer);
	control_status_free(&answer->status);
}

static void on_document(struct document *document)
{
	struct control_answer *answer = answer_of(document);

	answer->in_thread = false;
	answer->complete = true;
	if (answer->ready)
		answer->ready(answer->owner);
	else
		free_answer(answer); /* the connection has been closed */
}

/* ---- from request to reply ---- */

struct control_answer *control_begin(const struct control *control, const struct control_asker *asker, const char *text,
				     size_t size)
{
	struct control_answer *answer = calloc(1, sizeof(*answer));
	json_t *request = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL), *head;

	if (answer == NULL) {
		json_decref(request);
		return NULL;
	}
	answer->control = control;
	answer->uid = asker->peer.credentials->uid;
	answer->ready = asker->ready;
	answer->owner = asker->owner;
	answer->document = (struct document){
		.copy = copy_document,
		.make = make_document,
		.done = on_document,
		.payer = asker->payer,
	};
	asker->payer->holders++;
	if (only_tells(request) && admission_sees_all(control->admission, &asker->peer))
		answer->uid = geteuid();
	answer->stream = open_memstream(&answer->text, &answer->size);
	answer->failed = answer->stream == NULL;
	head = begin(answer, &asker->peer, request);
	if (head == NULL)
		answer->gather = answer->copy = NULL;
	if (answer->failed || answer->gather || answer->copy)
		json_decref(head);
	else
		begin_reply(answer, head);
	json_decref(request);
	return answer;
}

bool control_go_on(struct control_answer *answer)
{
	json_t *head;
	size_t left;

	if (answer->in_thread) /* and its content belongs to the thread */
		return false;
	if (answer->failed || answer->complete)
		return true;
	if (answer->gather) {
		head = answer->gather(answer);
		if (head) {
			answer->gather = NULL;
			begin_reply(answer, head);
		}
		return head && answer->item == NULL;
	}
	if (answer->by_thread) {
		answer->in_thread = true;
		documents_add(answer->control->documents, &answer->document);
		return answer->complete;
	}
	if (answer->item == NULL)
		return true;
	left = answer->count - answer->next;
	turn_note(TURN_ITEMS, left < CONTROL_ITEMS_PER_TURN ? left : CONTROL_ITEMS_PER_TURN);
	return write_items(answer, CONTROL_ITEMS_PER_TURN);
}

bool control_waits(const struct control_answer *answer)
{
	return answer->in_thread || control_modify_waits(answer);
}

char *control_end(struct control_answer *answer, size_t *ret_size)
{
	char *text = NULL;

	if (answer == NULL)
		return NULL;
	answer->ready = NULL;
	if (answer->in_thread && !documents_drop(answer->control->documents, &answer->document))
		return NULL; /* the thread is at it: on_document() frees it */
	close_text(answer);
	if (!answer->failed) {
		text = answer->text;
		*ret_size = answer->size;
		answer->text = NULL;
	}
	free_answer(answer);
	return text;
}
