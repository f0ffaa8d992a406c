/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the engine costs the daemon, without workers, kernel or store: many VMs that all report as fast as they can.
 * Contents are 8 distinct bytes at the beginning of a page; the time to hash those that are fetched is part of it, as
 * it is in the daemon, but each slot's memory is the same page, so that the kernel's share (tmpfs) is not.
 *
 *   engine-simulation [VMS [PAGES]]     defaults: 1000 VMs of 4096 pages
 *
 * Of each VM's pages a half has a twin in every other VM, in the same order; the rest is its own.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/hash.h"
#include "engine/engine.h"

#define SEED 1

struct vm {
	struct engine_vm *vm;
	uint32_t index;
	uint32_t passed; /* pages for which a SCAN was answered */
};

static struct engine *engine;
static struct vm *vms;
static uint32_t vm_count = 1000, vm_pages = 4096;
static uint64_t *common_hashes;
static uint64_t hashed, merged, orders;
static unsigned char slot_memory[PAGE_BYTES], staging[PAGE_BYTES];

static int add_segment(void *context, uint32_t segment)
{
	(void)context;
	(void)segment;
	return 0;
}

static void remove_segment(void *context, uint32_t segment)
{
	(void)context;
	(void)segment;
}

static int slot_write(void *context, uint32_t slot, const void *content)
{
	(void)context;
	(void)slot;
	memcpy(slot_memory, content, PAGE_BYTES);
	return 0;
}

static int slot_read(void *context, uint32_t slot, void *ret_content)
{
	(void)context;
	(void)slot;
	memcpy(ret_content, slot_memory, PAGE_BYTES);
	return 0;
}

static void punch(void *context, uint32_t slot, uint32_t count)
{
	(void)context;
	(void)slot;
	(void)count;
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void content_of(const struct vm *vm, uint32_t page, void *ret)
{
	uint64_t content = page % 2 ? page : (uint64_t)(vm->index + 1) << 32 | page;

	memcpy(ret, &content, sizeof(content));
}

static uint64_t hash_of(const struct vm *vm, uint32_t page)
{
	uint64_t own = (uint64_t)vm->index << 32 | page;

	if (page % 2)
		return common_hashes[page];
	/* What nobody else has is never fetched, and needs no real hash. */
	return own * UINT64_C(0x9e3779b97f4a7c15) ^ (uint64_t)page << 40;
}

static void report(struct vm *vm, enum ring_report op, uint32_t page, uint32_t count, uint64_t value,
		   const void *content)
{
	struct ring_record record = { .op = (uint8_t)op, .count = (uint16_t)count, .page = page, .value = value };

	if (engine_report(engine, vm->vm, &record, content) < 0) {
		fprintf(stderr, "report %d of page %u was refused\n", (int)op, page);
		exit(1);
	}
}

static void work(struct vm *vm, const struct ring_record *order)
{
	orders++;
	switch (order->op) {
	case ORDER_SCAN:
		for (uint32_t i = order->page; i < order->page + order->count; i++)
			report(vm, REPORT_HASH, i, 1, hash_of(vm, i), NULL);
		hashed += order->count;
		vm->passed += order->count;
		/* fall through */
	case ORDER_AUDIT:
		report(vm, REPORT_SCANNED, order->page, order->count, order->count, NULL);
		break;
	case ORDER_FETCH:
		content_of(vm, order->page, staging);
		report(vm, REPORT_FETCHED, order->page, 1, 0, staging);
		break;
	case ORDER_MERGE:
		report(vm, REPORT_MERGED, order->page, order->count, order->slot, NULL);
		merged += order->count;
		break;
	default:
		fprintf(stderr, "order %u was not expected\n", order->op);
		exit(1);
	}
}

/* As the daemon: all reports of a turn, then all orders. */
static void turn(void)
{
	struct ring_record taken[512];
	struct engine_vm *ready;
	uint32_t cursor = 0;

	while ((ready = engine_next_ready(engine, &cursor)) != NULL) {
		struct vm *vm = engine_vm_context(ready);
		uint32_t count = 0;

		while (count < 512 && engine_next_order(engine, ready, &taken[count]))
			count++;
		for (uint32_t i = 0; i < count; i++)
			work(vm, &taken[i]);
	}
}

static void start(void)
{
	const struct engine_store store = {
		.add_segment = add_segment,
		.remove_segment = remove_segment,
		.write = slot_write,
		.read = slot_read,
		.punch = punch,
	};
	struct engine_settings settings;

	engine_settings_default(&settings);
	settings.seed = SEED;
	settings.scan_cpu_percent = 0;
	engine = engine_new(&settings, &store);
	vms = calloc(vm_count, sizeof(*vms));
	common_hashes = calloc(vm_pages + 1, sizeof(*common_hashes));
	if (engine == NULL || vms == NULL || common_hashes == NULL)
		exit(1);
	for (uint32_t i = 1; i <= vm_pages; i += 2) {
		content_of(&vms[0], i, staging);
		common_hashes[i] = page_hash(staging, SEED);
	}
	for (uint32_t i = 0; i < vm_count; i++) {
		if (engine_add_vm(engine, WIRE_MODE_FULL, &vms[i].vm) < 0)
			exit(1);
		vms[i].index = i;
		engine_vm_set_context(vms[i].vm, &vms[i]);
		report(&vms[i], REPORT_REGION_ADD, 1, 1, vm_pages, NULL);
		report(&vms[i], REPORT_READY, 1, 1, 0, NULL);
	}
}

static bool first_pass_over(void)
{
	for (uint32_t i = 0; i < vm_count; i++)
		if (vms[i].passed < vm_pages)
			return false;
	return true;
}

int main(int argc, char **argv)
{
	struct engine_counters counters;
	uint64_t now = 1000000, pages, before;
	double begun;

	if (argc > 1)
		vm_count = (uint32_t)strtoul(argv[1], NULL, 0);
	if (argc > 2)
		vm_pages = (uint32_t)strtoul(argv[2], NULL, 0);
	if (vm_count == 0 || vm_count > ENGINE_VMS_MAX || vm_pages == 0) {
		fprintf(stderr, "usage: engine-simulation [VMS [PAGES]]\n");
		return 2;
	}
	pages = (uint64_t)vm_count * vm_pages;
	start();

	begun = seconds();
	while (!first_pass_over()) {
		engine_tick(engine, now += 1000);
		turn();
	}
	for (int i = 0; i < 100; i++) {
		engine_tick(engine, now += 1000);
		turn();
	}
	begun = seconds() - begun;
	engine_counters(engine, &counters);
	printf("first pass: %.2f s, %" PRIu64 " hashes, %" PRIu64 " merged: ", begun, hashed, merged);
	printf("%.0f ns per hash; were all the merges' cost, %.0f ns per merge\n", begun / (double)hashed * 1e9,
	       begun / (double)merged * 1e9);
	printf("saved %" PRId64 " of %" PRIu64 " pages, common %" PRIu64 "\n", counters.saved_pages, pages,
	       counters.common_pages);
	printf("engine memory: %.1f MiB, %.1f bytes per page\n", (double)engine_memory_bytes(engine) / 1048576.0,
	       (double)engine_memory_bytes(engine) / (double)pages);

	before = hashed;
	begun = seconds();
	while (hashed < before + pages) {
		engine_tick(engine, now += 10000);
		turn();
	}
	begun = seconds() - begun;
	printf("slow pass in which nothing has changed: %.2f s, %.0f ns per hash, ticks included\n", begun,
	       begun / (double)(hashed - before) * 1e9);
	begun = seconds();
	for (int i = 0; i < 100; i++)
		engine_counters(engine, &counters);
	printf("counters: %.2f ms a time\n", (seconds() - begun) * 10);
	engine_free(engine);
	free(common_hashes);
	free(vms);
	return 0;
}
