/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shared by store.c (the files) and views.c (which processes are given them). store.c calls views.c, and both call
 * store-names.c, which calls neither.
 */
#ifndef PAGEFUSE_DAEMON_STORE_INTERNAL_H
#define PAGEFUSE_DAEMON_STORE_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/room.h"
#include "daemon/segments.h"
#include "daemon/store.h"

#define STORE_PATH_SIZE 320
#define STORE_NAME_SIZE 64

/* A process that was given memfds: only the memfd kind needs to know. */
struct reader {
	struct reader *next;
	pid_t pid;
};

struct store {
	enum store_kind kind;
	bool old; /* found, not made */
	int lock; /* of the directory */
	int tree; /* the writable mount; -1 if there is none */
	uint64_t identity, seed;
	struct reader *readers;
	struct segments segments;
	struct room room;               /* of the tmpfs */
	struct segments_cursor recheck; /* where it goes on */
	char directory[STORE_PATH_SIZE];
	char pages[STORE_PATH_SIZE];
};

/* ---- store-names.c ---- */

/** The file name of a segment. */
void store_segment_name(char ret[STORE_NAME_SIZE], uint32_t segment);
/** What the memfds of this store are called in /proc/PID/maps. */
void store_memfd_name(char ret[STORE_NAME_SIZE], const struct store *store);

/* ---- views.c ---- */

/** Forgets all processes that were given memfds. */
void views_done(struct store *store);

#endif
