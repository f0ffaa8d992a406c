/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of Operation. A mode that allows less than the one before leaves pages that may not stay as they are. While
 * there are any, nothing of the VM is matched or ordered to be merged (vm_mode()), and rounds go over its pages: runs
 * of those that are shared become UNSHARE orders, of at most RING_RUN_PAGES_MAX pages, of which UNSHARES_MAX are
 * under way. So neither the queues nor the host's memory see more than a mebibyte of it at once. What orders under
 * way still merge is found by the next round. Where a round has changed nothing (a child of a fork reads what is
 * shared, there is no memory) the next one waits, twice as long each time.
 *
 * The first round also voids the table's hints of pages that are private, as those were not given for this mode, and
 * pages that wait to be matched are dropped. When all is done the mode counts in full: what hints name from then on is
 * shared.
 */
#include "engine/unshare.h"

#include <errno.h>

#include "engine/fetches.h"
#include "engine/orders.h"
#include "engine/rest.h"
#include "engine/state.h"
#include "engine/survey.h"

#define LOOK_PAGES 65536u /* in one go, for pages that share */
#define WAIT_FIRST_USEC UINT64_C(100000)
#define WAIT_MAX_USEC UINT64_C(60000000)

static uint64_t pages_left(const struct engine_vm *vm)
{
	const struct unsharing *unsharing = &vm->unsharing;

	return (unsharing->shared ? vm->pages.of[PAGES_SHARED] : 0) + (unsharing->zero ? vm->pages.of[PAGES_ZERO] : 0);
}

/*
 * Whether a page is to be unshared. The table's hint of one that is private is void, and so is its ready hash: they
 * were not given for this mode.
 */
static bool take_page(const struct unsharing *unsharing, struct region *region, uint32_t index)
{
	uint32_t state = region->state[index];

	if (state_kind(state) == KIND_PRIVATE) {
		region->state[index] &= ~PRIVATE_HINTED;
		blocks_unready(&region->blocks, index);
	}
	return (unsharing->shared && state_kind(state) == KIND_SHARED) || (unsharing->zero && state == PAGE_ZERO);
}

/* The first page from @at on that is to be unshared, or where @look is used up, or the end of @region. */
static uint32_t next_meant(const struct unsharing *unsharing, struct region *region, uint32_t at, uint32_t *look)
{
	at = region_next(region, at);
	while (at<region->pages && * look> 0 && !take_page(unsharing, region, at)) {
		at = region_next(region, at + 1);
		--*look;
	}
	return at;
}

/* The end of the run of such pages that begins there. */
static uint32_t run_end(const struct unsharing *unsharing, struct region *region, uint32_t start, uint32_t *look)
{
	uint32_t end = start;

	while (end < region->pages && end - start<RING_RUN_PAGES_MAX && * look> 0 &&
	       take_page(unsharing, region, end)) {
		end++;
		--*look;
	}
	return end;
}

/* Moves on to the next run. @look: pages that may still be looked at. @return whether there is one. */
static bool next_run(struct engine_vm *vm, uint32_t *look, uint32_t *ret_page, uint32_t *ret_count)
{
	struct unsharing *unsharing = &vm->unsharing;
	struct region *region;

	while (*look > 0 && (region = regions_from(&vm->regions, unsharing->page)) != NULL) {
		uint32_t at = unsharing->page > region->first ? unsharing->page - region->first : 0, end;

		at = next_meant(unsharing, region, at, look);
		end = run_end(unsharing, region, at, look);
		unsharing->page = region->first + end;
		*ret_page = region->first + at;
		*ret_count = end - at;
		if (end > at)
			return true;
	}
	return false;
}

static void end_round(struct engine_vm *vm)
{
	struct unsharing *unsharing = &vm->unsharing;
	uint64_t left = pages_left(vm);

	if (left < unsharing->left)
		unsharing->wait_usec = 0;
	else
		unsharing->wait_usec = unsharing->wait_usec == 0 ? WAIT_FIRST_USEC : 2 * unsharing->wait_usec;
	if (unsharing->wait_usec > WAIT_MAX_USEC)
		unsharing->wait_usec = WAIT_MAX_USEC;
	unsharing->next_usec = vm->engine->now_usec + unsharing->wait_usec;
	unsharing->left = left;
	unsharing->page = 1;
	unsharing->walked = true;
}

static bool is_waiting(const struct engine_vm *vm)
{
	return vm->unsharing.page == 1 && vm->unsharing.count == 0 && vm->unsharing.next_usec > vm->engine->now_usec;
}

bool unshare_run(struct engine_vm *vm, uint32_t page, uint32_t count)
{
	struct unsharing *unsharing = &vm->unsharing;

	if (unsharing->count == UNSHARES_MAX || !orders_unshare(vm, page, count))
		return false;
	unsharing->runs[unsharing->count++] = (struct unshare_run){ page, count };
	return true;
}

/* Nothing is left, nor on its way. */
static bool is_done(const struct engine_vm *vm)
{
	return vm->unsharing.walked && vm->unsharing.count == 0 && pages_left(vm) == 0 &&
	       vm->pages.of[PAGES_ORDERED] == 0 && vm->waiting == 0;
}

static void go_on(struct engine_vm *vm)
{
	struct unsharing *unsharing = &vm->unsharing;
	uint32_t look = LOOK_PAGES, page, count;

	if (!unsharing->active || !vm->ready || vm->detached || vm->unresponsive || is_waiting(vm))
		return;
	if (is_done(vm)) {
		unsharing->active = false;
		return;
	}
	while (unsharing->count < UNSHARES_MAX && next_run(vm, &look, &page, &count)) {
		if (!unshare_run(vm, page, count)) {
			unsharing->page = page;
			return;
		}
	}
	if (unsharing->count == 0 && look > 0)
		end_round(vm);
}

void unshare_tick(struct engine_vm *vm)
{
	go_on(vm);
}

int unshare_answered(struct engine_vm *vm, const struct ring_record *report)
{
	struct unsharing *unsharing = &vm->unsharing;
	uint32_t i = 0;

	while (i < unsharing->count &&
	       (unsharing->runs[i].page != report->page || unsharing->runs[i].count != report->count))
		i++;
	if (i == unsharing->count)
		return -EPROTO;
	unsharing->answered++;
	unsharing->count--;
	for (; i < unsharing->count; i++)
		unsharing->runs[i] = unsharing->runs[i + 1];
	go_on(vm);
	return 0;
}

uint64_t unshare_next_usec(const struct engine_vm *vm)
{
	if (!vm->unsharing.active || vm->unsharing.count > 0)
		return UINT64_MAX;
	return is_waiting(vm) ? vm->unsharing.next_usec : vm->engine->now_usec;
}

static void begin(struct engine_vm *vm, bool shared)
{
	vm->unsharing.shared = shared;
	vm->unsharing.zero = vm->mode == WIRE_MODE_OFF;
	vm->unsharing.active = shared && !vm->detached;
	vm->unsharing.walked = false;
	vm->unsharing.page = 1;
	vm->unsharing.left = UINT64_MAX;
	vm->unsharing.next_usec = vm->unsharing.wait_usec = 0;
}

void unshare_ready(struct engine_vm *vm)
{
	begin(vm, vm->mode == WIRE_MODE_OFF || vm->mode == WIRE_MODE_ZERO);
	vm->unsharing.active = vm->unsharing.active && pages_left(vm) > 0; /* nothing else is known of it */
}

void engine_set_mode(struct engine *engine, struct engine_vm *vm, enum wire_mode mode)
{
	enum wire_mode before = vm->mode;
	bool shared = mode == WIRE_MODE_OFF || mode == WIRE_MODE_ZERO;

	if (before == mode)
		return;
	rest_wake(vm);
	/* What is shared came otherwise; also if that was not done to its end. */
	if (mode == WIRE_MODE_HINTS)
		shared = before == WIRE_MODE_FULL || (vm->unsharing.active && vm->unsharing.shared);
	vm->mode = mode;
	survey_void(vm);
	vm->pass_from_usec = vm->slow_from_usec = vm->looked_usec = 0; /* passes tell something else from now on */
	begin(vm, shared);
	if (!vm->unsharing.active)
		return;
	orders_withdraw_merges(vm);
	fetches_give_up(vm, NULL);
	queue_done(&vm->sightings);
	slots_flush(&engine->slots);
}

uint64_t engine_pages_to_unshare(const struct engine_vm *vm)
{
	return vm->unsharing.active ? pages_left(vm) : 0;
}
