/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Two regions whose page numbers follow each other: runs across the border are done as a whole. And what mprotect()
 * made of memory stays when the memory is discarded. A daemon that is met later is told of what is left of them, in the
 * order of their numbers.
 *
 * --unseen   2 MiB pages of both, which no scan has seen as such, are broken by one run: the daemon is told of each
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/madvise.h"
#include "include/pagefuse.h"
#include "library/memory.h"
#include "tests/support/guest.h"

#define PAGES 32u /* of each region */
#define BLOCK ((uint32_t)(HUGE_BYTES / PAGE_BYTES))

static bool knows_both(const struct director_vm *vm, void *unused)
{
	(void)unused;
	return vm->region_count == 2;
}

static bool knows_first_is_gone(const struct director_vm *vm, void *unused)
{
	(void)unused;
	return vm->regions[0].gone;
}

static void *page_of(char *const memory[2], uint32_t index)
{
	return memory[index / PAGES] + index % PAGES * PAGE_BYTES;
}

static void check(char *const memory[2])
{
	for (uint32_t i = 0; i < 2 * PAGES; i++)
		if (pages_differ(page_of(memory, i), i + 1) >= 0)
			test_damage("page %u reads wrong bytes", i);
}

/** The VMM's madvise() and mprotect(), as the preload makes them. */
static void change(enum memory_change what, long number, void *address, int detail)
{
	int r = memory_change_begin(what, address, PAGE_BYTES, detail);

	test_check(r == 0, "memory_change_begin: %s", strerror(-r));
	r = (int)syscall(number, address, PAGE_BYTES, detail);
	memory_change_end(what, address, PAGE_BYTES, detail, r == 0);
	test_check(r == 0, "system call %ld", number);
}

static bool is_writable(const void *page)
{
	char line[256], perms[8] = "";
	FILE *file = fopen("/proc/self/maps", "re");
	unsigned long start, end;

	test_check(file != NULL, "no /proc/self/maps");
	while (fgets(line, sizeof(line), file) != NULL)
		if (sscanf(line, "%lx-%lx %7s", &start, &end, perms) == 3 && (unsigned long)page - start < end - start)
			break;
	fclose(file);
	return perms[1] == 'w';
}

static void test_protection(char *page)
{
	change(CHANGE_PROTECT, SYS_mprotect, page, PROT_READ);
	change(CHANGE_DISCARD, SYS_madvise, page, MADV_DONTNEED);
	if (is_writable(page))
		test_damage("a page is writable again after a discard");
	if (pages_differ(page, 0) >= 0)
		test_damage("a discarded page is not zero");
	change(CHANGE_PROTECT, SYS_mprotect, page, PROT_READ | PROT_WRITE);
	memset(page, 1, PAGE_BYTES);
}

/** The first region goes, and a new one takes its place in the library's list, but later numbers. */
static void test_later_daemon(struct director *director, struct director_vm *vm, char *memory[2])
{
	test_check(pagefuse_remove_ram(memory[0], PAGES * PAGE_BYTES) == 0, "remove_ram");
	director_wait_until(vm, knows_first_is_gone, NULL);
	test_check(pagefuse_add_ram(PAGEFUSE_GPA_UNKNOWN, memory[0], PAGES * PAGE_BYTES) == 0, "add_ram");
	director_disconnect(vm);
	vm = director_accept(director);
	director_wait_until(vm, knows_both, NULL);
	test_check(vm->regions[0].page < vm->regions[1].page, "not in the order of page numbers");
	test_check(director_share(vm, vm->regions[1].page, PAGES) == PAGES, "the new region is not shared");
}

/** The last pages of one region and the first of the other are zero. */
static void test_unseen(void)
{
	static const struct director_greeting greeting = { .bytes = sizeof(struct wire_welcome),
							   .features = UINT64_C(1) << WIRE_FEATURE_WHOLE };
	struct director *director = director_new();
	struct director_vm *vm;
	char *memory[2];

	for (unsigned i = 0; i < 2; i++) {
		memory[i] = pages_map(BLOCK, true);
		for (uint32_t page = 0; page < BLOCK; page++)
			pages_fill(memory[i] + page * PAGE_BYTES, (i == 0 ? page < BLOCK - PAGES : page >= PAGES));
		if (madvise(memory[i], HUGE_BYTES, MADV_COLLAPSE) != 0)
			test_skip("no 2 MiB pages to be had: %s", strerror(errno));
		test_check(pagefuse_add_ram(PAGEFUSE_GPA_UNKNOWN, memory[i], HUGE_BYTES) == 0, "add_ram");
	}
	director_greet(director, &greeting);
	vm = director_accept(director);
	director_wait_until(vm, knows_both, NULL);
	test_check(vm->regions[1].page == vm->regions[0].page + BLOCK, "the second region does not follow the first");
	test_check(director_zero(vm, vm->regions[1].page - PAGES, 2 * PAGES) == 2 * PAGES,
		   "not all zeros are given back");
	test_check(vm->reports[REPORT_BROKEN] == 2, "the daemon was told of %llu blocks that were broken unseen, not 2",
		   (unsigned long long)vm->reports[REPORT_BROKEN]);
	for (unsigned i = 0; i < 2; i++)
		test_check(pages_has_flag(memory[i], "nh"), "block %u is not kept from collapsing", i);
	director_free(director);
}

int main(int argc, char **argv)
{
	struct director *director;
	struct director_vm *vm;
	char *memory[2];
	uint32_t first;

	test_begin(argc, argv);
	if (test_wants("--unseen")) {
		test_unseen();
		return 0;
	}
	director = director_new();
	for (unsigned i = 0; i < 2; i++)
		memory[i] = pages_map(PAGES, false);
	for (uint32_t i = 0; i < 2 * PAGES; i++)
		pages_fill(page_of(memory, i), i + 1);
	for (unsigned i = 0; i < 2; i++)
		test_check(pagefuse_add_ram(PAGEFUSE_GPA_UNKNOWN, memory[i], PAGES * PAGE_BYTES) == 0, "add_ram");
	vm = director_accept(director);
	director_wait_until(vm, knows_both, NULL);
	first = vm->regions[0].page;
	test_check(vm->regions[1].page == first + PAGES, "the second region does not follow the first");
	test_check(director_share(vm, first + PAGES / 2, PAGES) == PAGES,
		   "not all pages of a run across two regions are shared");
	check(memory);
	test_protection(memory[0] + (PAGES - 1) * PAGE_BYTES);
	director_audit(vm, first, PAGES);
	director_audit(vm, first + PAGES, PAGES);
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(page_of(memory, i), i + 1);
	test_later_daemon(director, vm, memory);
	check(memory);
	for (unsigned i = 0; i < 2; i++)
		test_check(pagefuse_remove_ram(memory[i], PAGES * PAGE_BYTES) == 0, "remove_ram");
	director_free(director);
	return 0;
}
