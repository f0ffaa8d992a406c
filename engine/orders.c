/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/orders.h"

#include "engine/large.h"
#include "engine/references.h"
#include "engine/rest.h"
#include "engine/state.h"

#define ORDERS_LOOK_BACK 4u

static void mark(struct engine_vm *vm, bool with_orders)
{
	uint64_t bit = UINT64_C(1) << (vm->index % 64);
	uint64_t *word = &vm->engine->with_orders[vm->index / 64];

	*word = with_orders ? *word | bit : *word & ~bit;
}

static bool push(struct engine_vm *vm, uint8_t op, uint8_t flags, uint32_t page, uint32_t count, uint32_t slot)
{
	struct ring_record *order = vm->detached ? NULL : queue_push(&vm->orders);

	if (order == NULL)
		return false;
	rest_wake(vm);
	*order = (struct ring_record){ .op = op, .flags = flags, .count = (uint16_t)count, .page = page };
	order->slot = slot;
	mark(vm, true);
	return true;
}

/* Whether an order can take @page in as its last one: one run is one hold and one mapping. */
static bool follows(const struct ring_record *order, struct page page, uint8_t op, uint8_t flags, uint32_t slot)
{
	if (order == NULL || order->op != op || order->flags != flags || order->count == 0 ||
	    order->count == RING_RUN_PAGES_MAX || order->page + order->count != page_number(page))
		return false;
	if (page.index == 0) /* neighbours in page number only */
		return false;
	return op != ORDER_MERGE || (order->slot + order->count == slot && slot % ENGINE_SEGMENT_SLOTS != 0);
}

static bool names(const struct ring_record *order, struct page page)
{
	return order->op != ORDER_SCAN && order->op != ORDER_SCAN_ZERO && order->op != ORDER_AUDIT &&
	       order->op != ORDER_NOTES && page_number(page) - order->page < order->count;
}

/*
 * Adds @page to one of the newest orders, which nobody has taken yet. Not the newest alone: where a VM has the same run
 * of pages several times, the orders for its copies come by turns. But never ahead of another order for the page
 * itself, a FETCH that was given up: answers are expected in the order of orders.
 */
static bool extend(struct page page, uint8_t op, uint8_t flags, uint32_t slot)
{
	const struct queue *orders = &page.region->vm->orders;

	for (uint32_t back = 1; back <= ORDERS_LOOK_BACK && back <= orders->length; back++) {
		struct ring_record *order = queue_at(orders, orders->length - back);

		if (follows(order, page, op, flags, slot)) {
			order->count++;
			return true;
		}
		if (names(order, page))
			return false;
	}
	return false;
}

/* As @page is not READY any more once it is ordered, its block is judged by what it was until then. */
static void open_block(struct page page)
{
	struct blocks *blocks = &page.region->blocks;

	blocks_open(blocks, page.index, large_is_dense(page.region->vm->engine, blocks_of(blocks, page.index)));
}

static bool add(struct page page, uint8_t op, uint32_t slot)
{
	uint8_t flags = large_may_split(page) ? RING_MAY_SPLIT : 0;

	if (!extend(page, op, flags, slot) && !push(page.region->vm, op, flags, page_number(page), 1, slot))
		return false;
	if (flags != 0)
		open_block(page);
	return true;
}

bool orders_merge(struct page page, uint32_t slot)
{
	if (!add(page, ORDER_MERGE, slot))
		return false;
	page_set(page, STATE(KIND_ORDERED, slot));
	page.region->vm->issued++;
	return true;
}

bool orders_zero(struct page page)
{
	if (!add(page, ORDER_ZERO, 0))
		return false;
	page_set(page, PAGE_ZERO_ORDERED);
	page.region->vm->issued++;
	return true;
}

bool orders_fetch(struct page page)
{
	if (!push(page.region->vm, ORDER_FETCH, 0, page_number(page), 1, 0))
		return false;
	if (large_may_split(page)) /* as it is to be merged then */
		open_block(page);
	page_set(page, PAGE_FETCHING);
	return true;
}

bool orders_scan(struct engine_vm *vm, uint8_t op, const struct scan *scan)
{
	/* Pages that were requested, or have just been named, are read rather than sampled. */
	bool slow = op == ORDER_SCAN && scan->kind == SCAN_SLOW, reads, samples;
	struct region *region = slow ? vm_region(vm, scan->page) : NULL;
	uint32_t index = region ? scan->page - region->first : 0;

	reads = region && blocks_any_unknown(&region->blocks, index, scan->count);
	samples = slow && !reads && !vm->lacks_samples;
	if (vm->scan_count == VM_SCANS_MAX ||
	    !push(vm, op, samples ? RING_MAY_SAMPLE : 0, scan->page, scan->count, 0))
		return false;
	if (reads)
		blocks_clear_unknown(&region->blocks, index, scan->count);
	vm->scans[vm->scan_count] = *scan;
	vm->scans[vm->scan_count].reads = reads;
	vm->scans[vm->scan_count++].hashes = op != ORDER_AUDIT;
	return true;
}

bool orders_notes(struct engine_vm *vm, bool wanted)
{
	return push(vm, ORDER_NOTES, 0, 1, 1, wanted);
}

bool orders_unshare(struct engine_vm *vm, uint32_t page, uint32_t count)
{
	return push(vm, ORDER_UNSHARE, 0, page, count, 0);
}

bool orders_whole(struct engine_vm *vm, uint32_t page, uint32_t count, uint32_t most)
{
	return push(vm, ORDER_WHOLE, RING_COLLAPSE, page, count, most);
}

static void withdraw_run(struct engine_vm *vm, const struct ring_record *order)
{
	struct region *region = vm_region(vm, order->page);

	if (region == NULL)
		return;
	for (uint32_t i = 0; i < order->count; i++)
		reference_drop((struct page){ region, order->page - region->first + i }, CHECK_NEVER);
}

bool orders_are_withdrawn(const struct engine_vm *vm)
{
	return vm->withdraw_next < vm->withdraw_end;
}

static void end_withdrawing(struct engine_vm *vm)
{
	vm->engine->withdrawing -= orders_are_withdrawn(vm);
	vm->withdraw_next = vm->withdraw_end = 0;
}

uint32_t orders_withdraw_on(struct engine_vm *vm, uint32_t most)
{
	uint32_t left = most;

	while (orders_are_withdrawn(vm) && left > 0) {
		struct ring_record *order = queue_at(&vm->orders, vm->withdraw_next);
		uint32_t work = 1;

		if (order->op == ORDER_MERGE || order->op == ORDER_ZERO) {
			work = order->count > 1 ? order->count : 1;
			withdraw_run(vm, order);
			order->count = 0; /* it is void */
		}
		vm->engine->steps += work;
		left -= work < left ? work : left;
		if (vm->withdraw_next + 1 == vm->withdraw_end)
			end_withdrawing(vm);
		else
			vm->withdraw_next++;
	}
	if (vm->detached && !orders_are_withdrawn(vm))
		queue_done(&vm->orders);
	return left;
}

void orders_withdraw_merges(struct engine_vm *vm)
{
	end_withdrawing(vm);
	vm->withdraw_end = vm->orders.length;
	vm->engine->withdrawing += orders_are_withdrawn(vm);
	(void)orders_withdraw_on(vm, ORDERS_WITHDRAWN_PAGES);
}

void orders_withdraw(struct engine_vm *vm)
{
	mark(vm, false);
	orders_withdraw_merges(vm);
}

void orders_drop(struct engine_vm *vm)
{
	end_withdrawing(vm);
	queue_done(&vm->orders);
	mark(vm, false);
}

/*
 * Whether the order was withdrawn, or is for pages of a region that has gone since: then its part in the counts was
 * dropped with the region.
 */
static bool is_void(struct engine_vm *vm, const struct ring_record *order)
{
	if (order->count == 0)
		return true;
	if (order->op != ORDER_MERGE && order->op != ORDER_ZERO)
		return false;
	return vm_region(vm, order->page) == NULL;
}

/* Does not let @order split a block that has to stay whole by now, whatever held when it was made. */
static void keep_large(struct engine_vm *vm, struct ring_record *order)
{
	struct region *region = order->flags & RING_MAY_SPLIT ? vm_region(vm, order->page) : NULL;

	if (region == NULL || large_least(vm->engine) == ENGINE_LARGE_ALWAYS)
		return;
	for (uint32_t i = 0; i < order->count; i++)
		if (!large_may_split((struct page){ region, order->page - region->first + i }))
			order->flags &= (uint8_t)~RING_MAY_SPLIT;
}

bool engine_next_order(struct engine *engine, struct engine_vm *vm, struct ring_record *ret_order)
{
	const struct ring_record *order;
	bool taken = false;

	(void)engine;
	if (orders_are_withdrawn(vm)) /* what is in front of others, and which ones, is not known before */
		return false;
	while (!taken && (order = queue_at(&vm->orders, 0)) != NULL) {
		taken = !is_void(vm, order);
		if (taken)
			*ret_order = *order;
		queue_pop(&vm->orders);
	}
	if (vm->orders.length == 0)
		mark(vm, false);
	if (taken)
		keep_large(vm, ret_order);
	return taken;
}

struct engine_vm *engine_next_ready(struct engine *engine, uint32_t *cursor)
{
	for (uint32_t i = *cursor / 64; i < ENGINE_VMS_MAX / 64; i++) {
		uint64_t bits = engine->with_orders[i];

		if (i == *cursor / 64)
			bits &= UINT64_MAX << (*cursor % 64);
		if (bits == 0)
			continue;
		*cursor = i * 64 + (uint32_t)__builtin_ctzll(bits) + 1;
		return engine->vms[*cursor - 1];
	}
	*cursor = ENGINE_VMS_MAX;
	return NULL;
}
