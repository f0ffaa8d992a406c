/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/exporter-places.h"

#include <stdlib.h>
#include <sys/socket.h>

#ifndef PLACES_YIELD
#define PLACES_YIELD 1 /* 0: no client is disconnected; a test builds with it, to see the effect */
#endif

struct place {
	TAILQ_ENTRY(place) entries;
	int socket;
	bool is_asking;      /* from its request's head until it has the answer */
	bool goes;           /* its socket has been shut down */
	uint64_t since_msec; /* when that began, or when it was heard of last */
};

void places_init(struct places *places, unsigned most, uint64_t slow_msec)
{
	*places = (struct places){ .most = most, .slow_msec = slow_msec };
	TAILQ_INIT(&places->list);
}

/* Who may have to go: all that do not ask, or that have been asking for too long. */
static bool may_go(const struct places *places, const struct place *place, bool asking, uint64_t now_msec)
{
	return !place->goes && place->is_asking == asking &&
	       (!asking || now_msec - place->since_msec >= places->slow_msec);
}

static struct place *longest(const struct places *places, bool asking, uint64_t now_msec)
{
	struct place *place, *found = NULL;

	TAILQ_FOREACH(place, &places->list, entries)
		if (may_go(places, place, asking, now_msec) && (found == NULL || place->since_msec < found->since_msec))
			found = place;
	return found;
}

/* Its connection is closed by who reads from it, as one that the other side has ended. */
static void send_away(struct places *places, struct place *place)
{
	place->goes = true;
	places->count--;
	(void)shutdown(place->socket, SHUT_RDWR);
}

struct place *places_take(struct places *places, int socket, uint64_t now_msec)
{
	struct place *place = calloc(1, sizeof(*place)), *other = NULL;

	bool full = PLACES_YIELD && places->count >= places->most;

	if (full)
		other = longest(places, false, now_msec);
	if (full && other == NULL)
		other = longest(places, true, now_msec);
	if (other)
		send_away(places, other);
	if (place == NULL)
		return NULL;
	place->socket = socket;
	place->since_msec = now_msec;
	TAILQ_INSERT_TAIL(&places->list, place, entries);
	places->count++;
	if (full && other == NULL)
		send_away(places, place); /* else no further client would be accepted */
	return place;
}

void place_asked(struct place *place, uint64_t now_msec)
{
	if (place == NULL)
		return;
	place->is_asking = true;
	place->since_msec = now_msec;
}

void place_answered(struct place *place, uint64_t now_msec)
{
	if (place == NULL)
		return;
	place->is_asking = false;
	place->since_msec = now_msec;
}

void places_leave(struct places *places, struct place *place)
{
	if (place == NULL)
		return;
	places->count -= !place->goes;
	TAILQ_REMOVE(&places->list, place, entries);
	free(place);
}
