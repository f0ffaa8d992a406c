/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of Operation. This is start-time fair queueing (Goyal, Vin and Cheng, 1996), with the event loop's priorities
 * as queue. A share's clock goes on by the CPU time of its turns, and a source that waits has the time of that clock
 * as its priority, so the lowest is served first. The clock of all, fair->now_usec, is the priority of who is served.
 * Who comes back after a while begins at it, less what he can have saved, and not at what it was when he left. So who
 * has something to do now and then, and less than his share in all, is served as if he was alone, however many others
 * want all that there is; and these wait for him a tenth of a second once, for which he has to have been away. Who is
 * new, or was away so long that nobody knew him, has saved nothing: else whoever comes anew each time would go first.
 * Nor does what is no user's, an engine and the accepting of connections: else he who has many domains would have as
 * many tenths of a second.
 *
 * All else, such as timers, has priority 0 and goes first: each has a bound of its own.
 *
 * A user's sources are placed when they have had their turn, not whenever the user's clock goes on. So one that was
 * idle has an older time, and is served sooner than it should be, once.
 */
#include "daemon/fair.h"

#include <stdlib.h>

#include "daemon/turn.h"

struct fair_user *fair_user_get(struct fair *fair, uid_t uid)
{
	struct fair_user *user;

	LIST_FOREACH(user, &fair->users, entries)
		if (user->uid == uid)
			break;
	if (user == NULL) {
		user = calloc(1, sizeof(*user));
		if (user == NULL)
			return NULL;
		user->uid = uid;
		user->share = (struct fair_share){ .had_usec = fair->now_usec, .saves = true };
		LIST_INSERT_HEAD(&fair->users, user, entries);
	}
	user->holders++;
	return user;
}

void fair_user_put(struct fair_user *user)
{
	if (user == NULL || --user->holders > 0)
		return;
	LIST_REMOVE(user, entries);
	free(user);
}

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static int64_t had(const struct fair *fair, const struct fair_share *share)
{
	return later(share->had_usec, fair->now_usec - (share->saves ? FAIR_SAVED_USEC : 0));
}

/* The clock begins with 0, and so does what sd-event takes for ordinary. */
void fair_place(const struct fair *fair, const struct fair_share *share, sd_event_source *source)
{
	if (source)
		(void)sd_event_source_set_priority(source, had(fair, share) + FAIR_SAVED_USEC);
}

void fair_begin(struct fair *fair, sd_event_source *source)
{
	int64_t priority = 0;

	(void)sd_event_source_get_priority(source, &priority);
	fair->now_usec = later(fair->now_usec, priority - FAIR_SAVED_USEC);
}

void fair_charge(const struct fair *fair, struct fair_share *share, uint64_t usec)
{
	/* What the loop itself costs is a microsecond at least. */
	share->had_usec = had(fair, share) + (int64_t)usec + 1;
}

void fair_end(const struct fair *fair, struct fair_share *share)
{
	fair_charge(fair, share, turn_cpu_usec());
}
