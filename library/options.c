/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/options.h"

#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/socket-path.h"

struct options options;

static char *const *command; /* the process's arguments */

/* glibc passes the arguments of main() to constructors. */
__attribute__((constructor)) static void note_command(int argc, char **argv)
{
	(void)argc;
	command = argv;
}

void options_by_preload(void)
{
	options.by_preload = true;
}

/** The name that `pagefuse run` and `pagefuse doctor` use; if the arguments are not known, the process's name. */
static void default_name(char *name)
{
	char comm[17] = "";
	char *argv[] = { comm, NULL };

	prctl(PR_GET_NAME, comm);
	vm_identity_name(command != NULL && command[0] != NULL ? command : argv, getpid(), name, WIRE_NAME_MAX);
}

void options_complete(void)
{
	const char *name = getenv("PAGEFUSE_NAME"), *mode = getenv("PAGEFUSE_MODE"), *path = getenv("PAGEFUSE_SOCKET");
	const char *nested = getenv("PAGEFUSE_NESTED"), *domain = getenv("PAGEFUSE_DOMAIN");

	if (options.name[0] == 0) {
		if (name != NULL && wire_name_is_valid(name))
			strcpy(options.name, name);
		else
			default_name(options.name);
	}
	if (command != NULL)
		vm_identity_uuid(command, options.uuid);
	if (options.mode == 0) {
		bool said = mode != NULL && wire_mode_parse(mode) > 0;

		options.mode = said ? wire_mode_parse(mode) : WIRE_MODE_FULL;
		options.mode_unsaid = !said && options.by_preload;
	}
	if (options.domain[0] == 0 && domain != NULL && wire_domain_is_valid(domain))
		strcpy(options.domain, domain);
	options.never_nested = nested != NULL && strcmp(nested, "never") == 0;
	if (options.socket_path[0] == 0) {
		if (path != NULL && strlen(path) < sizeof(options.socket_path))
			strcpy(options.socket_path, path);
		else
			socket_path_default(options.socket_path, sizeof(options.socket_path));
	}
}
