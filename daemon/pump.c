/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A record is the VMM's word. It is checked by itself (ring_check_report) and against the orders and the engine's state
 * (engine_report). The statistics are only shown.
 */
#include "daemon/pump.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/turn.h"

#define PUMP_BATCH 16
#ifndef PUMP_PACKETS_COUNT
#define PUMP_PACKETS_COUNT 1 /* as part of what is done in a turn; a test builds without, to see what that does */
#endif
#define TICK_USEC_PER_VM 20u /* between two ticks of an engine at least: each looks at all VMs that are awake */

/* ---- up ---- */

static bool changes_regions(const struct ring_record *report)
{
	return report->op == REPORT_REGION_ADD || report->op == REPORT_REGION_REMOVE;
}

/* Regions beyond the limits are ignored; the VMM does not know of these limits. */
static void note_beyond(struct daemon_vm *vm)
{
	uint64_t *bytes = &vm->refused_bytes[WIRE_REASON_RAM_LIMIT], before = *bytes;
	struct engine_vm_counters counters;

	engine_vm_counters(vm->connection.engine_vm, &counters);
	*bytes = counters.beyond_pages * PAGE_BYTES;
	if (*bytes > 0 && before == 0)
		log_peer(vm->user->uid, LOG_WARNING,
			 "VM %s: RAM of it is left alone, %" PRIu64 " MiB so far: [limits] vm_ram_size is reached, or "
			 "user_ram_percent or user_numbers_factor by all of its user's, or 8 TiB by the domain's; or "
			 "they are more than its process has mapped (%" PRIu64 " MiB)",
			 daemon_vm_describe(vm), *bytes >> 20, vm->had.mapped_bytes >> 20);
}

/* At a quota pages are not taken. The recent number is shown with the other reasons for excluded memory. */
static void note_limited(struct daemon_vm *vm)
{
	uint64_t *bytes = &vm->refused_bytes[WIRE_REASON_QUOTA], now = clock_now_usec();
	struct engine_vm_counters counters;

	engine_vm_counters(vm->connection.engine_vm, &counters);
	if (counters.limited_pages == vm->limited.seen_pages)
		return;
	if (vm->limited.seen_pages == 0)
		log_peer(vm->user->uid, LOG_WARNING,
			 "VM %s shares less: its quota is reached. It has shared more than its process was seen to "
			 "have (%" PRIu64 " MiB of its own), or than a user may, or [limits] vm_store_size",
			 daemon_vm_describe(vm), vm->had.own_bytes >> 20);
	if (now - vm->limited.begun_usec > DAEMON_VM_LIMITED_USEC) {
		vm->limited.begun_usec = now;
		*bytes = 0;
	}
	*bytes += (counters.limited_pages - vm->limited.seen_pages) * PAGE_BYTES;
	vm->limited.seen_pages = counters.limited_pages;
	vm->limited.last_usec = now;
}

/*
 * The cost, in reports of one page: each adopted page is read, each unchanged one may be looked up, zeros need no
 * table.
 */
static unsigned weight_of(const struct ring_record *report)
{
	unsigned pages = report->count <= RING_RUN_PAGES_MAX ? report->count : 1;

	if (changes_regions(report))
		return PUMP_REGION_REPORTS;
	switch (report->op) {
	case REPORT_ADOPT:
	case REPORT_SAME:
		return pages > 0 ? pages : 1;
	case REPORT_ZERO:
		return 1 + pages / PUMP_ZEROS_PER_REPORT;
	default:
		return 1;
	}
}

static int take_report(struct daemon_vm *vm, const struct ring_record *report)
{
	void *staging = NULL;
	int r = ring_check_report(report);

	if (r < 0)
		return r;
	if (report->op == REPORT_ADOPT && !vm->connection.may_adopt)
		return -EPROTO;
	if (report->op == REPORT_SOURCE && (vm->connection.features & UINT64_C(1) << WIRE_FEATURE_IMAGES) == 0)
		return -EPROTO;
	if (report->op == REPORT_REGION_ADD)
		daemon_vm_look(vm);
	if (report->op == REPORT_FETCHED)
		staging = link_staging(vm->connection.link, (uint32_t)report->value);
	disk_images_report(&vm->images, vm->connection.engine_vm, report);
	if (report->op == REPORT_SOURCE)
		return 0;
	r = engine_report(vm->domain->engine, vm->connection.engine_vm, report, staging);
	if (r == 0 && report->op == REPORT_READY)
		daemon_vm_ready(vm);
	if (r == 0 && vm->watch.report)
		vm->watch.report(vm->watch.context, vm, report);
	return r;
}

void pump_take_statistics(struct daemon_vm *vm)
{
	vm->stats = *link_statistics(vm->connection.link);
	engine_vm_set_cpu(vm->connection.engine_vm, vm->stats.cpu_nsec);
}

/* Copies up to PUMP_BATCH reports out and lets the engine bring in what it will need for them. @return how many. */
static int get_batch(struct daemon_vm *vm, struct ring_record *reports)
{
	int count = link_get_reports(vm->connection.link, reports, PUMP_BATCH);

	for (int i = 0; i < count; i++)
		engine_prefetch(vm->connection.engine_vm, &reports[i]);
	return count;
}

static bool take_batch(struct daemon_vm *vm, const struct ring_record *reports, int count, unsigned *taken)
{
	const struct ring_record *report = reports;
	unsigned weight = 0;
	int r = 0;

	for (; r == 0 && report < reports + count; report++) {
		r = take_report(vm, report);
		weight += weight_of(report);
	}
	*taken += weight;
	turn_note(TURN_REPORTS, weight);
	if (r == 0)
		return true;
	report--;
	link_fail(vm->connection.link, "its report %u about page %u, count %u, value %" PRIu64 " was refused: %s",
		  report->op, report->page, report->count, report->value,
		  r == -EPROTO ? "it does not fit what was ordered" : strerror(-r));
	return false;
}

/* @return as pump_take_reports(). */
static bool take_reports(struct daemon_vm *vm, unsigned most, unsigned *ret_taken)
{
	struct link *link = vm->connection.link;
	struct ring_record reports[PUMP_BATCH];
	unsigned taken = 0;
	int count = 1;

	daemon_vm_look_again(vm);
	while (taken < most && (count = get_batch(vm, reports)) > 0)
		if (!take_batch(vm, reports, count, &taken)) {
			*ret_taken = taken;
			return false;
		}
	if (count < 0) {
		link_fail(link, "the cursors of its ring are impossible");
		return false;
	}
	if (taken > 0) {
		pump_take_statistics(vm);
		domain_look_at_rings(vm->domain, link);
		note_beyond(vm);
		note_limited(vm);
	}
	*ret_taken = taken;
	link_release_reports(link);
	return count > 0 && link_is_open(link);
}

bool pump_take_reports(struct daemon_vm *vm, uint64_t *ret_usec)
{
	unsigned most, taken = 0;
	bool more;

	*ret_usec = 0;
	most = quota_user_reports(vm->user, PUMP_REPORTS_PER_TURN, clock_now_usec(), ret_usec);
	if (most == 0)
		return true;
	more = take_reports(vm, most, &taken);
	quota_user_took(vm->user, taken);
	domain_note_steps(vm->domain);
	return more;
}

/* ---- down ---- */

static void spend(struct domain *domain, unsigned orders)
{
	turn_note(TURN_ORDERS, orders);
	domain->orders_left -= orders < domain->orders_left ? orders : domain->orders_left;
}

/* To wake a VMM, or to open a segment for it, takes as long as some hundred orders. */
static void spend_packets(struct domain *domain, unsigned packets)
{
	if (PUMP_PACKETS_COUNT)
		spend(domain, packets * PUMP_PACKET_ORDERS);
	else
		turn_note(TURN_ORDERS, packets * PUMP_PACKET_ORDERS);
}

static bool next_order(void *context, struct ring_record *ret_order)
{
	const struct daemon_vm *vm = context;
	struct domain *domain = vm->domain;

	if (domain->orders_left == 0 || !engine_next_order(domain->engine, vm->connection.engine_vm, ret_order))
		return false;
	spend(domain, 1);
	return true;
}

static int open_segment(void *context, uint32_t segment)
{
	const struct daemon_vm *vm = context;

	spend_packets(vm->domain, 2);
	return store_view_open(vm->domain->store, vm->pid, vm->start_time, segment);
}

static void give_orders(struct daemon_vm *vm)
{
	static const struct link_source source = { .next_order = next_order, .open_segment = open_segment };

	spend_packets(vm->domain, link_give_orders(vm->connection.link, &source, vm));
	daemon_vm_set_stalled(vm, vm->connection.link->has_held);
}

void pump_give_orders(struct daemon_vm *vm)
{
	vm->domain->orders_left = RING_DOWN_RECORDS;
	give_orders(vm);
}

void pump_want_segment(struct daemon_vm *vm, uint32_t segment)
{
	if (link_want_segment(vm->connection.link, segment))
		pump_give_orders(vm);
}

/* ---- the clock ---- */

static bool takes_orders(const struct daemon_vm *vm)
{
	return daemon_vm_is_connected(vm) && link_is_open(vm->connection.link);
}

/* Serves VMs from the cursor *@place on, which is 0 again when all have had their turn. */
static void give_from(struct domain *domain, uint32_t *place)
{
	struct engine_vm *engine_vm;

	while (domain->orders_left > 0) {
		struct daemon_vm *vm;

		engine_vm = engine_next_ready(domain->engine, place);
		if (engine_vm == NULL) {
			*place = 0;
			return;
		}
		vm = engine_vm_context(engine_vm);
		if (vm && takes_orders(vm))
			give_orders(vm);
	}
}

/* @return whether orders are left for the next turn because time is up, not because a ring is full. */
static bool give_all_orders(struct domain *domain)
{
	domain->orders_left = PUMP_ORDERS_PER_TURN;
	give_from(domain, &domain->orders_place);
	return domain->orders_left == 0;
}

/*
 * Advances the engine's clock, unless that was done a moment ago: any event may need a tick, and some of many VMs
 * always have events. @return when the next tick is due.
 */
static uint64_t tick(struct domain *domain)
{
	uint64_t now = clock_now_usec(), soonest = domain->ticked_usec + (uint64_t)TICK_USEC_PER_VM * domain->vm_count;
	uint64_t wait;

	if (domain->ticked_usec != 0 && now < soonest)
		return soonest;
	wait = engine_tick(domain->engine, now);
	domain->ticked_usec = now;
	domain_note_steps(domain);
	return wait < UINT64_MAX - 1 - now ? now + wait : UINT64_MAX - 1;
}

static int on_pump(sd_event_source *source, void *user)
{
	struct domain *domain = user;
	struct fair *fair = domain->domains->fair;
	uint64_t due;

	fair_begin(fair, source);
	due = tick(domain);
	if (give_all_orders(domain))
		domain_schedule_pump(domain);
	domain_look_for_room(domain, false);
	sd_event_source_set_time(domain->tick, due);
	sd_event_source_set_enabled(domain->tick, SD_EVENT_ONESHOT);
	fair_end(fair, &domain->share);
	fair_place(fair, &domain->share, source);
	return 0;
}

/* Those that there is no time for go first the next time. */
static void give_stalled(struct domain *domain)
{
	const struct daemon_vm *last = TAILQ_LAST(&domain->stalled, daemon_vm_list);
	struct daemon_vm *vm = NULL;

	while (vm != last && domain->orders_left > 0) {
		vm = TAILQ_FIRST(&domain->stalled);
		TAILQ_REMOVE(&domain->stalled, vm, stalled_entries);
		TAILQ_INSERT_TAIL(&domain->stalled, vm, stalled_entries);
		spend(domain, PUMP_STALLED_ORDERS);
		if (takes_orders(vm))
			give_orders(vm);
	}
}

static int on_tick(sd_event_source *source, uint64_t usec, void *user)
{
	struct domain *domain = user;

	(void)source;
	(void)usec;
	domain->orders_left = PUMP_ORDERS_PER_TURN;
	give_stalled(domain);
	domain_schedule_pump(domain);
	return 0;
}

int pump_start(struct domain *domain)
{
	int r;

	r = sd_event_add_defer(domain->event, &domain->pump, on_pump, domain); /* comes once, and sets the tick */
	if (r >= 0)
		r = sd_event_add_time(domain->event, &domain->tick, CLOCK_MONOTONIC, UINT64_MAX - 1, 1000, on_tick,
				      domain);
	fair_place(domain->domains->fair, &domain->share, domain->pump);
	return r < 0 ? r : 0;
}
