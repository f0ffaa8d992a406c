/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sharing, freeing and unsharing as the kernel sees them: page frames, and memory really given back. */
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "include/pagefuse.h"
#include "tests/support/guest.h"

#define PAGES 2048u
#define HALF (PAGES / 2)

/** Both halves hold the same contents; @return the content of page @index. */
static uint64_t content_of(uint32_t index)
{
	return index % HALF % 8 == 7 ? 0 : 1000 + index % HALF;
}

static void check_contents(const struct guest *g, const char *when)
{
	for (uint32_t i = 0; i < g->pages; i++)
		if (pages_differ(guest_at(g, i), content_of(i)) >= 0)
			test_damage("page %u has changed %s", i, when);
}

/** Merges all pages that are not zero with one slot per content, zeros are given back. */
static void share_all(const struct guest *g)
{
	uint32_t slot = director_take_slots(g->director, HALF);

	for (uint32_t i = 0; i < HALF; i += 8)
		director_fetch(g->vm, g->page + i, 7, slot + i);
	for (uint32_t i = 0; i < PAGES; i++) {
		if (content_of(i) == 0 && g->vm->pages[g->page + i].state != DIRECTOR_ZEROED)
			director_order(g->vm, ORDER_ZERO, g->page + i, 1, 0);
		else if (i % 8 == 0)
			director_order(g->vm, ORDER_MERGE, g->page + i, 7, slot + i % HALF);
	}
	director_wait(g->vm);
}

static uint32_t count_huge(const struct guest *g, uint32_t index, uint32_t count)
{
	uint32_t found = 0;

	for (uint32_t i = index; i < index + count; i++)
		found += g->vm->pages[g->page + i].inside_huge;
	return found;
}

/** Orders that do not allow it split no 2 MiB page: its pages are left alone, and told to be inside of one. */
static void test_whole(const struct guest *g)
{
	uint32_t slot = director_take_slots(g->director, 7);

	director_scan(g->vm, g->page, PAGES);
	if (count_huge(g, 0, 8) != 8) {
		printf("the host gave no 2 MiB page: that one stays whole was not tried\n");
		return;
	}
	director_fetch(g->vm, g->page, 7, slot);
	g->vm->keeps_huge = true;
	director_merge(g->vm, g->page, 7, slot);
	director_zero(g->vm, g->page + 7, 1);
	g->vm->keeps_huge = false;
	test_check(director_answers(g->vm, g->page, 8, REPORT_BUSY) == 8 && count_huge(g, 0, 8) == 8,
		   "of 8 pages in a 2 MiB page that is to stay whole, %u are left alone, and %u for that",
		   director_answers(g->vm, g->page, 8, REPORT_BUSY), count_huge(g, 0, 8));
	director_scan(g->vm, g->page, PAGES);
	test_check(count_huge(g, 0, 8) == 8, "a 2 MiB page that was to stay whole is split");
	check_contents(g, "by being left alone");
}

/** Twins are on one frame; zeros that have been read are all on the kernel's zero page. */
static void check_frames(const struct guest *g)
{
	bool read_empty = pages_read_empty();

	for (uint32_t i = 0; i < HALF; i++) {
		uint64_t one = pages_frame(guest_at(g, i)), other = pages_frame(guest_at(g, i + HALF));

		if (content_of(i) == 0 && !read_empty)
			continue;
		test_check(one != 0 && one == other, "page %u is at frame %llx, its twin at %llx", i,
			   (unsigned long long)one, (unsigned long long)other);
		test_check(content_of(i) != 0 || one == pages_frame(guest_at(g, 7)),
			   "zero page %u has a frame of its own", i);
	}
}

static void test_share(const struct guest *g)
{
	uint64_t before = pages_anonymous(g->memory, PAGES * PAGE_BYTES), after;

	share_all(g);
	test_check(director_count(g->vm, g->page, PAGES, DIRECTOR_SHARED) == PAGES / 8 * 7 &&
			   director_count(g->vm, g->page, PAGES, DIRECTOR_ZEROED) == PAGES / 8,
		   "%u pages are shared and %u zero", director_count(g->vm, g->page, PAGES, DIRECTOR_SHARED),
		   director_count(g->vm, g->page, PAGES, DIRECTOR_ZEROED));
	after = pages_anonymous(g->memory, PAGES * PAGE_BYTES);
	test_check(before >= after + (PAGES / 8 * 7 - 64) * PAGE_BYTES, "anonymous memory fell from %llu to %llu only",
		   (unsigned long long)before, (unsigned long long)after);
	test_check(director_store_bytes(g->director) == HALF / 8 * 7 * PAGE_BYTES, "the store uses %llu bytes",
		   (unsigned long long)director_store_bytes(g->director));
	check_contents(g, "by sharing");
	check_frames(g);
}

/** A write gives one page a copy of its own, and the audit tells. */
static void test_write(const struct guest *g)
{
	volatile char *page = guest_at(g, 3);

	page[5] ^= 1;
	test_check(pages_frame(guest_at(g, 3)) != pages_frame(guest_at(g, 3 + HALF)), "a write did not unshare");
	test_check(pages_frame(guest_at(g, 2)) == pages_frame(guest_at(g, 2 + HALF)), "a write unshared its neighbour");
	page[5] ^= 1;
	director_audit(g->vm, g->page, PAGES);
	test_check(director_count(g->vm, g->page + 3, 1, DIRECTOR_PRIVATE) == 1, "the audit has not told of a write");
	test_check(director_count(g->vm, g->page, PAGES, DIRECTOR_SHARED) == PAGES / 8 * 7 - 1,
		   "the audit told of pages that nobody wrote");
	check_contents(g, "by a write next to it");
	*(volatile char *)guest_at(g, 7) = 1;
	director_audit(g->vm, g->page, PAGES);
	test_check(director_count(g->vm, g->page + 7, 1, DIRECTOR_PRIVATE) == 1,
		   "the audit has not told of a zero page");
	*(volatile char *)guest_at(g, 7) = 0;
}

static bool store_is_mapped_for_comparing(void)
{
	FILE *file = fopen("/proc/self/maps", "re");
	bool found = false;
	char line[256];

	test_check(file != NULL, "no /proc/self/maps");
	while (!found && fgets(line, sizeof(line), file) != NULL)
		found = strstr(line, " r--s ") != NULL && strstr(line, "pagefuse-store") != NULL;
	fclose(file);
	return found;
}

/** What diverged is merged again, with the slot that its twin still reads. */
static void merge_again(const struct guest *g)
{
	uint32_t slot = g->vm->pages[g->page + 3 + HALF].slot;

	test_check(director_merge(g->vm, g->page + 3, 1, slot) == 1, "a page that diverged is answered %u",
		   g->vm->pages[g->page + 3].answer);
}

static void test_merge_again(const struct guest *g)
{
	uint64_t deadline = test_patient_msec() + (uint64_t)TEST_DEADLINE_SECONDS * 1000;

	merge_again(g);
	while (!store_is_mapped_for_comparing()) { /* for seconds, and on a slow machine a look can take longer */
		test_check(test_patient_msec() < deadline, "the store is not mapped in order to compare");
		test_write(g);
		merge_again(g);
	}
	test_check(pages_differ(guest_at(g, 3), content_of(3)) < 0 &&
			   pages_frame(guest_at(g, 3)) == pages_frame(guest_at(g, 3 + HALF)),
		   "a page that diverged is not shared again");
	test_check(director_zero(g->vm, g->page + 7, 1) == 1, "a page that was zero once is answered %u",
		   g->vm->pages[g->page + 7].answer);
	check_contents(g, "by being merged again");
}

static void test_unshare(const struct guest *g)
{
	director_unshare(g->vm, g->page, PAGES);
	for (uint32_t i = 0; i < HALF; i++)
		test_check(pages_frame(guest_at(g, i)) != pages_frame(guest_at(g, i + HALF)), "page %u is still shared",
			   i);
	for (uint32_t i = 0; i < PAGES; i++)
		test_check(pages_frame(guest_at(g, i)) != 0 && !pages_is_file(guest_at(g, i)),
			   "page %u has no memory of its own", i);
	test_check(pages_anonymous(g->memory, PAGES * PAGE_BYTES) == PAGES * PAGE_BYTES, "not all memory is its own");
	check_contents(g, "by unsharing");
	test_check(director_count(g->vm, g->page, PAGES, DIRECTOR_PRIVATE) == PAGES,
		   "pages are still counted as shared, or as zeros");
	test_check(director_store_bytes(g->director) == 0, "the store still uses %llu bytes",
		   (unsigned long long)director_store_bytes(g->director));
}

/** With nothing to compare the store is not mapped as a whole any more; its page tables would cost 0.2 % of it. */
static void test_rest(void)
{
	uint64_t deadline = test_patient_msec() + (uint64_t)TEST_DEADLINE_SECONDS * 1000;

	while (store_is_mapped_for_comparing()) {
		test_check(test_patient_msec() < deadline, "the store stays mapped with nothing to compare");
		poll(NULL, 0, 50);
	}
}

int main(int argc, char **argv)
{
	struct guest g;
	void *memory;

	test_begin(argc, argv);
	memory = pages_map(PAGES, test_wants("--huge"));
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill((char *)memory + i * PAGE_BYTES, content_of(i));
	guest_begin(&g, memory, PAGES);
	if (test_wants("--huge"))
		test_whole(&g);
	for (unsigned round = 0; round < 3; round++) {
		test_share(&g);
		test_write(&g);
		test_merge_again(&g);
		test_unshare(&g);
		test_rest();
	}
	guest_report(&g);
	guest_end(&g);
	return 0;
}
