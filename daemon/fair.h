/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which source of the event loop has the next turn. Sources wait in the order of the loop time that their users have
 * had, so that one user's connections, however many, delay another's by as much as one connection of that user would.
 * See the Theory of Operation in fair.c.
 */
#ifndef PAGEFUSE_DAEMON_FAIR_H
#define PAGEFUSE_DAEMON_FAIR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#define FAIR_OUTSIDERS ((uid_t)-1) /* one account for all who may only ask: there is no end of user numbers */
#define FAIR_SAVED_USEC 100000     /* time that an idle user saves, and has ahead of others when he comes back */

/** The time of one share. All zero: none yet, and it belongs to no user. */
struct fair_share {
	int64_t had_usec; /* on the clock of struct fair */
	bool saves;       /* it belongs to a user: unused time is saved for a while */
};

/** A user who has connections. */
struct fair_user {
	LIST_ENTRY(fair_user) entries;
	uid_t uid;
	unsigned holders;
	struct fair_share share;
};

/** All zero: no user has a connection. */
struct fair {
	int64_t now_usec; /* of who had his turn last */
	LIST_HEAD(, fair_user) users;
};

/** Takes a reference to the account of @uid. @return NULL without memory. */
struct fair_user *fair_user_get(struct fair *fair, uid_t uid);
/** Drops a reference; the account is freed with the last one. Also for NULL. */
void fair_user_put(struct fair_user *user);

/** From now on @source, or NULL, waits by the time of its share. To be called again when that has changed. */
void fair_place(const struct fair *fair, const struct fair_share *share, sd_event_source *source);
/** The turn of @source begins, which was placed with fair_place(). */
void fair_begin(struct fair *fair, sd_event_source *source);
/** Charges this turn of the loop to @share. The sources may be gone; otherwise place them again. */
void fair_end(const struct fair *fair, struct fair_share *share);
/** Charges @usec of CPU time to @share that were spent elsewhere, or in a turn without a share. */
void fair_charge(const struct fair *fair, struct fair_share *share, uint64_t usec);

#endif
