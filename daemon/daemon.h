/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pagefused as a whole. No unit includes one that includes it (tests/layers/includes.py):
 *
 *   main, listen -> daemon -> session (one connection) -> admission -> pump (links <-> engine) -> vm -> domain
 *                                 |                                                                       |
 *                                 +-> control (a CLI's requests)                    link (rings), store, engine
 *
 * One event loop in one thread, and one that makes long documents for it (documents.h); and kept-writer.h has one that
 * writes a file. A session ends with its connection; a VM ends when its process has died and nobody can read the store
 * through its view any more. No function here waits for a peer.
 */
#ifndef PAGEFUSE_DAEMON_DAEMON_H
#define PAGEFUSE_DAEMON_DAEMON_H

#include <stdbool.h>
#include <sys/un.h>
#include <systemd/sd-event.h>

#include "daemon/agents.h"
#include "daemon/config.h"
#include "daemon/control.h"
#include "daemon/documents.h"
#include "daemon/domain.h"
#include "daemon/exposure.h"
#include "daemon/kept.h"
#include "daemon/memory-watch.h"
#include "daemon/session.h"

#define DAEMON_PRIVATE_IDLE_SECONDS 60 /* a private daemon waits so long for its first VMM */
#ifndef DAEMON_SUBUIDS
#define DAEMON_SUBUIDS "/etc/subuid" /* tests build with another */
#endif
#define DAEMON_END_SECONDS 5 /* a daemon that ends waits so long for what dying VMMs still map */

struct daemon {
	sd_event *event;
	struct config config;
	const char *config_path; /* of the settings; NULL: the usual one, if it is there */
	struct quota quota;
	struct exposure exposure;
	struct fair fair;
	struct subuids subuids;
	struct fair_share accepting;            /* loop time of accepting connections */
	struct exposure_notice uncovered, held; /* what was logged of it */
	struct kept kept;
	bool rereads_kept;                                   /* after the write that is under way */
	char kept_path[sizeof(((struct kept *)NULL)->path)]; /* of what is kept of VMs; empty: only while it runs */
	struct domains domains;
	struct access access;
	struct admission admission;
	struct documents documents; /* that control has made */
	struct control control;
	struct sampler sampler;
	struct sessions sessions;
	struct memory_watch memory;
	struct agents agents; /* in guests */
	char socket_path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	sd_event_source *listener;
	sd_event_source *sweep; /* closes domains that have no VM any more */

	bool private; /* end with the last VM */
	bool ending;  /* serves nobody any more */
};

/** Starts everything but the listening socket. Logs errors. @return 0 or -errno: call daemon_stop() in either case. */
int daemon_start(struct daemon *daemon);
/**
 * Stops serving, and makes the event loop end: at once, or when dying VMMs hold nothing of the store any more, or when
 * it is called again.
 */
void daemon_end(struct daemon *daemon);
/** Undoes daemon_start(), as far as that came. */
void daemon_stop(struct daemon *daemon);

/**
 * Reads the settings anew. What can change while it runs counts at once; what cannot is said in the log. If the file
 * cannot be used, all stays as it was, and the log says why.
 */
void daemon_reload(struct daemon *daemon);

/** Listens on daemon->socket_path. Logs errors. @return 0 or -errno. */
int daemon_listen(struct daemon *daemon);

#endif
