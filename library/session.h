/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The worker's end of a connection to the daemon: socket, rings, messages. Worker thread, except session_connect().
 * -ECONNRESET and other errors mean that the session is over: session_close() it.
 */
#ifndef PAGEFUSE_LIBRARY_SESSION_H
#define PAGEFUSE_LIBRARY_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "library/descriptors.h"
#include "protocol/ring.h"
#include "protocol/wire.h"

struct session {
	struct descriptor *socket; /* NULL: none */
	void *ring;                /* RING_BYTES */
	struct ring_end up, down;
	struct ring_record next; /* an order taken from the ring, but not yet carried out */
	bool has_next;
	int order_error;       /* a malformed order came: later orders cannot be trusted */
	uint64_t unheard_msec; /* when a segment was requested in vain, and none came since; else 0 */
	uint64_t seed, store;
	uint64_t features;                          /* bits of enum wire_feature that the daemon has, too */
	uint32_t unpublished;                       /* reports */
	uint64_t unpublished_msec;                  /* when there were first found to be some; 0: not yet */
	uint32_t staging_place[RING_STAGING_PAGES]; /* place in the up ring of the record that handed the page over */
	uint32_t staged;                            /* pages handed over so far */
};

/**
 * No more orders are carried out: a thread that waits for the daemon gives up, after 5 s even if the daemon sends
 * without end and reads nothing. Any thread.
 */
void session_end_all(void);
bool session_is_ending(void);

/** Connects to the daemon's socket, without waiting. @return 0 or -errno. Any thread. */
int session_connect(const char *path, struct descriptor **ret_socket);

/**
 * Greets the daemon on @socket (taken over) and waits up to 5 s for its welcome.
 * @store: identity of the store that this process still maps, or 0. @ret_device: descriptor of /dev/userfaultfd for the
 * caller, or NULL. @return 0, -EPROTONOSUPPORT if the daemon wants a feature that this library lacks, or -errno; then
 * nothing is left open.
 */
int session_open(struct session *session, struct descriptor *socket, uint64_t store, struct descriptor **ret_device);
/** Whether the daemon has this feature, too. */
bool session_has(const struct session *session, enum wire_feature feature);
/** Sends a message, without waiting, unless the VMM has closed the socket. @return as wire_send(). */
int session_send(const struct session *session, const void *message, size_t size);
void session_close(struct session *session);
/** After mlockall(): unlocks the ring, if there is one, see own.h. Any thread, with the memory lock held. */
void session_unlock_ring(void);
/** In the child of a fork, which has inherited no ring. */
void session_forget(void);

/** Processes all messages that have arrived. @return 0 or -errno. */
int session_receive(struct session *session);

/**
 * Makes sure that the descriptors for slots [slot, slot+count) of an order are there: processes messages, requests
 * segments that were closed, and waits a second. Not with the lock held. @return 0, -EAGAIN if they are not available
 * now, -errno.
 */
int session_need_slots(struct session *session, uint32_t slot, uint32_t count);

/** The next order, which session_done_order() consumes. @return 1, 0 if there is none, or -errno (malformed). */
int session_next_order(struct session *session, struct ring_record *ret_order);
void session_done_order(struct session *session);

/** Posts a report; waits for room if the ring is full. Not with the lock held. @return 0 or -errno. */
int session_post(struct session *session, const struct ring_record *report);
int session_post_value(struct session *session, enum ring_report op, uint32_t page, unsigned count, uint64_t value);
int session_post_run(struct session *session, enum ring_report op, uint32_t page, unsigned count, uint32_t slot);
/** Publishes the posted reports, and rings the doorbell if the daemon sleeps. @return 0 or -errno. */
int session_publish(struct session *session);

/** A staging page that the daemon has finished with; waits for one. @return its index or -errno. */
int session_staging(struct session *session);
/** Posts a REPORT_FETCHED with staging page @index. */
int session_post_fetched(struct session *session, struct ring_record *report, uint32_t index);

/** Sleeps until the daemon sends something, a VMM thread wakes us, or @timeout_ms passes. @return 0 or -errno. */
int session_wait(struct session *session, int timeout_ms);

#endif
