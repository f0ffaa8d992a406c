/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The slots of the store: who holds each, and when its memory can go.
 *
 *   never --> filling --> live --> dead            an ordinary slot: content is being fetched, known, dropped
 *   never --> spare ----> live --> dead            a member of a stripe: filled when a page first needs it
 *   never --> live --> idle --> live | dead        a slot found in the store by a restarted daemon, and adopted
 *
 * A live slot has at least one holder: a page that maps it (sharer) or an order under way that names it. Without any it
 * is dead: unlinked from the table, its memory punched, its offset never used again. A segment whose offsets have all
 * been handed out and are dead is removed, and its number used again. In a segment from before a restart a slot without
 * holders is only idle until engine_accounted().
 *
 * Stripe: 64 slots, aligned, for one content that lies in many consecutive pages: page p maps member p % 64, so that
 * such pages are one mapping per 64 instead of one each.
 */
#ifndef PAGEFUSE_ENGINE_SLOTS_H
#define PAGEFUSE_ENGINE_SLOTS_H

#include "engine/engine.h"
#include "engine/table.h"

#define SLOT_NONE UINT32_MAX
#define STRIPE_SLOTS 64u
#define SLOT_ORDERS_MAX ((1u << 24) - 1)
#define SLOT_OWNERS 65536u
/** An owner whose VM has gone and whose slots have not: its number stays taken until the last of them is dead. */
#define SLOT_OWNER_GONE (UINT32_C(1) << 31)
/** A reference in the table: this bit and a slot, or without it the global number of a page (a hint). */
#define REF_SHARED (UINT32_C(1) << 31)

enum slot_state {
	SLOT_NEVER,
	SLOT_FILLING,
	SLOT_SPARE,
	SLOT_LIVE,
	SLOT_IDLE,
	SLOT_DEAD,
};

struct slot {
	uint32_t tag; /* with partition: where the table would know it */
	uint8_t partition;
	uint8_t state : 4; /* enum slot_state */
	uint8_t stripe : 1;
	uint8_t displaced : 1; /* the table names, or named, another slot for the content: no new page will find it */
	uint16_t owner;        /* whose limit it counts against */
	union {
		uint32_t sharers; /* pages confirmed to map it */
		uint32_t waiters; /* while filling: list of pages that wait for it, see match.h */
	};
	uint32_t orders : 24; /* pages in orders under way that name it */
	uint32_t repeats : 8; /* times that a page next to one that maps it came to map it, too */
};
_Static_assert(sizeof(struct slot) == 16, "16 bytes of bookkeeping per slot");

struct segment {
	struct slot *slots;
	uint32_t handed;   /* offsets given out, to windows or stripes */
	uint32_t reserved; /* of these: still in windows, unused */
	uint32_t used;     /* slots that are neither never nor dead */
	bool old;          /* from before a restart, and not yet accounted for */
};

/** A stretch of offsets that one VM fills in order, so that neighbours in the guest become neighbours in the store. */
struct slot_window {
	uint32_t next, end;
};

struct slots {
	struct engine_store store;
	struct table *table;
	uint64_t owner_slots_max;
	struct segment *segments[ENGINE_SEGMENTS_MAX];
	uint32_t segments_end; /* above the highest one that exists */
	uint32_t open;         /* the segment that windows come from, or SLOT_NONE */
	bool store_failed;     /* no new segment until the next tick */
	uint32_t segments_max;
	bool numbers_used_up;              /* there are segments_max */
	uint32_t *owners;                  /* by owner: slots with memory that count against its limit */
	uint64_t *owners_used;             /* bitmap: given to a VM, or slots are left of one that went */
	uint64_t common, stored;           /* slots with sharers; slots whose memory is in use */
	uint32_t punch_start, punch_count; /* freed but not yet told to the store */
	void *context;
	/* Gives back all windows in @segment by slots_return(). */
	void (*revoke)(void *context, uint32_t segment);
	/* This hint is about to leave the table. */
	void (*forget_hint)(void *context, uint32_t ref);
};

int slots_init(struct slots *slots, const struct engine_store *store, struct table *table, uint64_t owner_slots_max);
void slots_done(struct slots *slots);

/** An owner number for a new VM. @return > 0 or -ENOSPC. */
int slots_owner_new(struct slots *slots);
void slots_owner_free(struct slots *slots, uint16_t owner);

/** Metadata of a slot; NULL if there is no such segment. */
struct slot *slots_get(const struct slots *slots, uint32_t number);
/**
 * The next slot of @window (refilled as needed), filling. @return 0, -ENOSPC (limits), -ENOMEM or the store's error.
 */
int slots_new(struct slots *slots, struct slot_window *window, uint16_t owner, struct table_key key,
	      uint32_t *ret_slot);
/** Gives back what is left of a window. */
void slots_return(struct slots *slots, struct slot_window *window);
/**
 * The slot that page number @page is to map, given the one that the table knows (@known, live or a stripe's first).
 * @repeated: a page beside it maps the same. Turns much repeated contents into a stripe. @return a live slot or
 * SLOT_NONE.
 */
uint32_t slots_choose(struct slots *slots, uint32_t known, uint32_t page, bool repeated, uint16_t owner);

/** A filling slot now has its content, and one order under way, which keeps it until slots_unorder(). */
void slots_filled(struct slots *slots, uint32_t number);
/** A filling slot will get none. */
void slots_abandon(struct slots *slots, uint32_t number);
/** One page's order naming it is sent; was answered: it maps the slot; or does not. */
void slots_order(struct slots *slots, uint32_t number);
void slots_confirm(struct slots *slots, uint32_t number);
void slots_unorder(struct slots *slots, uint32_t number);
/** One page maps it no longer. */
void slots_unshare(struct slots *slots, uint32_t number);

int slots_old_segment(struct slots *slots, uint32_t number);
/** Whether a page may claim to map it already: live, or to be found in an old segment. */
bool slots_can_adopt(const struct slots *slots, uint32_t number);
/** Takes such a page in. @seed: for the content's hash. */
void slots_adopt(struct slots *slots, uint32_t number, uint16_t owner, uint64_t seed);
void slots_accounted(struct slots *slots);

/** Tells the store of memory freed since the last time. */
void slots_flush(struct slots *slots);
uint64_t slots_bytes(const struct slots *slots);

#endif
