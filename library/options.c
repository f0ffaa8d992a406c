/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/options.h"

#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "common/socket-path.h"

struct options options;

static void default_name(char *name)
{
	size_t length = 0;
	char comm[17] = "";

	prctl(PR_GET_NAME, comm);
	for (const char *c = comm; *c != 0; c++)
		name[length++] = *c > ' ' && *c <= '~' ? *c : '_';
	strcpy(name + length, length == 0 ? "vm" : "");
}

/** A name from outside is taken if the daemon will take it. */
static bool name_is_good(const char *name)
{
	for (const char *c = name; *c != 0; c++)
		if (*c <= ' ' || *c > '~')
			return false;
	return name[0] != 0 && strlen(name) < WIRE_NAME_MAX;
}

void options_complete(void)
{
	const char *name = getenv("PAGEFUSE_NAME"), *mode = getenv("PAGEFUSE_MODE"), *path = getenv("PAGEFUSE_SOCKET");
	const char *nested = getenv("PAGEFUSE_NESTED"), *domain = getenv("PAGEFUSE_DOMAIN");

	if (options.name[0] == 0) {
		if (name != NULL && name_is_good(name))
			strcpy(options.name, name);
		else
			default_name(options.name);
	}
	if (options.mode == 0)
		options.mode = mode != NULL && wire_mode_parse(mode) > 0 ? wire_mode_parse(mode) : WIRE_MODE_FULL;
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
