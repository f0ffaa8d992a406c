/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VMM process, from its first HELLO (or, after a restart, from finding its view) until it has died and its view could
 * be removed. Its references live as long, whatever its connections do, unless the process has nothing of the store any
 * more: it has called exec.
 */
#ifndef PAGEFUSE_DAEMON_PROCESS_H
#define PAGEFUSE_DAEMON_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>

#include "daemon/daemon.h"
#include "protocol/ring.h"
#include "protocol/wire.h"

/* Between attempts to remove the view of a dead process: twice as long each time. */
#define PROCESS_RETRY_FIRST_USEC UINT64_C(10000)
#define PROCESS_RETRY_MOST_USEC UINT64_C(2000000)

struct process {
	TAILQ_ENTRY(process) entries;
	struct daemon *daemon;
	pid_t pid;
	uint64_t start_time; /* clock ticks since boot, from /proc/PID/stat: with pid, never the same twice */
	uid_t uid;
	int pidfd;
	sd_event_source *death, *retry;
	uint64_t retry_usec; /* until the next attempt */
	bool dead;
	bool hung_up;     /* it has ended its connection itself: nothing that was sent to it is under way */
	bool unaccounted; /* may map the old store in ways that the engine has not been told */

	struct session *session; /* the connection that serves it now, or NULL */
	struct engine_vm *kept;  /* references of an earlier connection; dropped when a new one has said READY */

	/* What is known of the VM; empty until the first HELLO. */
	char name[WIRE_NAME_MAX];
	enum wire_mode mode;
	uint64_t refused_bytes[WIRE_REASON_END];
	struct ring_stats stats; /* as last seen; untrusted */
};

/** Who is at the other end of @socket. @ret_pidfd is the caller's. @return 0, -ESRCH if it is gone, -errno. */
int process_identify(int socket, struct ucred *ret_peer, int *ret_pidfd);

/** Finds or adds the process behind a connection. @pidfd stays the caller's. @return 0 or -errno. */
int process_get(struct daemon *daemon, const struct ucred *peer, int pidfd, struct process **ret);

/** Takes in the processes that an earlier daemon left behind. @return 0 or -errno. */
int process_adopt_all(struct daemon *daemon);

/** Its connection has ended: from now on it is looked whether it has become another program. */
void process_disconnected(struct process *process);

/**
 * It is another program than the one that was known, and knows no store. @return 0 if nobody reads any more what that
 * one was given; else -EBUSY: a child does.
 */
int process_begin_anew(struct process *process);

/** Gives the VM a name of its own: @wanted, with a suffix if another has it. */
void process_set_name(struct process *process, const char *wanted);

/** The engine now knows all that this process maps: what an earlier connection left is dropped. */
void process_ready(struct process *process);

/** The engine's VM that stands for this process, or NULL. */
struct engine_vm *process_vm(const struct process *process);

/** For a daemon that ends: keeps only the dead, and those that die just now, and looks after the dead at once. */
void process_forget_living(struct daemon *daemon);

void process_free(struct process *process);

#endif
