/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The daemon's side of the protocol with the agent in a guest (docs/design/agent.md): the order of messages and their
 * limits. It does no I/O and has no clock. Its owner passes in frames that agent_check() has accepted, and the time,
 * and carries out its requests. No guest can make it use more than the limits below.
 */
#ifndef PAGEFUSE_DAEMON_AGENT_SESSION_H
#define PAGEFUSE_DAEMON_AGENT_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/agent.h"

/* Limits of one VM; docs/design/agent.md has them for people. */
#define AGENT_SESSION_MODULES_MAX 8192u
#define AGENT_SESSION_LABEL_BYTES_MAX (UINT32_C(512) << 10)
#define AGENT_SESSION_BATCH_PAGES_MAX 1024u
#define AGENT_SESSION_CREDIT_PAGES 2048u /* named and not acknowledged */
#define AGENT_SESSION_PAGES_PER_SECOND 32768u
#define AGENT_SESSION_BATCHES_MAX 64u       /* ended and not acknowledged */
#define AGENT_SESSION_BEGINS_PER_MINUTE 12u /* sessions that the guest asks for */

struct agent_session_owner {
	/** Sends a frame, which the caller keeps. If it cannot be sent the connection ends. */
	void (*send)(void *context, const struct agent_header *frame);
	/** The page at a guest page frame. @return its number, 0 if there is none that is shared. */
	uint32_t (*page_at)(void *context, uint64_t gfn);
	/**
	 * Has the engine look at @page, to see whether it contains the PAGE_BYTES at @bytes. agent_session_looked()
	 * brings the result, possibly from inside this call.
	 */
	void (*look)(void *context, uint32_t beacon, uint32_t page, const uint8_t *bytes);
	/** Pages [page, page + count) are worth a look; they belong to @module. */
	void (*hint)(void *context, uint32_t page, uint32_t count, uint32_t module);
	/**
	 * The batch is complete. agent_session_dealt_with() tells when all of it is done, possibly from inside this
	 * call.
	 */
	void (*end_batch)(void *context);
};

struct agent_session_module {
	char *label; /* terminated */
	enum agent_kind kind;
};

struct agent_session_batch {
	uint32_t batch, pages, taken;
};

enum agent_session_state {
	AGENT_SESSION_WELCOMED, /* WELCOME is said: HELLO is to come */
	AGENT_SESSION_GREETED,  /* RAM is to come */
	AGENT_SESSION_OPEN,
};

struct agent_session {
	const struct agent_session_owner *owner;
	void *context;
	enum agent_session_state state;
	uint32_t id;
	uint64_t now_usec;
	uint64_t begins_usec[AGENT_SESSION_BEGINS_PER_MINUTE]; /* a ring: when sessions were asked for; 0: never */
	unsigned begin;

	/* Of this session. */
	uint8_t boot[16];
	struct agent_pages ram[AGENT_RAM_RANGES_MAX];
	uint32_t ram_count;
	uint32_t beacons, looked, proved; /* sets of beacons: told, looked at, found */
	uint64_t beacon_pfns[AGENT_BEACONS_MAX];
	bool refuted[2];                      /* below and above 4 GiB: a beacon there was not where it should be */
	struct agent_session_module *modules; /* @module_room */
	uint32_t module_count, module_room, label_bytes;
	uint32_t credit;                                               /* given, not used */
	uint32_t owed;                                                 /* to be given as the rate allows */
	uint64_t allowance;                                            /* millionths of pages that may be given now */
	struct agent_session_batch batches[AGENT_SESSION_BATCHES_MAX]; /* a ring: ended */
	unsigned first_batch, batch_count;
	struct agent_session_batch batch; /* that is coming in */
	bool has_named;                   /* pages were named since the last batch that ended a pass */
	uint64_t passes;                  /* that are over */
};

/** Begins with WELCOME. @now_usec: any monotonic clock, not 0. @return 0, -errno. */
int agent_session_init(struct agent_session *session, const struct agent_session_owner *owner, void *context,
		       uint64_t now_usec);
/** Begins anew: WELCOME tells the guest to send everything once more. @return 0, -EIO. */
int agent_session_restart(struct agent_session *session);
/** Frees its memory. An all-zero session is fine. */
void agent_session_done(struct agent_session *session);

/**
 * The guest has sent @frame. @return 0; -EPROTO: it is not valid here; -EDQUOT: it exceeds a limit; -ECONNRESET: it was
 * BYE; -ENOMEM. After an error the connection is to be closed; after -EPROTO and -EDQUOT the guest has been sent BYE.
 */
int agent_session_take(struct agent_session *session, const struct agent_header *frame);

/** The result of look(). A result for a beacon that is not under way is ignored. */
void agent_session_looked(struct agent_session *session, uint32_t beacon, enum agent_proof proof);
/** The oldest complete batch has been dealt with. */
void agent_session_dealt_with(struct agent_session *session);

/** Gives the credit that has become due. @return microseconds until it wants to be called again; UINT64_MAX: never. */
uint64_t agent_session_tick(struct agent_session *session, uint64_t now_usec);

#endif
