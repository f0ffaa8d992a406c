/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/answers.h"

#include <errno.h>

#include "engine/adoption.h"
#include "engine/hints.h"
#include "engine/large.h"
#include "engine/match.h"
#include "engine/references.h"
#include "engine/stability.h"
#include "engine/state.h"

/* The state of a page whose order @report answers, if it is MERGE (with the very slot) or ZERO. */
static bool was_ordered(uint32_t state, const struct ring_record *report, uint32_t index)
{
	if (state_kind(state) == KIND_ORDERED)
		return report->op != REPORT_ZEROED && (state & STATE_VALUE) == report->slot + index;
	return state == PAGE_ZERO_ORDERED && report->op != REPORT_MERGED;
}

static int find_ordered(struct engine_vm *vm, const struct ring_record *report, struct page *ret_first)
{
	int r = regions_find_run(&vm->regions, report->page, report->count, &ret_first->region);

	if (r < 0 || ret_first->region == NULL)
		return r;
	ret_first->index = report->page - ret_first->region->first;
	for (uint32_t i = 0; i < report->count; i++)
		if (!was_ordered(ret_first->region->state[ret_first->index + i], report, i))
			return -EPROTO;
	return 0;
}

int answer_done(struct engine_vm *vm, const struct ring_record *report)
{
	struct page page;
	int r = find_ordered(vm, report, &page);

	if (r < 0)
		return r;
	if (page.region == NULL) /* the region was gone before the worker answered: it cannot have merged the page */
		return -EPROTO;
	for (uint32_t i = 0; i < report->count; i++, page.index++) {
		reference_confirm(page);
		large_broke(page);
	}
	return 0;
}

static void count_refused(struct engine_vm_counters *counters, const struct ring_record *report)
{
	switch (report->op) {
	case REPORT_DIFFERS:
		counters->differs += report->count;
		break;
	case REPORT_BUSY:
		counters->busy += report->count;
		break;
	case REPORT_GONE:
		counters->gone += report->count;
		break;
	default:
		counters->full += report->count;
	}
}

/* The state for a page whose order failed: it remembers the content that it had when the order was made. */
static uint32_t check_before(const struct slots *slots, uint32_t state)
{
	if (state_kind(state) == KIND_ORDERED)
		return check_of(slots_get(slots, state & STATE_VALUE)->tag);
	return CHECK_ZERO;
}

/*
 * @page turned out to be inside a 2 MiB page that was not to be split: what is known of it is ready for later; or for
 * now, if more is allowed since the order was made.
 */
static void keep_ready(struct page page, struct table_key key)
{
	blocks_set_ready(&page.region->blocks, page.index, key, false);
	large_mark(page, READY_TWIN);
	if (large_may_split(page))
		page.region->vm->engine->release.wanted = true;
}

int answer_refused(struct engine_vm *vm, const struct ring_record *report)
{
	bool gone = report->op == REPORT_GONE;
	struct page page;
	uint32_t check;
	int r;

	if (report->count == 1 && (gone || report->op == REPORT_BUSY) && match_refused(vm, report)) {
		count_refused(&vm->counters, report);
		return 0;
	}
	r = find_ordered(vm, report, &page);
	if (r < 0)
		return r;
	count_refused(&vm->counters, report);
	if (page.region == NULL)
		return 0;
	for (uint32_t i = 0; i < report->count; i++, page.index++) {
		uint32_t state = *page_state(page);
		struct table_key key = { 0 };

		if (state_kind(state) == KIND_ORDERED)
			key = slot_key(slots_get(&vm->engine->slots, state & STATE_VALUE));
		check = gone ? CHECK_NEVER : check_before(&vm->engine->slots, state);
		reference_drop(page, private_copy(report) | check);
		if (report->flags & RING_INSIDE_HUGE)
			keep_ready(page, key);
		else if (report->op == REPORT_BUSY)
			stability_disturbed(page, vm->engine->now_usec);
		match_sighting(page);
		if (report->op == REPORT_DIFFERS && state_kind(state) == KIND_ORDERED &&
		    (report->flags & RING_INSIDE_HUGE) == 0)
			match_differing(page, key);
	}
	return 0;
}

int answer_diverged(struct engine_vm *vm, const struct ring_record *report)
{
	struct page page;
	int r = regions_find_run(&vm->regions, report->page, report->count, &page.region);

	if (r < 0 || page.region == NULL)
		return r;
	page.index = report->page - page.region->first;
	for (uint32_t i = 0; i < report->count; i++, page.index++) {
		uint32_t state = *page_state(page);

		if (state_kind(state) == KIND_SHARED || state == PAGE_ZERO) {
			reference_drop(page, private_copy(report) | CHECK_WRITTEN);
			stability_disturbed(page, vm->engine->now_usec);
		} else if (state_kind(state) == KIND_PRIVATE)
			page_set(page, (state & ~PRIVATE_COPY) | private_copy(report));
	}
	return 0;
}

static int find_adoptable(struct engine_vm *vm, const struct ring_record *report, struct page *ret_first)
{
	int r = regions_find_run(&vm->regions, report->page, report->count, &ret_first->region);

	if (r == 0 && regions_is_beyond(&vm->regions, report->page))
		return -ENOSPC; /* the slot that it reads could not be counted */
	if (r < 0 || ret_first->region == NULL)
		return -EPROTO;
	ret_first->index = report->page - ret_first->region->first;
	for (uint32_t i = 0; i < report->count; i++) {
		if (ret_first->region->state[ret_first->index + i] != STATE(KIND_PRIVATE, CHECK_NEVER))
			return -EPROTO;
		if (report->op == REPORT_ADOPT && !slots_can_claim(&vm->engine->slots, report->slot + i))
			return -EPROTO;
	}
	return 0;
}

int answer_adopt(struct engine_vm *vm, const struct ring_record *report)
{
	struct engine *engine = vm->engine;
	uint32_t hint;
	struct page page;
	int r = find_adoptable(vm, report, &page);

	if (r < 0)
		return r;
	engine->resync.heard_usec = engine->now_usec;
	engine->steps += report->count;
	for (uint32_t i = 0; i < report->count; i++, page.index++) {
		if (report->op == REPORT_ADOPT_ZERO) {
			page_set(page, PAGE_ZERO);
			continue;
		}
		page_set(page, STATE(KIND_SHARED, report->slot + i));
		hint = adoption_take(&engine->links, report->slot + i, vm->owner, engine->settings.seed);
		if (hint != 0)
			hints_forget(engine, hint);
	}
	return 0;
}
