/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The store: the daemon's memory files with the one copy of each shared page, and each VMM process's read-only view of
 * them. docs/design/store.md tells how it works and why.
 */
#ifndef PAGEFUSE_DAEMON_STORE_H
#define PAGEFUSE_DAEMON_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define STORE_DIRECTORY_MAX 150 /* bytes in the path of its directory */
#define STORE_SIZE_MIN (UINT64_C(1) << 20)

enum store_kind {
	STORE_AUTO,  /* tmpfs if this process may mount */
	STORE_TMPFS, /* nobody but the daemon can write it, and it survives the daemon */
	STORE_MEMFD, /* needs no privilege; keeps honest VMMs from writing, and ends with its last user */
};

struct store_settings {
	unsigned kind; /* enum store_kind */
	char size[32]; /* of the tmpfs at first, as mount(8) takes it; see room.h */
};

struct store;

/**
 * Opens the store that lives in @directory: the one that an earlier daemon left there if a process may still map it,
 * else a new one. Logs what it finds. @return 0, -EBUSY if another daemon has it, -errno; logs errors.
 */
int store_open(const char *directory, const struct store_settings *settings, struct store **ret);
/** Gives the store up and removes all that nobody has open or mapped. @return whether anything had to stay. */
bool store_close(struct store *store);

/** Random, survives the daemon with the store. */
uint64_t store_identity(const struct store *store);
/** For page_hash(); secret towards guests, constant for this store. */
uint64_t store_seed(const struct store *store);
/** Whether the store stays, with its views, for the next daemon if a process maps it when this daemon ends. */
bool store_outlives_daemon(const struct store *store);
/** "tmpfs" or "memfd". */
const char *store_kind_name(const struct store *store);
/** Memory that the segments occupy now. */
uint64_t store_used_bytes(const struct store *store);

/* ---- segments, for struct engine_store ---- */

int store_add_segment(struct store *store, uint32_t segment);
void store_remove_segment(struct store *store, uint32_t segment);
/** Gives a slot its content, or reads it; PAGE_BYTES. @return 0, -ENOSPC (the tmpfs is full), -errno. */
int store_write(struct store *store, uint32_t slot, const void *content);
int store_read(struct store *store, uint32_t slot, void *ret_content);
void store_punch(struct store *store, uint32_t slot, uint32_t count);
/** Whether stray faults have taken room that is needed, or was given back: store_recheck() is due, until it is done. */
bool store_is_pressed(const struct store *store);
/**
 * Frees again what stray faults have allocated in punched slots, a part of it at a time. Call it now and then.
 * @return whether to call it again, after others had their turn.
 */
bool store_recheck(struct store *store);
/** Segments found in an old store: iterate with *@cursor = 0 at first. @return whether there was one. */
bool store_next_segment(const struct store *store, uint32_t *cursor, uint32_t *ret_segment);

/* ---- views: what a VMM process is given ---- */

/** Makes, or finds again, the view of process @pid that started at @start_time. @return 0 or -errno. */
int store_view_create(struct store *store, pid_t pid, uint64_t start_time);
/** @return a descriptor of @segment for that process, that cannot be made writable; or -errno. */
int store_view_open(struct store *store, pid_t pid, uint64_t start_time, uint32_t segment);
/**
 * Removes the view of a process that is dead, or @alive and may have become another program. @return 0 if nobody can
 * read the store through it any more; -EBUSY while somebody does, such as a child that it forked: try again later.
 */
int store_view_remove(struct store *store, pid_t pid, uint64_t start_time, bool alive);
/** Views that an earlier daemon left and that are still in use: calls @found for each. @return 0 or the first error. */
int store_each_view(struct store *store, int (*found)(void *context, pid_t pid, uint64_t start_time), void *context);

#endif
