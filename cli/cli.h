/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What all commands of the program have in common: exit codes, options, and how to complain. */
#ifndef PAGEFUSE_CLI_CLI_H
#define PAGEFUSE_CLI_CLI_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>

enum cli_exit {
	CLI_DONE = 0,
	CLI_FAILED = 1,
	CLI_USAGE = 2,
	CLI_NO_DAEMON = 3,
};

/** What the options common to all commands say. */
struct cli {
	const struct cli_command *command; /* that runs */
	char socket_path[108];             /* absolute; the size is the kernel's limit */
	bool json;
};

struct cli_command {
	const char *name;
	const char *usage;   /* its arguments, one line */
	const char *summary; /* what it does, one line */
	const char *options; /* its own options, a line each, indented; or "" */
	/** @argv begins with the command's name. @return enum cli_exit. */
	int (*run)(struct cli *cli, int argc, char **argv);
};

extern const struct cli_command command_run, command_status, command_top, command_list, command_showvminfo,
	command_modifyvm, command_scan, command_estimate, command_modules, command_map, command_metrics, command_report,
	command_doctor;

/** Entries for the options that every command takes; put it into the array given to cli_next_option(). */
/* clang-format off */
#define CLI_COMMON_OPTIONS { "socket", required_argument, NULL, 'S' }, { "help", no_argument, NULL, 'h' }
#define CLI_JSON_OPTION { "json", no_argument, NULL, 'J' }
/* clang-format on */

/**
 * getopt_long() that deals with the common options by itself. --help prints and exits.
 * @return an option of the command's own, -1 at the end, or '?' once a usage error has been complained about.
 */
int cli_next_option(struct cli *cli, int argc, char **argv, const char *letters, const struct option *options);

/** Takes a socket path from the command line or the environment. @return false after complaining. */
bool cli_set_socket(struct cli *cli, const char *path);

/** The longest time that an option can say. */
#define CLI_SECONDS_MAX 86400
/** Seconds with a fraction, from 0.1 to CLI_SECONDS_MAX. @return false if @text is none, without a complaint. */
bool cli_parse_seconds(const char *text, unsigned *ret_msec);

/** Has complaints told to @sink, a line without its end each, and not to stderr; NULL: to stderr again. */
void complain_to(void (*sink)(const char *line));
/** Prints "pagefuse: " and one line to stderr, with control characters made harmless. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/** The same for a mistake on the command line. @return CLI_USAGE. */
int complain_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** Flushes standard output. @return CLI_DONE, or CLI_FAILED after complaining if something could not be written. */
int cli_finish_output(void);

#endif
