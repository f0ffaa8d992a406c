/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/engine/simulation-store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SEGMENT_BYTES (ENGINE_SEGMENT_SLOTS * PAGE_BYTES)
enum slot_use {
	UNTOUCHED,
	WRITTEN,
	PUNCHED,
};

static struct sim_segment *segment_at(struct sim *sim, uint32_t segment)
{
	return segment < SIM_SEGMENTS && sim->segments[segment].memory ? &sim->segments[segment] : NULL;
}

static int store_add_segment(void *context, uint32_t segment)
{
	struct sim *sim = context;
	struct sim_segment *at = &sim->segments[segment];

	if (segment >= SIM_SEGMENTS || (sim->store_fails && sim_random(sim, 2)))
		return -1;
	if (at->memory != NULL)
		sim_wrong(sim, "store: a segment was added twice");
	at->memory = mmap(NULL, SEGMENT_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			  -1, 0);
	at->use = calloc(ENGINE_SEGMENT_SLOTS, 1);
	if (at->memory == MAP_FAILED || at->use == NULL)
		abort();
	return 0;
}

void sim_segment_drop(struct sim_segment *at)
{
	if (at->memory != NULL)
		munmap(at->memory, SEGMENT_BYTES);
	free(at->use);
	*at = (struct sim_segment){ 0 };
}

static void store_remove_segment(void *context, uint32_t segment)
{
	struct sim *sim = context;
	struct sim_segment *at = segment_at(sim, segment);

	if (at == NULL) {
		sim_wrong(sim, "store: a segment that is not there was removed");
		return;
	}
	for (uint32_t i = 0; i < ENGINE_SEGMENT_SLOTS; i++)
		if (at->use[i] == WRITTEN)
			sim_wrong(sim, "store: a segment was removed with memory in use");
	sim_segment_drop(at);
	sim->removed_segments++;
	sim_check_memory(sim);
}

/* @return the slot's memory, or NULL if it is gone. */
static unsigned char *slot_memory(struct sim *sim, uint32_t slot)
{
	struct sim_segment *at = segment_at(sim, slot / ENGINE_SEGMENT_SLOTS);
	uint32_t index = slot % ENGINE_SEGMENT_SLOTS;

	if (at != NULL && at->use[index] != PUNCHED)
		return at->memory + index * PAGE_BYTES;
	sim_wrong(sim, "store: a slot was used that is gone");
	return NULL;
}

static int store_write(void *context, uint32_t slot, const void *content)
{
	struct sim *sim = context;
	unsigned char *memory = slot_memory(sim, slot);

	if (memory == NULL || (sim->store_fails && sim_random(sim, 4) == 0))
		return -ENOSPC;
	if (sim->store_slots_max != 0 && sim_stored(sim) >= sim->store_slots_max)
		return -ENOSPC;
	memcpy(memory, content, PAGE_BYTES);
	segment_at(sim, slot / ENGINE_SEGMENT_SLOTS)->use[slot % ENGINE_SEGMENT_SLOTS] = WRITTEN;
	return 0;
}

static int store_read(void *context, uint32_t slot, void *ret_content)
{
	const unsigned char *memory = slot_memory(context, slot);

	if (memory == NULL)
		return -EIO;
	memcpy(ret_content, memory, PAGE_BYTES);
	return 0;
}

static void store_punch(void *context, uint32_t slot, uint32_t count)
{
	struct sim *sim = context;
	struct sim_segment *at = segment_at(sim, slot / ENGINE_SEGMENT_SLOTS);
	uint32_t index = slot % ENGINE_SEGMENT_SLOTS;

	if (at == NULL || count == 0 || count > ENGINE_SEGMENT_SLOTS - index) {
		sim_wrong(sim, "store: a punch outside a segment");
		return;
	}
	for (uint32_t i = index; i < index + count; i++) {
		if (at->use[i] == PUNCHED && !at->old)
			sim_wrong(sim, "store: a slot was punched twice");
		at->use[i] = PUNCHED;
	}
	madvise(at->memory + index * PAGE_BYTES, count * PAGE_BYTES, MADV_DONTNEED);
}

/* A sixteenth has to be left before somebody goes on. */
static bool store_admit_exposure(void *context, uint64_t all_pages, uint64_t vm_pages, bool held)
{
	const struct sim *sim = context;

	if (vm_pages > all_pages)
		sim_wrong(context, "exposure: a VM has more than all");
	if (sim->exposed_vm_max != 0 && vm_pages > sim->exposed_vm_max)
		return false;
	return sim->exposed_max == 0 || all_pages + (held ? sim->exposed_max / 16 : 0) <= sim->exposed_max;
}

bool sim_has_slot(struct sim *sim, uint32_t slot)
{
	const struct sim_segment *at = segment_at(sim, slot / ENGINE_SEGMENT_SLOTS);

	return at != NULL && at->use[slot % ENGINE_SEGMENT_SLOTS] == WRITTEN;
}

bool sim_slot_holds(struct sim *sim, uint32_t slot, uint32_t content)
{
	unsigned char page[PAGE_BYTES];

	content_fill(page, content);
	return sim_has_slot(sim, slot) && memcmp(slot_memory(sim, slot), page, PAGE_BYTES) == 0;
}

uint64_t sim_stored(const struct sim *sim)
{
	uint64_t count = 0;

	for (uint32_t i = 0; i < SIM_SEGMENTS; i++)
		for (uint32_t j = 0; sim->segments[i].use && j < ENGINE_SEGMENT_SLOTS; j++)
			count += sim->segments[i].use[j] == WRITTEN;
	return count;
}

struct engine_store sim_store(struct sim *sim)
{
	return (struct engine_store){
		.context = sim,
		.add_segment = store_add_segment,
		.remove_segment = store_remove_segment,
		.write = store_write,
		.read = store_read,
		.punch = store_punch,
		.admit_exposure = store_admit_exposure,
	};
}
