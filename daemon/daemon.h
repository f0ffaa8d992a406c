/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the parts of the daemon have in common.
 *
 *   listener -> session (one connection) -> process (who it is) -> view of the store, references in the engine
 *                    |
 *                    +-> pump (rings <-> engine)        control (a CLI's requests)
 *
 * One thread, one event loop. A session ends with its connection; a process ends when it has died and nobody can read
 * the store through its view any more. No function here waits for a peer.
 */
#ifndef PAGEFUSE_DAEMON_DAEMON_H
#define PAGEFUSE_DAEMON_DAEMON_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/un.h>
#include <systemd/sd-event.h>

#include "daemon/config.h"
#include "daemon/store.h"
#include "engine/engine.h"

#define DAEMON_SESSIONS_MAX (ENGINE_VMS_MAX + 1024)
#ifndef DAEMON_RECHECK_SECONDS
#define DAEMON_RECHECK_SECONDS 60 /* between looks for memory that stray faults allocated; tests build with another */
#endif
#define DAEMON_PRIVATE_IDLE_SECONDS 60 /* a private daemon waits so long for its first VMM */
#define DAEMON_END_SECONDS 5           /* a daemon that ends waits so long for what dying VMMs still map */

struct session;
struct process;

struct daemon {
	sd_event *event;
	struct config config;
	struct store *store;
	struct engine *engine;
	int userfaultfd; /* of /dev/userfaultfd, passed to every VMM; -1 if there is none */
	uint64_t started_usec;
	char socket_path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];

	sd_event_source *listener, *pump, *tick;
	LIST_HEAD(, session) sessions;
	TAILQ_HEAD(, process) processes;
	unsigned session_count;
	uint32_t last_serial; /* of a VMM's connection */

	enum engine_room said_room; /* what was logged last of the room in the store */

	bool private; /* end with the last VMM */
	bool had_process;
	bool ending;          /* serves nobody any more */
	unsigned unaccounted; /* processes that may map the old store and have not said which slots */
	bool accounted;       /* the engine was told that there is none (any more) */
};

/** Starts everything but the listening. Logs errors. @return 0 or -errno. */
int daemon_start(struct daemon *daemon);
/**
 * Serves nobody any more, and has the loop left: at once, or when nothing of the store is held by VMMs that are dying,
 * or when it is called again.
 */
void daemon_end(struct daemon *daemon);
/** Ends what daemon_start() began, as far as it came. */
void daemon_stop(struct daemon *daemon);

/** Listens on daemon->socket_path. Logs errors. @return 0 or -errno. */
int daemon_listen(struct daemon *daemon);

/** Has orders passed out, and the engine's clock advanced, at the end of this turn of the loop. */
void daemon_schedule_pump(struct daemon *daemon);

/** A process is gone or accounted for: tells the engine of the last unaccounted, ends a daemon that waited for it. */
void daemon_process_gone(struct daemon *daemon);

uint64_t daemon_now_usec(void);

#endif
