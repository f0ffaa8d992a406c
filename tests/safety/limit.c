/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The limit of mappings (vm.max_map_count) is reached in the middle of merges. The process can go on: make threads, map
 * memory, and discard pages inside of runs; and discarding run after run gives their memory back.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "include/pagefuse.h"
#include "tests/support/guest.h"
#include "tests/support/limit.h"

#define PAGES 16384u
#define LONG_RUN 64u /* the last pages */
#define LEFT 12288u  /* mappings, when the merges begin */
#define THREADS 64

/** Uses up mappings until @left are left: every second page of an area is readable, the others not. */
static void use_up(unsigned left)
{
	unsigned all = (unsigned)limit_read(), have = pages_mappings();
	char *area;

	if (all > 300000)
		test_skip("vm.max_map_count is %u: reaching it would take long", all);
	if (have + left >= all)
		return;
	area = mmap(NULL, (size_t)all * PAGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	test_check(area != MAP_FAILED, "mmap: %s", strerror(errno));
	for (unsigned i = 1; have + i + left < all; i += 2)
		test_check(mprotect(area + i * PAGE_BYTES, PAGE_BYTES, PROT_READ) == 0, "mprotect: %s",
			   strerror(errno));
}

/** Merges runs of @run pages, with one page between them that stays private, until the worker refuses. */
static void merge_runs(const struct guest *g, uint32_t run)
{
	uint32_t merged = 0, full = 0;

	for (uint32_t i = 0; i + RING_STAGING_PAGES <= PAGES - LONG_RUN && full == 0; i += RING_STAGING_PAGES) {
		uint32_t slot = director_take_slots(g->director, RING_STAGING_PAGES);

		director_fetch(g->vm, g->page + i, RING_STAGING_PAGES, slot);
		for (uint32_t k = 0; k + run < RING_STAGING_PAGES; k += run + 1)
			director_order(g->vm, ORDER_MERGE, g->page + i + k, run, slot + k);
		director_wait(g->vm);
		merged += director_answers(g->vm, g->page + i, RING_STAGING_PAGES, REPORT_MERGED);
		full += director_answers(g->vm, g->page + i, RING_STAGING_PAGES, REPORT_FULL) +
			director_answers(g->vm, g->page + i, RING_STAGING_PAGES, REPORT_BUSY);
	}
	fprintf(stderr, "%u pages merged in runs of %u, then %u refused; %u of %u mappings\n", merged, run, full,
		pages_mappings(), (unsigned)limit_read());
	test_check(full > 0, "the limit was not reached");
}

static void *do_nothing(void *argument)
{
	pthread_barrier_wait(argument);
	return NULL;
}

static void test_threads(void)
{
	pthread_t threads[THREADS];
	pthread_barrier_t barrier;

	pthread_barrier_init(&barrier, NULL, THREADS + 1);
	for (unsigned i = 0; i < THREADS; i++) {
		int r = pthread_create(&threads[i], NULL, do_nothing, &barrier);

		if (r != 0)
			test_damage("thread %u cannot be made: %s", i, strerror(r));
	}
	pthread_barrier_wait(&barrier);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

/** As hot-plugged memory would be. */
static void test_maps(void)
{
	void *maps[256];

	for (unsigned i = 0; i < 256; i++) {
		maps[i] = mmap(NULL, PAGE_BYTES, i % 2 ? PROT_READ : PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (maps[i] == MAP_FAILED)
			test_damage("mapping %u cannot be made: %s", i, strerror(errno));
	}
	for (unsigned i = 0; i < 256; i++)
		munmap(maps[i], PAGE_BYTES);
}

/** A long run, every third page of it discarded by itself. */
static void test_discards(const struct guest *g, uint32_t first)
{
	for (uint32_t i = first; i < first + LONG_RUN; i += 3) {
		int r = pagefuse_discard(guest_at(g, i), PAGE_BYTES);

		if (r != 0)
			test_damage("page %u cannot be discarded: %s", i, strerror(-r));
	}
	for (uint32_t i = first; i < first + LONG_RUN; i++)
		if (pages_differ(guest_at(g, i), (i - first) % 3 == 0 ? 0 : i + 1) >= 0)
			test_damage("page %u reads wrong bytes after discards", i);
}

/** All short runs, page by page, as a balloon does. A page that had to be filled with zeros is there still. */
static void discard_all(const struct guest *g, uint32_t end)
{
	uint32_t discarded = 0, there = 0;

	for (uint32_t i = 0; i < end; i++) {
		bool shared = pages_is_file(guest_at(g, i));

		if (shared)
			test_check(pagefuse_discard(guest_at(g, i), PAGE_BYTES) == 0, "page %u: no discard", i);
		discarded += shared;
		there += shared && pages_frame(guest_at(g, i)) != 0;
		if (pages_differ(guest_at(g, i), shared ? 0 : i + 1) >= 0)
			test_damage("page %u reads wrong bytes", i);
	}
	fprintf(stderr, "%u pages discarded, %u of them filled with zeros\n", discarded, there);
	test_check(discarded > LEFT / 2 && there == 0, "discards at the limit do not give memory back");
}

int main(int argc, char **argv)
{
	const uint32_t last = PAGES - LONG_RUN;
	struct guest g;
	void *memory;

	test_begin(argc, argv);
	memory = pages_map(PAGES, false);
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill((char *)memory + i * PAGE_BYTES, i + 1);
	guest_begin(&g, memory, PAGES);
	test_check(director_share(g.vm, g.page + last, LONG_RUN) == LONG_RUN, "a long run is not shared");
	use_up(LEFT);
	merge_runs(&g, test_is_control() ? 1 : 4);
	test_threads();
	test_maps();
	test_discards(&g, last);
	for (uint32_t i = 0; i < last; i++)
		if (pages_differ(guest_at(&g, i), i + 1) >= 0)
			test_damage("page %u reads wrong bytes", i);
	discard_all(&g, last);
	guest_report(&g);
	guest_end(&g);
	return 0;
}
