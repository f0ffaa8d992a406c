/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The equations between table, slots and pages:
 *
 *   slot.sharers      = pages SHARED with it             slot.orders = pages ORDERED with it
 *   live              <=> sharers + orders > 0           (between calls)
 *   slots.common      = slots with sharers               slots.stored = live + idle
 *   segment.used      = taken + live + idle = the sum of used_in[]; segment.reserved = left in windows
 *   taken, no stripe  <=> one FETCH not given up names it
 *   waiters           = those in the lists of taken slots, again and parked
 *   issued - answered = pages ORDERED or PAGE_ZERO_ORDERED
 *   a VM's page_counts, from which all that is told of it is computed, = what a walk over its pages finds
 *   engine.pages      = the sum of all VMs' page_counts
 *   a block's counts, and a VM's block_counts = what a walk over its pages' words finds; who is READY is private
 *   an entry's slot   is taken, live, or a stripe's first, and has the entry's key
 *   taken              => the table names it or its stripe
 *   live               => the same, or it is displaced
 *   owners[o]         = slots charged to o
 *   at rest           => nothing is under way for the VM, see rest.h
 */
#include <stdlib.h>
#include <string.h>

#include "engine/array.h"
#include "engine/rest.h"
#include "engine/state.h"
#include "engine/stripes.h"

/* What the pages say of one segment's slots. */
struct seen {
	uint32_t sharers, orders;
	uint32_t fetches;
};

struct checker {
	const struct engine *engine;
	struct seen *seen[ENGINE_SEGMENTS_MAX];
	uint32_t reserved[ENGINE_SEGMENTS_MAX];
	uint32_t charged[SLOT_OWNERS];
	uint64_t common, stored;
	struct page_counts pages;
	uint32_t waiting; /* in the lists of slots */
};

static struct seen *seen_of(struct checker *checker, uint32_t number)
{
	uint32_t segment = number / ENGINE_SEGMENT_SLOTS;

	if (slots_get(&checker->engine->slots, number) == NULL)
		return NULL;
	if (checker->seen[segment] == NULL)
		checker->seen[segment] = array_new(ENGINE_SEGMENT_SLOTS, sizeof(struct seen));
	return checker->seen[segment] ? &checker->seen[segment][number % ENGINE_SEGMENT_SLOTS] : NULL;
}

/* A block that no report touched has nothing in it. There may be many, so only two pages of each are checked. */
static bool is_blank(const struct region *region)
{
	for (uint32_t first = 0; first < region->pages; first += REGION_BLOCK) {
		uint32_t last = region->pages - first > REGION_BLOCK ? first + REGION_BLOCK - 1 : region->pages - 1;

		if (!region->touched[first / REGION_BLOCK] && (region->state[first] != 0 || region->state[last] != 0))
			return false;
		if (last == region->pages - 1)
			break;
	}
	return true;
}

/* Blocks against the words of their pages, and these against the pages' states. */
static const char *check_blocks(const struct region *region, struct block_counts *counts)
{
	const struct blocks *blocks = &region->blocks;
	uint32_t page = 0;

	for (uint32_t i = 0; i < blocks->count; i++) {
		const struct block *block = &blocks->list[i];
		uint32_t ready = 0, matching = 0;

		counts->large += (block->flags & BLOCK_LARGE) != 0;
		counts->broken += (block->flags & BLOCK_BROKEN) != 0;
		if (block->ready == 0 && block->matching == 0 && block->flags == 0)
			continue; /* there may be many; an error in one shows in the sums */
		page = i * ENGINE_BLOCK_PAGES > blocks->before ? i * ENGINE_BLOCK_PAGES - blocks->before : 0;
		for (; page < region->pages && blocks_index(blocks, page) == i; page++) {
			uint32_t word = blocks->ready[page];

			if (word != 0 && (word & READY_VALID) == 0)
				return "blocks: a page is marked that is not READY";
			if (word != 0 && state_kind(region->state[page]) != KIND_PRIVATE)
				return "blocks: a page is READY that is not private";
			ready += word != 0;
			matching += (word & READY_MARK) != 0;
			counts->twins += (word & READY_MARK) == READY_TWIN;
		}
		counts->ready += ready;
		if (ready != block->ready || matching != block->matching)
			return "blocks: one does not count what is in it";
	}
	return NULL;
}

static const char *check_region(struct checker *checker, const struct region *region, struct page_counts *counts)
{
	if (!is_blank(region))
		return "vm: a page has a state in a block that counts as untouched";
	for (uint32_t i = 0; (i = region_next(region, i)) < region->pages; i++) {
		uint32_t state = region->state[i];
		struct seen *seen;

		counts->of[PAGES_PRIVATE] -= state_kind(state) != KIND_PRIVATE || state_is_copy(state);
		counts->of[PAGES_SHARED] += state_kind(state) == KIND_SHARED;
		counts->of[PAGES_ZERO] += state == PAGE_ZERO;
		counts->of[PAGES_ORDERED] += state_kind(state) == KIND_ORDERED || state == PAGE_ZERO_ORDERED;
		counts->of[PAGES_FETCHING] += state == PAGE_FETCHING || state == PAGE_FETCHING_SEEN;
		counts->of[PAGES_DIVERGED] += state_is_copy(state);
		counts->known += state_is_known(state);
		if (state_kind(state) != KIND_SHARED && state_kind(state) != KIND_ORDERED)
			continue;
		seen = seen_of(checker, state & STATE_VALUE);
		if (seen == NULL)
			return "vm: a page names a slot that does not exist";
		if (state_kind(state) == KIND_SHARED)
			seen->sharers++;
		else
			seen->orders++;
	}
	if (space_find(&checker->engine->space, region->global) != region)
		return "space: a region's numbers are somebody else's";
	return NULL;
}

static uint32_t length_of(const struct engine *engine, uint32_t list)
{
	uint32_t length = 0, at = list;

	while (at != 0) {
		length++;
		at = engine->waiters.places[at].next;
		if (at == list)
			break;
	}
	return length;
}

static const char *check_fetches(struct checker *checker, const struct engine_vm *vm, uint64_t *ret_count)
{
	const struct engine *engine = checker->engine;
	const struct fetch *fetch;

	for (uint32_t i = 0; (fetch = queue_at(&vm->fetches, i)) != NULL; i++) {
		struct seen *seen;
		uint32_t waiters;

		if (fetch->slot == SLOT_NONE)
			continue;
		seen = seen_of(checker, fetch->slot);
		if (seen == NULL || seen->fetches++ > 0)
			return "fetch: its slot does not exist, or is another's, too";
		waiters = length_of(engine, slots_get(&engine->slots, fetch->slot)->waiters);
		if (waiters == 0)
			return "fetch: nobody waits for it";
		checker->waiting += waiters;
		(*ret_count)++;
	}
	return NULL;
}

static uint32_t count_waiting(const struct engine *engine, const struct engine_vm *vm)
{
	uint32_t count = 0;

	for (uint32_t i = 1; i <= engine->waiters.top; i++)
		count += engine->waiters.places[i].vm == vm->index;
	return count;
}

static void add_counts(struct page_counts *sum, const struct page_counts *more)
{
	for (unsigned i = 0; i < PAGE_CLASSES; i++)
		sum->of[i] += more->of[i];
	sum->known += more->known;
}

static const char *check_vm(struct checker *checker, const struct engine_vm *vm, uint64_t *fetches)
{
	struct page_counts counts = { 0 };
	struct block_counts blocks = { 0 };
	uint64_t pages = 0, own_fetches = 0;
	const char *wrong;

	for (uint32_t i = 0; i < vm->regions.count; i++) {
		wrong = check_region(checker, vm->regions.list[i], &counts);
		if (wrong == NULL)
			wrong = check_blocks(vm->regions.list[i], &blocks);
		if (wrong != NULL)
			return wrong;
		pages += vm->regions.list[i]->pages;
	}
	wrong = check_fetches(checker, vm, &own_fetches);
	if (wrong != NULL)
		return wrong;
	*fetches += own_fetches;
	if (vm->window.next < vm->window.end)
		checker->reserved[vm->window.next / ENGINE_SEGMENT_SLOTS] += vm->window.end - vm->window.next;
	if (pages != vm->regions.pages)
		return "vm: wrong ram_pages";
	if (memcmp(&counts, &vm->pages, sizeof(counts)) != 0)
		return "vm: its counts of pages are not what a walk finds";
	add_counts(&checker->pages, &counts);
	if (memcmp(&blocks, &vm->blocks, sizeof(blocks)) != 0)
		return "vm: its counts of 2 MiB pages are not what a walk finds";
	if (counts.of[PAGES_ORDERED] != vm->issued - vm->answered)
		return "vm: pages ordered are not what was issued and not answered";
	if (vm->waiting != count_waiting(checker->engine, vm))
		return "vm: wrong number of pages that wait";
	if (counts.of[PAGES_FETCHING] != own_fetches)
		return "vm: pages being fetched without a FETCH";
	if (rest_awake(checker->engine, vm->index) == NULL && !rest_is_possible(vm))
		return "vm: it is at rest, and something is to be done for it";
	return NULL;
}

static const char *check_slot(const struct segment *segment, const struct slot *slot, const struct seen *seen)
{
	static const struct seen nothing;

	if (seen == NULL)
		seen = &nothing;
	if (seen->fetches != (slot->state == SLOT_TAKEN && !slot_is_stripe(slot)))
		return "slot: taken without a FETCH, or the other way round";
	if (seen->orders != slot->orders)
		return "slot: wrong number of orders";
	if (slot->state != SLOT_TAKEN && seen->sharers != slot->sharers)
		return "slot: wrong number of sharers";
	if ((seen->sharers + seen->orders > 0) != (slot->state == SLOT_LIVE))
		return "slot: live without a holder, or held and not live";
	if (slot->state == SLOT_IDLE && !segment->held)
		return "slot: idle outside held segments";
	return NULL;
}

static bool is_named(const struct links *links, uint32_t number, const struct slot *slot)
{
	uint32_t first = slot_is_stripe(slot) ? number - number % STRIPE_SLOTS : number;

	return table_get(links->table, slot_key(slot)) == (REF_SHARED | first);
}

/* Slots that new pages with their content should find. */
static bool should_be_named(const struct slot *slot)
{
	return slot->state == SLOT_TAKEN || (slot->state == SLOT_LIVE && !slot_is_displaced(slot));
}

static const char *check_segment(struct checker *checker, uint32_t number)
{
	const struct slots *slots = &checker->engine->slots;
	const struct links *links = &checker->engine->links;
	const struct segment *segment = slots->segments[number];
	uint32_t used = 0, used_in[ENGINE_SEGMENT_SLOTS / SLOT_GROUP] = { 0 };

	for (uint32_t i = 0; i < segment->handed; i++) {
		const struct slot *slot = &segment->slots[i];
		const char *wrong = check_slot(segment, slot, checker->seen[number] ? &checker->seen[number][i] : NULL);

		if (wrong != NULL)
			return wrong;
		if (should_be_named(slot) && !is_named(links, number * ENGINE_SEGMENT_SLOTS + i, slot))
			return "slot: new pages cannot find it";
		checker->charged[slot->owner]++;
		used += slot->state != SLOT_NEVER && slot->state != SLOT_DEAD;
		used_in[i / SLOT_GROUP] += slot->state != SLOT_NEVER && slot->state != SLOT_DEAD;
		checker->common += slot->state == SLOT_LIVE && slot->sharers > 0;
		checker->stored += slot->state == SLOT_LIVE || slot->state == SLOT_IDLE;
	}
	if (used != segment->used)
		return "segment: wrong number of slots in use";
	for (uint32_t i = 0; i < ENGINE_SEGMENT_SLOTS / SLOT_GROUP; i++)
		if (used_in[i] != segment->used_in[i])
			return "segment: wrong number of slots in use in a group";
	if (checker->reserved[number] != segment->reserved)
		return "segment: reserved is not what windows have";
	if (used == 0 && segment->handed == ENGINE_SEGMENT_SLOTS && !segment->held)
		return "segment: dead but still there";
	return NULL;
}

static const char *check_slots(struct checker *checker)
{
	const struct slots *slots = &checker->engine->slots;

	for (uint32_t i = 0; i < slots->segments_end; i++) {
		const char *wrong = slots->segments[i] ? check_segment(checker, i) : NULL;

		if (wrong != NULL)
			return wrong;
	}
	if (checker->common != slots->common || checker->stored != slots->stored)
		return "slots: wrong common or stored";
	for (uint32_t i = 1; i < SLOT_OWNERS; i++)
		if (slots_owned(slots, (uint16_t)i) != checker->charged[i])
			return "slots: wrong number of slots charged to an owner";
	return slots->punch_count == 0 ? NULL : "slots: freed memory was not given back";
}

static const char *check_entry(const struct engine *engine, struct table_key key, uint32_t ref)
{
	const struct slot *slot;

	if ((ref & REF_SHARED) == 0)
		return NULL; /* advice */
	slot = slots_get(&engine->slots, ref & ~REF_SHARED);
	if (slot == NULL || slot->state == SLOT_NEVER || slot->state == SLOT_IDLE)
		return "table: an entry names a slot that is not there";
	if (slot->state == SLOT_DEAD && !slot_is_stripe(slot))
		return "table: an entry names a dead slot";
	if (slot_key(slot).tag != key.tag || slot_key(slot).partition != key.partition)
		return "table: an entry names a slot with another tag";
	return NULL;
}

static const char *check_table(const struct engine *engine)
{
	const char *wrong = table_check(&engine->table);

	for (uint32_t i = 0; i < TABLE_PARTITIONS && wrong == NULL; i++) {
		const struct table_partition *part = &engine->table.partitions[i];

		for (uint32_t at = 0; at < part->places && wrong == NULL; at++)
			if (part->entries[at].ref != 0)
				wrong = check_entry(engine, (struct table_key){ part->entries[at].tag, i },
						    part->entries[at].ref);
	}
	return wrong;
}

/* Regions that have left, from where their pages hold something still. */
static const char *check_leaving(struct checker *checker)
{
	for (const struct region *region = checker->engine->leaving.first; region; region = region->next)
		for (uint32_t i = region->left; (i = region_next(region, i)) < region->pages; i++) {
			enum page_kind kind = state_kind(region->state[i]);
			struct seen *seen;

			if (kind != KIND_SHARED && kind != KIND_ORDERED)
				continue;
			seen = seen_of(checker, region->state[i] & STATE_VALUE);
			if (seen == NULL)
				return "leaving: a page names a slot that does not exist";
			*(kind == KIND_SHARED ? &seen->sharers : &seen->orders) += 1;
		}
	return NULL;
}

static const char *check_all(struct checker *checker)
{
	const struct engine *engine = checker->engine;
	const struct waiters *waiters = &engine->waiters;
	uint64_t fetches = 0;
	const char *wrong;

	for (uint32_t i = 0; i < engine->vms_end; i++) {
		wrong = engine->vms[i] ? check_vm(checker, engine->vms[i], &fetches) : NULL;

		if (wrong != NULL)
			return wrong;
	}
	if (memcmp(&checker->pages, &engine->pages, sizeof(engine->pages)) != 0)
		return "engine: its counts of pages are not the sum of the VMs'";
	if (fetches != engine->fetches_open)
		return "engine: wrong number of FETCHes";
	wrong = check_leaving(checker);
	if (wrong != NULL)
		return wrong;
	checker->waiting += length_of(engine, waiters->again) + length_of(engine, waiters->parked);
	if (checker->waiting != waiters->used || waiters->waiting[0] + waiters->waiting[1] != waiters->used)
		return "waiters: some are in no list, or not counted";
	if (waiters->parked != 0 && fetches == 0 && !engine->slots.backoff.full)
		return "waiters: some are parked for nothing";
	return check_slots(checker);
}

const char *engine_check(const struct engine *engine)
{
	struct checker *checker = calloc(1, sizeof(*checker));
	const char *wrong;

	if (checker == NULL)
		return "no memory to check";
	checker->engine = engine;
	wrong = check_all(checker);
	if (wrong == NULL)
		wrong = check_table(engine);
	for (uint32_t i = 0; i < ENGINE_SEGMENTS_MAX; i++)
		array_free(checker->seen[i], ENGINE_SEGMENT_SLOTS, sizeof(struct seen));
	free(checker);
	return wrong;
}
