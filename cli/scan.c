/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pagefuse scan: a full pass over VMs now, and if wanted the wait for what comes of it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/document.h"
#include "cli/progress.h"
#include "cli/shell-command.h"
#include "protocol/wire.h"

#define POLL_MSEC 100
#define TICKETS_PER_REQUEST 1000 /* so that they fit a message */

struct progress {
	int64_t done_pages, total_pages;
	bool finished; /* every pass is over or its VM is gone */
};

static struct progress sum_progress(const json_t *vms)
{
	struct progress sum = { .finished = true };
	const json_t *vm;
	size_t i;

	json_array_foreach(vms, i, vm) {
		bool over = field_bool(vm, "finished") || field_bool(vm, "gone");
		int64_t total = field_integer(vm, "total_pages");

		sum.total_pages += total;
		sum.done_pages += over ? total : field_integer(vm, "done_pages");
		sum.finished = sum.finished && over;
	}
	return sum;
}

static json_t *progress_request(const json_t *tickets, size_t first)
{
	json_t *numbers = json_array();

	for (size_t i = first; i < json_array_size(tickets) && i < first + TICKETS_PER_REQUEST; i++)
		json_array_append_new(numbers, json_integer(field_integer(json_array_get(tickets, i), "ticket")));
	return json_pack("{s:s, s:o}", "command", "scan-progress", "tickets", numbers);
}

/** The daemon does not know the names of VMs that are gone; the reply's order is that of the tickets. */
static void name_the_gone(json_t *vms, const json_t *tickets)
{
	json_t *vm;
	size_t i;

	json_array_foreach(vms, i, vm)
		if (field_text(vm, "name")[0] == '\0')
			json_object_set(vm, "name", json_object_get(json_array_get(tickets, i), "name"));
}

/** Asks for the state of all passes, in as many requests as it takes. *ret_vms: "vms" of the replies, in one array. */
static int ask_progress(const struct cli *cli, struct client *client, const json_t *tickets, json_t **ret_vms)
{
	json_t *vms = json_array(), *reply;
	int r;

	for (size_t first = 0; first < json_array_size(tickets); first += TICKETS_PER_REQUEST) {
		r = client_call(cli, client, progress_request(tickets, first), &reply);
		if (r != CLI_DONE) {
			json_decref(vms);
			return r;
		}
		json_array_extend(vms, json_object_get(reply, "vms"));
		json_decref(reply);
	}
	if (json_array_size(vms) != json_array_size(tickets)) {
		json_decref(vms);
		return client_failed(cli, -EPROTO);
	}
	name_the_gone(vms, tickets);
	*ret_vms = vms;
	return CLI_DONE;
}

/** Waits for the passes of @tickets. *ret_vms is the last answer. */
static int wait_for_passes(const struct cli *cli, struct client *client, const json_t *tickets, json_t **ret_vms)
{
	bool bar = isatty(STDERR_FILENO);
	struct progress progress;
	json_t *vms = NULL; /* gcc cannot tell that a failure is never CLI_DONE */
	int r;

	for (;;) {
		r = ask_progress(cli, client, tickets, &vms);
		if (r != CLI_DONE)
			return r;
		progress = sum_progress(vms);
		if (bar)
			progress_draw(progress.done_pages, progress.total_pages, progress.finished);
		if (progress.finished)
			break;
		json_decref(vms);
		r = client_wait(client, POLL_MSEC);
		if (r < 0)
			return client_failed(cli, r);
	}
	*ret_vms = vms;
	return CLI_DONE;
}

static int print_started(const json_t *tickets)
{
	const json_t *ticket;
	size_t i;

	json_array_foreach(tickets, i, ticket)
		if (field_integer(ticket, "ticket") != 0)
			printf("%s: pass started\n", field_text(ticket, "name"));
	return cli_finish_output();
}

static int print_finished(const json_t *vms)
{
	const json_t *vm;
	size_t i;

	json_array_foreach(vms, i, vm)
		if (!field_bool(vm, "gone"))
			printf("%s: pass over %" PRId64 " pages finished\n", field_text(vm, "name"),
			       field_integer(vm, "total_pages"));
	return cli_finish_output();
}

/** Ticket 0 is the daemon's word for a VM that it knows, but has no connection to. */
static int complain_not_connected(const json_t *tickets)
{
	const json_t *ticket;
	size_t i;
	int r = CLI_DONE;

	json_array_foreach(tickets, i, ticket) {
		char *command;

		if (field_integer(ticket, "ticket") != 0)
			continue;
		command = shell_command("doctor", field_text(ticket, "name"), "");
		complain("'%s' is not connected, so it cannot be scanned; `%s` says more", field_text(ticket, "name"),
			 command != NULL ? command : "pagefuse doctor");
		free(command);
		r = CLI_FAILED;
	}
	return r;
}

static int complain_gone(const json_t *vms, const json_t *tickets)
{
	const json_t *vm;
	size_t i;
	int r = CLI_DONE;

	json_array_foreach(vms, i, vm) {
		if (!field_bool(vm, "gone") || field_integer(json_array_get(tickets, i), "ticket") == 0)
			continue;
		complain("'%s' ended before its pass was over; `pagefuse list` shows the VMs there are",
			 field_text(vm, "name"));
		r = CLI_FAILED;
	}
	return r;
}

static int start_passes(const struct cli *cli, struct client *client, char **names, json_t **ret_tickets)
{
	json_t *array = json_array(), *reply, *tickets;
	int r;

	for (; *names != NULL; names++)
		json_array_append_new(array, json_string(*names));
	r = client_call(cli, client, json_pack("{s:s, s:o}", "command", "scan", "names", array), &reply);
	if (r != CLI_DONE)
		return r;
	tickets = json_incref(json_object_get(reply, "tickets"));
	json_decref(reply);
	if (!json_is_array(tickets)) {
		json_decref(tickets);
		return client_failed(cli, -EPROTO);
	}
	*ret_tickets = tickets;
	return CLI_DONE;
}

/** Prints @array under @key as JSON, or by @print. */
static int show(const struct cli *cli, const char *key, json_t *array, int (*print)(const json_t *array))
{
	json_t *document;
	int r;

	if (!cli->json)
		return print(array);
	document = json_pack("{s:O}", key, array);
	r = document_print(document, false);
	json_decref(document);
	return r;
}

static int finish_passes(const struct cli *cli, struct client *client, const json_t *tickets)
{
	json_t *vms = NULL;
	int r, gone;

	r = wait_for_passes(cli, client, tickets, &vms);
	if (r != CLI_DONE)
		return r;
	r = show(cli, "vms", vms, print_finished);
	gone = complain_gone(vms, tickets);
	json_decref(vms);
	return r != CLI_DONE ? r : gone;
}

static int scan(const struct cli *cli, struct client *client, char **names, bool wait)
{
	json_t *tickets = NULL;
	int r, not_connected;

	r = start_passes(cli, client, names, &tickets);
	if (r != CLI_DONE)
		return r;
	r = wait ? finish_passes(cli, client, tickets) : show(cli, "tickets", tickets, print_started);
	not_connected = complain_not_connected(tickets);
	json_decref(tickets);
	return r != CLI_DONE ? r : not_connected;
}

static int run_scan(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
		CLI_COMMON_OPTIONS,
		CLI_JSON_OPTION,
		{ "wait", no_argument, NULL, 'w' },
		{ 0 },
	};
	struct client *client;
	bool wait = false;
	int option, r;

	while ((option = cli_next_option(cli, argc, argv, ":w", options)) != -1) {
		if (option == '?')
			return CLI_USAGE;
		wait = true;
	}
	for (int i = optind; i < argc; i++)
		if (!wire_name_is_valid(argv[i]))
			return complain_usage("'%s' cannot be a VM's name; `pagefuse list` shows their names", argv[i]);
	r = client_open(cli, &client);
	if (r != CLI_DONE)
		return r;
	r = scan(cli, client, argv + optind, wait);
	client_free(client);
	return r;
}

const struct cli_command command_scan = {
	.name = "scan",
	.usage = "[--wait] [--json] [NAME...]",
	.summary = "Makes a full pass over those VMs, or all, now.",
	.options = "  -w, --wait       return when all that the pass found is merged\n"
		   "  --json           the result as a JSON document\n",
	.run = run_scan,
};
