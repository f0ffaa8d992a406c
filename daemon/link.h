/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rings shared with one VMM, and the messages in its socket that belong to them: doorbells and descriptors of
 * segments. The link does not know what reports and orders mean.
 *
 * After a link has failed, or was stopped, its owner calls nothing but link_done().
 */
#ifndef PAGEFUSE_DAEMON_LINK_H
#define PAGEFUSE_DAEMON_LINK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "daemon/segments.h"
#include "protocol/ring.h"

#define LINK_CLOSES_AT_ONCE 16u /* SEGMENT_CLOSE messages; more when the socket has room again */
#define LINK_BITMAP_WORDS (SEGMENTS_MAX / 64)

/** Callbacks from a link to its owner. */
struct link_events {
	/** It cannot go on for @reason, one line. The owner ends it, but not from in here. */
	void (*failed)(void *owner, const char *reason);
	/** Whether link_give_orders() is to be called when the socket has room. */
	void (*want_room)(void *owner, bool want);
};

/** Where orders come from, and the segments that they name. */
struct link_source {
	/** The next order for this peer. @return whether there was one. */
	bool (*next_order)(void *context, struct ring_record *ret_order);
	/** @return a descriptor of @segment for this peer, which the link closes; or -errno. */
	int (*open_segment)(void *context, uint32_t segment);
};

struct link {
	LIST_ENTRY(link) entries; /* of the domain whose store it is given */
	int socket;               /* the owner's */
	const struct link_events *events;
	void *owner;
	bool failed;
	void *ring; /* RING_BYTES */
	int ring_fd;
	uint64_t memory_bytes; /* that they occupied when link_look_at_memory() was called last */
	struct ring_end up, down;
	bool waiting;  /* the peer is to ring when it has posted */
	bool has_held; /* an order taken from its source that could not be passed on yet */
	struct ring_record held;
	uint64_t told[LINK_BITMAP_WORDS];    /* segments whose descriptor was sent on this connection */
	uint64_t closing[LINK_BITMAP_WORDS]; /* segments whose SEGMENT_CLOSE is still to be sent */
	unsigned closing_count;
	uint32_t wanted; /* the segment that the peer has asked for once more, plus 1; 0: none. One at a time */
};

/** Makes the rings. @socket and @events have to last as long as the link. @return 0 or -errno. */
int link_init(struct link *link, int socket, const struct link_events *events, void *owner);
/** Closes what link_init() made. Also for one that is all zero, or whose link_init() failed. */
void link_done(struct link *link);
bool link_is_open(const struct link *link);
/** Stops the link: nothing is done with it any more. */
void link_stop(struct link *link);

/** Reports the failure and its reason to the owner, once. */
void link_fail(struct link *link, const char *format, ...) __attribute__((format(printf, 2, 3)));

/**
 * Copies out at most @size reports, as the peer wrote them. If there are none, the peer rings when it has posted some.
 * @return how many, or -EPROTO: the cursors of the ring are impossible.
 */
int link_get_reports(struct link *link, struct ring_record *ret_reports, int size);
/** The copied reports may be overwritten: tells the peer if it waits for room. */
void link_release_reports(struct link *link);
/** The staging page that a FETCHED names: PAGE_BYTES, which the peer may change at any time. */
void *link_staging(const struct link *link, uint32_t index);
/** The peer's statistics. It may be writing them at this moment: a number may be torn for a moment. */
const struct ring_stats *link_statistics(const struct link *link);

/**
 * Passes on orders while there is room in the ring and, for descriptors, in the socket. May fail the link.
 * @return how many packets it sent to do so, besides those with descriptors.
 */
unsigned link_give_orders(struct link *link, const struct link_source *source, void *context);

/**
 * The peer has closed the descriptor of @segment (its words) and asks for it again: link_give_orders() will send it.
 * @return whether it was sent one before; else nothing is done.
 */
bool link_want_segment(struct link *link, uint32_t segment);

/** The segment is gone: a peer that has it shall close it. */
void link_segment_removed(struct link *link, uint32_t segment);

/** Measures how much memory the rings occupy: a system call. */
void link_look_at_memory(struct link *link);

#endif
