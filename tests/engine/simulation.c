/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/engine/simulation.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/hash.h"
#include "tests/engine/simulation-store.h"

void sim_wrong(struct sim *sim, const char *what)
{
	if (sim->wrong == NULL)
		sim->wrong = what;
}

uint32_t sim_random(struct sim *sim, uint32_t below)
{
	uint64_t x;

	sim->random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
	x = sim->random;
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t)((x ^ (x >> 31)) % below);
}

static uint64_t rival_seed; /* of the hash that SIM_RIVALs have in common */

/*
 * Two words that count for XXH3 as if they were one: it adds them up in one sum, and has in another one, for each, the
 * product of its halves, once they are mixed with the secret. Where the lower half is 0 then, the upper one is free.
 */
static void fill_rival(unsigned char *page, uint64_t upper)
{
	unsigned char secret[XXH3_SECRET_DEFAULT_SIZE];
	uint64_t words[2];

	XXH3_generateSecret_fromSeed(secret, rival_seed);
	for (uint32_t stripe = 0; stripe < 2; stripe++) { /* of 64 bytes; the third word of each */
		memcpy(&words[stripe], secret + stripe * 8 + 16, 8);
		words[stripe] = (words[stripe] & UINT32_MAX) | (stripe == 0 ? upper : 0 - upper) << 32;
		memcpy(page + stripe * 64 + 16, &words[stripe], 8);
	}
}

void content_fill(void *page, uint32_t content)
{
	uint32_t number = content & SIM_RIVAL ? content & ~1u : content;

	memset(page, 0, PAGE_BYTES);
	memcpy(page, &number, sizeof(number));
	if (content & SIM_RIVAL)
		fill_rival(page, content & 1);
}

/* ---- the whole ---- */

int sim_init(struct sim *sim, uint64_t seed)
{
	memset(sim, 0, sizeof(*sim));
	rival_seed = seed;
	sim->random = seed;
	sim->now_usec = UINT64_C(1) << 40;
	engine_settings_default(&sim->settings);
	sim->settings.seed = seed;
	sim_start(sim);
	return sim->engine ? 0 : -1;
}

void sim_start(struct sim *sim)
{
	const struct engine_store store = sim_store(sim);

	sim->engine = engine_new(&sim->settings, &store);
	if (sim->engine == NULL)
		abort();
	for (uint32_t i = 0; i < SIM_SEGMENTS; i++) {
		sim->segments[i].old = sim->segments[i].memory != NULL;
		if (sim->segments[i].old && engine_old_segment(sim->engine, i) < 0)
			sim_wrong(sim, "engine: an old segment was refused");
	}
}

void sim_set_large(struct sim *sim, enum engine_large scans, enum engine_large hints)
{
	sim->settings.large_scans = scans;
	sim->settings.large_hints = hints;
	engine_change_settings(sim->engine, &sim->settings);
}

static void queue_drop(struct sim_queue *queue)
{
	free(queue->items);
	*queue = (struct sim_queue){ 0 };
}

void sim_kill_engine(struct sim *sim)
{
	engine_free(sim->engine);
	sim->engine = NULL;
	for (uint32_t i = 0; i < SIM_VMS; i++) {
		if (sim->vms[i] == NULL)
			continue;
		sim->vms[i]->vm = sim->vms[i]->kept = NULL;
		queue_drop(&sim->vms[i]->up);
		queue_drop(&sim->vms[i]->down);
	}
}

void sim_done(struct sim *sim)
{
	for (uint32_t i = 0; i < SIM_VMS; i++)
		if (sim->vms[i] != NULL)
			sim_vm_end(sim->vms[i]);
	engine_free(sim->engine);
	for (uint32_t i = 0; i < SIM_SEGMENTS; i++)
		sim_segment_drop(&sim->segments[i]);
}

/* ---- queues ---- */

static struct sim_record *queue_push(struct sim_queue *queue)
{
	if (queue->tail == queue->capacity) {
		if (queue->head > queue->capacity / 2) {
			memmove(queue->items, queue->items + queue->head,
				(queue->tail - queue->head) * sizeof(*queue->items));
			queue->tail -= queue->head;
			queue->head = 0;
		} else {
			queue->capacity = queue->capacity ? queue->capacity * 2 : 64;
			queue->items = realloc(queue->items, queue->capacity * sizeof(*queue->items));
			if (queue->items == NULL)
				abort();
		}
	}
	return &queue->items[queue->tail++];
}

static void post(struct sim_vm *vm, enum ring_report op, uint32_t page, uint32_t count, uint64_t value)
{
	struct sim_record *item = queue_push(&vm->up);

	*item = (struct sim_record){ .record = { .op = (uint8_t)op, .count = (uint16_t)count, .page = page } };
	item->record.value = value;
}

/* The same about one page of the VM's, whose flags are told, too. */
static void post_page(struct sim_vm *vm, enum ring_report op, uint32_t number, uint64_t value)
{
	post(vm, op, number, 1, value);
	if (vm->pages[number].copy)
		vm->up.items[vm->up.tail - 1].record.flags = RING_PRIVATE_COPY;
	else if ((op == REPORT_HASH || op == REPORT_ZERO || op == REPORT_SAME) && vm->pages[number].large)
		vm->up.items[vm->up.tail - 1].record.flags = RING_INSIDE_HUGE;
}

/* ---- VMs ---- */

struct sim_vm *sim_vm_new(struct sim *sim, enum wire_mode mode)
{
	uint32_t index = 0;
	struct sim_vm *vm;

	while (index < SIM_VMS && sim->vms[index] != NULL)
		index++;
	if (index == SIM_VMS)
		return NULL;
	vm = calloc(1, sizeof(*vm));
	if (vm == NULL)
		abort();
	vm->sim = sim;
	vm->mode = mode;
	vm->next_page = 1;
	sim->vms[index] = vm;
	return vm;
}

static void announce_region(struct sim_vm *vm, const struct sim_region *region)
{
	post(vm, REPORT_REGION_ADD, region->first, 1 + region->before, region->pages);
}

/* The pages of a new connection are numbered anew, one region after the other. */
static void renumber(struct sim_vm *vm)
{
	uint32_t next = 1;

	for (uint32_t i = 0; i < vm->region_count; i++) {
		memmove(&vm->pages[next], &vm->pages[vm->regions[i].first], vm->regions[i].pages * sizeof(*vm->pages));
		vm->regions[i].first = next;
		next += vm->regions[i].pages;
	}
	vm->next_page = next;
}

static void announce_page(struct sim_vm *vm, uint32_t number)
{
	struct sim_page *page = &vm->pages[number];

	if (page->state == SIM_SHARED)
		post(vm, REPORT_ADOPT, number, 1, page->slot);
	else if (page->state == SIM_ZEROED)
		post(vm, REPORT_ADOPT_ZERO, number, 1, 0);
	else if (page->state == SIM_LEFT)
		page->state = SIM_DIVERGED;
	else if (page->state == SIM_DROPPED)
		page->state = SIM_ABSENT;
}

void sim_vm_connect(struct sim_vm *vm)
{
	if (engine_add_vm(vm->sim->engine, vm->mode, &vm->vm) < 0)
		abort();
	if (vm->account)
		engine_vm_set_account(vm->vm, vm->account);
	if (vm->lacks_notes)
		engine_vm_lacks_notes(vm->vm);
	if (vm->lacks_whole)
		engine_vm_lacks_whole(vm->vm);
	if (vm->lacks_samples)
		engine_vm_lacks_samples(vm->vm);
	renumber(vm);
	for (uint32_t i = 0; i < vm->region_count; i++)
		announce_region(vm, &vm->regions[i]);
	for (uint32_t i = 1; i < vm->next_page; i++) {
		announce_page(vm, i);
		if (vm->pages[i].broken && !vm->lacks_whole)
			post(vm, REPORT_BROKEN, i, 1, 0);
	}
	post(vm, REPORT_READY, 1, 1, 0);
	sim_take_reports(vm, UINT32_MAX);
	engine_remove_vm(vm->sim->engine, vm->kept);
	vm->kept = NULL;
}

void sim_vm_disconnect(struct sim_vm *vm)
{
	if (vm->vm == NULL)
		return;
	engine_detach_vm(vm->sim->engine, vm->vm);
	vm->kept = vm->vm;
	vm->vm = NULL;
	sim_work(vm, sim_random(vm->sim, 8)); /* what it had not noticed yet */
	queue_drop(&vm->up);
	queue_drop(&vm->down);
	vm->tells_notes = false;
}

void sim_vm_end(struct sim_vm *vm)
{
	struct sim *sim = vm->sim;

	for (uint32_t i = 0; i < SIM_VMS; i++)
		if (sim->vms[i] == vm)
			sim->vms[i] = NULL;
	if (sim->engine != NULL) {
		engine_remove_vm(sim->engine, vm->vm);
		engine_remove_vm(sim->engine, vm->kept);
	}
	queue_drop(&vm->up);
	queue_drop(&vm->down);
	free(vm->pages);
	free(vm);
}

int sim_vm_add_region(struct sim_vm *vm, uint32_t pages)
{
	struct sim_region region = { .first = vm->next_page, .pages = pages, .before = vm->before };

	if (vm->region_count == SIM_REGIONS)
		return -1;
	vm->pages = realloc(vm->pages, (vm->next_page + pages) * sizeof(*vm->pages));
	if (vm->pages == NULL)
		abort();
	memset(&vm->pages[vm->next_page], 0, pages * sizeof(*vm->pages));
	vm->next_page += pages;
	vm->regions[vm->region_count++] = region;
	if (vm->vm != NULL)
		announce_region(vm, &region);
	return (int)vm->region_count - 1;
}

void sim_vm_remove_region(struct sim_vm *vm, uint32_t index)
{
	struct sim_region region = vm->regions[index];

	for (uint32_t i = region.first; i < region.first + region.pages; i++)
		vm->pages[i] = (struct sim_page){ .state = SIM_ABSENT };
	memmove(&vm->regions[index], &vm->regions[index + 1], (--vm->region_count - index) * sizeof(region));
	if (vm->vm != NULL)
		post(vm, REPORT_REGION_REMOVE, region.first, 1, 0);
}

static bool has_page(const struct sim_vm *vm, uint32_t page)
{
	for (uint32_t i = 0; i < vm->region_count; i++)
		if (page >= vm->regions[i].first && page - vm->regions[i].first < vm->regions[i].pages)
			return true;
	return false;
}

static bool is_mapped(const struct sim_page *page)
{
	return page->state == SIM_SHARED || page->state == SIM_ZEROED;
}

/* Private again, which the engine has not been told yet. */
static bool is_left(const struct sim_page *page)
{
	return page->state == SIM_LEFT || page->state == SIM_DROPPED;
}

/* The first page of the block of @number; 0: it has no block that lies in a region as a whole. */
static uint32_t block_of(const struct sim_vm *vm, uint32_t number)
{
	for (uint32_t i = 0; i < vm->region_count; i++) {
		const struct sim_region *region = &vm->regions[i];
		uint32_t inside;

		if (number < region->first || number - region->first >= region->pages)
			continue;
		inside = (region->before + number - region->first) % ENGINE_BLOCK_PAGES;
		if (number - region->first < inside ||
		    number - inside + ENGINE_BLOCK_PAGES > region->first + region->pages)
			return 0;
		return number - inside;
	}
	return 0;
}

static void split(struct sim_vm *vm, uint32_t number)
{
	uint32_t first = block_of(vm, number);

	for (uint32_t i = 0; first != 0 && i < ENGINE_BLOCK_PAGES; i++)
		vm->pages[first + i].large = false;
	vm->pages[first].broken = first != 0;
}

bool sim_collapse(struct sim_vm *vm, uint32_t page)
{
	uint32_t first = block_of(vm, page);

	for (uint32_t i = 0; first != 0 && i < ENGINE_BLOCK_PAGES; i++)
		if (vm->pages[first + i].state != SIM_PLAIN || vm->pages[first + i].copy)
			return false;
	for (uint32_t i = 0; first != 0 && i < ENGINE_BLOCK_PAGES; i++)
		vm->pages[first + i].large = true;
	vm->pages[first].broken = false;
	return first != 0;
}

void sim_write(struct sim_vm *vm, uint32_t number, uint32_t content)
{
	struct sim_page *page = &vm->pages[number];

	if (!has_page(vm, number))
		return;
	page->content = content;
	page->copy |= page->state == SIM_SHARED;
	if (is_mapped(page) || page->state == SIM_DROPPED)
		page->state = SIM_LEFT;
	else if (page->state == SIM_ABSENT)
		page->state = SIM_PLAIN;
}

void sim_discard(struct sim_vm *vm, uint32_t number)
{
	struct sim_page *page = &vm->pages[number];

	if (!has_page(vm, number))
		return;
	if (page->large)
		split(vm, number);
	page->content = 0;
	page->state = is_mapped(page) || is_left(page) || page->copy ? SIM_DROPPED : SIM_ABSENT;
	page->copy = false;
}

/* ---- what a worker does ---- */

/* Whether a worker that may go by samples takes the page for what it has told. If not it tells what it is now. */
static bool seems_same(const struct sim_vm *vm, struct sim_page *page)
{
	return page->times_told > 1 &&
	       (page->told == page->content || sim_random(vm->sim, 100) < vm->sim->stale_percent);
}

/* @return whether its content was told: the last report. */
static bool scan_page(struct sim_vm *vm, uint8_t op, uint32_t number, bool samples)
{
	struct sim_page *page = &vm->pages[number];

	if (is_left(page)) {
		page->state = page->state == SIM_LEFT ? SIM_DIVERGED : SIM_ABSENT;
		post_page(vm, REPORT_DIVERGED, number, 0);
		vm->sim->diverged++;
	}
	if (op == ORDER_AUDIT || (page->state != SIM_PLAIN && page->state != SIM_DIVERGED))
		return false;
	if (samples && seems_same(vm, page)) {
		post_page(vm, REPORT_SAME, number, 0);
		return true;
	}
	if (op == ORDER_SCAN) {
		page->times_told = page->told == page->content ? page->times_told + 1 : 1;
		page->told = page->content;
	}
	if (page->content == 0) {
		post_page(vm, REPORT_ZERO, number, 0);
	} else if (op == ORDER_SCAN) {
		unsigned char bytes[PAGE_BYTES];

		content_fill(bytes, page->content);
		post_page(vm, REPORT_HASH, number, page_hash(bytes, vm->sim->settings.seed));
	}
	return page->content == 0 || op == ORDER_SCAN;
}

void sim_note(struct sim_vm *vm, uint32_t page)
{
	if (vm->tells_notes && has_page(vm, page) && scan_page(vm, ORDER_SCAN, page, false))
		vm->up.items[vm->up.tail - 1].record.flags |= RING_NOTED;
}

static bool refuses(struct sim_vm *vm)
{
	return sim_random(vm->sim, 100) < vm->refuse_percent;
}

static void work_fetch(struct sim_vm *vm, uint32_t number)
{
	struct sim_page *page = &vm->pages[number];

	vm->sim->fetch_orders++;
	if (!has_page(vm, number) || page->state == SIM_ABSENT || page->state == SIM_DROPPED) {
		post(vm, REPORT_GONE, number, 1, 0);
	} else if (refuses(vm)) {
		post_page(vm, REPORT_BUSY, number, 0);
	} else {
		post_page(vm, REPORT_FETCHED, number, 0);
		vm->up.items[vm->up.tail - 1].content = page->content;
	}
}

static enum ring_report merge_page(struct sim_vm *vm, const struct ring_record *order, uint32_t at)
{
	struct sim_page *page = &vm->pages[order->page + at];
	uint32_t slot = order->slot + at;
	bool zero = order->op == ORDER_ZERO;

	if (!has_page(vm, order->page + at) || page->state == SIM_ABSENT || is_left(page))
		return REPORT_GONE; /* a copy may have been dropped that the engine rightly took for private */
	if (is_mapped(page))
		sim_wrong(vm->sim, "worker: told to merge a page that shares");
	if (!zero && !sim_has_slot(vm->sim, slot))
		sim_wrong(vm->sim, "worker: told to merge with a slot that is not there");
	if (refuses(vm))
		return sim_random(vm->sim, 2) ? REPORT_BUSY : REPORT_FULL;
	if (page->large && (order->flags & RING_MAY_SPLIT) == 0)
		return REPORT_BUSY;
	if (zero ? page->content != 0 : !sim_slot_holds(vm->sim, slot, page->content))
		return REPORT_DIFFERS;
	if (page->large) {
		split(vm, order->page + at);
		vm->sim->splits++;
	}
	page->state = zero ? SIM_ZEROED : SIM_SHARED;
	page->slot = slot;
	page->copy = false;
	vm->sim->merged++;
	return zero ? REPORT_ZEROED : REPORT_MERGED;
}

/* One order is one mapping: it lies in one region, and names slots of one segment. */
static void check_run(struct sim_vm *vm, const struct ring_record *order)
{
	uint32_t last = order->page + order->count - 1;

	for (uint32_t i = 0; i < vm->region_count; i++)
		if (vm->regions[i].first > order->page && vm->regions[i].first <= last)
			sim_wrong(vm->sim, "worker: an order spans regions");
	if (order->op == ORDER_MERGE &&
	    order->slot / ENGINE_SEGMENT_SLOTS != (order->slot + order->count - 1) / ENGINE_SEGMENT_SLOTS)
		sim_wrong(vm->sim, "worker: an order spans segments");
}

static void work_merge(struct sim_vm *vm, const struct ring_record *order)
{
	enum ring_report answers[RING_RUN_PAGES_MAX];
	uint32_t run = 0;

	check_run(vm, order);
	vm->sim->merge_orders += order->op == ORDER_MERGE;
	for (uint32_t i = 0; i < order->count; i++)
		answers[i] = merge_page(vm, order, i);
	for (uint32_t i = 1; i <= order->count; i++) {
		const struct sim_page *page = &vm->pages[order->page + run];

		if (i < order->count && answers[i] == answers[run] && page[i - run].copy == page->copy &&
		    page[i - run].large == page->large)
			continue;
		post(vm, answers[run], order->page + run, i - run, order->op == ORDER_ZERO ? 0 : order->slot + run);
		if (page->copy)
			vm->up.items[vm->up.tail - 1].record.flags |= RING_PRIVATE_COPY;
		if (page->large && answers[run] == REPORT_BUSY)
			vm->up.items[vm->up.tail - 1].record.flags |= RING_INSIDE_HUGE;
		run = i;
	}
}

static void unshare_page(struct sim_vm *vm, uint32_t number)
{
	struct sim_page *page = &vm->pages[number];

	if (!has_page(vm, number) || !(is_mapped(page) || is_left(page)))
		return;
	if (is_mapped(page) && refuses(vm))
		return;
	page->copy = (page->copy && is_left(page)) || (page->state == SIM_SHARED && sim_random(vm->sim, 4) == 0);
	page->state = page->state == SIM_DROPPED ? SIM_ABSENT : page->copy ? SIM_DIVERGED
									   : SIM_PLAIN;
	post_page(vm, REPORT_DIVERGED, number, 0);
}

/* Whether that many pages of the run are not plain, or any is not there, or is to be told of. */
static bool is_kept(const struct sim_vm *vm, const struct ring_record *order)
{
	for (uint32_t i = order->page, mapped = 0; i < order->page + order->count; i++) {
		mapped += is_mapped(&vm->pages[i]);
		if (!has_page(vm, i) || is_left(&vm->pages[i]) || mapped > order->value)
			return true;
	}
	return false;
}

static void make_whole(struct sim_vm *vm, const struct ring_record *order)
{
	enum ring_whole whole = is_kept(vm, order) || refuses(vm) ? WHOLE_KEPT : WHOLE_RELEASED;

	if (vm->lacks_whole)
		sim_wrong(vm->sim, "worker: an order that it does not know");
	for (uint32_t i = order->page; whole != WHOLE_KEPT && i < order->page + order->count; i++) {
		if (!is_mapped(&vm->pages[i]) && !vm->pages[i].copy)
			continue;
		vm->pages[i].copy = false;
		vm->pages[i].state = SIM_PLAIN;
		post_page(vm, REPORT_DIVERGED, i, 0);
	}
	vm->pages[order->page].broken &= whole == WHOLE_KEPT;
	if (whole != WHOLE_KEPT && sim_collapse(vm, order->page))
		whole = WHOLE_IS;
	vm->sim->blocks_given_back += whole != WHOLE_KEPT;
	post(vm, REPORT_WHOLE, order->page, order->count, whole);
}

static void drop_told(const struct sim_vm *vm, const struct ring_record *order)
{
	for (uint32_t i = order->page; i < order->page + order->count; i++)
		if (has_page(vm, i))
			vm->pages[i].times_told = 0;
}

static void work_order(struct sim_vm *vm, const struct ring_record *order)
{
	bool samples = (order->flags & RING_MAY_SAMPLE) != 0;

	if (ring_check_order(order) < 0 || (samples && vm->lacks_samples))
		sim_wrong(vm->sim, "worker: an order that it does not understand");
	if (order->op == ORDER_FETCH || order->op == ORDER_MERGE || order->op == ORDER_ZERO)
		drop_told(vm, order);
	switch (order->op) {
	case ORDER_FETCH:
		work_fetch(vm, order->page);
		break;
	case ORDER_MERGE:
	case ORDER_ZERO:
		if (!vm->sim->loses_orders || sim_random(vm->sim, 1000))
			work_merge(vm, order);
		break;
	case ORDER_NOTES:
		if (vm->lacks_notes)
			sim_wrong(vm->sim, "worker: an order that it does not know");
		vm->tells_notes = order->value != 0;
		break;
	case ORDER_UNSHARE:
		for (uint32_t i = order->page; i < order->page + order->count; i++)
			unshare_page(vm, i);
		post(vm, REPORT_UNSHARED, order->page, order->count, 0);
		vm->sim->unshare_orders++;
		break;
	case ORDER_WHOLE:
		make_whole(vm, order);
		break;
	default:
		vm->read_scans += order->op == ORDER_SCAN && !samples;
		vm->sampled_scans += samples;
		for (uint32_t i = order->page; i < order->page + order->count; i++)
			if (has_page(vm, i))
				scan_page(vm, order->op, i, samples);
		post(vm, REPORT_SCANNED, order->page, order->count, 0);
	}
}

bool sim_work(struct sim_vm *vm, uint32_t most)
{
	bool worked = false;

	for (; most > 0 && !vm->silent && vm->down.head < vm->down.tail; most--) {
		struct ring_record order = vm->down.items[vm->down.head++].record;

		vm->cpu_nsec += UINT64_C(500) * order.count;
		work_order(vm, &order);
		worked = true;
	}
	return worked;
}

/* ---- what the daemon does ---- */

bool sim_take_orders(struct sim_vm *vm, uint32_t most)
{
	struct ring_record order;
	bool taken = false;

	while (most-- > 0 && vm->vm != NULL && engine_next_order(vm->sim->engine, vm->vm, &order)) {
		*queue_push(&vm->down) = (struct sim_record){ .record = order };
		if ((order.flags & RING_MAY_SPLIT) != 0 && vm->sim->settings.large_scans == ENGINE_LARGE_KEEP &&
		    vm->sim->settings.large_hints == ENGINE_LARGE_KEEP)
			sim_wrong(vm->sim, "engine: an order may split what has to stay whole");
		taken = true;
	}
	return taken;
}

bool sim_take_reports(struct sim_vm *vm, uint32_t most)
{
	unsigned char staging[PAGE_BYTES];
	bool taken = false;

	for (; most > 0 && vm->vm != NULL && vm->up.head < vm->up.tail; most--) {
		struct sim_record item = vm->up.items[vm->up.head++];

		content_fill(staging, item.content);
		if (ring_check_report(&item.record) < 0)
			sim_wrong(vm->sim, "simulation: a malformed report");
		if (engine_report(vm->sim->engine, vm->vm, &item.record,
				  item.record.op == REPORT_FETCHED ? staging : NULL) < 0)
			sim_wrong(vm->sim, "engine: refuses an honest report");
		taken = true;
	}
	return taken;
}

void sim_tick(struct sim *sim, uint64_t usec)
{
	sim->now_usec += usec;
	for (uint32_t i = 0; i < SIM_VMS; i++)
		if (sim->vms[i] && sim->vms[i]->vm)
			engine_vm_set_cpu(sim->vms[i]->vm, sim->vms[i]->cpu_nsec);
	if (engine_tick(sim->engine, sim->now_usec) == 0)
		sim_wrong(sim, "engine: wants to be called at once, for ever");
}

void sim_settle(struct sim *sim)
{
	bool moved = true;

	while (moved && sim->wrong == NULL) {
		moved = false;
		for (uint32_t i = 0; i < SIM_VMS; i++) {
			if (sim->vms[i] == NULL)
				continue;
			moved |= sim_take_orders(sim->vms[i], UINT32_MAX);
			moved |= sim_work(sim->vms[i], UINT32_MAX);
			moved |= sim_take_reports(sim->vms[i], UINT32_MAX);
		}
	}
}

static bool all_done(struct sim *sim, const uint64_t *tickets)
{
	for (uint32_t i = 0; i < SIM_VMS; i++)
		if (sim->vms[i] && sim->vms[i]->vm && !engine_scan_done(sim->engine, sim->vms[i]->vm, tickets[i]))
			return false;
	return true;
}

bool sim_scan_all(struct sim *sim)
{
	uint64_t tickets[SIM_VMS] = { 0 };

	for (uint32_t i = 0; i < SIM_VMS; i++)
		if (sim->vms[i] && sim->vms[i]->vm)
			tickets[i] = engine_scan(sim->engine, sim->vms[i]->vm);
	for (uint32_t i = 0; i < 100000; i++) {
		if (all_done(sim, tickets))
			return true;
		sim_tick(sim, 2000);
		sim_settle(sim);
	}
	return false;
}

/* ---- checks ---- */

void sim_check_memory(struct sim *sim)
{
	for (uint32_t i = 0; i < SIM_VMS; i++)
		for (uint32_t j = 1; sim->vms[i] && j < sim->vms[i]->next_page; j++) {
			const struct sim_page *page = &sim->vms[i]->pages[j];

			if (page->state == SIM_SHARED && !sim_slot_holds(sim, page->slot, page->content))
				sim_wrong(sim, "memory: a guest reads what it did not write");
		}
}
