/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pagefuse: what a person types. Finds the command and lets it run. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "common/socket-path.h"

static const struct cli_command *const commands[] = {
	&command_run,
	&command_status,
	&command_top,
	&command_list,
	&command_showvminfo,
	&command_modifyvm,
	&command_scan,
	&command_estimate,
	&command_modules,
	&command_map,
	&command_metrics,
	&command_report,
	&command_doctor,
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static const struct cli_command *find_command(const char *name)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	return NULL;
}

static int complain_command(const char *name)
{
	return complain_usage("'%s' is no command of pagefuse; `pagefuse help` shows them", name);
}

static int help(int argc, char **argv)
{
	if (argc > 1) {
		const struct cli_command *command = find_command(argv[1]);
		char *arguments[] = { argv[1], (char *)"--help", NULL };
		struct cli cli = { .command = command };

		return command ? command->run(&cli, 2, arguments) : complain_command(argv[1]);
	}
	printf("Usage: pagefuse [--socket PATH] COMMAND [ARGUMENTS]\n\n"
	       "Keeps one copy of the memory pages that VMs on this host have in common.\n\nCommands:\n");
	for (size_t i = 0; i < COMMANDS; i++)
		printf("  %-11s %s\n", commands[i]->name, commands[i]->summary);
	printf("  %-11s %s\n", "help", "Shows this, or a command's options.");
	printf("\n`pagefuse help COMMAND` shows a command's options; pagefuse(1) tells more.\n");
	return cli_finish_output();
}

static bool somebody_answers(const char *path)
{
	struct client *client;

	if (client_connect(path, &client) < 0)
		return false;
	client_free(client);
	return true;
}

static bool default_socket(struct cli *cli)
{
	char path[sizeof(cli->socket_path)], own[sizeof(cli->socket_path)];
	int r = socket_path_default(path, sizeof(path));

	if (r == 0 && socket_path_own(own, sizeof(own)) == 0 && !somebody_answers(path))
		return cli_set_socket(cli, own);
	if (r == 0)
		return cli_set_socket(cli, path);
	complain("no default place for the socket: %s; give one with --socket PATH", strerror(-r));
	return false;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		CLI_COMMON_OPTIONS,
		{ "version", no_argument, NULL, 'V' },
		{ 0 },
	};
	struct cli cli = { 0 };
	const char *socket_path = NULL;
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "+:", options, NULL)) != -1) {
		switch (option) {
		case 'S':
			socket_path = optarg;
			break;
		case 'h':
			return help(1, argv);
		case 'V':
			printf("pagefuse %s\n", PAGEFUSE_VERSION);
			return cli_finish_output();
		case ':':
			return complain_usage("'%s' needs a value; `pagefuse help` shows the options",
					      argv[optind - 1]);
		default:
			return complain_usage("'%s' is no option of pagefuse; `pagefuse help` shows them",
					      argv[optind - 1]);
		}
	}
	argc -= optind;
	argv += optind;
	if (argc == 0)
		return complain_usage("no command given; `pagefuse help` shows them");
	if (strcmp(argv[0], "help") == 0)
		return help(argc, argv);
	cli.command = find_command(argv[0]);
	if (cli.command == NULL)
		return complain_command(argv[0]);
	if (socket_path != NULL ? !cli_set_socket(&cli, socket_path) : !default_socket(&cli))
		return CLI_USAGE;
	optind = 0; /* makes getopt begin anew */
	return cli.command->run(&cli, argc, argv);
}
