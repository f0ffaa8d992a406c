/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who is connected to pagefuse-exporter, and who has to go so that somebody else gets a place: whoever holds
 * connections and asks nothing shall not keep those out who do. Of those that are not being answered it is the one that
 * has been silent for longest, be it that it never asked, has sent a part of its request, or has had its answer; and if
 * all are, the one that has not taken its answer for too long; and if there is none, who has come. All of it is one
 * thread's.
 */
#ifndef PAGEFUSE_CLI_EXPORTER_PLACES_H
#define PAGEFUSE_CLI_EXPORTER_PLACES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct place;

/** Set up by places_init(). */
struct places {
	unsigned most;      /* connections that are let be */
	uint64_t slow_msec; /* so long an answer may take, when all places are taken */
	unsigned count;     /* of those that have not been told to go */
	TAILQ_HEAD(, place) list;
};

/** @most and @slow_msec: as in struct places. */
void places_init(struct places *places, unsigned most, uint64_t slow_msec);
/**
 * Somebody has come, on @socket, which stays the caller's; another may have its socket shut down for it, or it its
 * own. @now_msec: by any clock. @return its place, until places_leave(); NULL without memory: it is not counted then.
 */
struct place *places_take(struct places *places, int socket, uint64_t now_msec);
/** The head of a request has come from it; it has its answer. Also for NULL, as places_leave(). */
void place_asked(struct place *place, uint64_t now_msec);
void place_answered(struct place *place, uint64_t now_msec);
/** It has gone. */
void places_leave(struct places *places, struct place *place);

#endif
