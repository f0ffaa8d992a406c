/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/slots.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/page.h"
#include "engine/array.h"

#define WINDOW_SLOTS 512u

int slots_init(struct slots *slots, const struct engine_store *store, uint64_t owner_slots_max)
{
	memset(slots, 0, sizeof(*slots));
	slots->store = *store;
	slots->owner_slots_max = owner_slots_max;
	slots->open = SLOT_NONE;
	slots->left_mark = 1;
	slots->owners = array_new(SLOT_OWNERS, sizeof(*slots->owners));
	slots->owners_used = array_new(SLOT_OWNERS / 64, sizeof(*slots->owners_used));
	if (slots->owners == NULL || slots->owners_used == NULL) {
		slots_done(slots);
		return -ENOMEM;
	}
	slots->owners_used[0] = 1; /* owner 0: nobody */
	return 0;
}

static void segment_free(struct slots *slots, uint32_t number)
{
	struct segment *segment = slots->segments[number];

	if (segment == NULL)
		return;
	array_free(segment->slots, ENGINE_SEGMENT_SLOTS, sizeof(struct slot));
	free(segment);
	slots->segments[number] = NULL;
	slots->segment_count--;
	slots->numbers_used_up = false;
	while (slots->segments_end > 0 && slots->segments[slots->segments_end - 1] == NULL)
		slots->segments_end--;
}

static void charge_account(const struct slots *slots, const struct slot_owner *owner, int64_t count)
{
	if (owner->account && slots->store.charge && count != 0)
		slots->store.charge(slots->store.context, owner->account, count);
}

uint32_t slots_owned(const struct slots *slots, uint16_t owner)
{
	return slots->owners[owner].slots & ~SLOT_OWNER_GONE;
}

void slots_done(struct slots *slots)
{
	for (uint32_t i = 1; slots->owners != NULL && slots->owners_used != NULL && i < SLOT_OWNERS; i++)
		if (slots->owners_used[i / 64] >> (i % 64) & 1)
			charge_account(slots, &slots->owners[i], -(int64_t)slots_owned(slots, (uint16_t)i));
	for (uint32_t i = 0; i < ENGINE_SEGMENTS_MAX; i++)
		segment_free(slots, i);
	array_free(slots->owners, SLOT_OWNERS, sizeof(*slots->owners));
	array_free(slots->owners_used, SLOT_OWNERS / 64, sizeof(*slots->owners_used));
}

/* ---- owners ---- */

static void set_owner_used(struct slots *slots, uint16_t owner, bool used)
{
	uint64_t bit = UINT64_C(1) << (owner % 64);

	slots->owners_used[owner / 64] = (slots->owners_used[owner / 64] & ~bit) | (used ? bit : 0);
}

static int unused_owner(const struct slots *slots)
{
	for (uint32_t i = 0; i < SLOT_OWNERS / 64; i++)
		if (slots->owners_used[i] != UINT64_MAX)
			return (int)(i * 64 + (uint32_t)__builtin_ctzll(~slots->owners_used[i]));
	return -ENOSPC;
}

/* Frees the owner numbers of VMs that have gone, whose slots then have no owner. */
static void disown(struct slots *slots)
{
	for (uint32_t i = 0; i < slots->segments_end * ENGINE_SEGMENT_SLOTS; i++) {
		struct slot *slot = slots_get(slots, i);

		if (slot == NULL)
			i |= ENGINE_SEGMENT_SLOTS - 1;
		else if (slots->owners[slot->owner].slots & SLOT_OWNER_GONE)
			slot->owner = 0;
	}
	for (uint32_t i = 1; i < SLOT_OWNERS; i++)
		if (slots->owners[i].slots & SLOT_OWNER_GONE) {
			charge_account(slots, &slots->owners[i], -(int64_t)slots_owned(slots, (uint16_t)i));
			slots->owners[i] = (struct slot_owner){ 0 };
			set_owner_used(slots, (uint16_t)i, false);
		}
}

int slots_owner_new(struct slots *slots)
{
	int owner = unused_owner(slots);

	if (owner < 0) {
		disown(slots);
		owner = unused_owner(slots);
	}
	if (owner < 0)
		return owner;
	set_owner_used(slots, (uint16_t)owner, true);
	slots->owners[owner] = (struct slot_owner){ .limit = UINT32_MAX };
	return owner;
}

void slots_owner_free(struct slots *slots, uint16_t owner)
{
	if (slots->owners[owner].slots == 0)
		set_owner_used(slots, owner, false);
	else
		slots->owners[owner].slots |= SLOT_OWNER_GONE;
}

void slots_owner_limit(struct slots *slots, uint16_t owner, uint64_t most)
{
	slots->owners[owner].limit = most < UINT32_MAX ? (uint32_t)most : UINT32_MAX;
}

void slots_owner_account(struct slots *slots, uint16_t owner, void *account)
{
	assert(slots_owned(slots, owner) == 0);
	slots->owners[owner].account = account;
}

bool slots_admit(const struct slots *slots, uint16_t owner)
{
	const struct slot_owner *whose = &slots->owners[owner];
	uint32_t count = slots_owned(slots, owner);

	if (owner == 0) /* of a VM that is detached: nobody asks for more */
		return slots->owner_slots_max > 0;
	if (count >= slots->owner_slots_max || count >= whose->limit)
		return false;
	return whose->account == NULL || slots->store.admit_slot == NULL ||
	       slots->store.admit_slot(slots->store.context, whose->account);
}

void slots_charge(struct slots *slots, uint32_t number, uint16_t owner)
{
	slots_get(slots, number)->owner = owner;
	if (owner == 0)
		return;
	slots->owners[owner].slots++;
	charge_account(slots, &slots->owners[owner], 1);
}

static void uncharge(struct slots *slots, struct slot *slot)
{
	uint16_t owner = slot->owner;

	slot->owner = 0;
	if (owner == 0)
		return;
	charge_account(slots, &slots->owners[owner], -1);
	if (--slots->owners[owner].slots == SLOT_OWNER_GONE)
		set_owner_used(slots, owner, false);
}

void slots_recharge(struct slots *slots, uint32_t number, uint16_t owner)
{
	uncharge(slots, slots_get(slots, number));
	slots_charge(slots, number, owner);
}

bool slots_have_accounts(const struct slots *slots)
{
	const void *first = NULL;

	for (uint32_t i = 1; i < SLOT_OWNERS; i++) {
		if (slots->owners_used[i / 64] == 0) {
			i |= 63;
			continue;
		}
		if (slots->owners[i].account == NULL || (slots->owners_used[i / 64] >> (i % 64) & 1) == 0)
			continue;
		if (first != NULL && slots->owners[i].account != first)
			return true;
		first = slots->owners[i].account;
	}
	return false;
}

/* For the next look at who maps it. */
static void mark_left(struct slots *slots, struct slot *slot)
{
	slot->left = slots->left_mark & SLOT_LEFT_MARKS;
	slots->left_some = true;
}

unsigned slots_change_mark(struct slots *slots)
{
	unsigned mark = slots->left_mark;

	slots->left_mark = SLOT_LEFT_MARKS - mark;
	slots->left_some = false;
	return mark;
}

/* ---- segments ---- */

static struct segment *segment_of(const struct slots *slots, uint32_t number)
{
	uint32_t segment = number / ENGINE_SEGMENT_SLOTS;

	return segment < ENGINE_SEGMENTS_MAX ? slots->segments[segment] : NULL;
}

struct slot *slots_get(const struct slots *slots, uint32_t number)
{
	struct segment *segment = segment_of(slots, number);

	return segment ? &segment->slots[number % ENGINE_SEGMENT_SLOTS] : NULL;
}

static int segment_new(struct slots *slots, uint32_t number)
{
	struct segment *segment = calloc(1, sizeof(*segment));

	if (segment == NULL)
		return -ENOMEM;
	segment->slots = array_new(ENGINE_SEGMENT_SLOTS, sizeof(struct slot));
	if (segment->slots == NULL) {
		free(segment);
		return -ENOMEM;
	}
	slots->segments[number] = segment;
	slots->segment_count++;
	if (number >= slots->segments_end)
		slots->segments_end = number + 1;
	return 0;
}

static int open_segment(struct slots *slots)
{
	uint32_t number = 0;
	int r;

	if (slots->numbers_used_up || backoff_waits(&slots->backoff, slots->now_usec))
		return -ENOSPC;
	while (number < slots->segments_max && slots->segments[number] != NULL)
		number++;
	if (number == slots->segments_max) {
		slots->numbers_used_up = true;
		return -ENOSPC;
	}
	r = segment_new(slots, number);
	if (r < 0)
		return r;
	r = slots->store.add_segment(slots->store.context, number);
	if (r < 0) {
		segment_free(slots, number);
		backoff_failed(&slots->backoff, slots->now_usec);
		return r;
	}
	slots->open = number;
	return 0;
}

static void maybe_remove_segment(struct slots *slots, uint32_t number)
{
	struct segment *segment = slots->segments[number];

	if (segment == NULL || segment->used > 0 || segment->handed < ENGINE_SEGMENT_SLOTS || segment->held)
		return;
	if (segment->reserved > 0) {
		slots->revoke(slots->context, number); /* comes back here for the last one */
		return;
	}
	slots_flush(slots);
	slots->store.remove_segment(slots->store.context, number);
	segment_free(slots, number);
	if (slots->open == number)
		slots->open = SLOT_NONE;
}

/* Hands out @count offsets, less at a segment's end. */
static int hand_out(struct slots *slots, uint32_t count, struct slot_window *ret)
{
	struct segment *segment;
	uint32_t left;

	if (slots->open == SLOT_NONE || slots->segments[slots->open]->handed == ENGINE_SEGMENT_SLOTS) {
		int r = open_segment(slots);

		if (r < 0)
			return r;
	}
	segment = slots->segments[slots->open];
	left = ENGINE_SEGMENT_SLOTS - segment->handed;
	count = count < left ? count : left;
	ret->next = slots->open * ENGINE_SEGMENT_SLOTS + segment->handed;
	ret->end = ret->next + count;
	segment->handed += count;
	segment->reserved += count;
	return 0;
}

void slots_return(struct slots *slots, struct slot_window *window)
{
	uint32_t left = window->end - window->next, number = window->next / ENGINE_SEGMENT_SLOTS;

	*window = (struct slot_window){ 0 };
	if (left == 0)
		return;
	slots->segments[number]->reserved -= left;
	maybe_remove_segment(slots, number);
}

/* ---- the life of one slot ---- */

/* Counts one more slot, or one less, in use: @change is 1 or -1. */
static void count_used(struct segment *segment, uint32_t number, int change)
{
	uint32_t group = number % ENGINE_SEGMENT_SLOTS / SLOT_GROUP;

	segment->used += (uint32_t)change;
	segment->used_in[group] = (uint16_t)(segment->used_in[group] + change);
	if (segment->used_in[group] == 0 && !segment->held)
		array_clear(&segment->slots[group * SLOT_GROUP], SLOT_GROUP * sizeof(struct slot));
}

/* Takes the next offset of @window into use. */
static uint32_t take(struct slots *slots, struct slot_window *window)
{
	uint32_t number = window->next++;
	struct segment *segment = segment_of(slots, number);

	segment->reserved--;
	count_used(segment, number, 1);
	segment->slots[number % ENGINE_SEGMENT_SLOTS] = (struct slot){ .state = SLOT_TAKEN };
	return number;
}

int slots_take(struct slots *slots, struct slot_window *window, uint16_t owner, uint32_t *ret_slot)
{
	int r;

	if (!slots_admit(slots, owner))
		return -ENOSPC;
	if (window->next == window->end) {
		r = hand_out(slots, WINDOW_SLOTS, window);
		if (r < 0)
			return r;
	}
	*ret_slot = take(slots, window);
	slots_charge(slots, *ret_slot, owner);
	return 0;
}

int slots_take_block(struct slots *slots, uint32_t count, uint32_t *ret_first)
{
	struct slot_window window;
	int r = hand_out(slots, count, &window);

	if (r < 0)
		return r;
	/* All that is handed out is a multiple of that, or of a multiple of it. */
	assert(window.next % count == 0 && window.end - window.next == count);
	*ret_first = window.next;
	while (window.next < window.end)
		take(slots, &window);
	return 0;
}

void slots_tick(struct slots *slots, uint64_t now_usec)
{
	slots->now_usec = now_usec;
	backoff_tick(&slots->backoff, now_usec);
}

void slots_punch(struct slots *slots)
{
	slots->store.punch(slots->store.context, slots->punch_start, slots->punch_count);
	slots->punch_count = 0;
}

static void punch_later(struct slots *slots, uint32_t number)
{
	bool follows = slots->punch_count > 0 && number == slots->punch_start + slots->punch_count &&
		       number % ENGINE_SEGMENT_SLOTS != 0;

	if (!follows) {
		slots_flush(slots);
		slots->punch_start = number;
	}
	slots->punch_count++;
}

int slots_write(struct slots *slots, uint32_t number, const void *content)
{
	struct slot *slot = slots_get(slots, number);
	int r;

	assert(slot->state == SLOT_TAKEN);
	r = slots->store.write(slots->store.context, number, content);
	if (r < 0) {
		backoff_failed(&slots->backoff, slots->now_usec);
		return r;
	}
	backoff_succeeded(&slots->backoff);
	slot->state = SLOT_LIVE;
	slot->sharers = 0;
	slots->stored++;
	return 0;
}

static void kill(struct slots *slots, uint32_t number)
{
	struct slot *slot = slots_get(slots, number);
	bool written = slot->state != SLOT_TAKEN;

	uncharge(slots, slot);
	slot->state = SLOT_DEAD;
	slot->sharers = 0;
	slots->stored -= written;
	count_used(segment_of(slots, number), number, -1);
	if (written) {
		punch_later(slots, number);
		backoff_retry_now(&slots->backoff);
	}
	maybe_remove_segment(slots, number / ENGINE_SEGMENT_SLOTS);
}

void slots_free(struct slots *slots, uint32_t number)
{
	struct slot *slot = slots_get(slots, number);

	if (slot->state == SLOT_LIVE && segment_of(slots, number)->held)
		slot->state = SLOT_IDLE;
	else
		kill(slots, number);
}

void slots_order(struct slots *slots, uint32_t number)
{
	struct slot *slot = slots_get(slots, number);

	assert(slot->state == SLOT_LIVE && slot->orders < SLOT_ORDERS_MAX);
	slot->orders++;
}

void slots_confirm(struct slots *slots, uint32_t number)
{
	struct slot *slot = slots_get(slots, number);

	assert(slot->state == SLOT_LIVE && slot->orders > 0);
	slot->orders--;
	if (slot->sharers++ == 0)
		slots->common++;
	if (slot->left != SLOT_LEFT_NOT) /* if nobody mapped it when it was looked at */
		mark_left(slots, slot);
}

void slots_unorder(struct slots *slots, uint32_t number)
{
	mark_left(slots, slots_get(slots, number));
	slots_unhold(slots, number);
}

void slots_unhold(struct slots *slots, uint32_t number)
{
	struct slot *slot = slots_get(slots, number);

	assert(slot->state == SLOT_LIVE && slot->orders > 0);
	slot->orders--;
	if (slot->orders == 0 && slot->sharers == 0)
		slots->released(slots->context, number);
}

void slots_unshare(struct slots *slots, uint32_t number)
{
	struct slot *slot = slots_get(slots, number);

	assert(slot->state == SLOT_LIVE && slot->sharers > 0);
	if (--slot->sharers == 0)
		slots->common--;
	mark_left(slots, slot);
	if (slot->sharers == 0 && slot->orders == 0)
		slots->released(slots->context, number);
}

/* ---- held segments ---- */

int slots_hold_segment(struct slots *slots, uint32_t number)
{
	int r;

	if (number >= ENGINE_SEGMENTS_MAX)
		return -EINVAL;
	if (slots->segments[number] != NULL)
		return -EEXIST;
	r = segment_new(slots, number);
	if (r < 0)
		return r;
	slots->segments[number]->handed = ENGINE_SEGMENT_SLOTS;
	slots->segments[number]->held = true;
	return 0;
}

bool slots_can_claim(const struct slots *slots, uint32_t number)
{
	const struct segment *segment = segment_of(slots, number);
	enum slot_state state;

	if (segment == NULL)
		return false;
	state = segment->slots[number % ENGINE_SEGMENT_SLOTS].state;
	return state == SLOT_LIVE || (segment->held && (state == SLOT_NEVER || state == SLOT_IDLE));
}

bool slots_claim(struct slots *slots, uint32_t number, uint16_t owner)
{
	struct slot *slot = slots_get(slots, number);
	enum slot_state state = slot->state;

	if (state == SLOT_NEVER) {
		count_used(segment_of(slots, number), number, 1);
		slots->stored++;
		slots_charge(slots, number, owner);
	}
	if (state == SLOT_LIVE && (slots->owners[slot->owner].slots & SLOT_OWNER_GONE)) { /* coming back is not free */
		uncharge(slots, slot);
		slots_charge(slots, number, owner);
	}
	slot->state = SLOT_LIVE;
	if (slot->sharers++ == 0)
		slots->common++;
	return state != SLOT_LIVE;
}

static void let_go(struct slots *slots, uint32_t number)
{
	struct segment *segment = slots->segments[number];
	uint32_t first = number * ENGINE_SEGMENT_SLOTS;

	for (uint32_t i = 0; i < ENGINE_SEGMENT_SLOTS; i++) {
		if (segment->slots[i].state == SLOT_NEVER)
			punch_later(slots, first + i);
		else if (segment->slots[i].state == SLOT_IDLE)
			kill(slots, first + i);
	}
	segment->held = false;
	maybe_remove_segment(slots, number);
}

void slots_let_go(struct slots *slots)
{
	for (uint32_t i = 0; i < slots->segments_end; i++)
		if (slots->segments[i] != NULL && slots->segments[i]->held)
			let_go(slots, i);
	slots_flush(slots);
}

static uint64_t segment_bytes(const struct segment *segment)
{
	uint64_t groups = 0;

	for (uint32_t i = 0; i < ENGINE_SEGMENT_SLOTS / SLOT_GROUP; i++)
		groups += segment->used_in[i] > 0;
	return groups * SLOT_GROUP * sizeof(struct slot);
}

uint64_t slots_bytes(const struct slots *slots)
{
	uint64_t bytes = SLOT_OWNERS / 64 * sizeof(*slots->owners_used);

	for (uint32_t i = 0; i < slots->segments_end; i++)
		if (slots->segments[i] != NULL)
			bytes += sizeof(struct segment) + segment_bytes(slots->segments[i]);
	return bytes;
}
