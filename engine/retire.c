/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A walk over all pages finds who maps the segment, some at each tick. Nobody else can come to map it meanwhile, as its
 * slots are displaced first. Pages that are ordered to merge with them just then, or whose VM does not answer, are
 * left, and with them the segment, until the next walk for it.
 */
#include "engine/retire.h"

#include "engine/state.h"
#include "engine/stripes.h"
#include "engine/unshare.h"

#define SEGMENTS_FEW 8u    /* so many are no waste */
#define WASTEFUL_TIMES 16u /* as many as the slots in use need */
#define USED_FEW (ENGINE_SEGMENT_SLOTS / 64)
#define READERS_FEW 256u    /* copies take memory, too: a mebibyte */
#define READERS_SOME 65536u /* where numbers get scarce */
#define WALK_PAGES 65536u   /* at each tick */
#define LOOK_USEC UINT64_C(1000000)
#define AGAIN_USEC UINT64_C(60000000) /* before the same segment is looked at again */

static bool is_scarce(const struct slots *slots)
{
	return slots->segment_count >= slots->segments_max / 2;
}

static bool is_wasteful(const struct slots *slots)
{
	return slots->segment_count > SEGMENTS_FEW &&
	       (is_scarce(slots) ||
		slots->segment_count > WASTEFUL_TIMES * (slots->stored / ENGINE_SEGMENT_SLOTS + 1));
}

/* The segment with the fewest slots in use, if these are few. */
static struct segment *find_nearly_dead(const struct slots *slots, uint64_t now_usec, uint32_t *ret_number)
{
	struct segment *found = NULL;

	for (uint32_t i = 0; i < slots->segments_end; i++) {
		struct segment *segment = slots->segments[i];

		if (segment == NULL || segment->held || segment->handed < ENGINE_SEGMENT_SLOTS ||
		    segment->used > USED_FEW || now_usec < segment->retire_usec)
			continue;
		if (found != NULL && segment->used >= found->used)
			continue;
		found = segment;
		*ret_number = i;
	}
	return found;
}

/* How many pages map it; more than can be if a content is still on its way into it. */
static uint64_t count_readers(const struct segment *segment)
{
	uint64_t readers = 0;

	for (uint32_t i = 0; i < ENGINE_SEGMENT_SLOTS; i++) {
		const struct slot *slot = &segment->slots[i];

		if (slot->state == SLOT_TAKEN && !slot_is_stripe(slot))
			return UINT64_MAX;
		if (slot->state == SLOT_LIVE)
			readers += slot->sharers;
	}
	return readers;
}

static void begin(struct engine *engine)
{
	struct retire *retire = &engine->retire;
	uint32_t number = 0;
	struct segment *segment = find_nearly_dead(&engine->slots, engine->now_usec, &number);

	if (segment == NULL)
		return;
	segment->retire_usec = engine->now_usec + AGAIN_USEC;
	if (count_readers(segment) > (is_scarce(&engine->slots) ? READERS_SOME : READERS_FEW))
		return;
	segment->retiring = true;
	*retire = (struct retire){ .next_usec = retire->next_usec, .goes_on = true, .segment = number };
	for (uint32_t i = number * ENGINE_SEGMENT_SLOTS; i < (number + 1) * ENGINE_SEGMENT_SLOTS; i++)
		if (slots_get(&engine->slots, i)->state == SLOT_LIVE)
			stripes_displace(&engine->links, i);
}

static bool maps(const struct region *region, uint32_t page, uint32_t segment)
{
	uint32_t state = region->state[page];

	return state_kind(state) == KIND_SHARED && (state & STATE_VALUE) / ENGINE_SEGMENT_SLOTS == segment;
}

/* @return whether all its pages have been seen; @pages: how many may still be looked at. */
static bool walk_region(struct engine *engine, struct region *region, uint32_t *pages)
{
	struct retire *retire = &engine->retire;

	while ((retire->page = region_next(region, retire->page)) < region->pages) {
		uint32_t count = 0;

		while (count < RING_RUN_PAGES_MAX && retire->page + count<region->pages && * pages> 0 &&
		       maps(region, retire->page + count, retire->segment)) {
			count++;
			--*pages;
		}
		if (count > 0 && !unshare_run(region->vm, region->first + retire->page, count))
			return false; /* it has enough to do */
		retire->page += count;
		if (*pages == 0)
			return false;
		if (count == 0) {
			retire->page++;
			--*pages;
		}
	}
	return true;
}

static void walk(struct engine *engine)
{
	struct retire *retire = &engine->retire;
	struct segment *segment = engine->slots.segments[retire->segment];
	uint32_t pages = WALK_PAGES;

	for (; segment && segment->retiring && retire->vm < engine->vms_end; retire->vm++, retire->region = 0) {
		const struct engine_vm *vm = engine->vms[retire->vm];

		if (vm == NULL || !vm->ready || vm->detached || vm->unresponsive)
			continue;
		for (; retire->region < vm->regions.count; retire->region++, retire->page = 0)
			if (!walk_region(engine, vm->regions.list[retire->region], &pages))
				return;
	}
	if (segment)
		segment->retiring = false;
	retire->goes_on = false;
}

void retire_tick(struct engine *engine)
{
	struct retire *retire = &engine->retire;

	if (!retire->goes_on && engine->now_usec >= retire->next_usec) {
		if (is_wasteful(&engine->slots))
			begin(engine);
		if (!retire->goes_on)
			retire->next_usec = engine->now_usec + LOOK_USEC;
	}
	if (retire->goes_on)
		walk(engine);
}

bool retire_goes_on(const struct engine *engine)
{
	return engine->retire.goes_on;
}
