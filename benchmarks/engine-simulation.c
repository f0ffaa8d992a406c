/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the engine costs the daemon, without workers, kernel or store: many VMs that all report as fast as they can.
 *
 *   engine-simulation [VMS [MIB]]     defaults: 1000 VMs of 16 MiB; MIB is a power of two
 *
 * Memory is as that of the real guests of this benchmark: about three quarters of it are files and programs that other
 * guests have, too, each in an order of its own, in runs of a few pages; the rest is a guest's own. Ten guests each are
 * of one image. So what a guest has does not depend on how many there are:
 *
 *   61 %   once in each guest of the image
 *    5 %   once in each guest of all
 *    5 %   of the image, and many times in a guest
 *    4 %   full of zeros
 *   25 %   its own
 *
 * Contents are 8 distinct bytes at the beginning of a page; the time to hash those that are fetched is part of it, as
 * it is in the daemon, but each slot's memory is the same page, so that the kernel's share (tmpfs) is not. What it
 * costs to make up the guests is measured beforehand and taken off.
 *
 * Prints lines "NAME VALUE". Bookkeeping is what the process has grown by, and the rings that the daemon has for a VM.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/hash.h"
#include "engine/engine.h"

#define SEED 1
#define PAGES_PER_MIB 256u
#define VMS_PER_IMAGE 10
#define CHUNK_PAGES 64u
#define REPEATED_CONTENTS 256u
#define TURN_ORDERS 512u
#define OWN_COST_CHUNKS 16384u

enum kind {
	KIND_IMAGE,
	KIND_ALL,
	KIND_REPEATED,
	KIND_ZERO, /* from here on what is no content that several may have */
	KIND_OWN,
};

struct run {
	uint16_t begin, pages; /* in the image's chunk */
	enum kind kind;
};

/* What pages of a VM have, CHUNK_PAGES at a time, as the image has them in some chunk, but with its runs in another
 * order. */
struct chunk {
	uint32_t vm, number;
	enum kind kinds[CHUNK_PAGES];
	uint64_t contents[CHUNK_PAGES];
};

struct vm {
	struct engine_vm *vm;
	uint32_t index;
	uint64_t scanned;
	uint64_t *away; /* a bit for each page that is shared or given back: not looked at */
};

static struct engine *engine;
static struct vm *vms;
static uint32_t vm_count = 1000, vm_pages = 16 * PAGES_PER_MIB;
static struct chunk chunk = { .vm = UINT32_MAX };
static uint64_t *common_hashes; /* of what several may have: by content */
static uint64_t hashed, merged;
static unsigned char slot_memory[PAGE_BYTES], staging[PAGE_BYTES];

/* ---- the store ---- */

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

/* ---- what guests have ---- */

static uint64_t mix(uint64_t value)
{
	value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
	return value ^ value >> 31;
}

static uint64_t random_next(uint64_t *state)
{
	return mix(*state += UINT64_C(0x9e3779b97f4a7c15));
}

static enum kind random_kind(uint64_t *state)
{
	static const struct {
		uint32_t up_to; /* percent */
		enum kind kind;
	} kinds[] = { { 61, KIND_IMAGE }, { 66, KIND_ALL }, { 71, KIND_REPEATED }, { 75, KIND_ZERO } };
	uint32_t percent = random_next(state) % 100;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (percent < kinds[i].up_to)
			return kinds[i].kind;
	return KIND_OWN;
}

/* The runs of a chunk of all images. @return how many. */
static uint32_t make_runs(uint32_t image_chunk, struct run *ret)
{
	static const uint16_t lengths[] = { 1, 1, 1, 1, 1, 2, 2, 3, 4, 6, 10, 25 }; /* mean 4.75, median 2 */
	uint64_t state = mix(image_chunk);
	uint32_t count = 0;

	for (uint32_t begin = 0; begin < CHUNK_PAGES; begin += ret[count++].pages) {
		uint16_t pages = lengths[random_next(&state) % (sizeof(lengths) / sizeof(*lengths))];

		ret[count].begin = (uint16_t)begin;
		ret[count].pages = pages < CHUNK_PAGES - begin ? pages : (uint16_t)(CHUNK_PAGES - begin);
		ret[count].kind = random_kind(&state);
	}
	return count;
}

/* Contents that several may have are numbers: what all have, then image by image what their VMs have. */
static uint64_t content_of_run(const struct run *run, uint32_t image, uint32_t image_chunk, uint32_t offset)
{
	uint64_t page = (uint64_t)image_chunk * CHUNK_PAGES + run->begin + offset;
	uint64_t of_image = (uint64_t)(image + 1) * vm_pages;

	switch (run->kind) {
	case KIND_IMAGE:
		return of_image + page;
	case KIND_ALL:
		return page;
	default: /* what is repeated takes the numbers of pages of another kind */
		return of_image + (mix(page) % REPEATED_CONTENTS) * (vm_pages / REPEATED_CONTENTS);
	}
}

static void make_run(const struct run *run, uint32_t image_chunk, uint32_t first)
{
	uint32_t image = chunk.vm / VMS_PER_IMAGE;

	for (uint32_t i = 0; i < run->pages; i++) {
		uint32_t page = chunk.number * CHUNK_PAGES + first + i;

		chunk.kinds[first + i] = run->kind;
		if (run->kind >= KIND_ZERO)
			chunk.contents[first + i] = (uint64_t)(chunk.vm + 1) << 40 | page;
		else
			chunk.contents[first + i] = content_of_run(run, image, image_chunk, i);
	}
}

static void make_chunk(uint32_t vm, uint32_t number)
{
	uint64_t state = mix((uint64_t)vm << 32 | number);
	uint32_t chunks = vm_pages / CHUNK_PAGES, first = 0, count;
	/* Each of the image's chunks once: an odd factor. */
	uint32_t image_chunk = (uint32_t)(number * (mix(vm) | 1) + mix(~(uint64_t)vm)) % chunks;
	struct run runs[CHUNK_PAGES];

	chunk.vm = vm;
	chunk.number = number;
	count = make_runs(image_chunk, runs);
	while (count > 0) {
		uint32_t next = random_next(&state) % count;

		make_run(&runs[next], image_chunk, first);
		first += runs[next].pages;
		runs[next] = runs[--count];
	}
}

/* The place of a page in the chunk, which is made to be its own. */
static uint32_t look_up(const struct vm *vm, uint32_t page)
{
	if (chunk.vm != vm->index || chunk.number != page / CHUNK_PAGES)
		make_chunk(vm->index, page / CHUNK_PAGES);
	return page % CHUNK_PAGES;
}

static uint64_t hash_at(uint32_t place)
{
	uint64_t content = chunk.contents[place];

	/* What nobody else has is never fetched, and needs no real hash. */
	return chunk.kinds[place] >= KIND_ZERO ? mix(content) : common_hashes[content];
}

static void fill_staging(uint64_t content)
{
	content++; /* none is full of zeros */
	memcpy(staging, &content, sizeof(content));
}

/* ---- time and memory ---- */

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static uint64_t resident_bytes(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	uint64_t all, resident = 0;

	if (file == NULL || fscanf(file, "%" SCNu64 " %" SCNu64, &all, &resident) != 2)
		resident = 0;
	if (file != NULL)
		fclose(file);
	return resident * PAGE_BYTES;
}

/* @return the time that it takes to make up a page. */
static double own_seconds_per_page(void)
{
	double begun = seconds();
	uint64_t sum = 0;

	for (uint32_t i = 0; i < OWN_COST_CHUNKS; i++) {
		make_chunk(i % vm_count, i % (vm_pages / CHUNK_PAGES));
		for (uint32_t place = 0; place < CHUNK_PAGES; place++)
			sum += hash_at(place);
	}
	slot_memory[0] = (unsigned char)sum; /* it is of use */
	return (seconds() - begun) / OWN_COST_CHUNKS / CHUNK_PAGES;
}

/* ---- workers ---- */

static void report(struct vm *vm, enum ring_report op, uint32_t page, uint32_t count, uint64_t value,
		   const void *content)
{
	struct ring_record record = { .op = (uint8_t)op, .count = (uint16_t)count, .page = page, .value = value };

	if (engine_report(engine, vm->vm, &record, content) < 0) {
		fprintf(stderr, "report %d of page %u was refused\n", (int)op, page);
		exit(1);
	}
}

static bool is_away(const struct vm *vm, uint32_t page)
{
	return vm->away[page / 64] >> page % 64 & 1;
}

static void set_away(struct vm *vm, uint32_t page, uint32_t count)
{
	for (uint32_t i = page; i < page + count; i++)
		vm->away[i / 64] |= UINT64_C(1) << i % 64;
}

static void scan(struct vm *vm, const struct ring_record *order)
{
	for (uint32_t i = order->page; i < order->page + order->count; i++) {
		uint32_t place;

		if (is_away(vm, i))
			continue;
		place = look_up(vm, i);
		if (chunk.kinds[place] == KIND_ZERO)
			report(vm, REPORT_ZERO, i, 1, 0, NULL);
		else
			report(vm, REPORT_HASH, i, 1, hash_at(place), NULL);
		hashed++;
	}
	vm->scanned += order->count;
}

static void work(struct vm *vm, const struct ring_record *order)
{
	switch (order->op) {
	case ORDER_SCAN:
		scan(vm, order);
		/* fall through */
	case ORDER_AUDIT:
		report(vm, REPORT_SCANNED, order->page, order->count, order->count, NULL);
		break;
	case ORDER_FETCH:
		fill_staging(chunk.contents[look_up(vm, order->page)]);
		report(vm, REPORT_FETCHED, order->page, 1, 0, staging);
		break;
	case ORDER_MERGE:
		report(vm, REPORT_MERGED, order->page, order->count, order->slot, NULL);
		set_away(vm, order->page, order->count);
		merged += order->count;
		break;
	case ORDER_ZERO:
		report(vm, REPORT_ZEROED, order->page, order->count, 0, NULL);
		set_away(vm, order->page, order->count);
		break;
	case ORDER_NOTES:
		break;
	default:
		fprintf(stderr, "order %u was not expected\n", order->op);
		exit(1);
	}
}

/* As the daemon: all reports of a turn, then all orders. */
static void turn(void)
{
	struct ring_record taken[TURN_ORDERS];
	struct engine_vm *ready;
	uint32_t cursor = 0;

	while ((ready = engine_next_ready(engine, &cursor)) != NULL) {
		struct vm *vm = engine_vm_context(ready);
		uint32_t count = 0;

		while (count < TURN_ORDERS && engine_next_order(engine, ready, &taken[count]))
			count++;
		for (uint32_t i = 0; i < count; i++)
			work(vm, &taken[i]);
	}
}

/* ---- from begin to end ---- */

static void make_guests(void)
{
	uint64_t contents = ((uint64_t)vm_count / VMS_PER_IMAGE + 2) * vm_pages;

	vms = calloc(vm_count, sizeof(*vms));
	common_hashes = calloc(contents, sizeof(*common_hashes));
	if (vms == NULL || common_hashes == NULL)
		exit(1);
	for (uint64_t i = 0; i < contents; i++) {
		fill_staging(i);
		common_hashes[i] = page_hash(staging, SEED);
	}
	for (uint32_t i = 0; i < vm_count; i++) {
		vms[i].index = i;
		vms[i].away = calloc(vm_pages / 64, sizeof(*vms[i].away));
		if (vms[i].away == NULL)
			exit(1);
		memset(vms[i].away, 0xff, vm_pages / 8); /* resident from now on */
		memset(vms[i].away, 0, vm_pages / 8);
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
	if (engine == NULL)
		exit(1);
	for (uint32_t i = 0; i < vm_count; i++) {
		if (engine_add_vm(engine, WIRE_MODE_FULL, &vms[i].vm) < 0)
			exit(1);
		engine_vm_set_context(vms[i].vm, &vms[i]);
		report(&vms[i], REPORT_REGION_ADD, 1, 1, vm_pages, NULL);
		report(&vms[i], REPORT_READY, 1, 1, 0, NULL);
	}
}

static bool has_scanned(uint64_t pages)
{
	for (uint32_t i = 0; i < vm_count; i++)
		if (vms[i].scanned < pages)
			return false;
	return true;
}

/* Until each VM was looked at once more. @return CPU time per page of all VMs, without what made up the guests. */
static double pass(uint32_t number, uint64_t tick_usec, double own)
{
	static uint64_t now = 1000000;
	uint64_t before = hashed;
	double begun = seconds();

	while (!has_scanned((uint64_t)number * vm_pages)) {
		engine_tick(engine, now += tick_usec);
		turn();
	}
	for (int i = 0; i < 100; i++) {
		engine_tick(engine, now += tick_usec);
		turn();
	}
	return (seconds() - begun - (double)(hashed - before) * own) / vm_count / vm_pages;
}

int main(int argc, char **argv)
{
	struct engine_counters counters;
	double own, first, slow, pages;
	uint64_t before;

	if (argc > 1)
		vm_count = (uint32_t)strtoul(argv[1], NULL, 0);
	if (argc > 2)
		vm_pages = (uint32_t)strtoul(argv[2], NULL, 0) * PAGES_PER_MIB;
	if (vm_count == 0 || vm_count > ENGINE_VMS_MAX || vm_pages == 0 || (vm_pages & (vm_pages - 1)) != 0 ||
	    (uint64_t)vm_count * vm_pages > ENGINE_NUMBERS) {
		fprintf(stderr, "usage: engine-simulation [VMS [MIB]]\n");
		return 2;
	}
	pages = (double)vm_count * vm_pages;
	make_guests();
	own = own_seconds_per_page();
	before = resident_bytes();
	start();
	first = pass(1, 1000, own);
	engine_counters(engine, &counters);
	slow = pass(2, 10000, own);
	printf("pages %.0f\nmib_per_vm %u\n", pages, vm_pages / PAGES_PER_MIB);
	printf("saved_percent %.1f\n", 100 * (double)counters.saved_pages / pages);
	printf("nsec_per_page %.0f\nslow_nsec_per_page %.0f\n", first * 1e9, slow * 1e9);
	printf("own_nsec_per_page %.0f\n", own * 1e9);
	printf("engine_bytes %" PRIu64 "\n", engine_memory_bytes(engine));
	printf("bookkeeping_percent %.3f\n",
	       100 * ((double)(resident_bytes() - before) + (double)vm_count * RING_BYTES) / (pages * PAGE_BYTES));
	engine_free(engine);
	for (uint32_t i = 0; i < vm_count; i++)
		free(vms[i].away);
	free(common_hashes);
	free(vms);
	return 0;
}
