/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The engine against a naive model: simulated guests write, discard, start anew, come, go, lose their connection,
 * refuse and fall silent, in any order, while the engine shares their pages. Whatever happens no guest reads a wrong
 * byte; at rest the engine's figures are those that counting gives; and once the guests hold still, one requested pass
 * shares all that is equal, and so do SLOW_PASSES when nobody asks for one.
 *
 *   model-test [--lose] [SEED [STEPS]]     the seed is printed, and random if it is not given
 *
 * --lose: a control. Workers lose orders now and then without an answer, which must not go unseen.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "engine/state.h"
#include "tests/engine/simulation.h"

#define CONTENTS 40u
#define REGION_PAGES 300u
#define SLOW_TICK_USEC 100000u
#define SLOW_PASSES 3u /* one remembers what has changed, the next one merges; it began in the middle of one */

static const char *failed;
static bool unaccounted; /* old segments may still be mapped by a VM that has not reconnected */

static void expect(bool holds, const char *what)
{
	if (!holds && failed == NULL)
		failed = what;
}

static struct sim_vm *random_vm(struct sim *sim)
{
	return sim->vms[sim_random(sim, SIM_VMS)];
}

/* Few contents, so that much is equal; long runs of one, so that stripes come to be; and some that nobody else has. */
static void write_run(struct sim *sim, struct sim_vm *vm)
{
	const struct sim_region *region;
	uint32_t start, count, content, step;

	if (vm->region_count == 0)
		return;
	region = &vm->regions[sim_random(sim, vm->region_count)];
	start = sim_random(sim, region->pages);
	count = 1 + sim_random(sim, sim_random(sim, 4) ? 16 : 200);
	content = sim_random(sim, 8) ? sim_random(sim, CONTENTS) : 1000 + sim_random(sim, 1000000);
	step = sim_random(sim, 3) != 0;
	for (uint32_t i = 0; i < count && start + i < region->pages; i++)
		sim_write(vm, region->first + start + i, content + i * step);
}

static void discard_run(struct sim *sim, struct sim_vm *vm)
{
	uint32_t start = 1 + sim_random(sim, vm->next_page), count = 1 + sim_random(sim, 40);

	for (uint32_t i = start; i < start + count && i < vm->next_page; i++)
		sim_discard(vm, i);
}

/* It reads from its disk. */
static void note_run(struct sim *sim, struct sim_vm *vm)
{
	uint32_t start = 1 + sim_random(sim, vm->next_page), count = 1 + sim_random(sim, 60);

	for (uint32_t i = start; i < start + count && i < vm->next_page && vm->vm != NULL; i++)
		sim_note(vm, i);
}

/* The guest starts anew: all memory is dropped, or not, and written with what other guests have, too. */
static void reset(struct sim *sim, struct sim_vm *vm)
{
	bool drop = sim_random(sim, 2);
	uint32_t different = 1 + sim_random(sim, CONTENTS);

	for (uint32_t i = 1; i < vm->next_page; i++) {
		if (drop)
			sim_discard(vm, i);
		sim_write(vm, i, i % different);
	}
}

/* Some have room for a 2 MiB page, or two, and not all begin with one. */
static void add_region(struct sim *sim, struct sim_vm *vm)
{
	uint32_t blocks = sim_random(sim, 4) ? 0 : 1 + sim_random(sim, 2);

	vm->before = sim_random(sim, 2) ? 0 : sim_random(sim, ENGINE_BLOCK_PAGES);
	sim_vm_add_region(vm, 1 + sim_random(sim, REGION_PAGES) + ENGINE_BLOCK_PAGES * blocks);
}

/* All of it is there, and most of it of one content, or of those that others have: it is in 2 MiB pages. */
static void fill_large(struct sim *sim, struct sim_vm *vm)
{
	for (uint32_t i = 1; i < vm->next_page; i++) {
		bool common = sim_random(sim, 4);

		if (vm->pages[i].state == SIM_ABSENT)
			sim_write(vm, i, common ? sim_random(sim, CONTENTS) : 1000 + sim_random(sim, 1000000));
	}
	for (uint32_t i = 1; i < vm->next_page; i += ENGINE_BLOCK_PAGES / 2)
		(void)sim_collapse(vm, i);
}

static void add_vm(struct sim *sim)
{
	static char accounts[3];
	struct sim_vm *vm = sim_vm_new(sim, sim_random(sim, 8) ? WIRE_MODE_FULL : WIRE_MODE_ZERO);
	uint32_t regions = 1 + sim_random(sim, 3);

	if (vm == NULL)
		return;
	for (uint32_t i = 0; i < regions; i++)
		add_region(sim, vm);
	for (uint32_t i = 0; i < 10; i++)
		write_run(sim, vm);
	if (sim_random(sim, 2))
		fill_large(sim, vm);
	vm->account = &accounts[sim_random(sim, 3)];
	sim_vm_connect(vm);
}

static void change_region(struct sim *sim, struct sim_vm *vm)
{
	if (vm->region_count > 1 && sim_random(sim, 2))
		sim_vm_remove_region(vm, sim_random(sim, vm->region_count));
	else
		add_region(sim, vm);
}

/* It is told to, or says so when it connects the next time. */
static void set_mode(struct sim_vm *vm, enum wire_mode mode)
{
	vm->mode = mode;
	if (vm->vm != NULL && sim_random(vm->sim, 2))
		sim_vm_disconnect(vm);
	else if (vm->vm != NULL)
		engine_set_mode(vm->sim->engine, vm->vm, mode);
}

static void change_mode(struct sim_vm *vm)
{
	static const enum wire_mode modes[] = { WIRE_MODE_FULL, WIRE_MODE_ZERO, WIRE_MODE_HINTS, WIRE_MODE_OFF };

	set_mode(vm, modes[sim_random(vm->sim, 4)]);
}

/* The host has less memory, or more again. */
static void change_large(struct sim *sim)
{
	sim->settings.dense_pages = 1 + sim_random(sim, ENGINE_BLOCK_PAGES);
	sim->settings.large_back = sim_random(sim, 2) != 0;
	sim->settings.large_back_pages = sim_random(sim, 3) * 100;
	sim_set_large(sim, sim_random(sim, 3), sim_random(sim, 3));
}

/* Its kernel makes 2 MiB pages. */
static void collapse_some(struct sim *sim, struct sim_vm *vm)
{
	for (uint32_t i = 0; i < 4; i++)
		(void)sim_collapse(vm, 1 + sim_random(sim, vm->next_page));
}

static void reconnect_all(struct sim *sim)
{
	for (uint32_t i = 0; i < SIM_VMS; i++)
		if (sim->vms[i] != NULL && sim->vms[i]->vm == NULL)
			sim_vm_connect(sim->vms[i]);
	if (unaccounted)
		engine_accounted(sim->engine);
	unaccounted = false;
}

static void restart(struct sim *sim)
{
	sim_kill_engine(sim);
	sim_start(sim);
	unaccounted = true;
	for (uint32_t i = 0; i < SIM_VMS; i++) {
		if (sim->vms[i] == NULL)
			continue;
		if (sim_random(sim, 8) == 0)
			sim_vm_end(sim->vms[i]);
		else if (sim_random(sim, 4))
			sim_vm_connect(sim->vms[i]);
	}
}

static void rare_step(struct sim *sim, struct sim_vm *vm)
{
	switch (sim_random(sim, 16)) {
	case 13:
		change_large(sim);
		engine_want_estimate(sim->engine);
		if (vm->vm != NULL)
			(void)engine_survey(vm->vm);
		break;
	case 14:
	case 15:
		collapse_some(sim, vm);
		break;
	case 0:
	case 1:
		add_vm(sim);
		break;
	case 12:
		reset(sim, vm);
		break;
	case 2:
		if (!unaccounted || vm->vm != NULL)
			sim_vm_end(vm);
		break;
	case 3:
	case 4:
		change_region(sim, vm);
		break;
	case 5:
		change_mode(vm);
		break;
	case 6:
		if (vm->vm != NULL)
			sim_vm_disconnect(vm);
		else
			sim_vm_connect(vm);
		break;
	case 7:
		vm->refuse_percent = sim_random(sim, 3) ? 0 : sim_random(sim, 101);
		sim->stale_percent = sim_random(sim, 101);
		break;
	case 8:
		vm->silent = sim_random(sim, 4) == 0;
		break;
	case 9:
		if (sim_random(sim, 20) == 0)
			restart(sim);
		break;
	case 10:
		reconnect_all(sim);
		break;
	case 11:
		sim->store_fails = sim_random(sim, 4) == 0;
		sim->exposed_max = sim_random(sim, 2) ? 0 : 1 + sim_random(sim, 2000);
		sim->exposed_vm_max = sim_random(sim, 2) ? 0 : 1 + sim_random(sim, 200);
		break;
	}
}

static void step(struct sim *sim)
{
	struct sim_vm *vm = random_vm(sim);

	if (vm == NULL) {
		if (sim_random(sim, 50) == 0)
			add_vm(sim);
		return;
	}
	switch (sim_random(sim, 17)) {
	case 0:
	case 1:
		write_run(sim, vm);
		break;
	case 16:
		note_run(sim, vm);
		break;
	case 2:
		discard_run(sim, vm);
		break;
	case 3:
		if (vm->vm != NULL && sim_random(sim, 10) == 0)
			engine_scan(sim->engine, vm->vm);
		break;
	case 4:
		sim_tick(sim, sim_random(sim, 20) ? sim_random(sim, 100000) : sim_random(sim, 12000000));
		break;
	case 5:
		if (sim_random(sim, 4) == 0)
			rare_step(sim, vm);
		break;
	case 6:
	case 7:
	case 8:
		sim_take_orders(vm, 1 + sim_random(sim, 40));
		break;
	case 9:
	case 10:
	case 11:
		sim_work(vm, 1 + sim_random(sim, 20));
		break;
	default:
		sim_take_reports(vm, 1 + sim_random(sim, 300));
	}
}

/* ---- the naive model ---- */

struct counted {
	uint64_t shared, zero, diverged;
};

static struct counted count_vm(const struct sim_vm *vm)
{
	struct counted counted = { 0 };

	for (uint32_t i = 1; i < vm->next_page; i++) {
		counted.shared += vm->pages[i].state == SIM_SHARED;
		counted.zero += vm->pages[i].state == SIM_ZEROED;
		counted.diverged += vm->pages[i].copy;
	}
	return counted;
}

/* What an estimate says of now is what the counters say; one that was begun before is let end. */
static void check_estimate(struct sim *sim, const struct engine_counters *host)
{
	struct engine_estimate_summary summary;
	struct engine_estimate *estimate;
	uint64_t done, total;

	for (uint32_t i = 0; i < 2; i++) {
		while (engine_is_estimating(sim->engine, &done, &total))
			sim_tick(sim, 2000);
		engine_want_estimate(sim->engine);
	}
	while (engine_is_estimating(sim->engine, &done, &total))
		sim_tick(sim, 2000);
	estimate = engine_take_estimate(sim->engine);
	engine_estimate_summary(estimate, &summary);
	expect(summary.all.shared_pages == host->shared_pages, "at rest: the estimate's shared_pages");
	expect(summary.all.zero_pages == host->zero_pages, "at rest: the estimate's zero_pages");
	expect(summary.all.looked_pages <= summary.all.ram_pages, "the estimate knows more pages than there are");
	expect(summary.all.would_share_pages <= summary.all.looked_pages, "the estimate saves more than there is");
	engine_drop_estimate(estimate);
}

/* Everything said has been heard, and everything ordered done: the engine knows what counting finds. */
static void check_at_rest(struct sim *sim)
{
	struct engine_counters host;
	struct engine_vm_counters counters;
	struct counted total = { 0 };
	int64_t saved = 0;

	engine_counters(sim->engine, &host);
	for (uint32_t i = 0; i < SIM_VMS; i++) {
		struct counted counted;

		if (sim->vms[i] == NULL)
			continue;
		counted = count_vm(sim->vms[i]);
		engine_vm_last_counted(sim->vms[i]->vm, &counters);
		saved += counters.saved_pages;
		total.shared += counted.shared;
		total.zero += counted.zero;
		expect(counters.shared_pages == counted.shared, "at rest: a VM's shared_pages");
		expect(counters.zero_pages == counted.zero, "at rest: a VM's zero_pages");
		expect(counters.diverged_pages == counted.diverged, "at rest: a VM's diverged_pages");
	}
	expect(host.shared_pages == total.shared && host.zero_pages == total.zero, "at rest: the host's pages");
	expect(host.saved_pages == (int64_t)(total.shared + total.zero - host.common_pages), "at rest: saved");
	expect(saved == host.saved_pages, "at rest: the VMs' saved add up");
	expect(host.store_pages == sim_stored(sim), "at rest: store_pages");
	expect(host.common_pages <= host.store_pages, "at rest: common_pages");
	check_estimate(sim, &host);
}

/* Guests write on while nothing is waited for, so that the pass that follows meets orders that are under way. */
static void write_to_the_last(struct sim *sim)
{
	for (uint32_t i = 0; i < 400; i++) {
		struct sim_vm *vm = random_vm(sim);

		if (vm == NULL)
			continue;
		write_run(sim, vm);
		sim_take_orders(vm, sim_random(sim, 40));
		sim_work(vm, sim_random(sim, 20));
		sim_take_reports(vm, sim_random(sim, 300));
		if (i % 16 == 0)
			sim_tick(sim, sim_random(sim, 10000));
	}
}

/* As many slow passes as it takes, each within its interval, without anything being asked for. */
static void pass_slowly(struct sim *sim)
{
	const uint64_t usec = (uint64_t)SLOW_PASSES * sim->settings.scan_interval_seconds * 1000000;

	for (uint64_t passed = 0; passed <= usec; passed += SLOW_TICK_USEC) {
		sim_tick(sim, SLOW_TICK_USEC);
		sim_settle(sim);
	}
}

/*
 * One pass while 2 MiB pages stay whole; then they may be split, and nothing is looked at any more: what is shared now
 * is shared by hashes that were ready.
 */
static void release(struct sim *sim)
{
	uint32_t interval = sim->settings.scan_interval_seconds;
	uint64_t splits = sim->splits;

	expect(sim_scan_all(sim), "a pass over 2 MiB pages never ends");
	expect(sim->splits == splits, "a 2 MiB page was split that had to stay whole");
	sim->settings.scan_interval_seconds = 0;
	sim_set_large(sim, ENGINE_LARGE_ALWAYS, ENGINE_LARGE_ALWAYS);
	for (uint32_t tick = 0; tick < 500; tick++) {
		sim_tick(sim, 2000);
		sim_settle(sim);
	}
	sim->settings.scan_interval_seconds = interval;
	engine_change_settings(sim->engine, &sim->settings);
}

/* Everybody is well again, and nothing changes any more. */
static void rest(struct sim *sim)
{
	bool asked = sim_random(sim, 2), ahead = sim_random(sim, 2);
	enum engine_large large = ahead ? ENGINE_LARGE_KEEP : ENGINE_LARGE_ALWAYS;

	sim_set_large(sim, large, large);
	for (uint32_t i = 0; i < SIM_VMS; i++) {
		if (sim->vms[i] == NULL)
			continue;
		sim->vms[i]->refuse_percent = 0;
		sim->vms[i]->silent = false;
		if (sim->vms[i]->mode != WIRE_MODE_FULL)
			set_mode(sim->vms[i], WIRE_MODE_FULL);
	}
	sim->store_fails = false;
	sim->stale_percent = 0; /* their turn to be read comes once in so many passes */
	sim->exposed_max = sim->exposed_vm_max = 0;
	reconnect_all(sim);
	sim_settle(sim);
	sim_tick(sim, 2000); /* sees that all answer again: one that did not would not be waited for */
	write_to_the_last(sim);
	if (ahead) {
		sim_settle(sim); /* what was ordered before is done */
		release(sim);
	} else if (asked)
		expect(sim_scan_all(sim), "a pass never ends");
	else
		pass_slowly(sim);
}

static void may_be_alone(bool *alone)
{
	expect(!*alone, "two equal pages were not shared");
	*alone = true;
}

/*
 * Equal pages are shared, but for one at most, and that only if all others map slots that the table does not name any
 * more: old ones of content that became a stripe meanwhile, or that lay in the store several times after a restart.
 */
static void check_all_shared(struct sim *sim)
{
	static uint32_t count[2000000];
	static bool alone[2000000];

	for (int round = 0; round < 3; round++)
		for (uint32_t i = 0; i < SIM_VMS; i++)
			for (uint32_t j = 1; sim->vms[i] && j < sim->vms[i]->next_page; j++) {
				const struct sim_page *page = &sim->vms[i]->pages[j];

				if (page->state == SIM_ABSENT)
					continue;
				if (round == 0)
					count[page->content]++;
				else if (round == 1 && page->content == 0)
					expect(page->state == SIM_ZEROED, "a zero page was not given back");
				else if (round == 1 && count[page->content] > 1 && page->state != SIM_SHARED)
					may_be_alone(&alone[page->content]);
				else if (round == 2 && alone[page->content] && page->state == SIM_SHARED)
					expect(slot_is_displaced(slots_get(&sim->engine->slots, page->slot)),
					       "an equal page was not shared");
			}
	memset(count, 0, sizeof(count));
	memset(alone, 0, sizeof(alone));
}

static void check_now(struct sim *sim)
{
	const char *wrong = engine_check(sim->engine);

	sim_check_memory(sim);
	expect(wrong == NULL, wrong);
	expect(sim->wrong == NULL, sim->wrong);
}

/* Some may share nothing any more, or zeros only: they get memory of their own, and nobody else is the worse for it. */
static void unshare_some(struct sim *sim)
{
	for (uint32_t i = 0; i < SIM_VMS; i++)
		if (sim->vms[i] != NULL && sim_random(sim, 2))
			set_mode(sim->vms[i], sim_random(sim, 3) ? WIRE_MODE_OFF : WIRE_MODE_ZERO);
	write_to_the_last(sim);
	reconnect_all(sim);
	for (uint32_t tick = 0; tick < 2000; tick++) {
		sim_tick(sim, 2000);
		sim_settle(sim);
	}
	for (uint32_t i = 0; i < SIM_VMS; i++) {
		struct counted counted;

		if (sim->vms[i] == NULL || sim->vms[i]->mode == WIRE_MODE_FULL)
			continue;
		counted = count_vm(sim->vms[i]);
		expect(counted.shared == 0, "a VM shares that may not");
		expect(counted.zero == 0 || sim->vms[i]->mode == WIRE_MODE_ZERO, "zeros of a VM that shares nothing");
		expect(engine_pages_to_unshare(sim->vms[i]->vm) == 0, "unsharing never ends");
	}
}

static void run(struct sim *sim, uint32_t steps)
{
	for (uint32_t i = 1; i <= steps && failed == NULL; i++) {
		step(sim);
		if (sim->wrong != NULL || i % 512 == 0)
			check_now(sim);
		if (i % 16384 == 0) {
			rest(sim);
			check_now(sim);
			check_at_rest(sim);
			check_all_shared(sim);
			unshare_some(sim);
			check_now(sim);
		}
		if (failed != NULL)
			fprintf(stderr, "at step %u\n", i);
	}
}

static void end_all(struct sim *sim)
{
	struct engine_counters host;

	reconnect_all(sim);
	for (uint32_t i = 0; i < SIM_VMS; i++)
		if (sim->vms[i] != NULL)
			sim_vm_end(sim->vms[i]);
	engine_counters(sim->engine, &host);
	expect(host.shared_pages == 0 && host.store_pages == 0, "slots are left when all VMs have ended");
	expect(sim_stored(sim) == 0, "memory is left when all VMs have ended");
	check_now(sim);
}

int main(int argc, char **argv)
{
	uint64_t seed;
	static struct sim sim;
	bool lose = argc > 1 && strcmp(argv[1], "--lose") == 0;

	argc -= lose;
	argv += lose;
	if (argc > 1)
		seed = strtoull(argv[1], NULL, 0);
	else if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		return 1;
	printf("seed %" PRIu64 "\n", seed);
	fflush(stdout);
	if (sim_init(&sim, seed) < 0)
		return 1;
	sim.loses_orders = lose;
	run(&sim, argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 0) : 200000);
	if (failed == NULL)
		end_all(&sim);
	if (failed != NULL)
		fprintf(stderr, "damage: %s (seed %" PRIu64 ")\n", failed, seed);
	else
		printf("%" PRIu64 " merges, %" PRIu64 " pages diverged, %" PRIu64 " UNSHARE orders, %" PRIu64
		       " segments removed, %" PRIu64 " blocks given back\n",
		       sim.merged, sim.diverged, sim.unshare_orders, sim.removed_segments, sim.blocks_given_back);
	sim_done(&sim);
	return failed != NULL;
}
