/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The agent's side of the conversation with the host: docs/design/agent.md. One thread, which waits in poll() only. */
#ifndef PAGEFUSE_AGENT_SESSION_H
#define PAGEFUSE_AGENT_SESSION_H

#include "agent/beacons.h"
#include "agent/config.h"
#include "agent/held.h"
#include "agent/iomem.h"
#include "agent/look.h"
#include "agent/port.h"

#define SESSION_FLIGHTS_MAX 32 /* batches that are not acknowledged */

struct session_flight {
	uint32_t batch, pages;
	uint64_t hold_until_msec; /* monotonic; 0: its pages have been let go */
};

struct session {
	struct hint_sink sink;
	const struct config *config;
	const struct iomem *iomem;
	int pagemap;
	int signals; /* signalfd of what ends the agent */
	struct port port;
	struct look look;
	struct held held;
	uint8_t boot[16];
	uint64_t instance;

	/* Of the session that the host has made. */
	struct agent_welcome welcome;
	struct beacons beacons;
	uint64_t beacons_until_msec;
	uint32_t modules, label_bytes;
	uint64_t credit;                                    /* pages */
	struct session_flight flights[SESSION_FLIGHTS_MAX]; /* a ring */
	unsigned first_flight, flight_count;
	uint32_t batch, batch_pages;                /* that is being made */
	uint64_t pass_pages, taken;                 /* named in this pass; taken by the host, in all */
	uint64_t programs_due_msec, files_due_msec; /* the next looks */
	bool is_first_pass;
	uint32_t bye; /* the host's reason */
	union {
		struct agent_ranges ranges;
		uint64_t bytes[AGENT_FRAME_MAX / 8];
	} frame; /* of @batch, not sent yet */
};

/** @return 0, -errno. */
int session_init(struct session *session, const struct config *config, const struct iomem *iomem, int pagemap,
		 int signals);
void session_done(struct session *session);

/**
 * Talks to whoever is at the other end of the port at @path, again and again, until a signal comes. Says on standard
 * error what keeps it from that. @return 0, -ENOMEM.
 */
int session_serve(struct session *session, const char *path);

#endif
