/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/survey.h"

#include "engine/orders.h"
#include "engine/rest.h"
#include "engine/state.h"

#define SURVEY_SLICE_PAGES 1024u
#define SURVEY_ORDERS 512u /* of a VM that has more waiting none is added */

static bool is_under_way(const struct engine_vm *vm)
{
	for (uint32_t i = 0; i < vm->scan_count; i++)
		if (vm->scans[i].kind == SCAN_SURVEY)
			return true;
	return false;
}

static bool may_survey(const struct engine_vm *vm)
{
	return vm->ready && !vm->detached && !vm->unresponsive && vm_mode(vm) != WIRE_MODE_FULL;
}

static void end(struct engine_vm *vm)
{
	struct survey *survey = &vm->survey;

	survey->active = false;
	if (survey->from_usec == 0)
		return;
	survey->begun_usec = survey->from_usec;
	survey->ended_usec = vm->engine->now_usec;
	if (survey->from_usec > vm->looked_usec)
		vm->looked_usec = survey->from_usec;
}

void survey_go_on(struct engine_vm *vm)
{
	struct survey *survey = &vm->survey;
	struct scan scan = { .kind = SCAN_SURVEY };
	const struct region *region;

	if (survey->active && !may_survey(vm))
		survey_void(vm);
	if (!survey->active || is_under_way(vm))
		return;
	region = regions_from(&vm->regions, survey->page);
	if (region == NULL) {
		end(vm);
		return;
	}
	scan.page = survey->page > region->first ? survey->page : region->first;
	scan.count = region->pages - (scan.page - region->first);
	scan.count = scan.count < SURVEY_SLICE_PAGES ? scan.count : SURVEY_SLICE_PAGES;
	if (vm->orders.length < SURVEY_ORDERS && orders_scan(vm, ORDER_SCAN, &scan))
		survey->page = scan.page + scan.count;
}

void survey_void(struct engine_vm *vm)
{
	vm->survey.active = false;
	vm->survey.from_usec = 0;
}

bool engine_survey(struct engine_vm *vm)
{
	if (!may_survey(vm))
		return false;
	if (vm->survey.active)
		return true;
	rest_wake(vm);
	vm->survey.active = true;
	vm->survey.page = 1;
	vm->survey.from_usec = vm->engine->now_usec;
	survey_go_on(vm);
	return true;
}

void engine_survey_state(const struct engine_vm *vm, struct engine_survey *ret)
{
	uint64_t done = 0;

	for (uint32_t i = 0; i < vm->regions.count && vm->survey.active; i++) {
		const struct region *region = vm->regions.list[i];
		uint32_t passed = vm->survey.page > region->first ? vm->survey.page - region->first : 0;

		done += passed < region->pages ? passed : region->pages;
	}
	*ret = (struct engine_survey){
		.active = vm->survey.active,
		.done_pages = done,
		.total_pages = vm->regions.pages,
		.begun_usec = vm->survey.begun_usec,
		.ended_usec = vm->survey.ended_usec,
	};
}
