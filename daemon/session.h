/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One connection: a VMM's, from HELLO on, or a CLI's. */
#ifndef PAGEFUSE_DAEMON_SESSION_H
#define PAGEFUSE_DAEMON_SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>

#include "daemon/daemon.h"
#include "protocol/ring.h"
#include "protocol/wire.h"

#define SESSION_PACKETS_PER_TURN 16
#define SESSION_CONTROL_PER_USER 32 /* connections of one user that ask, root excepted */

enum session_kind {
	SESSION_NEW, /* has not said anything */
	SESSION_VMM,
	SESSION_CONTROL,
};

#define SESSION_BITMAP_WORDS (ENGINE_SEGMENTS_MAX / 64)

struct session {
	LIST_ENTRY(session) entries;
	struct daemon *daemon;
	enum session_kind kind;
	bool failed; /* to be freed in its next turn; nothing is done with it any more */
	int socket, pidfd;
	struct ucred peer;
	sd_event_source *io, *turn;

	/* VMM */
	struct process *process;
	struct engine_vm *vm;
	uint32_t serial; /* tells it from all other connections of VMMs; not 0 */
	bool ready;      /* REPORT_READY came */
	bool may_adopt;  /* the process had this store's descriptors before */
	void *ring;      /* RING_BYTES */
	int ring_fd;
	struct ring_end up, down;
	bool has_held; /* an order taken from the engine that could not be passed on yet */
	struct ring_record held;
	uint64_t told[SESSION_BITMAP_WORDS];    /* segments whose descriptor was sent on this connection */
	uint64_t closing[SESSION_BITMAP_WORDS]; /* segments whose SEGMENT_CLOSE is still to be sent */
	unsigned closing_count;
	uint32_t wanted; /* segment that it has asked for once more, plus 1; 0: none. One at a time */

	/* CONTROL */
	char *reply; /* what is still to be sent, or NULL */
	size_t reply_size, reply_sent;
};

/** Takes over a connected @socket. On error it is closed. @return 0 or -errno. */
int session_new(struct daemon *daemon, int socket);
/** Ends the connection. References stay with the process. */
void session_free(struct session *session);

/** Logs why, and has the session freed in its next turn. */
void session_fail(struct session *session, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** Has on_turn() called again after the others had theirs. */
void session_schedule(struct session *session);
/** Waits for room in the socket, too, or no longer. */
void session_want_room(struct session *session, bool want);

/** "web1 (pid 123, uid 107)", or without the name while there is none. Valid until the next call. */
const char *session_describe(const struct session *session);

/** The segment is gone: every VMM that has it shall close it. */
void session_segment_removed(struct daemon *daemon, uint32_t segment);

#endif
