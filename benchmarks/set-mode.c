/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sets what is shared of VMs while they run, by the daemon at $PAGEFUSE_SOCKET: guests that boot while nothing is
 * shared have all of their memory to share at the moment from which time is taken.
 *
 *   set-mode off|zero|hints|full NAME...
 *
 * Exits 0, or 1 with the reason on stderr: there is no such VM (yet), or no daemon.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/client.h"
#include "cli/document.h"

static int set_mode(struct client *client, const char *name, const char *mode)
{
	json_t *request = json_pack("{s:s,s:s,s:s}", "command", "modify", "name", name, "mode", mode), *reply = NULL;
	int r = request ? client_request(client, request, &reply) : -ENOMEM;
	const json_t *error = r < 0 ? NULL : json_object_get(reply, "error");

	if (r < 0)
		fprintf(stderr, "set-mode: %s\n", strerror(-r));
	else if (error)
		fprintf(stderr, "set-mode: %s: %s\n", name, field_text(error, "message"));
	if (error)
		r = -EINVAL;
	json_decref(reply);
	json_decref(request);
	return r;
}

int main(int argc, char **argv)
{
	const char *path = getenv("PAGEFUSE_SOCKET"); // NOLINT(concurrency-mt-unsafe): one thread
	struct client *client;
	int r;

	if (argc < 3 || !path) {
		fprintf(stderr, "usage: PAGEFUSE_SOCKET=... set-mode MODE NAME...\n");
		return 2;
	}
	r = client_connect(path, &client);
	if (r < 0) {
		fprintf(stderr, "set-mode: %s: %s\n", path, strerror(-r));
		return 1;
	}
	for (int i = 2; r == 0 && i < argc; i++)
		r = set_mode(client, argv[i], argv[1]);
	client_free(client);
	return r == 0 ? 0 : 1;
}
