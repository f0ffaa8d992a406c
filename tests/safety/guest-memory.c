/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the guest sees its memory: the daemon is told what KVM's slots say of regions, and what the C API says,
 * whatever comes first, and whatever is deleted, moved, resized or mapped twice. At the end at random, against a
 * model that has an entry for each frame.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "include/pagefuse.h"
#include "library/guest-memory.h"
#include "library/memory.h"
#include "tests/support/guest.h"

#define PAGES 1024u
#define FRAMES 2048u /* that the model has */
#define SLOTS 24u
#define ROUNDS 8u
#define STEPS 40u

static struct guest g;

/* ---- the model: what is at each frame ---- */

struct model_slot {
	uint32_t gfn, index, pages; /* index: of the guest's first page there */
};

static struct model_slot model[SLOTS];
static uint32_t expected[FRAMES]; /* page number, 0: none */

static void model_fill(void)
{
	memset(expected, 0, sizeof(expected));
	for (uint32_t s = 0; s < SLOTS; s++)
		for (uint32_t i = 0; i < model[s].pages; i++)
			if (model[s].index + i < PAGES) /* the rest is no RAM of ours */
				expected[model[s].gfn + i] = g.page + model[s].index + i;
}

static bool is_as_expected(const struct director_vm *vm, void *unused)
{
	uint32_t at = 0;

	(void)unused;
	for (uint32_t r = 0; r < vm->map_count; r++) {
		const struct wire_range *range = &vm->map[r];

		for (; at < range->gfn && at < FRAMES; at++)
			if (expected[at] != 0)
				return false;
		for (uint32_t i = 0; i < range->pages; i++, at++)
			if (at >= FRAMES || expected[at] != range->page + i)
				return false;
	}
	for (; at < FRAMES; at++)
		if (expected[at] != 0)
			return false;
	return true;
}

static void expect_map(const char *when)
{
	model_fill();
	test_check(director_wait_until(g.vm, is_as_expected, NULL) == 0, "%s: the library has hung up", when);
}

/* What KVM lets a VMM do: no two slots of an address space overlap. */
static bool overlaps(uint32_t slot, uint32_t gfn, uint32_t pages)
{
	for (uint32_t s = 0; s < SLOTS; s++)
		if (s != slot && gfn < model[s].gfn + model[s].pages && model[s].gfn < gfn + pages)
			return true;
	return false;
}

static void set(uint32_t slot, uint32_t gfn, uint32_t index, uint32_t pages)
{
	if (pages == 0)
		gfn = index = 0;
	model[slot] = (struct model_slot){ gfn, index, pages };
	guest_memory_note_slot(slot, gfn * PAGE_BYTES, guest_at(&g, index), pages * PAGE_BYTES);
}

/* ---- one thing at a time ---- */

static void test_slots(void)
{
	set(0, 0, 0, 160);
	set(3, 256, 256, 700);
	expect_map("two slots, and a hole");
	set(5, 1900, 200, 32);
	set(6, 160, 200, 32);
	expect_map("pages that are seen twice");
	set(5, 1800, 200, 32);
	expect_map("a slot that was moved");
	set(3, 256, 256, 100);
	expect_map("a slot that shrank");
	set(3, 256, 256, 1000);
	expect_map("a slot that reaches beyond the region");
	guest_memory_note_slot(1u << 16, 1500 * PAGE_BYTES, guest_at(&g, 0), 10 * PAGE_BYTES);
	set(6, 0, 0, 0);
	expect_map("a slot that was deleted, and one of another address space");
	guest_memory_note_slot(7, UINT64_MAX - PAGE_BYTES + 1, guest_at(&g, 0), 10 * PAGE_BYTES);
	guest_memory_note_slot(8, UINT64_C(1) << 60, guest_at(&g, 0), 10 * PAGE_BYTES);
	set(0, 0, 0, 0);
	expect_map("slots where no guest has memory");
	guest_memory_note_slot(7, 0, NULL, 0);
	guest_memory_note_slot(8, 0, NULL, 0);
}

/* A connection knows the map from the beginning. */
static void test_session(void)
{
	director_disconnect(g.vm);
	g.vm = director_accept(g.director);
	g.page = g.vm->regions[0].page;
	expect_map("another connection");
}

static bool has_counted(const struct director_vm *vm, void *count)
{
	return vm->map_count == *(const uint32_t *)count;
}

/* More slots than fit: the others are told, and none is lost. */
static void test_too_many(void)
{
	uint32_t most = GUEST_SLOTS_MAX;

	for (uint32_t s = 0; s < SLOTS; s++)
		set(s, 0, 0, 0);
	for (uint32_t s = 0; s < GUEST_SLOTS_MAX + 500; s++) /* the worst order */
		guest_memory_note_slot(s, (10000 - s) * UINT64_C(2) * PAGE_BYTES, guest_at(&g, s % PAGES), PAGE_BYTES);
	test_check(director_wait_until(g.vm, has_counted, &most) == 0, "the library has hung up");
	for (uint32_t s = 0; s < GUEST_SLOTS_MAX + 500; s++)
		guest_memory_note_slot(s, 0, NULL, 0);
	expect_map("all are deleted");
}

/* ---- by the C API ---- */

static bool has_api_range(const struct director_vm *vm, void *range)
{
	for (uint32_t i = 0; i < vm->map_count; i++)
		if (memcmp(&vm->map[i], range, sizeof(vm->map[i])) == 0)
			return true;
	return false;
}

static bool has_not(const struct director_vm *vm, void *range)
{
	return !has_api_range(vm, range);
}

static void test_api(void)
{
	const uint64_t gpa = UINT64_C(1) << 40;
	char *memory = mmap(NULL, 16 * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct wire_range range = { .gfn = gpa / PAGE_BYTES, .page = g.page + PAGES, .pages = 16 };

	test_check(memory != MAP_FAILED, "mmap: %s", strerror(errno));
	test_check(pagefuse_add_ram(gpa + 1, memory, 16 * PAGE_BYTES) == -EINVAL, "half a frame is one");
	test_check(pagefuse_add_ram(UINT64_C(1) << 52, memory, 16 * PAGE_BYTES) == -EINVAL, "2^52 is an address");
	test_check(pagefuse_add_ram(gpa, memory, 16 * PAGE_BYTES) == 0, "add RAM");
	test_check(director_wait_until(g.vm, has_api_range, &range) == 0, "the library has hung up");
	test_check(pagefuse_remove_ram(memory, 16 * PAGE_BYTES) == 0, "remove RAM");
	test_check(director_wait_until(g.vm, has_not, &range) == 0, "the library has hung up");
	munmap(memory, 16 * PAGE_BYTES);
}

/* ---- at random ---- */

static void random_step(uint64_t *random)
{
	uint32_t slot = (uint32_t)(test_random(random) % SLOTS);
	uint32_t pages = (uint32_t)(test_random(random) % 3 == 0 ? 0 : 1 + test_random(random) % 200);
	uint32_t gfn = (uint32_t)(test_random(random) % (FRAMES - 200));

	if (!overlaps(slot, gfn, pages))
		set(slot, gfn, (uint32_t)(test_random(random) % PAGES), pages);
}

static void test_random_slots(void)
{
	uint64_t random = test_seed(0);

	for (uint32_t round = 0; round < ROUNDS; round++) {
		for (uint32_t step = 0; step < STEPS; step++)
			random_step(&random);
		expect_map("at random");
	}
}

int main(int argc, char **argv)
{
	static const struct director_greeting greeting = { sizeof(struct wire_welcome), WIRE_FEATURES, 0 };
	int r;

	test_begin(argc, argv);
	g = (struct guest){ .director = director_new(), .memory = pages_map(PAGES, false), .pages = PAGES };
	director_greet(g.director, &greeting);
	guest_memory_note_slot(0, 0, g.memory, 160 * PAGE_BYTES); /* before there is a region */
	model[0] = (struct model_slot){ 0, 0, 160 };
	r = pagefuse_add_ram(PAGEFUSE_GPA_UNKNOWN, g.memory, PAGES * PAGE_BYTES);
	test_check(r == 0, "pagefuse_add_ram: %s", strerror(-r));
	g.vm = director_accept(g.director);
	g.page = g.vm->regions[0].page;
	expect_map("a slot that was there before the region");
	test_slots();
	test_session();
	test_too_many();
	test_api();
	test_random_slots();
	director_free(g.director);
	return 0;
}
