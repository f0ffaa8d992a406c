/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The engine as a whole: making it, and which report goes where. */
#include "engine/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/answers.h"
#include "engine/estimate.h"
#include "engine/hints.h"
#include "engine/leaving.h"
#include "engine/match.h"
#include "engine/numbers.h"
#include "engine/release.h"
#include "engine/rest.h"
#include "engine/schedule.h"
#include "engine/state.h"
#include "engine/stripes.h"
#include "engine/unshare.h"
#include "engine/vm.h"
#include "engine/whole.h"

const char *const engine_large_names[] = {
	[ENGINE_LARGE_KEEP] = "keep", [ENGINE_LARGE_DENSE] = "dense", [ENGINE_LARGE_ALWAYS] = "always", NULL
};

void engine_settings_default(struct engine_settings *settings)
{
	*settings = (struct engine_settings){
		.scan_interval_seconds = 30,
		.audit_interval_seconds = 5,
		.scan_cpu_percent = 10,
		.vm_slots_max = UINT64_C(16) << 20, /* 64 GiB */
		.vm_ram_bytes_max = UINT64_C(4) << 40,
		.large_scans = ENGINE_LARGE_ALWAYS,
		.large_hints = ENGINE_LARGE_ALWAYS,
		.dense_pages = 128,
		.segments_max = ENGINE_SEGMENTS_MAX,
		.estimate_contents = ENGINE_ESTIMATE_CONTENTS,
		.estimate_pair_vms = ENGINE_ESTIMATE_PAIR_VMS,
	};
}

void engine_change_settings(struct engine *engine, const struct engine_settings *settings)
{
	struct engine_settings before = engine->settings;

	engine->settings = *settings;
	engine->settings.segments_max = before.segments_max;
	engine->settings.estimate_contents = before.estimate_contents;
	engine->settings.estimate_pair_vms = before.estimate_pair_vms;
	engine->settings.seed = before.seed;
	memcpy(engine->settings.secret, before.secret, sizeof(before.secret));
	engine->slots.owner_slots_max = settings->vm_slots_max;
	if (settings->scan_interval_seconds != before.scan_interval_seconds ||
	    settings->audit_interval_seconds != before.audit_interval_seconds)
		schedule_anew(engine);
	rest_wake_all(engine);
	release_settings_changed(engine, &before);
	if (settings->large_back != before.large_back || settings->large_back_pages != before.large_back_pages)
		whole_settings_changed(engine);
}

static void revoke_windows(void *context, uint32_t segment)
{
	struct engine *engine = context;

	for (uint32_t i = 0; i < engine->vms_end; i++) {
		struct engine_vm *vm = engine->vms[i];

		if (vm != NULL && vm->window.next < vm->window.end && vm->window.next / ENGINE_SEGMENT_SLOTS == segment)
			slots_return(&engine->slots, &vm->window);
	}
}

static void released(void *context, uint32_t number)
{
	const struct engine *engine = context;

	stripes_released(&engine->links, number);
}

struct engine *engine_new(const struct engine_settings *settings, const struct engine_store *store)
{
	struct engine *engine = calloc(1, sizeof(*engine));

	if (engine == NULL)
		return NULL;
	engine->settings = *settings;
	engine->sweep_next = TABLE_PARTITIONS;
	table_init(&engine->table, hints_keep, engine);
	memcpy(engine->table.secret, settings->secret, sizeof(settings->secret));
	if (waiters_init(&engine->waiters) < 0 || space_init(&engine->space) < 0 ||
	    slots_init(&engine->slots, store, settings->vm_slots_max) < 0) {
		engine_free(engine);
		return NULL;
	}
	engine->slots.segments_max = settings->segments_max;
	engine->slots.context = engine;
	engine->slots.revoke = revoke_windows;
	engine->slots.released = released;
	engine->space.freed = numbers_freed;
	engine->space.context = engine;
	engine->links = (struct links){ &engine->slots, &engine->table };
	return engine;
}

void engine_free(struct engine *engine)
{
	if (engine == NULL)
		return;
	for (uint32_t i = 0; i < engine->vms_end; i++) /* the store stays as it is, for the next daemon */
		vm_free(engine->vms[i]);
	leaving_done(engine);
	estimate_done(engine);
	slots_done(&engine->slots);
	space_done(&engine->space);
	table_done(&engine->table);
	waiters_done(&engine->waiters);
	free(engine);
}

int engine_old_segment(struct engine *engine, uint32_t segment)
{
	engine->resync.wanted = true;
	return slots_hold_segment(&engine->slots, segment);
}

void engine_accounted(struct engine *engine)
{
	engine->resync.wanted = false;
	slots_let_go(&engine->slots);
}

static int region_add(struct engine_vm *vm, const struct ring_record *report)
{
	int r = vm_add_region(vm, report->page, report->value, report->count - 1u);

	if (r == 0 && vm_region(vm, report->page) != NULL)
		schedule_region(vm, report->page);
	return r;
}

uint64_t engine_take_steps(struct engine *engine)
{
	uint64_t steps = engine->steps;

	engine->steps = 0;
	return steps;
}

enum engine_room engine_store_room(const struct engine *engine)
{
	if (engine->slots.numbers_used_up)
		return ENGINE_ROOM_NO_NUMBERS;
	return engine->slots.backoff.full ? ENGINE_ROOM_NO_MEMORY : ENGINE_ROOM;
}

void engine_retry_store(struct engine *engine)
{
	backoff_retry_now(&engine->slots.backoff);
}

/* Reports of a worker before READY: what its VM has. */
static int report_early(struct engine_vm *vm, const struct ring_record *report)
{
	switch (report->op) {
	case REPORT_REGION_ADD:
		return region_add(vm, report);
	case REPORT_REGION_REMOVE:
		return vm_remove_region(vm, report->page);
	case REPORT_ADOPT:
	case REPORT_ADOPT_ZERO:
		return answer_adopt(vm, report);
	case REPORT_BROKEN:
		return whole_broken(vm, report);
	case REPORT_READY:
		schedule_ready(vm);
		return 0;
	default:
		return -EPROTO;
	}
}

/* Applies a report about a run to the part of it that lies in each region: workers' runs cross their borders. */
static int by_region(struct engine_vm *vm, const struct ring_record *report,
		     int (*apply)(struct engine_vm *, const struct ring_record *))
{
	struct ring_record part = *report;
	uint32_t left = report->count;
	int r = 0;

	while (left > 0 && r == 0) {
		const struct region *region = vm_region(vm, part.page);

		part.count = 1;
		while (part.count < left && vm_region(vm, part.page + part.count) == region)
			part.count++;
		r = apply(vm, &part);
		left -= part.count;
		part.page += part.count;
		part.slot += part.count; /* means nothing to those that name none */
	}
	return r;
}

static int report_ready(struct engine_vm *vm, const struct ring_record *report, const void *staging)
{
	switch (report->op) {
	case REPORT_REGION_ADD:
		return region_add(vm, report);
	case REPORT_REGION_REMOVE:
		return vm_remove_region(vm, report->page);
	case REPORT_HASH:
		return match_hash(vm, report);
	case REPORT_ZERO:
		return by_region(vm, report, match_zero);
	case REPORT_SAME:
		return by_region(vm, report, match_same);
	case REPORT_SCANNED:
		return schedule_scanned(vm, report);
	case REPORT_FETCHED:
		return match_fetched(vm, report, staging);
	case REPORT_MERGED:
	case REPORT_ZEROED:
		return by_region(vm, report, answer_done);
	case REPORT_DIFFERS:
	case REPORT_BUSY:
	case REPORT_GONE:
	case REPORT_FULL:
		return by_region(vm, report, answer_refused);
	case REPORT_DIVERGED:
		return by_region(vm, report, answer_diverged);
	case REPORT_UNSHARED:
		return unshare_answered(vm, report);
	case REPORT_BROKEN:
		return whole_broken(vm, report);
	case REPORT_WHOLE:
		return whole_answered(vm, report);
	default:
		return -EPROTO;
	}
}

void engine_prefetch(struct engine_vm *vm, const struct ring_record *report)
{
	if (report->op == REPORT_HASH)
		match_prefetch(vm, report);
}

int engine_report(struct engine *engine, struct engine_vm *vm, const struct ring_record *report, const void *staging)
{
	int r;

	if (vm->detached)
		return -EPROTO;
	rest_wake(vm);
	vm->heard = true;
	r = vm->ready ? report_ready(vm, report, staging) : report_early(vm, report);
	if (engine->waiters.used > 0)
		match_again(engine, MATCH_PER_REPORT / 2);
	if (leaving_goes_on(engine))
		leaving_go_on(engine, LEAVING_PER_REPORT +
					      (report->op == REPORT_ADOPT ? report->count * LEAVING_HELD : 0));
	slots_flush(&engine->slots);
	return r;
}
