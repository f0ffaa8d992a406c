/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Slots are kept in the order of their guest physical addresses, so that the map can be sent in that order without
 * sorting: it is read while it is sent, one slot at a time under the lock. If something changes meanwhile, the map is
 * sent again later, from the beginning.
 */
#include "library/guest-memory.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "common/page.h"
#include "library/region.h"
#include "library/session.h"
#include "library/visits.h"
#include "protocol/wire.h"

#define SLOT_OF_API UINT32_MAX
#define RANGES_AT_ONCE 256u /* per message */

struct slot {
	uint64_t gpa, hva, length;
	uint32_t number; /* KVM's, or SLOT_OF_API */
};

static struct slot slots[GUEST_SLOTS_MAX]; /* in the order of gpa. Under the memory lock, like slots_count */
static unsigned slots_count;
static _Atomic uint64_t changes = 1; /* how often anything has changed */
static uint64_t told_change;         /* the value of `changes` that the daemon knows; worker only */

/* ---- slots ---- */

static void note_change(void)
{
	atomic_fetch_add(&changes, 1);
}

void guest_memory_note_regions(void)
{
	note_change();
}

static void remove_slot(unsigned i)
{
	memmove(&slots[i], &slots[i + 1], (--slots_count - i) * sizeof(*slots));
	note_change();
}

static void add_slot(const struct slot *slot)
{
	unsigned i = slots_count;

	if (slots_count == GUEST_SLOTS_MAX)
		return;
	for (; i > 0 && slots[i - 1].gpa > slot->gpa; i--)
		slots[i] = slots[i - 1];
	slots[i] = *slot;
	slots_count++;
	note_change();
}

/* Compares KVM's slots by number, and the API's RAM, which has none, by hva. */
static bool is_same(const struct slot *a, const struct slot *b)
{
	return a->number == b->number && (a->number != SLOT_OF_API || a->hva == b->hva);
}

static void replace(const struct slot *slot)
{
	uint64_t end = WIRE_GFN_END * PAGE_BYTES;

	if (!visit_begin())
		return;
	memory_lock();
	for (unsigned i = 0; i < slots_count; i++) {
		if (is_same(&slots[i], slot)) {
			remove_slot(i);
			break;
		}
	}
	if (slot->length != 0 && slot->gpa < end && slot->length <= end - slot->gpa)
		add_slot(slot);
	memory_unlock();
	visit_end();
}

void guest_memory_note_slot(uint32_t slot, uint64_t gpa, const void *hva, uint64_t length)
{
	/* The upper half is the address space: all but the first show memory as the guest's firmware sees it (SMM). */
	if (slot >> 16 != 0)
		return;
	replace(&(struct slot){ .gpa = gpa, .hva = (uint64_t)hva, .length = length, .number = slot });
}

void guest_memory_note_ram(uint64_t gpa, const void *hva, uint64_t length)
{
	replace(&(struct slot){ .gpa = gpa, .hva = (uint64_t)hva, .length = length, .number = SLOT_OF_API });
}

void guest_memory_forget_ram(const void *hva)
{
	guest_memory_note_ram(0, hva, 0);
}

/* ---- sending the map ---- */

void guest_memory_forget_session(void)
{
	told_change = 0;
}

/** How much of a map has been sent. */
struct telling {
	uint64_t change;   /* the value of `changes` for this map */
	unsigned slot;     /* the next one */
	uint64_t done;     /* bytes of that slot that are sent */
	uint64_t next_gfn; /* frames below this one are sent */
	unsigned count;    /* ranges so far */
};

/** The region with the lowest address that overlaps [@start, @end), or NULL. */
static const struct region *first_region(uint64_t start, uint64_t end)
{
	const struct region *first = NULL;

	for (unsigned i = 0; i < REGIONS_MAX; i++) {
		const struct region *region = region_at(i);

		if (region == NULL || region->leaving || region->start >= end || region_end(region) <= start)
			continue;
		if (first == NULL || region->start < first->start)
			first = region;
	}
	return first;
}

/** The next range of the current slot. @return false if there is no more: then @telling has moved to the next slot. */
static bool next_of_slot(struct telling *telling, struct wire_range *ret)
{
	const struct slot *slot = &slots[telling->slot];
	const struct region *region;
	uint64_t at, end;

	/* Frames below were sent for another slot: two VMs of one process, or a mistake of the API's caller. */
	if (telling->next_gfn * PAGE_BYTES > slot->gpa + telling->done)
		telling->done = telling->next_gfn * PAGE_BYTES - slot->gpa;
	at = slot->hva + telling->done;
	end = slot->hva + slot->length;
	region = telling->done < slot->length ? first_region(at, end) : NULL;
	if (region == NULL) {
		telling->slot++;
		telling->done = 0;
		return false;
	}
	at = region->start > at ? region->start : at;
	end = region_end(region) < end ? region_end(region) : end;
	*ret = (struct wire_range){
		.gfn = (slot->gpa + (at - slot->hva)) / PAGE_BYTES,
		.page = region->first_page + (uint32_t)((at - region->start) / PAGE_BYTES),
		.pages = (uint32_t)((end - at) / PAGE_BYTES),
	};
	telling->done = end - slot->hva;
	telling->next_gfn = ret->gfn + ret->pages;
	return true;
}

/** @return 1, 0 at the end of the map, or -EAGAIN if something has changed since the map was begun. */
static int next_range(struct telling *telling, struct wire_range *ret)
{
	bool found = false, more = telling->count < WIRE_RANGES_MAX;

	while (more && !found) {
		memory_lock_worker();
		if (telling->change != atomic_load(&changes)) {
			memory_unlock();
			return -EAGAIN;
		}
		more = telling->slot < slots_count;
		found = more && next_of_slot(telling, ret);
		memory_unlock();
	}
	telling->count += found;
	return found;
}

/** Sends the next chunk. @return 1, 0 if it was the last, -EAGAIN if the map cannot be continued, or -errno. */
static int tell_chunk(struct session *session, struct telling *telling)
{
	static struct {
		struct wire_header header;
		struct wire_range ranges[RANGES_AT_ONCE];
	} message;
	uint32_t flags = telling->count == 0 ? WIRE_FIRST : 0;
	unsigned count = 0;
	int more = 1, r;

	while (count < RANGES_AT_ONCE && (more = next_range(telling, &message.ranges[count])) > 0)
		count++;
	if (more < 0)
		return more;
	wire_header_init(&message.header, WIRE_MEMORY_MAP,
			 sizeof(message.header) + count * sizeof(*message.ranges));
	message.header.flags = flags | (more > 0 ? WIRE_MORE : 0);
	r = session_send(session, &message, message.header.length);
	return r < 0 ? r : more;
}

int guest_memory_announce(struct session *session)
{
	struct telling telling = { .change = atomic_load(&changes) };
	int r;

	if (telling.change == told_change || !session_has(session, WIRE_FEATURE_MEMORY_MAP))
		return 0;
	do
		r = tell_chunk(session, &telling);
	while (r > 0);
	if (r == 0)
		told_change = telling.change;
	return r == -EAGAIN ? 0 : r; /* the map is changing, or the daemon is not reading: send all of it later */
}
