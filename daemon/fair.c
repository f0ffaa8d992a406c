/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of Operation. This is start-time fair queueing (Goyal, Vin and Cheng, 1996), with the event loop's priorities
 * as the queue. A share's clock advances by the CPU time of its turns. A waiting source has its share's clock as its
 * priority, and the lowest is served first. The common clock, fair->now_usec, is the priority of the source being
 * served. A share that comes back from idle starts at the common clock, less the time it can have saved, and not at its
 * own old clock. So a user who needs less than his share is served as if he was alone, however many others want all
 * that there is; those others wait for him a tenth of a second once, and only if he was idle at least that long. A user
 * who is new, or was away so long that his account was dropped, has saved nothing: otherwise users who come anew each
 * time would go first. Nor do engines or the accepting of connections save time, as they belong to no user: otherwise a
 * user with many domains would have as many tenths of a second.
 *
 * Everything else, such as timers, has priority 0 and goes first: each has a bound of its own.
 *
 * A user's sources get their place after their own turns, not whenever the user's clock advances. So a source that was
 * idle has an older time, and is served once sooner than it should be.
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

/* The clock begins with 0, which is also sd-event's priority for ordinary sources. */
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
	/* The loop's own cost is a microsecond at least. */
	share->had_usec = had(fair, share) + (int64_t)usec + 1;
}

void fair_end(const struct fair *fair, struct fair_share *share)
{
	fair_charge(fair, share, turn_cpu_usec());
}
