/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VMM in a child of the test, which does what it is asked by one byte and answers by one; and a second socket, for a
 * child of its own that is to answer later.
 */
#ifndef PAGEFUSE_TESTS_DAEMON_ASKED_H
#define PAGEFUSE_TESTS_DAEMON_ASKED_H

#include "tests/daemon/instance.h"

struct asked {
	int pid;
	int vmm, keeper; /* sockets */
};

/**
 * Starts it, by the name of vm. @flags: of the sockets, as SOCK_CLOEXEC. @serve: what it does in the child, with its
 * ends of both; it does not return.
 */
void asked_start(struct asked *asked, const struct instance *instance, int flags, void (*serve)(int vmm, int keeper));

/** Has everything scanned. */
void asked_scan(const struct instance *instance);

/**
 * Sends @request to @socket and waits for the answer; has everything scanned again and again meanwhile.
 * @return the answer. Fails if there is nobody, or if it ends.
 */
char asked_ask(const struct instance *instance, int socket, char request);

#endif
