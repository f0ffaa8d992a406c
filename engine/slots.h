/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The slots of the store: an allocator with reference counts. Who holds each slot, and when its memory can go.
 *
 *   never --> taken --> live --> dead       an offset is given out, gets its content, loses its last holder
 *   never --> live <--> idle --> dead       in a held segment: memory that was there before
 *
 * A live slot has at least one holder: a page that maps it (sharer) or an order under way that names it. The last one
 * to go calls released(), which ends with slots_free(): the slot is dead, its memory punched, its offset never used
 * again. A segment whose offsets have all been handed out and are dead is removed, and its number used again. In a
 * segment that is held, a slot without holders is only idle until slots_let_go().
 *
 * What is in a slot, and who finds it there, is the business of links.h and of those above it.
 */
#ifndef PAGEFUSE_ENGINE_SLOTS_H
#define PAGEFUSE_ENGINE_SLOTS_H

#include "engine/backoff.h"
#include "engine/engine.h"

#define SLOT_NONE UINT32_MAX
#define SLOT_ORDERS_MAX ((1u << 24) - 1)
#define SLOT_OWNERS 65536u
/** An owner whose VM has gone and whose slots have not: its number stays taken until the last of them is dead. */
#define SLOT_OWNER_GONE (UINT32_C(1) << 31)

/* Marks of slots: one is of those that are looked for, the other one of those that are marked meanwhile. */
#define SLOT_LEFT_NOT 0u
#define SLOT_LEFT_MARKS 3u /* the sum of both */

enum slot_state {
	SLOT_NEVER,
	SLOT_TAKEN,
	SLOT_LIVE,
	SLOT_IDLE,
	SLOT_DEAD,
};

struct slot {
	union {
		uint32_t sharers; /* pages confirmed to map it */
		uint32_t waiters; /* while it is taken: free for those above */
	};
	uint32_t orders : 24; /* pages in orders under way that name it */
	uint32_t state : 6;   /* enum slot_state */
	uint32_t left : 2;    /* a page has stopped mapping it, see heirs.h: the mark of that time, or SLOT_LEFT_NOT */
	uint16_t owner;       /* the VM whose limit it counts against */
	uint16_t mark;        /* with tag: free for those above, and 0 when it is taken */
	uint32_t tag;
};
_Static_assert(sizeof(struct slot) == 16, "16 bytes of bookkeeping per slot");

/**
 * So many slots, aligned, are a page of bookkeeping: given back when none of them is in use. They are NEVER then, as if
 * they had not been handed out, which counts only where the segment says that they have not. A stripe lies in one.
 */
#define SLOT_GROUP 256u

struct segment {
	struct slot *slots;
	uint32_t handed;                                     /* offsets given out, to windows or as blocks */
	uint32_t reserved;                                   /* of these: still in windows, unused */
	uint32_t used;                                       /* slots that are neither never nor dead */
	uint16_t used_in[ENGINE_SEGMENT_SLOTS / SLOT_GROUP]; /* the same, of each group */
	bool held;                                           /* nothing in it dies, and it is not removed */
	bool retiring;                                       /* for those above: it is being emptied; */
	uint64_t retire_usec;                                /* it is not looked at for that before */
};

/** A stretch of offsets that one VM fills in order, so that neighbours in the guest become neighbours in the store. */
struct slot_window {
	uint32_t next, end;
};

/** A VM, as slots know it. */
struct slot_owner {
	uint32_t slots; /* with memory that count against its limit; SLOT_OWNER_GONE */
	uint32_t limit; /* of its own, besides owner_slots_max */
	void *account;  /* for struct engine_store, or NULL */
};

struct slots {
	struct engine_store store;
	uint64_t owner_slots_max;
	struct segment *segments[ENGINE_SEGMENTS_MAX];
	uint32_t segments_end; /* above the highest one that exists */
	uint32_t segment_count;
	uint32_t open; /* the segment that windows come from, or SLOT_NONE */
	struct backoff backoff;
	uint64_t now_usec;
	uint32_t segments_max;
	bool numbers_used_up;              /* there are segments_max */
	struct slot_owner *owners;         /* by owner */
	uint64_t *owners_used;             /* bitmap: given to a VM, or slots are left of one that went */
	uint64_t common, stored;           /* slots with sharers; slots whose memory is in use */
	uint32_t punch_start, punch_count; /* freed but not yet told to the store */
	unsigned left_mark;                /* of slots that a page maps no longer from now on */
	bool left_some;                    /* there may be such */
	void *context;
	/* Gives back all windows in @segment by slots_return(). */
	void (*revoke)(void *context, uint32_t segment);
	/*
	 * Nobody holds slot @number any more: nobody is to find it from here on, and then it is given to
	 * slots_free().
	 */
	void (*released)(void *context, uint32_t number);
};

int slots_init(struct slots *slots, const struct engine_store *store, uint64_t owner_slots_max);
void slots_done(struct slots *slots);

/** An owner number for a new VM. @return > 0 or -ENOSPC. */
int slots_owner_new(struct slots *slots);
void slots_owner_free(struct slots *slots, uint16_t owner);
/** No more than @most slots are charged to it from now on. */
void slots_owner_limit(struct slots *slots, uint16_t owner, uint64_t most);
/** Its slots are charged to @account, too. It has none yet. */
void slots_owner_account(struct slots *slots, uint16_t owner, void *account);
/** How many are charged to it. */
uint32_t slots_owned(const struct slots *slots, uint16_t owner);
/** Whether the limits of @owner, and of its account, allow one more slot; asks the store, which may log it. */
bool slots_admit(const struct slots *slots, uint16_t owner);
/** Counts slot @number, which has no owner, against @owner. */
void slots_charge(struct slots *slots, uint32_t number, uint16_t owner);

/** Charges slot @number to @owner, whatever its limits, instead of whoever it is charged to. */
void slots_recharge(struct slots *slots, uint32_t number, uint16_t owner);
/** Whether slots are charged to more than one account. A look at each owner. */
bool slots_have_accounts(const struct slots *slots);
/** Slots that a page maps no longer are marked with the other mark from now on. @return the one until now. */
unsigned slots_change_mark(struct slots *slots);

/** Metadata of slot @number; NULL if there is no such segment. */
struct slot *slots_get(const struct slots *slots, uint32_t number);
/**
 * Takes the next slot of @window (refilled as needed), charged to @owner. @return 0, -ENOSPC (limits), -ENOMEM or the
 * store's error.
 */
int slots_take(struct slots *slots, struct slot_window *window, uint16_t owner, uint32_t *ret_slot);
/**
 * Takes @count slots (a power of two, at most 64), charged to nobody: neighbours, the first aligned. @return as
 * above.
 */
int slots_take_block(struct slots *slots, uint32_t count, uint32_t *ret_first);
/** Gives back what is left of @window. */
void slots_return(struct slots *slots, struct slot_window *window);
/**
 * Gives slot @number, taken, its content of PAGE_BYTES: it is live, and the caller's to hold or free. @return 0,
 * -errno.
 */
int slots_write(struct slots *slots, uint32_t number, const void *content);
/** Slot @number, taken or live, has no holder and cannot be found: it is dead from here on, or idle if it is held. */
void slots_free(struct slots *slots, uint32_t number);

/** One page's order naming slot @number is sent; was answered: it maps the slot; or does not. */
void slots_order(struct slots *slots, uint32_t number);
void slots_confirm(struct slots *slots, uint32_t number);
void slots_unorder(struct slots *slots, uint32_t number);
/** Takes back a slots_order() for which no order was made. */
void slots_unhold(struct slots *slots, uint32_t number);
/** One page does not map slot @number any more. */
void slots_unshare(struct slots *slots, uint32_t number);

/** Segment @number exists already, and its content is not known: it is held. @return 0, -EINVAL, -EEXIST, -ENOMEM. */
int slots_hold_segment(struct slots *slots, uint32_t number);
/** Whether a page may claim to map slot @number already: the slot is live, or in a held segment. */
bool slots_can_claim(const struct slots *slots, uint32_t number);
/**
 * One page maps slot @number already; it is charged to @owner if it has no owner. @return whether it was not live
 * before.
 */
bool slots_claim(struct slots *slots, uint32_t number, uint16_t owner);
/** Ends the hold of all segments: their slots without holders are dead. */
void slots_let_go(struct slots *slots);

/** Advances time to @now_usec, by the engine's clock. */
void slots_tick(struct slots *slots, uint64_t now_usec);
/** Of slots_flush(): there is some. */
void slots_punch(struct slots *slots);
/** Tells the store of memory freed since the last time. */
static inline void slots_flush(struct slots *slots)
{
	if (slots->punch_count > 0)
		slots_punch(slots);
}
/** Bytes of memory that this bookkeeping takes. */
uint64_t slots_bytes(const struct slots *slots);

#endif
