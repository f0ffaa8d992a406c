/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The table names a stripe's first slot; members get their copy when a page first needs them (until then they are
 * taken: spare), and die one by one. A stripe with a member that is dead is replaced by a fresh one when that member
 * is needed, since offsets are never used twice; the old one lives on, unlinked, until the last page that maps it has
 * gone.
 */
#include "engine/stripes.h"

#include <assert.h>

#include "common/page.h"

/* Neighbours that map the same slot, each by a mapping of its own, until the content is worth a stripe. */
#define STRIPE_REPEATS 64u
_Static_assert((STRIPE_REPEATS - 1) * MARK_REPEAT + MARK_REPEAT - 1 <= UINT16_MAX, "repeats fit the mark");

static uint32_t first_of(uint32_t number)
{
	return number - number % STRIPE_SLOTS;
}

/* A live member of the stripe at @first that is not @except. */
static uint32_t live_member(const struct slots *slots, uint32_t first, uint32_t except)
{
	for (uint32_t i = first; i < first + STRIPE_SLOTS; i++)
		if (i != except && slots_get(slots, i)->state == SLOT_LIVE)
			return i;
	return SLOT_NONE;
}

/* Copies @from, live, to the spare member @to. */
static bool fill(struct slots *slots, uint32_t to, uint32_t from, uint16_t owner)
{
	unsigned char content[PAGE_BYTES];

	if (!slots_admit(slots, owner) || backoff_waits(&slots->backoff, slots->now_usec))
		return false;
	if (slots->store.read(slots->store.context, from, content) < 0 || slots_write(slots, to, content) < 0)
		return false;
	slots_charge(slots, to, owner);
	return true;
}

/* A stripe without content, for the one under @key. It cannot be found yet. */
static uint32_t stripe_new(const struct links *links, struct table_key key)
{
	uint32_t first;

	if (slots_take_block(links->slots, STRIPE_SLOTS, &first) < 0)
		return SLOT_NONE;
	for (uint32_t i = 0; i < STRIPE_SLOTS; i++)
		links_label(links, first + i, key, MARK_STRIPE);
	return first;
}

/* Drops the members that were never filled: nobody will need them any more. */
static void drop_spares(const struct links *links, uint32_t first)
{
	const struct slot *slot;

	links_remove(links, first);
	for (uint32_t i = 0; i < STRIPE_SLOTS; i++) {
		slot = slots_get(links->slots, first + i);
		if (slot != NULL && slot->state == SLOT_TAKEN)
			slots_free(links->slots, first + i);
	}
}

static void displace_stripe(const struct links *links, uint32_t first)
{
	for (uint32_t i = 0; i < STRIPE_SLOTS; i++)
		slots_get(links->slots, first + i)->mark |= MARK_DISPLACED;
	drop_spares(links, first);
}

void stripes_displace(const struct links *links, uint32_t number)
{
	struct slot *slot = slots_get(links->slots, number);

	if (slot_is_displaced(slot))
		return;
	if (slot_is_stripe(slot)) {
		displace_stripe(links, first_of(number));
		return;
	}
	slot->mark |= MARK_DISPLACED;
	links_remove(links, number);
}

/* Starts a fresh stripe with @page's member copied from @from, which the table names from here on. */
static uint32_t restripe(const struct links *links, uint32_t from, uint32_t page, uint16_t owner)
{
	struct slots *slots = links->slots;
	uint32_t first = stripe_new(links, slot_key(slots_get(slots, from))), member = first + page % STRIPE_SLOTS;

	if (first == SLOT_NONE)
		return SLOT_NONE;
	if (!fill(slots, member, from, owner) || links_enter(links, first) < 0) {
		if (slots_get(slots, member)->state == SLOT_LIVE)
			slots_free(slots, member);
		drop_spares(links, first);
		return SLOT_NONE;
	}
	return member;
}

static uint32_t choose_member(const struct links *links, uint32_t first, uint32_t page, uint16_t owner)
{
	struct slots *slots = links->slots;
	uint32_t member = first + page % STRIPE_SLOTS, from, fresh;

	if (slots_get(slots, member)->state == SLOT_LIVE)
		return member;
	from = live_member(slots, first, SLOT_NONE);
	assert(from != SLOT_NONE);
	if (slots_get(slots, member)->state == SLOT_TAKEN)
		return fill(slots, member, from, owner) ? member : from;
	fresh = restripe(links, from, page, owner);
	if (fresh == SLOT_NONE)
		return from;
	displace_stripe(links, first);
	return fresh;
}

/* One more page next to one that maps @known comes to map it, too. @return the slot that it is to map. */
static uint32_t repeat(const struct links *links, uint32_t known, uint32_t page, uint16_t owner)
{
	struct slot *slot = slots_get(links->slots, known);
	uint32_t member;

	if (slot->mark / MARK_REPEAT < STRIPE_REPEATS - 1) {
		slot->mark += MARK_REPEAT;
		return known;
	}
	member = restripe(links, known, page, owner);
	if (member == SLOT_NONE)
		return known;
	slot->mark |= MARK_DISPLACED;
	return member;
}

uint32_t stripes_choose(const struct links *links, uint32_t known, uint32_t page, bool repeated, uint16_t owner)
{
	uint32_t chosen = known;

	if (slot_is_stripe(slots_get(links->slots, known)))
		chosen = choose_member(links, known, page, owner);
	else if (repeated)
		chosen = repeat(links, known, page, owner);
	return slots_get(links->slots, chosen)->orders < SLOT_ORDERS_MAX ? chosen : SLOT_NONE;
}

void stripes_released(const struct links *links, uint32_t number)
{
	uint32_t first = first_of(number);

	if (!slot_is_stripe(slots_get(links->slots, number)))
		links_remove(links, number);
	else if (live_member(links->slots, first, number) == SLOT_NONE)
		drop_spares(links, first);
	slots_free(links->slots, number);
}
