/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The requests of docs/design/control.md. */
#ifndef PAGEFUSE_DAEMON_CONTROL_H
#define PAGEFUSE_DAEMON_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/admission.h"
#include "daemon/domain.h"
#include "daemon/kept.h"
#include "daemon/sampler.h"

/** Tickets contain a connection's serial number and have to be exact in JSON. */
#define CONTROL_SERIAL_MAX ((UINT32_C(1) << 21) - 1)

/** What can be asked about. */
struct control {
	const struct domains *domains;
	const struct admission *admission;
	const struct memory_watch *memory;
	const struct exposure_limit *exposure_max;
	struct sampler *sampler;
	struct kept *kept;
	struct documents *documents;
	const char *socket_path;
	uint64_t started_usec;
};

/** VMs, tickets, names or metrics that are put into a reply in one turn of the loop. */
#define CONTROL_ITEMS_PER_TURN 64

/** What an estimate may be asked for: VMs by name, and pairs. */
#define CONTROL_ESTIMATE_NAMES 64u
#define CONTROL_ESTIMATE_PAIRS 1000u
#define CONTROL_ESTIMATE_PAIRS_DEFAULT 10u

/** Who asks. */
struct control_asker {
	struct admission_peer peer;
	struct fair_user *payer;    /* account for the work that a thread does for it */
	void (*ready)(void *owner); /* the answer no longer waits, see control_waits() */
	void *owner;
};

/**
 * A reply that is being made: in pieces, so that other connections have turns in between, or by the thread of
 * documents.h.
 */
struct control_answer;

/**
 * Begins to answer the request @text of @size bytes that @asker makes. What is told is of a moment between this and the
 * reply. @return NULL without memory.
 */
struct control_answer *control_begin(const struct control *control, const struct control_asker *asker, const char *text,
				     size_t size);
/** Makes some more of it. @return whether that is all. */
bool control_go_on(struct control_answer *answer);
/**
 * Whether more of it can be made only later: when more of what is kept is settled (struct kept: on_settled), or the
 * thread of documents.h has made it, which asker->ready() tells.
 */
bool control_waits(const struct control_answer *answer);
/**
 * Frees @answer, complete or not, or NULL. @return the reply, a JSON document to be freed, of *@ret_size bytes, which
 * is set if there is one; NULL: it was not complete, or there was no memory.
 */
char *control_end(struct control_answer *answer, size_t *ret_size);

#endif
