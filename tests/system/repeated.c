/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory full of one page that is not zero, again and again, under library and daemon as they are: what it costs in
 * mappings stays below the bound of docs/design/engine.md, and its memory is really given back. Then single pages of it
 * are rewritten until sharing all would cost a mapping per page: the budget of mappings holds.
 *
 * With --alternating the pages are of two contents by turns: the control of the first bound, which must be exceeded.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "include/pagefuse.h"
#include "tests/daemon/instance.h"
#include "tests/support/pages.h"
#include "tests/support/test.h"

#define PAGES 98304u
#define RUN_PAGES 1024u /* the last page of each is unlike all others */
#define RUNS (PAGES / RUN_PAGES)
#define STEPS 16u
#define STRIPE 64u
#define SECOND 2 /* content */
#define OTHERS 1000

static struct instance instance;
static char *memory;
static uint64_t contents[PAGES]; /* what each page was filled with */

static void *page_at(uint32_t i)
{
	return memory + i * PAGE_BYTES;
}

static void put(uint32_t i, uint64_t content)
{
	contents[i] = content;
	pages_fill(page_at(i), content);
}

static bool is_alone(uint32_t i)
{
	return i % RUN_PAGES == RUN_PAGES - 1;
}

static void fill(void)
{
	for (uint32_t i = 0; i < PAGES; i++)
		put(i, is_alone(i) ? OTHERS + i : test_wants("--alternating") && i % 2 ? SECOND
										       : 1);
}

static void check_contents(void)
{
	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_differ(page_at(i), contents[i]) >= 0)
			test_damage("page %u is not what was written last", i);
}

/** Mappings that the memory is made of. */
static unsigned mappings_of_memory(void)
{
	uintptr_t first = (uintptr_t)memory, last = first + PAGES * PAGE_BYTES - 1;
	FILE *file = fopen("/proc/self/maps", "re");
	unsigned long start, end;
	char line[512];
	unsigned count = 0;

	test_check(file != NULL, "no /proc/self/maps");
	while (fgets(line, sizeof(line), file) != NULL)
		if (sscanf(line, "%lx-%lx", &start, &end) == 2)
			count += start <= last && end > first;
	fclose(file);
	return count;
}

static int compare_frames(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static unsigned distinct_frames(void)
{
	static uint64_t frames[PAGES];
	unsigned distinct = 0;

	for (uint32_t i = 0; i < PAGES; i++)
		frames[i] = pages_frame(page_at(i));
	qsort(frames, PAGES, sizeof(*frames), compare_frames);
	for (uint32_t i = 0; i < PAGES; i++)
		distinct += i == 0 || frames[i] != frames[i - 1];
	return distinct;
}

static void check_repeated(void)
{
	unsigned bound = PAGES / STRIPE + 2 * RUNS + STRIPE, lone = RUNS + 1, mappings, frames;

	instance_scan(&instance);
	mappings = mappings_of_memory();
	check_contents(); /* which also reads, so that every page is there */
	frames = distinct_frames();
	fprintf(stderr, "%u pages in %u runs: %u mappings (at most %u, and %u for the pages between), %u frames\n",
		PAGES, RUNS, mappings, bound, lone, frames);
	if (mappings > bound + lone)
		test_damage("%u mappings, where at most %u are allowed", mappings, bound + lone);
	test_check(frames <= RUNS + 2 * STRIPE, "%u page frames are used", frames);
	test_check(instance_host(&instance, "shared_pages") == PAGES - RUNS, "not all equal pages are shared");
	test_check(instance_host(&instance, "store_bytes") <= (long long)(2 * STRIPE * PAGE_BYTES),
		   "the store is larger than two stripes");
	test_check(pages_anonymous(memory, PAGES * PAGE_BYTES) <= (RUNS + STRIPE) * PAGE_BYTES,
		   "memory was not given back");
}

/** Any order of the numbers below PAGES. */
static uint32_t *shuffled(void)
{
	uint32_t *order = calloc(PAGES, sizeof(*order));
	uint64_t random = test_seed(1);

	test_check(order != NULL, "no memory");
	for (uint32_t i = 0; i < PAGES; i++) {
		uint32_t k = (uint32_t)(test_random(&random) % (i + 1));

		order[i] = order[k];
		order[k] = i;
	}
	return order;
}

/** A mapping for every page, if there were no budget: every second page gets one of two other contents. */
static void rewrite_single_pages(void)
{
	long long limit = instance_vm(&instance, "repeated", "mappings_limit"), budget = limit - limit / 8;
	unsigned most = 0, mappings;
	uint32_t *order = shuffled();

	if (limit > PAGES)
		test_skip("vm.max_map_count is %lld: too many to reach", limit);
	for (uint32_t i = 0; i < PAGES; i++) {
		if (order[i] % 2)
			put(order[i], i % 4 < 2 ? 0 : SECOND);
		if ((i + 1) % (PAGES / STEPS) != 0)
			continue;
		instance_scan(&instance);
		mappings = pages_mappings();
		most = mappings > most ? mappings : most;
		if (mappings > budget)
			test_damage("%u mappings of %lld, with a budget of %lld", mappings, limit, budget);
	}
	free(order);
	check_contents();
	fprintf(stderr, "%u mappings at most, budget %lld; %lld pages were refused for want of more\n", most, budget,
		instance_vm(&instance, "repeated", "no_mapping_pages"));
	test_check(instance_vm(&instance, "repeated", "no_mapping_pages") > 0, "the budget was not reached");
}

static void share_and_rewrite(void)
{
	const struct pagefuse_options options = {
		.size = sizeof(options), .name = "repeated", .socket_path = instance.socket
	};
	int r;

	memory = pages_map(PAGES, false);
	fill();
	r = pagefuse_configure(&options);
	if (r == 0)
		r = pagefuse_add_ram(PAGEFUSE_GPA_UNKNOWN, memory, PAGES * PAGE_BYTES);
	test_check(r == 0, "offering memory: %s", strerror(-r));
	instance_await(&instance, "repeated", "ram_bytes", PAGES * PAGE_BYTES);
	if (!test_is_control())
		check_repeated();
	test_restart_clock();
	rewrite_single_pages();
}

/** The VMM is a process of its own, so that the daemon can let go of it. */
int main(int argc, char **argv)
{
	int status;
	pid_t vmm;

	test_begin(argc, argv);
	test_needs_moves();
	instance_init(&instance);
	instance_settings(&instance, "[scan]\ninterval_seconds = 0\n");
	instance_start(&instance);
	vmm = test_fork();
	if (vmm == 0) {
		share_and_rewrite();
		_exit(0);
	}
	alarm(0); /* it has a watchdog of its own */
	test_check(waitpid(vmm, &status, 0) == vmm, "waitpid: %s", strerror(errno));
	test_restart_clock();
	instance_await(&instance, NULL, "store_bytes", 0);
	instance_done(&instance);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
