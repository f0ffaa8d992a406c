/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The store's files, whatever they are made of: slots in them are filled, punched, and kept punched. */
#ifndef PAGEFUSE_DAEMON_SEGMENTS_H
#define PAGEFUSE_DAEMON_SEGMENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"

#define SEGMENT_SLOTS ENGINE_SEGMENT_SLOTS
#define SEGMENTS_MAX ENGINE_SEGMENTS_MAX
#define SEGMENT_BYTES (ENGINE_SEGMENT_SLOTS * PAGE_BYTES)

/* At once, of what a recheck does: looks at segments, calls that free, slots that they are about. */
#define SEGMENTS_LOOKED_AT 64u
#define SEGMENTS_PUNCHES 256u
#define SEGMENTS_PUNCHED_SLOTS 8192u

struct segment;

/*
 * Each segment has a bitmap of live slots: written, not punched since. Whatever st_blocks shows beyond their number was
 * allocated by a stray fault.
 */
struct segments {
	struct segment *table[ENGINE_SEGMENTS_MAX]; /* NULL: no such segment */
	uint64_t live_slots;                        /* of all */
};

/** Closes everything; the files stay as they are. */
void segments_done(struct segments *segments);

/**
 * Takes over @fd, a writable file of SEGMENT_BYTES. @old: it has content, and all that has memory in it is live.
 * @return 0, or -errno (@fd is closed).
 */
int segments_add(struct segments *segments, uint32_t number, int fd, bool old);
void segments_remove(struct segments *segments, uint32_t number);
/** The file of a segment, which must exist. */
int segments_fd(const struct segments *segments, uint32_t number);
bool segments_has(const struct segments *segments, uint32_t segment);

/** Gives a slot its content, or reads it; PAGE_BYTES. @return 0, -ENOSPC (the tmpfs is full), -errno. */
int segments_write(struct segments *segments, uint32_t slot, const void *content);
int segments_read(struct segments *segments, uint32_t slot, void *ret_content);
/** Frees the memory of @count slots of one segment. */
void segments_punch(struct segments *segments, uint32_t slot, uint32_t count);
/** Where a recheck goes on. */
struct segments_cursor {
	uint32_t segment; /* ENGINE_SEGMENTS_MAX: there are no more */
	uint32_t slot;    /* in it */
};

/**
 * Punches again where more memory is in use than slots are live, from *@cursor on, which is moved; as much as is done
 * at once. @return pages that were freed.
 */
uint64_t segments_recheck(struct segments *segments, struct segments_cursor *cursor);
uint64_t segments_used_bytes(const struct segments *segments);

#endif
