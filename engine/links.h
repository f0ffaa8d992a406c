/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The links between contents and slots. A slot's label (its tag and mark) says under which key the table would know its
 * content; the table's entry under that key says which slot new pages with that content are to map.
 *
 *   mark: bits 0-7 partition, bit 8 stripe, bit 9 displaced, bits 10-15 repeats
 */
#ifndef PAGEFUSE_ENGINE_LINKS_H
#define PAGEFUSE_ENGINE_LINKS_H

#include "engine/slots.h"
#include "engine/table.h"

/** A reference in the table: this bit and a slot, or without it the global number of a page (a hint). */
#define REF_SHARED (UINT32_C(1) << 31)
#define MARK_PARTITION 255u
#define MARK_STRIPE 256u    /* member of a stripe */
#define MARK_DISPLACED 512u /* the table names, or named, another slot for the content: no new page finds it */
#define MARK_REPEAT 1024u   /* added each time a page beside one that maps it comes to map it, too */

struct links {
	struct slots *slots;
	struct table *table;
};

static inline bool slot_is_stripe(const struct slot *slot)
{
	return (slot->mark & MARK_STRIPE) != 0;
}

static inline bool slot_is_displaced(const struct slot *slot)
{
	return (slot->mark & MARK_DISPLACED) != 0;
}

/** The key under which the table would know the content of @slot. */
static inline struct table_key slot_key(const struct slot *slot)
{
	return (struct table_key){ .tag = slot->tag, .partition = slot->mark & MARK_PARTITION };
}

/** Labels slot @number with @key, and with @marks (MARK_STRIPE, MARK_DISPLACED). */
void links_label(const struct links *links, uint32_t number, struct table_key key, uint16_t marks);
/** Lets new pages with the content of slot @number find it. @return 0 or -ENOMEM. */
int links_enter(const struct links *links, uint32_t number);
/** Undoes links_enter(), if it was called. */
void links_remove(const struct links *links, uint32_t number);

/** Takes a slot for the content under @key, as slots_take() does; it cannot be found yet. */
int links_take(const struct links *links, struct slot_window *window, uint16_t owner, struct table_key key,
	       uint32_t *ret_slot);
/** Slot @number, taken, gets no content: no page can find it, and it is freed. */
void links_abandon(const struct links *links, uint32_t number);

#endif
