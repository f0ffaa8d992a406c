/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Connections of agents in guests. QEMU connects the host's end of a virtio-serial port to a socket beside the
 * daemon's. The kernel says which process connected, and so which VM it is; a process whose VM is not served is
 * disconnected, and may try again. agent-session.c handles the messages; this file handles the sockets and has pages
 * looked at.
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
 * Listens beside the daemon's socket @socket_path, with the same rights for others. The caller holds that path
 * exclusively by now. On failure it logs why, and there are no agents.
 */
void agents_listen(struct agents *agents, const char *socket_path, const struct access *access);

/**
 * What the agent in @vm has named of its pages, in the session *ret_session. Both are valid until control returns to
 * the event loop. @return NULL: the VM has no agent.
 */
const struct labels *agents_labels(const struct daemon_vm *vm, const struct agent_session **ret_session);

/** Closes all connections and the listening socket. */
void agents_end(struct agents *agents);

#endif
