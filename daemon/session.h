/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One connection: a VMM's, from HELLO on, or a CLI's. */
#ifndef PAGEFUSE_DAEMON_SESSION_H
#define PAGEFUSE_DAEMON_SESSION_H

#include <stdint.h>
#include <sys/queue.h>
#include <systemd/sd-event.h>

#include "daemon/admission.h"
#include "daemon/control.h"
#include "daemon/domain.h"

#ifndef SESSIONS_MAX
#define SESSIONS_MAX (ENGINE_VMS_MAX + 1024) /* connections of all users but root; tests build with another */
#endif
#define SESSIONS_OF_ROOT 1024u /* further connections, for root only */
#define SESSION_PACKETS_PER_TURN 16
#define SESSION_CONTROL_PER_USER 32 /* connections of one user that ask, root excepted */
#define SESSION_OUTSIDERS_MAX 256u  /* of all users who may not take part: there is no end of user numbers */

struct session;

/** All connections of a daemon. */
struct sessions {
	sd_event *event;
	const struct admission *admission;    /* of VMMs that connect */
	const struct control *control;        /* what CLIs can ask about */
	const uint32_t *connections_per_user; /* a setting */
	LIST_HEAD(, session) list;
	unsigned count;
	uint32_t last_serial; /* of a VMM's connection */
};

/** Takes over a connected @socket. On error it is closed. @return 0 or -errno. */
int session_new(struct sessions *sessions, int socket);
/** More changes of kept modes are settled: sessions whose answers waited for that have their turns. */
void sessions_settled(struct sessions *sessions);
/** Ends all connections. References stay with the VMs. */
void sessions_end(struct sessions *sessions);

#endif
