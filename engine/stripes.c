/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stripes: 64 slots of one content. The table names the first of them; members get their copy when a page first needs
 * them, and die one by one. A stripe with a member that is dead is replaced by a fresh one when that member is needed,
 * since offsets are never used twice; the old one lives on, unlinked, until the last page that maps it has gone.
 */
#include <assert.h>
#include <string.h>

#include "engine/slots-internal.h"

/* Neighbours that map the same slot, each by a mapping of its own, until the content is worth a stripe. */
#define STRIPE_REPEATS 64u

static uint32_t first_of(uint32_t number)
{
	return number - number % STRIPE_SLOTS;
}

static uint32_t live_member(const struct slots *slots, uint32_t first)
{
	for (uint32_t i = 0; i < STRIPE_SLOTS; i++)
		if (slots_get(slots, first + i)->state == SLOT_LIVE)
			return first + i;
	return SLOT_NONE;
}

/* Copies @from, live, to the spare member @to. */
static bool fill(struct slots *slots, uint32_t to, uint32_t from, uint16_t owner)
{
	struct slot *slot = slots_get(slots, to);
	unsigned char content[PAGE_BYTES];

	assert(slot->state == SLOT_SPARE);
	if (!slots_may_charge(slots, owner))
		return false;
	if (slots->store.read(slots->store.context, from, content) < 0 ||
	    slots->store.write(slots->store.context, to, content) < 0)
		return false;
	slots_charge(slots, slot, owner);
	slot->state = SLOT_LIVE;
	slots->stored++;
	return true;
}

/* A stripe without content, which the table now names instead of what it named before. */
static uint32_t stripe_new(struct slots *slots, struct table_key key)
{
	struct slot_window window;
	uint32_t first;

	if (slots_hand_out(slots, STRIPE_SLOTS, &window) < 0)
		return SLOT_NONE;
	first = window.next;
	assert(first % STRIPE_SLOTS == 0 && window.end - first == STRIPE_SLOTS);
	while (window.next < window.end)
		slots_get(slots, slots_take(slots, &window, key, SLOT_SPARE))->stripe = 1;
	return first;
}

/* Drops the members that were never filled: nobody will need them any more. */
static void drop_spares(struct slots *slots, uint32_t first)
{
	struct slot *slot;

	slots_unlink(slots, first);
	for (uint32_t i = 0; i < STRIPE_SLOTS; i++) {
		slot = slots_get(slots, first + i);
		if (slot != NULL && slot->state == SLOT_SPARE)
			slots_kill(slots, first + i, false);
	}
}

/* Starts a fresh stripe with @page's member copied from @from. */
static uint32_t restripe(struct slots *slots, uint32_t from, uint32_t page, uint16_t owner)
{
	const struct slot *source = slots_get(slots, from);
	struct table_key key = { source->tag, source->partition };
	uint32_t first = stripe_new(slots, key), member = first + page % STRIPE_SLOTS;

	if (first == SLOT_NONE)
		return SLOT_NONE;
	if (!fill(slots, member, from, owner) || table_put(slots->table, key, REF_SHARED | first) < 0) {
		if (slots_get(slots, member)->state == SLOT_LIVE) {
			slots->stored--;
			slots_kill(slots, member, true);
		}
		drop_spares(slots, first);
		return SLOT_NONE;
	}
	return member;
}

static uint32_t choose_member(struct slots *slots, uint32_t first, uint32_t page, uint16_t owner)
{
	uint32_t member = first + page % STRIPE_SLOTS, from, fresh;

	if (slots_get(slots, member)->state == SLOT_LIVE)
		return member;
	from = live_member(slots, first);
	assert(from != SLOT_NONE);
	if (slots_get(slots, member)->state == SLOT_SPARE)
		return fill(slots, member, from, owner) ? member : from;
	fresh = restripe(slots, from, page, owner);
	if (fresh == SLOT_NONE)
		return from;
	for (uint32_t i = 0; i < STRIPE_SLOTS; i++)
		slots_get(slots, first + i)->displaced = 1;
	drop_spares(slots, first);
	return fresh;
}

uint32_t slots_choose(struct slots *slots, uint32_t known, uint32_t page, bool repeated, uint16_t owner)
{
	struct slot *slot = slots_get(slots, known);
	uint32_t chosen = known, member;

	if (slot->stripe) {
		chosen = choose_member(slots, known, page, owner);
	} else if (repeated) {
		if (slot->repeats < STRIPE_REPEATS)
			slot->repeats++;
		if (slot->repeats == STRIPE_REPEATS) {
			member = restripe(slots, known, page, owner);
			chosen = member != SLOT_NONE ? member : known;
			slot->displaced = member != SLOT_NONE;
		}
	}
	return slots_get(slots, chosen)->orders < SLOT_ORDERS_MAX ? chosen : SLOT_NONE;
}

void stripes_release(struct slots *slots, uint32_t number)
{
	uint32_t first = first_of(number);
	bool last;

	slots_get(slots, number)->state = SLOT_IDLE;
	last = live_member(slots, first) == SLOT_NONE;
	if (last)
		drop_spares(slots, first);
	slots_kill(slots, number, true);
}
