/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pagefuse list: the names of the VMs. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/document.h"

static int print_names(const json_t *vms)
{
	json_t *vm;
	size_t i;

	json_array_foreach(vms, i, vm)
		puts(field_text(vm, "name"));
	return cli_finish_output();
}

static int print_json(const json_t *vms)
{
	json_t *list = json_array(), *document, *vm;
	size_t i;
	int r;

	json_array_foreach(vms, i, vm)
		json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:I, s:s}", "name", field_text(vm, "name"),
						      "domain", field_text(vm, "domain"), "pid",
						      field_integer(vm, "pid"), "uid", field_integer(vm, "uid"), "mode",
						      field_text(vm, "mode")));
	document = json_pack("{s:o}", "vms", list);
	r = document_print(document, false);
	json_decref(document);
	return r;
}

static int run_list(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { CLI_COMMON_OPTIONS, CLI_JSON_OPTION, { 0 } };
	struct client *client;
	json_t *status, *vms;
	int r;

	if (cli_next_option(cli, argc, argv, ":", options) != -1)
		return CLI_USAGE;
	if (optind < argc)
		return complain_usage("'%s': list takes no argument; `pagefuse showvminfo NAME` shows one VM",
				      argv[optind]);
	r = client_open(cli, &client);
	if (r != CLI_DONE)
		return r;
	r = client_status(cli, client, &status);
	if (r == CLI_DONE) {
		vms = json_object_get(status, "vms");
		r = cli->json ? print_json(vms) : print_names(vms);
		json_decref(status);
	}
	client_free(client);
	return r;
}

const struct cli_command command_list = {
	.name = "list",
	.usage = "[--json]",
	.summary = "Lists the names of the VMs that share memory.",
	.options = "  --json           with domain, pid, uid and mode, as a JSON document\n",
	.run = run_list,
};
