/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The VMM's own mappings have come near the limit (vm.max_map_count) when it takes single pages out of the middle of
 * runs. Discarded pages are missing afterwards, as the kernel promises, not there and full of zeros; calls that need
 * anonymous memory again find it; the bytes around them stay; and there are no more mappings than before.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "library/hold.h"
#include "library/memory.h"
#include "tests/support/guest.h"
#include "tests/support/limit.h"

#define RUN 64u /* pages of a short run; one page stays private behind each */
#define RUNS 24u
#define LONG 2048u /* pages of one long run, at the end */
#define PAGES (RUNS * (RUN + 1) + LONG)
#define LONG_FIRST (RUNS * (RUN + 1))
#define SLACK 300u /* mappings that the process may need for other things meanwhile */

/** Content 0 for pages that were discarded. */
static uint64_t contents[PAGES];
static unsigned limit;

static void read_limit(void)
{
	limit = (unsigned)limit_read();
	if (limit > 300000)
		test_skip("vm.max_map_count is %u: coming near it would take long", limit);
	if (limit / 32 < 2 * SLACK)
		test_skip("vm.max_map_count is %u: too few for this test", limit);
}

/** Makes mappings until @left are left: every second page of an area is readable, the others not. */
static void use_up(unsigned left)
{
	static char *area;
	static unsigned used = 1;

	if (area == NULL)
		area = mmap(NULL, (size_t)limit * PAGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			    -1, 0);
	test_check(area != MAP_FAILED, "mmap: %s", strerror(errno));
	for (unsigned have = pages_mappings(); have + left < limit; have += 2, used += 2)
		test_check(mprotect(area + used * PAGE_BYTES, PAGE_BYTES, PROT_READ) == 0, "mprotect: %s",
			   strerror(errno));
}

/**
 * Waits until the library has counted that many mappings. It counts some time after something has changed, and may have
 * done so when only a part of them was there: so it is told again and again that something has.
 */
static void wait_for_count(const struct guest *g, unsigned left)
{
	const struct ring_page *ring = g->vm->base;

	while (ring->stats.mappings + left + SLACK < limit) {
		atomic_fetch_add(&hold_discards, 1);
		director_audit(g->vm, g->page, 1);
	}
}

static long change(enum memory_change change, const struct guest *g, uint32_t index, uint32_t count, int detail)
{
	void *address = guest_at(g, index);
	size_t length = count * PAGE_BYTES;
	int r = memory_change_begin(change, address, length, detail);
	long result = 0;

	if (r < 0)
		return r;
	if (r == 1)
		return 0;
	if (change == CHANGE_DISCARD)
		result = syscall(SYS_madvise, address, length, detail);
	memory_change_end(change, address, length, detail, result == 0);
	return result == 0 ? 0 : -errno;
}

/** What a VMM that fetches missing pages from elsewhere gets to see. */
static bool is_missing(const struct guest *g, uint32_t index)
{
	bool missing = pages_fill_missing(guest_at(g, index), 1000000 + index);

	contents[index] = missing ? 1000000 + index : 0;
	return missing;
}

static void discard(const struct guest *g, uint32_t index, uint32_t count)
{
	long r = change(CHANGE_DISCARD, g, index, count, MADV_DONTNEED);

	test_check(r == 0, "page %u cannot be discarded: %s", index, strerror((int)-r));
	for (uint32_t i = index; i < index + count; i++) {
		if (pages_frame(guest_at(g, i)) != 0)
			test_damage("page %u was discarded and is there", i);
		contents[i] = 0;
	}
}

static void check(const struct guest *g, const char *when)
{
	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_differ(guest_at(g, i), contents[i]) >= 0)
			test_damage("page %u reads wrong bytes %s", i, when);
}

static void check_mappings(unsigned before, unsigned more, const char *when)
{
	unsigned now = pages_mappings();

	fprintf(stderr, "%u mappings, then %u %s\n", before, now, when);
	if (now > before + more)
		test_damage("%u mappings became %u %s", before, now, when);
}

/** A quarter of the reserve is left: runs go as a whole, of the long one what is near. */
static void test_near(const struct guest *g)
{
	unsigned before = pages_mappings();

	for (uint32_t run = 0; run < 8; run++) {
		uint32_t first = run * (RUN + 1);

		discard(g, first + 10 + run, 1 + run);
		discard(g, first + 40, 1);
	}
	for (uint32_t run = 8; run < 12; run++) {
		uint32_t first = run * (RUN + 1);
		long r = change(run % 2 ? CHANGE_PROTECT : CHANGE_MOVE, g, first + 5, 3, PROT_READ);

		if (r != 0)
			test_damage("the middle of run %u cannot be changed: %s", run, strerror((int)-r));
		change(CHANGE_PROTECT, g, first + 5, 3, PROT_READ | PROT_WRITE);
	}
	check_mappings(before, 0, "after pages in the middle of short runs went");
	for (uint32_t i = 0; i < 100; i += 2)
		discard(g, LONG_FIRST + LONG / 2 + i, 1);
	check_mappings(before, 2, "after pages of the long run went");
	test_check(pages_is_file(guest_at(g, LONG_FIRST + 1)), "the long run has gone as a whole");
	for (uint32_t run = 0; run < 8; run++)
		if (!is_missing(g, run * (RUN + 1) + 40))
			test_damage("run %u: a discarded page is not missing", run);
	check(g, "near the limit");
}

/** The rest is for the VMM's own mappings: the long run goes, too. */
static void test_nearest(const struct guest *g)
{
	unsigned before = pages_mappings();

	discard(g, LONG_FIRST + 100, 1);
	for (uint32_t run = 12; run < RUNS; run++)
		discard(g, run * (RUN + 1) + 30, 2);
	check_mappings(before, 0, "after all runs lost a page");
	check(g, "at the limit");
}

int main(int argc, char **argv)
{
	struct guest g;
	void *memory;

	test_begin(argc, argv);
	read_limit();
	memory = pages_map(PAGES, false);
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill((char *)memory + i * PAGE_BYTES, contents[i] = i + 1);
	guest_begin(&g, memory, PAGES);
	for (uint32_t run = 0; run < RUNS; run++)
		test_check(director_share(g.vm, g.page + run * (RUN + 1), RUN) == RUN, "run %u is not shared", run);
	test_check(director_share(g.vm, g.page + LONG_FIRST, LONG) == LONG, "no long run");
	for (uint32_t i = 0; i < PAGES; i++)
		(void)*(const volatile char *)guest_at(&g, i); /* faulted in: what is there can be seen */
	use_up(limit / 16 - SLACK);
	wait_for_count(&g, limit / 16 - SLACK);
	test_near(&g);
	use_up(limit / 32 - SLACK);
	wait_for_count(&g, limit / 32 - SLACK);
	test_nearest(&g);
	director_audit(g.vm, g.page, PAGES);
	check(&g, "after the slots have been freed");
	guest_report(&g);
	guest_end(&g);
	return 0;
}
