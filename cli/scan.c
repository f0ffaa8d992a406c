/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pagefuse scan: a full pass over VMs now, and if wanted the wait for what comes of it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/document.h"

#define POLL_MSEC 100
#define BAR_WIDTH 40

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

/** Draws over the previous one. The last part, merging what was found, has no measure: the bar waits at 99 %. */
static void draw_bar(const struct progress *progress)
{
	int64_t total = progress->total_pages > 0 ? progress->total_pages : 1;
	int64_t done = progress->done_pages < total ? progress->done_pages : total;
	int percent = progress->finished ? 100 : (int)(99 * done / total), filled = percent * BAR_WIDTH / 100;

	fprintf(stderr, "\r[%.*s%*s] %3d%%", filled, "########################################", BAR_WIDTH - filled, "",
		percent);
	if (progress->finished)
		fputc('\n', stderr);
	fflush(stderr);
}

static json_t *progress_request(const json_t *tickets)
{
	json_t *numbers = json_array(), *ticket;
	size_t i;

	json_array_foreach(tickets, i, ticket)
		json_array_append_new(numbers, json_integer(field_integer(ticket, "ticket")));
	return json_pack("{s:s, s:o}", "command", "scan-progress", "tickets", numbers);
}

/** Waits for the passes of @tickets. *ret_progress is the last answer to scan-progress. */
static int wait_for_passes(const struct cli *cli, struct client *client, const json_t *tickets, json_t **ret_progress)
{
	bool bar = isatty(STDERR_FILENO);
	struct progress progress;
	json_t *reply;
	int r;

	for (;;) {
		r = client_call(cli, client, progress_request(tickets), &reply);
		if (r != CLI_DONE)
			return r;
		progress = sum_progress(json_object_get(reply, "vms"));
		if (bar)
			draw_bar(&progress);
		if (progress.finished)
			break;
		json_decref(reply);
		r = client_wait(client, POLL_MSEC);
		if (r < 0)
			return client_failed(cli, r);
	}
	*ret_progress = reply;
	return CLI_DONE;
}

static int print_started(const json_t *tickets)
{
	const json_t *ticket;
	size_t i;

	json_array_foreach(tickets, i, ticket)
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

static int complain_gone(const json_t *vms)
{
	const json_t *vm;
	size_t i;
	int r = CLI_DONE;

	json_array_foreach(vms, i, vm) {
		if (!field_bool(vm, "gone"))
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

static int scan(const struct cli *cli, struct client *client, char **names, bool wait)
{
	json_t *tickets = NULL, *progress = NULL;
	int r, gone;

	r = start_passes(cli, client, names, &tickets);
	if (r != CLI_DONE)
		return r;
	if (!wait) {
		json_t *document = json_pack("{s:o}", "tickets", tickets);

		r = cli->json ? document_print(document, false) : print_started(tickets);
		json_decref(document);
		return r;
	}
	r = wait_for_passes(cli, client, tickets, &progress);
	json_decref(tickets);
	if (r != CLI_DONE)
		return r;
	r = cli->json ? document_print(progress, false) : print_finished(json_object_get(progress, "vms"));
	gone = complain_gone(json_object_get(progress, "vms"));
	json_decref(progress);
	return r != CLI_DONE ? r : gone;
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
		if (!vm_name_is_valid(argv[i]))
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
