/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whose turn of the loop it is. All that waits for its turn is ordered by what its user has had of the loop's time, so
 * that one user's connections, however many, delay another's by as much as one connection of theirs would. See the
 * Theory of Operation in fair.c.
 */
#ifndef PAGEFUSE_DAEMON_FAIR_H
#define PAGEFUSE_DAEMON_FAIR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#define FAIR_OUTSIDERS ((uid_t)-1) /* all who may only ask, together: users have numbers without end */
#define FAIR_SAVED_USEC 100000     /* that who does not use his time has before others once he comes */

/** What somebody has had. All zero: nothing yet, of what is no user's. */
struct fair_share {
	int64_t had_usec; /* on the clock of struct fair */
	bool saves;       /* it is a user's: what he does not use is his for a while */
};

/** A user who has connections. */
struct fair_user {
	LIST_ENTRY(fair_user) entries;
	uid_t uid;
	unsigned holders;
	struct fair_share share;
};

/** All zero: nobody is there. */
struct fair {
	int64_t now_usec; /* of who had his turn last */
	LIST_HEAD(, fair_user) users;
};

/** The account of @uid, for one holder more. @return NULL without memory. */
struct fair_user *fair_user_get(struct fair *fair, uid_t uid);
/** One holder less; the account goes with the last one. Also for NULL. */
void fair_user_put(struct fair_user *user);

/** From now on @source, or NULL, waits as long as its owner's share says. To be called anew when that has changed. */
void fair_place(const struct fair *fair, const struct fair_share *share, sd_event_source *source);
/** The turn of @source begins: what was placed with fair_place(). */
void fair_begin(struct fair *fair, sd_event_source *source);
/** This turn of the loop is charged to @share. The sources may be gone; else they are to be placed anew. */
void fair_end(const struct fair *fair, struct fair_share *share);
/** The same of @usec of CPU time that were spent for @share's owner elsewhere, or in a turn that is nobody's. */
void fair_charge(const struct fair *fair, struct fair_share *share, uint64_t usec);

#endif
