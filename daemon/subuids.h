/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * User numbers that /etc/subuid gives to somebody for user namespaces: whoever has such a range can be each of its
 * users, so to accounts all of them are one; and ranges that overlap are one, too, as whoever has either can be some of
 * the other's. Of this alone: what they may see, and their domains, are each one's own.
 */
#ifndef PAGEFUSE_DAEMON_SUBUIDS_H
#define PAGEFUSE_DAEMON_SUBUIDS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

struct subuid_range {
	uid_t first;
	unsigned count;
};

struct subuids {
	const char *path;
	struct stat seen;            /* of the file, when the ranges were read */
	struct subuid_range *ranges; /* in the order of their numbers; none overlaps another */
	size_t count;
};

/** @path: of the file, in the format of subuid(5); it has to last. It need not be there. */
void subuids_init(struct subuids *subuids, const char *path);
void subuids_done(struct subuids *subuids);

/**
 * The users that are one with @uid to accounts: the range that it is in, or @uid alone. Reads the file anew if
 * it has changed; what is no range in it is left out. If it cannot be read, what was read before counts.
 */
struct subuid_range subuids_range(struct subuids *subuids, uid_t uid);
/** The user as whom @uid is accounted for: the first of these. */
uid_t subuids_account(struct subuids *subuids, uid_t uid);

static inline bool subuid_range_has(const struct subuid_range *range, uid_t uid)
{
	return uid - range->first < range->count;
}

#endif
