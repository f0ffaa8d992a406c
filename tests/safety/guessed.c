/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How many mappings there are is counted now and then and guessed in between; the guess must not be too low, or the VMM
 * meets the limit. Two ways:
 *
 *   (nothing)  memory is shared, made plain, discarded and written at random: at each step there are no more mappings
 *              than were guessed. In the control what merges add is not guessed at all. With --huge, memory in 2 MiB
 *              pages
 *   --counts   the VMM maps in places where it is looked for only now and then, also while memory becomes a region
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "library/hold.h"
#include "library/kernel.h"
#include "library/mappings.h"
#include "library/region.h"
#include "tests/support/guest.h"

#define PAGES 4096u
#define SLACK 160u /* windows, seeds and templates, which nobody guesses, and what the process needs itself */
#define PIECES 2000u

static uint64_t guess(void)
{
	uint64_t mappings, limit;

	mappings_stats(&mappings, &limit);
	return mappings;
}

/* ---- what merges add ---- */

static void step(const struct guest *g, uint64_t *random)
{
	uint32_t count = 1 + (uint32_t)(test_random(random) % 8);
	uint32_t index = (uint32_t)(test_random(random) % (PAGES - count));

	switch (test_random(random) % 4) {
	case 0:
		test_check(guest_discard(g, index, count, MADV_DONTNEED) == 0, "a discard failed");
		break;
	case 1:
		guest_make_plain(g, index, count);
		break;
	default:
		guest_churn(g, random);
		return; /* what it was about stays as it is */
	}
	for (uint32_t i = index; i < index + count; i++)
		pages_fill(guest_at(g, i), 1 + test_random(random));
}

static void check_merges(void)
{
	uint64_t random = test_seed(1), steps = 0, most = 0, nearest = UINT64_MAX;
	struct guest g;
	char *memory = pages_map(PAGES, test_wants("--huge"));

	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(memory + i * PAGE_BYTES, i + 1);
	guest_begin(&g, memory, PAGES);
	for (; test_running(); steps++) {
		uint64_t there, guessed;

		step(&g, &random);
		if (test_is_control())
			atomic_store(&hold_new_mappings, 0);
		there = pages_mappings();
		guessed = guess();
		if (there > guessed + SLACK)
			test_damage("%lu mappings were guessed in step %lu, there are %lu", (unsigned long)guessed,
				    (unsigned long)steps, (unsigned long)there);
		most = there > most ? there : most;
		nearest = guessed + SLACK - there < nearest ? guessed + SLACK - there : nearest;
	}
	fprintf(stderr, "%lu steps, %lu mappings at most, %ld below the guess at least\n", (unsigned long)steps,
		(unsigned long)most, (long)nearest - (long)SLACK);
	guest_report(&g);
	guest_end(&g);
}

/* ---- what is counted: this thread is the worker ---- */

/** Memory of @pieces mappings. */
static char *pieces_new(unsigned pieces)
{
	char *memory = mmap(NULL, pieces * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	test_check(memory != MAP_FAILED, "mmap: %s", strerror(errno));
	for (unsigned i = 1; i < pieces; i += 2)
		test_check(madvise(memory + i * PAGE_BYTES, PAGE_BYTES, MADV_DONTDUMP) == 0, "madvise: %s",
			   strerror(errno));
	return memory;
}

static void offer(char *memory, unsigned pages)
{
	struct region *region;
	int r;

	memory_lock();
	r = region_add((uint64_t)memory, pages, &region);
	memory_unlock();
	test_check(r == 0, "region_add: %s", strerror(-r));
}

static bool kernel_answers(void)
{
	struct procmap_query query = { .size = sizeof(query), .query_flags = PROCMAP_QUERY_COVERING_OR_NEXT_VMA };
	int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	bool answers = maps >= 0 && ioctl(maps, PROCMAP_QUERY, &query) == 0;

	test_check(maps >= 0, "/proc/self/maps: %s", strerror(errno));
	close(maps);
	return answers;
}

/** Merges seem to have added so many that all is to be looked at again. @return how many seem so after that. */
static uint64_t count_again(void)
{
	uint64_t limit, mappings;

	mappings_stats(&mappings, &limit);
	atomic_fetch_add(&hold_new_mappings, limit / 16 + mappings / 4 + 1);
	test_check(mappings_count_is_due(), "no count is due");
	mappings_count();
	return atomic_load(&hold_new_mappings);
}

/** Without what was made up above. */
static void check_counted(const char *when)
{
	uint64_t there = pages_mappings(), counted = guess() - atomic_load(&hold_new_mappings);

	fprintf(stderr, "%lu of %lu mappings counted, %s\n", (unsigned long)counted, (unsigned long)there, when);
	if (there > counted + SLACK)
		test_damage("only %lu of %lu mappings were counted, %s", (unsigned long)counted, (unsigned long)there,
			    when);
}

static void check_counts(void)
{
	uint64_t begin = test_now_msec(), limit, mappings, made_up;
	char *later, *ours = pieces_new(2 * PIECES);

	mappings_count();
	mappings_stats(&mappings, &limit);
	if (limit < 32 * PIECES)
		test_skip("vm.max_map_count is %lu: too few for this test", (unsigned long)limit);
	offer(ours, 2 * PIECES);
	later = pieces_new(PIECES / 4);
	mappings_count(); /* of all: a region has come */
	check_counted("at first");

	pieces_new(PIECES / 4);
	made_up = count_again();
	check_counted("with more of the VMM's");
	/* Nobody has counted all of them, if that was within the time in which it needs not be done. */
	if (kernel_answers() && test_now_msec() - begin < 4000)
		test_check(made_up > 0, "far from the limit all mappings were counted");

	offer(later, PIECES / 4);
	pieces_new(PIECES / 4);
	count_again();
	check_counted("with more, and others in a region now");

	atomic_fetch_add(&hold_new_mappings, limit / 2);
	test_check(mappings_count_is_due(), "near the limit no count is due");
	mappings_count();
	test_check(atomic_load(&hold_new_mappings) == 0, "near the limit not all mappings were counted");
	check_counted("near the limit");
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	if (test_wants("--counts"))
		check_counts();
	else
		check_merges();
	return 0;
}
