/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A store of many segments costs the VMM no more than one of a few: the library has a handful of descriptors of it, and
 * a few windows for comparing, or none where address space is limited; what it has closed it asks for again. Where it
 * gets no answer, pages stay as they are, and are shared when it does. Where address space comes to be limited, or the
 * daemon is gone, all of it is given back.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "library/lock.h"
#include "library/sys.h"
#include "library/template.h"
#include "library/view.h"
#include "tests/support/guest.h"

#define SEGMENTS 24u
#define RUN 32u /* pages that are shared in each; long enough for a window */
#define PAGES (2 * SEGMENTS * RUN)
#define ROUNDS 200u

static struct guest g;
static uint32_t slots[SEGMENTS]; /* of the first page of each run */

/* The first half of the pages stays shared, so that the slots are kept; the second is shared again and again. */
static uint32_t kept(uint32_t segment)
{
	return segment * RUN;
}

static uint32_t churned(uint32_t segment)
{
	return (SEGMENTS + segment) * RUN;
}

static void check_memory(void)
{
	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_differ(guest_at(&g, i), i % (SEGMENTS * RUN) + 1) >= 0)
			test_damage("page %u reads wrong bytes", i);
}

/** Descriptors of the store that can only be read: the library's, as the director's can be written. */
static unsigned count_files(void)
{
	DIR *files = opendir("/proc/self/fd");
	const struct dirent *entry;
	unsigned count = 0;

	test_check(files != NULL, "/proc/self/fd: %s", strerror(errno));
	while ((entry = readdir(files)) != NULL) {
		char name[64];
		ssize_t length = readlinkat(dirfd(files), entry->d_name, name, sizeof(name) - 1);

		if (length < 0)
			continue;
		name[length] = '\0';
		count += strstr(name, "pagefuse-store") != NULL &&
			 (fcntl(atoi(entry->d_name), F_GETFL) & O_ACCMODE) == O_RDONLY;
	}
	closedir(files);
	return count;
}

/** Mappings of the store with these @perms, but for the guest's. *ret_bytes: their size. */
static unsigned count_mappings(const char *perms, uint64_t *ret_bytes)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long start, end;
	char line[512], found[5];
	unsigned count = 0;

	test_check(maps != NULL, "maps: %s", strerror(errno));
	*ret_bytes = 0;
	while (fgets(line, sizeof(line), maps) != NULL) {
		if (sscanf(line, "%lx-%lx %4s", &start, &end, found) != 3 || strcmp(perms, found) != 0 ||
		    strstr(line, "pagefuse-store") == NULL || start - (uintptr_t)g.memory < PAGES * PAGE_BYTES)
			continue;
		count++;
		*ret_bytes += end - start;
	}
	fclose(maps);
	return count;
}

static void check_costs(void)
{
	uint64_t bytes, kept_bytes;
	unsigned files = count_files(), windows = count_mappings("r--s", &bytes);
	unsigned kept = count_mappings("rw-p", &kept_bytes);

	if (files > VIEW_FDS_MAX)
		test_damage("%u descriptors of the store", files);
	if (windows > VIEW_WINDOWS_MAX || bytes > VIEW_WINDOWS_MAX * VIEW_WINDOW_SLOTS * PAGE_BYTES)
		test_damage("%u windows of %llu bytes in all", windows, (unsigned long long)bytes);
	if (kept > SEEDS_MAX + TEMPLATES_MAX ||
	    kept_bytes > (TEMPLATES_MAX * VIEW_WINDOW_SLOTS + SEEDS_MAX * 2) * PAGE_BYTES)
		test_damage("%u other mappings of %llu bytes in all", kept, (unsigned long long)kept_bytes);
}

static uint32_t merge(uint32_t segment)
{
	return director_merge(g.vm, g.page + churned(segment), RUN, slots[segment]);
}

static void make_private(uint32_t segment)
{
	guest_make_plain(&g, churned(segment), RUN);
	director_scan(g.vm, g.page + churned(segment), RUN);
}

static void fill_segments(void)
{
	for (uint32_t s = 0; s < SEGMENTS; s++) {
		uint32_t fetched;

		slots[s] = director_take_slots(g.director, RUN);
		fetched = director_fetch(g.vm, g.page + kept(s), RUN, slots[s]);
		test_check(fetched == RUN, "%u pages of run %u were fetched", fetched, s);
		test_check(director_merge(g.vm, g.page + kept(s), RUN, slots[s]) == RUN, "run %u is not shared", s);
		director_take_slots(g.director, VIEW_SEGMENT_SLOTS); /* the next ones are in another */
		check_costs();
	}
}

static void test_all_over(void)
{
	uint64_t random = test_seed(1);

	for (unsigned round = 0; round < ROUNDS; round++) {
		uint32_t s = (uint32_t)(test_random(&random) % SEGMENTS);
		uint32_t merged;

		make_private(s);
		merged = merge(s);
		test_check(merged == RUN, "%u pages of run %u are shared in round %u", merged, s, round);
		test_check(pages_frame(guest_at(&g, kept(s))) == pages_frame(guest_at(&g, churned(s))),
			   "run %u is not in one frame", s);
		check_costs();
		test_progress();
	}
	check_memory();
	test_check(g.vm->segments_wanted > ROUNDS / 4, "segments were asked for %llu times only",
		   (unsigned long long)g.vm->segments_wanted);
}

/** Orders for all segments are there at once: those that can go together need no descriptor that another closes. */
static void test_at_once(void)
{
	for (uint32_t s = 0; s < SEGMENTS; s++)
		make_private(s);
	for (uint32_t s = 0; s < SEGMENTS; s++) /* in small runs that follow each other in the guest */
		for (uint32_t i = 0; i < RUN; i += 4)
			director_order(g.vm, ORDER_MERGE, g.page + churned(s) + i, 4, slots[s] + i);
	test_check(director_wait(g.vm) == 0, "the worker has hung up");
	test_check(director_count(g.vm, g.page + churned(0), SEGMENTS * RUN, DIRECTOR_SHARED) == SEGMENTS * RUN,
		   "not all are shared");
	check_costs();
	check_memory();
}

static void test_no_answer(void)
{
	for (uint32_t s = 0; s < SEGMENTS; s++)
		make_private(s);
	g.vm->deaf = true;
	for (uint32_t s = 0; s < SEGMENTS; s++)
		merge(s);
	test_check(director_answers(g.vm, g.page + churned(0), SEGMENTS * RUN, REPORT_BUSY) >=
			   (SEGMENTS - VIEW_FDS_MAX) * RUN,
		   "pages are shared with segments that are not there");
	check_memory();
	g.vm->deaf = false;
	for (uint32_t s = 0; s < SEGMENTS; s++)
		while (director_count(g.vm, g.page + churned(s), RUN, DIRECTOR_SHARED) < RUN)
			merge(s); /* it asks again a second later; the watchdog ends it */
	check_memory();
}

static void test_limited_address_space(void)
{
	struct rlimit before, limit;
	uint64_t bytes;

	do
		director_audit(g.vm, g.page, PAGES);
	while (count_mappings("r--s", &bytes) > 0); /* they are unmapped when they were not needed for a while */
	test_check(getrlimit(RLIMIT_AS, &before) == 0, "RLIMIT_AS: %s", strerror(errno));
	limit = before;
	limit.rlim_cur = UINT64_C(1) << 46;
	test_check(setrlimit(RLIMIT_AS, &limit) == 0, "RLIMIT_AS: %s", strerror(errno));
	while (count_mappings("rw-p", &bytes) > 0) /* though nothing is merged */
		director_audit(g.vm, g.page, PAGES);
	for (uint32_t s = 0; s < SEGMENTS; s++) {
		make_private(s);
		test_check(merge(s) == RUN, "run %u is not shared", s);
		if (count_mappings("r--s", &bytes) > 0 || count_mappings("rw-p", &bytes) > 0)
			test_damage("addresses are taken that are limited");
	}
	check_memory();
	test_check(setrlimit(RLIMIT_AS, &before) == 0, "RLIMIT_AS: %s", strerror(errno));
}

/** What was for comparing is of no use without a daemon. */
static void test_without_daemon(void)
{
	uint64_t bytes;

	merge(0);
	director_disconnect(g.vm);
	while (count_files() > 0 || count_mappings("r--s", &bytes) > 0 || count_mappings("rw-p", &bytes) > 0)
		sched_yield(); /* the watchdog ends it */
	check_memory();
}

/** What the VMM's threads unmap as well, when they lock all memory, is unmapped with the lock held. */
static void watch(long number, long second)
{
	if (number == SYS_munmap && second == (long)(VIEW_WINDOW_SLOTS * PAGE_BYTES) && !memory_lock_is_mine())
		test_damage("a window is unmapped without the lock");
}

int main(int argc, char **argv)
{
	void *memory;

	test_begin(argc, argv);
	memory = pages_map(PAGES, false);
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill((char *)memory + i * PAGE_BYTES, i % (SEGMENTS * RUN) + 1);
	guest_begin(&g, memory, PAGES);
	atomic_store(&sys_watch, watch);
	fill_segments();
	test_all_over();
	test_at_once();
	test_no_answer();
	if (!TEST_THREAD_SANITIZER) /* which takes nearly all of it */
		test_limited_address_space();
	guest_report(&g);
	test_without_daemon();
	atomic_store(&sys_watch, NULL);
	return 0;
}
