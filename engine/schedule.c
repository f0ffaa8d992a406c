/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of Operation. A pass is a walk over a VM's pages in slices; a slice is one SCAN order. A requested pass goes
 * as fast as its VM answers: at most two slices are under way, and all VMs together have only so many that everything
 * which could come of them still fits the queues of every VM, so that nothing has to be dropped. A slow pass spreads
 * its slices, a few at a time, evenly over scan_interval_seconds, less often if the worker's CPU time exceeds its
 * share, and after noted pages, which nobody need look for. An audit does the same over audit_interval_seconds, for
 * slices in which something is shared.
 *
 * A VM that answers, but so slowly that a stage of a barrier has lasted STAGE_USEC, is overdue until it has answered
 * what that barrier waited for. It delays no other VM after that; nor do those that watch.h tells of.
 *
 * After a restart no pass begins while VMs from before it are still telling what they map: what is not known yet would
 * get a second copy, and one more with every restart. That wait is bounded by RESYNC_QUIET_USEC and RESYNC_MAX_USEC.
 *
 * The pass of a ticket is over when its last slice is answered; what came of it is done when a barrier that started
 * afterwards is complete (see state.h).
 */
#include "engine/schedule.h"

#include <errno.h>

#include "engine/budget.h"
#include "engine/estimate.h"
#include "engine/exposure.h"
#include "engine/fetches.h"
#include "engine/heirs.h"
#include "engine/later.h"
#include "engine/leaving.h"
#include "engine/match.h"
#include "engine/orders.h"
#include "engine/release.h"
#include "engine/rest.h"
#include "engine/retire.h"
#include "engine/state.h"
#include "engine/survey.h"
#include "engine/sweep.h"
#include "engine/unshare.h"
#include "engine/vm.h"
#include "engine/watch.h"
#include "engine/whole.h"

#define SECOND_USEC UINT64_C(1000000)
#define STAGE_USEC (300 * SECOND_USEC)
#define RESYNC_QUIET_USEC (5 * SECOND_USEC) /* VMs try to connect again every second */
#define RESYNC_MAX_USEC (60 * SECOND_USEC)
#define PASS_SLICE_PAGES 1024u
#define PASS_SLICES 2u
#define SLICES_TOGETHER 4u /* as to wake a worker, and then the daemon, costs as much as many looks */
#define ORDERS_SHORT 512u
#define NOTES_FIRST_USEC UINT64_C(300000) /* after the last noted page; a worker looks for these every 0.2 s */
#define NOTES_FIRST_MAX_USEC SECOND_USEC
#define AUDITS_PER_TICK 16u
#define LOOKS_UNDER_WAY 2u   /* of VM_SCANS_MAX: others have room, too */
#define RETRIES_PER_TICK 16u /* of regions that wait for page numbers: each is a search */
#define TICK_BUSY_USEC 2000u
#define TICK_MIN_USEC 10000u

/* ---- walks ---- */

/* The next slice of a walk, inside one region, of at most @most pages. @return false at the end. */
static bool next_slice(const struct engine_vm *vm, const struct walk *walk, uint32_t most, struct scan *ret)
{
	const struct region *region = regions_from(&vm->regions, walk->page);

	if (region == NULL)
		return false;
	ret->page = walk->page > region->first ? walk->page : region->first;
	ret->count = region->pages - (ret->page - region->first);
	if (ret->count > most)
		ret->count = most;
	return true;
}

static uint32_t scans_under_way(const struct engine_vm *vm, enum scan_kind kind)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < vm->scan_count; i++)
		count += vm->scans[i].kind == kind;
	return count;
}

/* A pass over a VM of which only hints are shared looks what has diverged. */
static uint8_t scan_op(const struct engine_vm *vm)
{
	switch (vm_mode(vm)) {
	case WIRE_MODE_FULL:
		return ORDER_SCAN;
	case WIRE_MODE_HINTS:
		return ORDER_AUDIT;
	default:
		return ORDER_SCAN_ZERO;
	}
}

static bool takes_notes(const struct engine_vm *vm)
{
	return vm->mode == WIRE_MODE_FULL || vm->mode == WIRE_MODE_HINTS;
}

void engine_vm_lacks_notes(struct engine_vm *vm)
{
	vm->lacks_notes = true;
}

void engine_vm_lacks_whole(struct engine_vm *vm)
{
	vm->lacks_whole = true;
}

void engine_vm_lacks_samples(struct engine_vm *vm)
{
	vm->lacks_samples = true;
}

/* Whatever may have set the mode, or changed it. Notes are kept while others tell what they map. */
static void schedule_notes(struct engine_vm *vm)
{
	bool wanted = takes_notes(vm);

	if (!vm->ready || vm->lacks_notes || vm->engine->resync.wanted || (vm->told_notes && vm->wants_notes == wanted))
		return;
	if (!orders_notes(vm, wanted))
		return;
	vm->told_notes = true;
	vm->wants_notes = wanted;
}

/* How many more pages may be scanned now, such that whatever comes of it fits everybody's queues, and can wait. */
struct room {
	uint32_t queues, waiters;
};

static uint32_t less(uint32_t room, uint32_t used)
{
	return room > used ? room - used : 0;
}

/* Pages of the scans under way of which something may come. */
static uint32_t pages_under_way(const struct engine_vm *vm)
{
	uint32_t pages = 0;

	for (uint32_t i = 0; i < vm->scan_count; i++)
		pages += vm->scans[i].kind != SCAN_AUDIT && vm->scans[i].kind != SCAN_SURVEY ? vm->scans[i].count : 0;
	return pages;
}

static struct room scan_room(const struct engine *engine)
{
	uint32_t longest = 0, under_way = 0;

	for (uint32_t i = 0; i < engine->vms_end; i++) {
		const struct engine_vm *vm = rest_awake(engine, i);

		if (vm == NULL || vm->unresponsive || vm->lagging || vm->detached)
			continue;
		under_way += pages_under_way(vm);
		longest = vm->orders.length > longest ? vm->orders.length : longest;
		longest = vm->fetches.length > longest ? vm->fetches.length : longest;
	}
	return (struct room){ .queues = less(VM_QUEUE_MAX - longest, under_way),
			      .waiters = less(waiters_left(&engine->waiters), under_way) };
}

/* At most @most, such that all of the VM's pages that may come to wait are no more than are free then. */
static uint32_t longest_scan(const struct engine_vm *vm, const struct room *room, uint32_t most)
{
	uint32_t longest = less(room->waiters, vm->waiting + pages_under_way(vm)) / 2;

	return longest < most ? longest : most;
}

static void take_room(struct room *room, const struct scan *scan)
{
	room->queues = less(room->queues, scan->count);
	room->waiters = less(room->waiters, scan->count);
}

static void watch_resync(struct engine *engine)
{
	struct resync *resync = &engine->resync;

	if (!resync->began)
		resync->began_usec = resync->heard_usec = engine->now_usec;
	resync->began = true;
	if (engine->now_usec - resync->heard_usec >= RESYNC_QUIET_USEC ||
	    engine->now_usec - resync->began_usec >= RESYNC_MAX_USEC)
		resync->wanted = false;
}

/* ---- requested passes ---- */

/* A pass over all pages has ended that began at @from_usec; 0: it was not over all, or tells no hashes. */
static void looked_at_all(struct engine_vm *vm, uint64_t from_usec)
{
	if (from_usec > vm->looked_usec)
		vm->looked_usec = from_usec;
}

/* Whether @scan is the first slice of a pass over all pages. */
static bool is_first_slice(const struct engine_vm *vm, const struct scan *scan)
{
	return vm->regions.list[0]->first == scan->page;
}

/* When a pass began whose first slice is ordered now, if it tells hashes; else 0. */
static uint64_t from_now(const struct engine_vm *vm)
{
	return vm_mode(vm) == WIRE_MODE_FULL ? vm->engine->now_usec : 0;
}

static void begin_pass(struct engine_vm *vm, uint64_t ticket, uint32_t page)
{
	rest_wake(vm);
	vm->pass_ticket = ticket;
	vm->pass.page = page;
	vm->pass_from_usec = 0;
	if (ticket != 0)
		backoff_retry_now(&vm->engine->slots.backoff);
}

static void end_pass(struct engine_vm *vm)
{
	struct engine *engine = vm->engine;

	/* The ticket of the first one does not wait for those that follow; those in between come true with the last. */
	if (vm->ended_count < 2)
		vm->ended_count++;
	vm->ended[vm->ended_count - 1] =
		(struct ended){ .ticket = vm->pass_ticket, .barrier = engine->barrier.started + 1 };
	engine->barrier.wanted = true;
	looked_at_all(vm, vm->pass_from_usec);
	begin_pass(vm, vm->queued_ticket, 1);
	vm->queued_ticket = 0;
	vm->slow.next_usec = vm->audit.next_usec = engine->now_usec;
}

static bool slices_go_on(const struct engine_vm *vm)
{
	return vm->ready && !vm->detached && !vm->unresponsive && vm->orders.length < ORDERS_SHORT;
}

static bool next_pass_slice(const struct engine_vm *vm, const struct room *room, struct scan *ret)
{
	uint32_t longest = longest_scan(vm, room, PASS_SLICE_PAGES);

	return longest > 0 && next_slice(vm, &vm->pass, longest, ret) && ret->count <= room->queues;
}

static void schedule_pass(struct engine_vm *vm, struct room *room)
{
	struct scan scan = { .kind = SCAN_PASS };

	if (vm->pass_ticket == 0 || vm->engine->resync.wanted)
		return;
	if (vm_mode(vm) == WIRE_MODE_OFF) /* there is nothing to look for: it is over */
		vm->pass.page = UINT32_MAX;
	while (slices_go_on(vm) && scans_under_way(vm, SCAN_PASS) < PASS_SLICES &&
	       next_pass_slice(vm, room, &scan)) {
		if (!orders_scan(vm, scan_op(vm), &scan))
			return;
		if (is_first_slice(vm, &scan))
			vm->pass_from_usec = from_now(vm);
		vm->pass.page = scan.page + scan.count;
		take_room(room, &scan);
	}
	if (vm->ready && scans_under_way(vm, SCAN_PASS) == 0 && !next_slice(vm, &vm->pass, 1, &scan))
		end_pass(vm);
}

void schedule_ready(struct engine_vm *vm)
{
	vm->ready = true;
	unshare_ready(vm);
	schedule_notes(vm);
	if (vm->pass_ticket == 0)
		begin_pass(vm, ++vm->engine->last_ticket, 1);
}

void schedule_region(struct engine_vm *vm, uint32_t page)
{
	if (vm->ready && vm->pass_ticket == 0)
		begin_pass(vm, ++vm->engine->last_ticket, page);
}

/* A slice lies in one region, but that may have gone. */
static void passed(struct engine_vm *vm, const struct scan *scan)
{
	struct region *region = vm_region(vm, scan->page);

	if (region != NULL)
		blocks_passed(&region->blocks, scan->page - region->first, scan->count);
}
static void schedule_looks(struct engine_vm *vm);

int schedule_scanned(struct engine_vm *vm, const struct ring_record *report)
{
	struct room room;
	uint32_t i = 0;

	while (i < vm->scan_count && (vm->scans[i].page != report->page || vm->scans[i].count != report->count))
		i++;
	if (i == vm->scan_count)
		return -EPROTO;
	if (vm->scans[i].hashes)
		passed(vm, &vm->scans[i]);
	vm->scanned++;
	vm->looks_over += vm->scans[i].kind == SCAN_LOOK;
	vm->counters.present_pages = report->value;
	vm->scan_count--;
	for (; i < vm->scan_count; i++)
		vm->scans[i] = vm->scans[i + 1];
	schedule_looks(vm);
	survey_go_on(vm);
	if (vm->pass_ticket != 0) {
		room = scan_room(vm->engine);
		schedule_pass(vm, &room);
	}
	return 0;
}

uint64_t engine_scan(struct engine *engine, struct engine_vm *vm)
{
	bool untouched = vm->pass.page <= 1 && scans_under_way(vm, SCAN_PASS) == 0;

	if (vm->pass_ticket == 0)
		begin_pass(vm, ++engine->last_ticket, 1);
	else if (!untouched && vm->queued_ticket == 0)
		vm->queued_ticket = ++engine->last_ticket;
	return vm->queued_ticket != 0 ? vm->queued_ticket : vm->pass_ticket;
}

bool engine_scan_done(const struct engine *engine, const struct engine_vm *vm, uint64_t ticket)
{
	(void)engine;
	return vm->settled_ticket >= ticket || vm->detached || vm->unresponsive;
}

bool engine_is_scanning(const struct engine_vm *vm)
{
	return vm->pass_ticket != 0;
}

void engine_scan_progress(const struct engine_vm *vm, uint64_t *ret_done, uint64_t *ret_total)
{
	uint64_t done = 0;

	for (uint32_t i = 0; i < vm->regions.count && vm->pass_ticket != 0; i++) {
		const struct region *region = vm->regions.list[i];
		uint32_t passed = vm->pass.page > region->first ? vm->pass.page - region->first : 0;

		done += passed < region->pages ? passed : region->pages;
	}
	for (uint32_t i = 0; i < vm->scan_count; i++)
		if (vm->scans[i].kind == SCAN_PASS && done >= vm->scans[i].count)
			done -= vm->scans[i].count;
	*ret_done = vm->pass_ticket != 0 ? done : vm->regions.pages;
	*ret_total = vm->regions.pages;
}

/* ---- slow passes ---- */

/* Moves a walk past @scan, and sets when its next slice is due, if all pages are to take @seconds. */
static void walk_on(const struct engine_vm *vm, struct walk *walk, const struct scan *scan, uint32_t seconds)
{
	uint64_t now = vm->engine->now_usec;

	walk->page = scan->page + scan->count;
	walk->next_usec += (uint64_t)((__uint128_t)seconds * SECOND_USEC * scan->count / vm->regions.pages);
	if (walk->next_usec + SECOND_USEC < now) /* it could not be done in time: no hurry afterwards */
		walk->next_usec = now;
}

static bool next_slice_around(const struct engine_vm *vm, struct walk *walk, uint32_t most, struct scan *ret)
{
	if (next_slice(vm, walk, most, ret))
		return true;
	walk->page = 1;
	return next_slice(vm, walk, most, ret);
}

static bool has_slow_passes(const struct engine_vm *vm)
{
	return vm->engine->settings.scan_interval_seconds != 0 && vm_mode(vm) != WIRE_MODE_OFF &&
	       vm_mode(vm) != WIRE_MODE_HINTS;
}

/* Noted pages go first, but for ever they do not keep a slice that is due from its turn. */
static bool waits_for_notes(const struct engine_vm *vm)
{
	uint64_t now = vm->engine->now_usec;

	return vm->noted_usec != 0 && now - vm->noted_usec < NOTES_FIRST_USEC &&
	       now - vm->slow_usec < NOTES_FIRST_MAX_USEC;
}

/*
 * What is not known is remembered by block, until a slice has read it: so none is divided among two slices, unless
 * there is no room for a whole one.
 */
static void end_with_block(struct engine_vm *vm, struct scan *scan)
{
	const struct region *region = vm_region(vm, scan->page);

	scan->count = blocks_until_end(&region->blocks, scan->page - region->first, scan->count);
}

static bool slow_pass_is_due(const struct engine_vm *vm)
{
	return has_slow_passes(vm) && !vm->engine->resync.wanted && vm->pass_ticket == 0 && slices_go_on(vm) &&
	       vm->slow.next_usec <= vm->engine->now_usec && budget_allows(vm) && scans_under_way(vm, SCAN_SLOW) == 0 &&
	       !waits_for_notes(vm);
}

static bool next_slow_slice(struct engine_vm *vm, const struct room *room, struct scan *ret)
{
	uint32_t longest = longest_scan(vm, room, RING_SCAN_PAGES_MAX);

	if (longest == 0 || !next_slice_around(vm, &vm->slow, longest, ret) || ret->count > room->queues)
		return false;
	end_with_block(vm, ret);
	return true;
}

/* Slices that are ordered together end with the pass. */
static void schedule_slow(struct engine_vm *vm, struct room *room)
{
	struct scan scan = { .kind = SCAN_SLOW };

	if (!slow_pass_is_due(vm))
		return;
	for (uint32_t i = 0; i < SLICES_TOGETHER && next_slow_slice(vm, room, &scan); i++) {
		bool first = is_first_slice(vm, &scan);

		if ((first && i > 0) || !orders_scan(vm, scan_op(vm), &scan))
			return;
		take_room(room, &scan);
		if (first) { /* so the last one is over */
			looked_at_all(vm, vm->slow_from_usec);
			vm->slow_from_usec = from_now(vm);
		}
		vm->slow_usec = vm->engine->now_usec;
		walk_on(vm, &vm->slow, &scan, vm->engine->settings.scan_interval_seconds);
	}
}

/* ---- noted pages that had to wait ---- */

static void schedule_later(struct engine_vm *vm)
{
	struct scan scan;

	if (vm->held)
		return;
	while (later_due(vm) <= vm->engine->now_usec && slices_go_on(vm) && vm->scan_count < VM_SCANS_MAX) {
		if (!later_take(vm, &scan) || !takes_notes(vm))
			continue;
		if (!orders_scan(vm, ORDER_SCAN, &scan))
			return;
	}
}

/* ---- what somebody has named ---- */

static void schedule_looks(struct engine_vm *vm)
{
	const struct scan *next;

	while ((next = queue_at(&vm->looks, 0)) != NULL && slices_go_on(vm)) {
		struct scan scan = *next;

		if (takes_notes(vm) && vm_region(vm, scan.page) != NULL) {
			if (scans_under_way(vm, SCAN_LOOK) == LOOKS_UNDER_WAY || !orders_scan(vm, ORDER_SCAN, &scan))
				return;
		} else {
			vm->looks_over++;
		}
		queue_pop(&vm->looks);
	}
}

void engine_look(struct engine *engine, struct engine_vm *vm, uint32_t page, uint32_t count)
{
	(void)engine;
	while (count > 0 && vm->ready && !vm->detached && takes_notes(vm)) {
		const struct region *region = vm_region(vm, page);
		struct scan scan = { .kind = SCAN_LOOK, .page = page, .count = count };
		struct scan *place;
		uint32_t left;

		if (region == NULL)
			break;
		left = region->pages - (page - region->first); /* a look is at one region */
		scan.count = scan.count < left ? scan.count : left;
		scan.count = scan.count < RING_SCAN_PAGES_MAX ? scan.count : RING_SCAN_PAGES_MAX;
		place = queue_push(&vm->looks);
		if (place == NULL)
			break;
		*place = scan;
		vm->looks_wanted++;
		page += scan.count;
		count -= scan.count;
	}
	rest_wake(vm);
	schedule_looks(vm);
}

uint64_t engine_looks_wanted(const struct engine_vm *vm)
{
	return vm->looks_wanted;
}

uint64_t engine_looks_over(const struct engine_vm *vm)
{
	return vm->looks_over;
}

void schedule_anew(struct engine *engine)
{
	for (uint32_t i = 0; i < engine->vms_end; i++)
		if (engine->vms[i] != NULL)
			engine->vms[i]->slow.next_usec = engine->vms[i]->audit.next_usec = engine->now_usec;
	rest_wake_all(engine);
}

/* ---- audits ---- */

static bool any_shared(struct engine_vm *vm, const struct scan *scan)
{
	const struct region *region = vm_region(vm, scan->page);
	const uint32_t *state = &region->state[scan->page - region->first];

	for (uint32_t i = 0; i < scan->count; i++)
		if (state_kind(state[i]) == KIND_SHARED || state[i] == PAGE_ZERO)
			return true;
	return false;
}

static void schedule_audit(struct engine_vm *vm)
{
	uint32_t seconds = vm->engine->settings.audit_interval_seconds;
	struct scan scan = { .kind = SCAN_AUDIT };

	if (seconds == 0 || vm->pass_ticket != 0 || !slices_go_on(vm))
		return;
	if (vm->audit.next_usec > vm->engine->now_usec || scans_under_way(vm, SCAN_AUDIT) > 0)
		return;
	for (uint32_t i = 0, ordered = 0; i < AUDITS_PER_TICK && ordered < SLICES_TOGETHER; i++) {
		if (!next_slice_around(vm, &vm->audit, RING_SCAN_PAGES_MAX, &scan) ||
		    (i > 0 && is_first_slice(vm, &scan)))
			return;
		if (any_shared(vm, &scan)) {
			if (!orders_scan(vm, ORDER_AUDIT, &scan))
				return;
			ordered++;
		}
		walk_on(vm, &vm->audit, &scan, seconds);
	}
}

/* ---- barriers ---- */

static bool is_past_barrier(const struct engine_vm *vm)
{
	return vm->unresponsive || vm->detached || vm->answered < vm->overdue_answers ||
	       vm->answered >= vm->barrier_target;
}

static bool all_past_barrier(const struct engine *engine)
{
	for (uint32_t i = 0; i < engine->vms_end; i++)
		if (engine->vms[i] != NULL && !is_past_barrier(engine->vms[i]))
			return false;
	return true;
}

static void set_targets(struct engine *engine)
{
	for (uint32_t i = 0; i < engine->vms_end; i++)
		if (engine->vms[i] != NULL)
			engine->vms[i]->barrier_target = engine->vms[i]->issued;
}

static void leave_behind(struct engine *engine)
{
	for (uint32_t i = 0; i < engine->vms_end; i++)
		if (engine->vms[i] != NULL && !is_past_barrier(engine->vms[i]))
			engine->vms[i]->overdue_answers = engine->vms[i]->barrier_target;
}

/*
 * The first ticket that has ended comes true. Unless what its pass saw of some pages did not fit: the pass is made once
 * more, or if another one is on its way, comes true with that. Either way only so often, as there may always be another
 * one on its way.
 */
static void settle_ticket(struct engine_vm *vm)
{
	uint64_t ticket = vm->ended[0].ticket;
	bool last = vm->ended_count == 1 && vm->pass_ticket == 0;

	vm->ended[0] = vm->ended[1];
	vm->ended_count--;
	if (vm->lost_sightings && vm->made_again < VM_LATE_MAX) {
		vm->made_again++;
		if (!last)
			return;
		begin_pass(vm, ticket, 1);
	} else {
		vm->settled_ticket = ticket;
		vm->made_again = 0;
	}
	vm->lost_sightings = false;
}

static void settle_tickets(struct engine *engine)
{
	for (uint32_t i = 0; i < engine->vms_end; i++) {
		struct engine_vm *vm = engine->vms[i];

		if (vm == NULL)
			continue;
		while (vm->ended_count > 0 && vm->ended[0].barrier <= engine->barrier.completed)
			settle_ticket(vm);
		if (vm->ended_count == 0 && vm->pass_ticket == 0)
			queue_done(&vm->sightings);
	}
}

static void advance_barrier(struct engine *engine)
{
	struct barrier *barrier = &engine->barrier;
	uint32_t parity;

	if (barrier->started == barrier->completed) {
		if (!barrier->wanted)
			return;
		barrier->started++;
		barrier->wanted = barrier->orders = false;
		barrier->stage_usec = engine->watched_usec;
	}
	parity = (barrier->started - 1) & 1;
	if (!barrier->orders) {
		if (engine->watched_usec - barrier->stage_usec >= STAGE_USEC)
			fetches_overdue(engine, parity);
		if (engine->waiters.waiting[parity] > 0)
			return;
		set_targets(engine);
		barrier->orders = true;
		barrier->stage_usec = engine->watched_usec;
	}
	if (engine->watched_usec - barrier->stage_usec >= STAGE_USEC)
		leave_behind(engine);
	if (!all_past_barrier(engine))
		return;
	barrier->completed = barrier->started;
	settle_tickets(engine);
}

/* ---- the tick ---- */

/* Whether something may be due for it by itself. */
static bool is_served(const struct engine_vm *vm)
{
	return vm->ready && !vm->detached && !vm->unresponsive;
}

/* The next moment at which something is; UINT64_MAX: nothing is before something happens. */
static uint64_t earliest(const struct engine *engine, const struct engine_vm *vm)
{
	uint64_t at = UINT64_MAX;

	if (has_slow_passes(vm) && vm->slow.next_usec < at)
		at = vm->slow.next_usec;
	if (!vm->held && later_due(vm) < at)
		at = later_due(vm);
	if (vm->looks.length > 0)
		at = 0;
	if (unshare_next_usec(vm) < at)
		at = unshare_next_usec(vm);
	if (whole_next_usec(vm) < at)
		at = whole_next_usec(vm);
	if (engine->settings.audit_interval_seconds != 0 && vm->audit.next_usec < at)
		at = vm->audit.next_usec;
	return at;
}

static void let_rest(struct engine *engine)
{
	for (uint32_t i = 0; i < engine->vms_end; i++) {
		struct engine_vm *vm = rest_awake(engine, i);

		if (vm != NULL)
			rest_let(vm, is_served(vm) ? earliest(engine, vm) : UINT64_MAX);
	}
}

static uint64_t time_to_next(const struct engine *engine)
{
	uint64_t at = engine->now_usec + SECOND_USEC, release = release_next_usec(engine);
	uint64_t rest = rest_next_usec(engine);

	if (engine->barrier.wanted || engine->barrier.started != engine->barrier.completed)
		return TICK_BUSY_USEC;
	if (engine->waiters.again != 0 || leaving_goes_on(engine) || engine->withdrawing > 0)
		return TICK_BUSY_USEC;
	if (engine->release.active || engine->estimate.phase != ESTIMATE_NONE)
		return TICK_BUSY_USEC;
	if (sweep_goes_on(engine) || retire_goes_on(engine) || heirs_goes_on(engine) || engine->waiting.goes_on)
		return TICK_MIN_USEC;
	at = release < at ? release : at;
	at = rest < at ? rest : at;
	at = estimate_next_usec(engine) < at ? estimate_next_usec(engine) : at;
	for (uint32_t i = 0; i < engine->vms_end; i++) {
		const struct engine_vm *vm = rest_awake(engine, i);
		uint64_t due = UINT64_MAX;

		if (vm == NULL || !is_served(vm))
			continue;
		if (vm->pass_ticket != 0)
			return TICK_BUSY_USEC;
		due = earliest(engine, vm);
		at = due < at ? due : at;
	}
	return at > engine->now_usec + TICK_MIN_USEC ? at - engine->now_usec : TICK_MIN_USEC;
}

static void withdraw(struct engine *engine)
{
	uint32_t left = ORDERS_WITHDRAWN_PAGES;

	for (uint32_t i = 0; i < engine->vms_end && left > 0 && engine->withdrawing > 0; i++)
		if (engine->vms[i] != NULL)
			left = orders_withdraw_on(engine->vms[i], left);
}

static void retry_regions(struct engine *engine)
{
	struct engine_vm *vm;
	uint32_t page;

	for (uint32_t i = 0; i < RETRIES_PER_TICK && vm_retry_region(engine, &vm, &page); i++)
		if (page != 0)
			schedule_region(vm, page);
}

uint64_t engine_tick(struct engine *engine, uint64_t now_usec)
{
	uint64_t passed_usec = now_usec - engine->now_usec;
	struct room room;
	uint32_t released, looks = WHOLE_LOOKS_PER_TICK;

	rest_tick(engine, now_usec);
	engine->now_usec = now_usec;
	slots_tick(&engine->slots, now_usec);
	watch_resync(engine);
	watch_tick(engine, passed_usec);
	exposure_tick(engine);
	match_again(engine, MATCH_PER_TICK);
	leaving_go_on(engine, LEAVING_PER_TICK);
	withdraw(engine);
	room = scan_room(engine);
	released = release_tick(engine, room.queues < room.waiters ? room.queues : room.waiters);
	room.queues = less(room.queues, released);
	room.waiters = less(room.waiters, released);
	engine->turn = engine->vms_end > 0 ? (engine->turn + 1) % engine->vms_end : 0;
	for (uint32_t i = 0; i < engine->vms_end; i++) {
		struct engine_vm *vm = rest_awake(engine, (engine->turn + i) % engine->vms_end);

		if (vm == NULL)
			continue;
		budget_fill(vm);
		schedule_notes(vm);
		schedule_pass(vm, &room);
		schedule_later(vm);
		schedule_looks(vm);
		schedule_slow(vm, &room);
		schedule_audit(vm);
		unshare_tick(vm);
		whole_tick(vm, &looks);
		survey_go_on(vm);
	}
	advance_barrier(engine);
	if (sweep_tick(engine))
		vm_retry_regions(engine);
	retry_regions(engine);
	retire_tick(engine);
	heirs_tick(engine);
	estimate_tick(engine);
	slots_flush(&engine->slots);
	let_rest(engine);
	return time_to_next(engine);
}
