/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The store's files, whatever they are made of: slots in them are filled, punched, and kept punched. */
#ifndef PAGEFUSE_DAEMON_SEGMENTS_H
#define PAGEFUSE_DAEMON_SEGMENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"

#define SEGMENT_BYTES (ENGINE_SEGMENT_SLOTS * PAGE_BYTES)

struct segment;

/*
 * Slots are looked at through windows of 2 MiB, so that the daemon has neither page tables for the whole store nor a
 * mapping per segment. live: a slot was asked for and not punched since; live_slots is the number of these bits, and
 * whatever st_blocks shows beyond it was allocated by a stray fault.
 */
#define SEGMENTS_WINDOWS 16
struct segments {
	struct segment *table[ENGINE_SEGMENTS_MAX]; /* NULL: no such segment */
	char *area;                                 /* address space of the windows */
	uint32_t shown[SEGMENTS_WINDOWS];           /* which 2 MiB of the store each window shows, or UINT32_MAX */
};

/** @return 0 or -ENOMEM. */
int segments_init(struct segments *segments);
/** Closes and unmaps everything; the files stay as they are. */
void segments_done(struct segments *segments);

/** Takes over @fd, a writable file of SEGMENT_BYTES. @old: it has content. @return 0, -ENOMEM (@fd is closed). */
int segments_add(struct segments *segments, uint32_t segment, int fd, bool old);
void segments_remove(struct segments *segments, uint32_t segment);
/** The file of a segment, which must exist. */
int segments_fd(const struct segments *segments, uint32_t segment);
bool segments_has(const struct segments *segments, uint32_t segment);

/** @return the slot's memory, allocated; valid until the next call. NULL if there is no memory. */
void *segments_slot(struct segments *segments, uint32_t slot);
/** Frees the memory of @count slots of one segment. */
void segments_punch(struct segments *segments, uint32_t slot, uint32_t count);
/** Punches again where more memory is in use than slots are live. @return pages that were freed. */
uint64_t segments_recheck(struct segments *segments);
uint64_t segments_used_bytes(const struct segments *segments);

#endif
