/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/daemon/asked.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/test.h"

void asked_start(struct asked *asked, const struct instance *instance, int flags, void (*serve)(int vmm, int keeper))
{
	int ends[2][2];

	for (unsigned i = 0; i < 2; i++)
		test_check(socketpair(AF_UNIX, SOCK_STREAM | flags, 0, ends[i]) == 0, "socketpair: %s",
			   strerror(errno));
	setenv("PAGEFUSE_SOCKET", instance->socket, 1);
	setenv("PAGEFUSE_NAME", "vm", 1);
	asked->pid = test_fork();
	if (asked->pid == 0) {
		close(ends[0][0]);
		close(ends[1][0]); /* when the test ends both read the end */
		serve(ends[0][1], ends[1][1]);
		_exit(1);
	}
	close(ends[0][1]);
	close(ends[1][1]);
	asked->vmm = ends[0][0];
	asked->keeper = ends[1][0];
}

void asked_scan(const struct instance *instance)
{
	json_decref(instance_ask(instance, "{\"command\":\"scan\"}"));
}

char asked_ask(const struct instance *instance, int socket, char request)
{
	struct pollfd answer = { .fd = socket, .events = POLLIN };
	char byte = request;

	test_check(send(socket, &byte, 1, MSG_NOSIGNAL) == 1, "nobody is left to ask");
	while (poll(&answer, 1, 1) == 0)
		asked_scan(instance);
	test_check(read(socket, &byte, 1) == 1, "it has ended at request %c, and said why", request);
	return byte;
}
