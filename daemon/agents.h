/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Connections of agents in guests: QEMU connects the other end of a virtio-serial port to a socket beside the
 * daemon's. Which VM it is tells the kernel, that knows the process; who is no VM that is served has its connection
 * ended, and may try again. What agents say is agent-session.c's topic; here it comes in, and pages are looked at.
 */
#ifndef PAGEFUSE_DAEMON_AGENTS_H
#define PAGEFUSE_DAEMON_AGENTS_H

#include <sys/queue.h>
#include <sys/un.h>
#include <systemd/sd-event.h>

#include "daemon/access.h"
#include "daemon/agent-session.h"
#include "daemon/domain.h"
#include "daemon/labels.h"

struct agent;

struct agents {
	sd_event *event;
	const struct domains *domains;
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)]; /* empty: does not listen */
	sd_event_source *listener;
	struct fair_share accepting; /* of the loop's time */
	LIST_HEAD(, agent) list;     /* one of a VM at most */
};

/**
 * Listens beside the daemon's socket @socket_path, which is the caller's alone by now, with the same rights for
 * others. If that cannot be the log says so, and there are no agents.
 */
void agents_listen(struct agents *agents, const char *socket_path, const struct access *access);

/**
 * What the agent in @vm has said of its pages, in the session *ret_session. Both until control returns to the event
 * loop. @return NULL: it has none.
 */
const struct labels *agents_labels(const struct daemon_vm *vm, const struct agent_session **ret_session);

/** Ends all connections, and the listening. */
void agents_end(struct agents *agents);

#endif
