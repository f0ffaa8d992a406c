/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pagefuse doctor: what keeps this host or a VM from sharing, and what to do about it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/document.h"
#include "cli/examination.h"
#include "cli/findings.h"

/** The daemon's view, as far as there is one. @return CLI_DONE also without a daemon, unless a VM was named. */
static int ask_daemon(struct examination *examination, json_t **ret_status)
{
	struct client *client;
	int r = client_connect(examination->cli->socket_path, &client);

	if (r == -ENOENT || r == -ECONNREFUSED) {
		if (examination->name != NULL)
			return client_failed(examination->cli, r);
		findings_add(&examination->findings, SEVERITY_WARNING, "daemon", NULL,
			     "Start it (`systemctl start pagefused`), or let `pagefuse run` start a private one.",
			     "no pagefused answers at %s", examination->cli->socket_path);
		return CLI_DONE;
	}
	if (r < 0)
		return client_failed(examination->cli, r);
	client_peer(client, &examination->peer);
	r = client_status(examination->cli, client, ret_status);
	examination->status = *ret_status;
	client_free(client);
	return r;
}

static int examine(struct examination *examination, json_t **ret_status)
{
	int r = ask_daemon(examination, ret_status);

	if (r != CLI_DONE)
		return r;
	r = examination_look(examination);
	if (r != CLI_DONE)
		return r;
	if (examination->name != NULL && !examination->name_seen) {
		complain("'%s' is neither a VM that pagefused knows nor a running QEMU's name; `pagefuse list` shows "
			 "names",
			 examination->name);
		return CLI_FAILED;
	}
	return CLI_DONE;
}

static int report(const struct examination *examination)
{
	json_t *document;
	int r;

	if (!examination->cli->json) {
		findings_print(&examination->findings);
		r = cli_finish_output();
	} else {
		document = findings_json(&examination->findings);
		r = document_print(document, false);
		json_decref(document);
	}
	if (examination->findings.incomplete) {
		complain("doctor: out of memory, so findings are missing; free some and try again");
		return CLI_FAILED;
	}
	if (r == CLI_DONE && findings_count(&examination->findings, SEVERITY_ERROR) > 0)
		return CLI_FAILED;
	return r;
}

static int run_doctor(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { CLI_COMMON_OPTIONS, CLI_JSON_OPTION, { 0 } };
	struct examination examination = { .cli = cli };
	json_t *status = NULL;
	int r;

	if (cli_next_option(cli, argc, argv, ":", options) != -1)
		return CLI_USAGE;
	if (optind + 1 < argc)
		return complain_usage("'%s': doctor takes one name, or none for the host and all VMs",
				      argv[optind + 1]);
	examination.name = argv[optind];
	r = examine(&examination, &status);
	if (r == CLI_DONE)
		r = report(&examination);
	findings_done(&examination.findings);
	json_decref(status);
	return r;
}

const struct cli_command command_doctor = {
	.name = "doctor",
	.usage = "[--json] [NAME]",
	.summary = "Says what keeps this host or a VM from sharing, and what to do.",
	.options = "  --json           the findings as a JSON document\n",
	.run = run_doctor,
};
