/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/cli.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void (*complaint_sink)(const char *line);

static void complain_va(const char *format, va_list arguments) __attribute__((format(printf, 1, 0)));

static void complain_va(const char *format, va_list arguments)
{
	char line[1024];

	vsnprintf(line, sizeof(line), format, arguments);
	/* What is quoted may come from a file name or a daemon: it must not steer the terminal. */
	for (char *c = line; *c != '\0'; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	if (complaint_sink != NULL) {
		complaint_sink(line);
		return;
	}
	fflush(stdout);
	fprintf(stderr, "pagefuse: %s\n", line);
}

void complain_to(void (*sink)(const char *line))
{
	complaint_sink = sink;
}

void complain(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	complain_va(format, arguments);
	va_end(arguments);
}

int complain_usage(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	complain_va(format, arguments);
	va_end(arguments);
	return CLI_USAGE;
}

bool cli_set_socket(struct cli *cli, const char *path)
{
	char directory[PATH_MAX] = "";
	int length;

	if (path[0] == '\0') {
		complain_usage("'': the socket's path is empty; give the path that pagefused was started with");
		return false;
	}
	if (path[0] != '/' && getcwd(directory, sizeof(directory)) == NULL) {
		complain("%s: cannot tell the working directory (%s); give the socket's absolute path", path,
			 strerror(errno));
		return false;
	}
	length = snprintf(cli->socket_path, sizeof(cli->socket_path), "%s%s%s", path[0] == '/' ? "" : directory,
			  path[0] == '/' ? "" : "/", path);
	if (length < 0 || (size_t)length >= sizeof(cli->socket_path)) {
		complain_usage("'%s': longer than the %zu bytes that a socket's path can have; choose a shorter one",
			       path, sizeof(cli->socket_path) - 1);
		return false;
	}
	return true;
}

bool cli_parse_seconds(const char *text, unsigned *ret_msec)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end != '\0' || !(seconds >= 0.1 && seconds <= CLI_SECONDS_MAX))
		return false;
	*ret_msec = (unsigned)(seconds * 1000);
	return true;
}

static void print_help(const struct cli_command *command)
{
	printf("Usage: pagefuse %s %s\n\n%s\n\nOptions:\n%s", command->name, command->usage, command->summary,
	       command->options);
	printf("  --socket PATH    of the daemon; default: $PAGEFUSE_SOCKET or the user's own place\n"
	       "  --help           show this\n");
}

int cli_next_option(struct cli *cli, int argc, char **argv, const char *letters, const struct option *options)
{
	int option;

	opterr = 0;
	for (;;) {
		option = getopt_long(argc, argv, letters, options, NULL);
		switch (option) {
		case 'S':
			if (!cli_set_socket(cli, optarg))
				return '?';
			break;
		case 'J':
			cli->json = true;
			break;
		case 'h':
			print_help(cli->command);
			exit(cli_finish_output());
		case ':':
			complain_usage("'%s' needs a value; `pagefuse help %s` shows the options", argv[optind - 1],
				       cli->command->name);
			return '?';
		case '?':
			complain_usage("'%s' is no option of `pagefuse %s`; `pagefuse help %s` shows the options",
				       argv[optind - 1], cli->command->name, cli->command->name);
			return '?';
		default:
			return option;
		}
	}
}

int cli_finish_output(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return CLI_DONE;
	complain("standard output: %s; make room or send the output elsewhere", strerror(errno));
	return CLI_FAILED;
}
