/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Ranges of user numbers that /etc/subuid grants for user namespaces. The owner of a range can act as each user in it,
 * so accounts treat a range as one user. Overlapping ranges are merged, too, since the owner of either can act as some
 * users of the other. This holds for accounts only: what a user may see, and its domain, depend on its own number.
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
 * The users that accounts treat as one with @uid: the range that contains it, or @uid alone. Reads the file again if it
 * has changed, ignoring lines that are no range. If the file cannot be read, the ranges read before still count.
 */
struct subuid_range subuids_range(struct subuids *subuids, uid_t uid);
/** The user number that @uid is accounted under: the first of that range. */
uid_t subuids_account(struct subuids *subuids, uid_t uid);

static inline bool subuid_range_has(const struct subuid_range *range, uid_t uid)
{
	return uid - range->first < range->count;
}

#endif
