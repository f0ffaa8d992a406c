/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Threads write all the time while everything is shared and unshared at random. $PAGEFUSE_TEST_SECONDS says how long.
 *
 * --huge         2 MiB pages, that are given back, or collapsed from outside, now and then
 * --age          a thread ages pages, as the kernel's reclaim does
 * --discard, --protect, --reads, --flicker: see struct writers_plan
 * --direct       files have been opened that pin what they are read into
 * --fork         a thread forks; each child ends at once
 * --swap         in a memory control group that is too small, with swap
 * --same-bytes   pages diverge all the time without changing
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "include/pagefuse.h"
#include "library/memory.h"
#include "tests/support/guest.h"
#include "tests/support/swap.h"
#include "tests/support/writers.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define PAGES 2048u
/* Of the control group with --swap: not enough for memory, shadow copy and store. */
#define LIMIT_BYTES (UINT64_C(12) << (TEST_THREAD_SANITIZER ? 23 : 20))

static atomic_bool stop;

/** MADV_COLD clears accessed bits, as the kernel's reclaim does. */
static void *age(void *argument)
{
	const struct guest *g = argument;

	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		madvise(g->memory, g->pages * PAGE_BYTES, MADV_COLD);
	return NULL;
}

/** Puts 2 MiB pages together again where they were broken up. */
static void *collapse(void *argument)
{
	const struct guest *g = argument;
	uint64_t random = test_seed(2);

	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		madvise(g->memory + test_random(&random) % (g->pages / 512) * HUGE_BYTES, HUGE_BYTES, MADV_COLLAPSE);
	return NULL;
}

/** What is private at a fork is the child's, too, and then not known to be exclusive until it is written. */
static void *fork_in_a_loop(void *unused)
{
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		int pid = test_fork();

		if (pid == 0)
			_exit(0);
		test_wait_child(pid);
	}
	return unused;
}

static pthread_t start(void *(*run)(void *), struct guest *g)
{
	pthread_t thread;

	test_check(pthread_create(&thread, NULL, run, g) == 0, "no thread");
	return thread;
}

static void note_direct_file(void)
{
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);

	test_check(fd >= 0, "open: %s", strerror(errno));
	memory_note_file(fd, true);
	close(fd);
}

int main(int argc, char **argv)
{
	struct writers_plan plan = { .pages = PAGES, .threads = 3 };
	pthread_t ageing = 0, collapsing = 0, forking = 0;
	struct writers *writers;
	uint64_t writes;
	struct guest g;

	test_begin(argc, argv);
	if (test_wants("--swap")) {
		swap_begin();
		swap_group_begin(LIMIT_BYTES);
	}
	plan.discards = test_wants("--discard");
	plan.protects = test_wants("--protect");
	plan.reads = test_wants("--reads");
	plan.flickers = test_wants("--flicker");
	plan.same_bytes = test_wants("--same-bytes");
	if (test_wants("--direct"))
		note_direct_file();
	plan.memory = pages_map(PAGES, test_wants("--huge"));
	writers = writers_new(&plan);
	if (test_wants("--huge") && pages_rollup("AnonHugePages:") == 0)
		test_skip("no 2 MiB pages to be had");
	guest_begin(&g, plan.memory, PAGES);
	g.works_on_blocks = test_wants("--huge");
	writers_start(writers);
	if (test_wants("--age"))
		ageing = start(age, &g);
	if (test_wants("--huge"))
		collapsing = start(collapse, &g);
	if (test_wants("--fork"))
		forking = start(fork_in_a_loop, &g);
	guest_work(&g, writers);
	atomic_store(&stop, true);
	if (ageing)
		pthread_join(ageing, NULL);
	if (collapsing)
		pthread_join(collapsing, NULL);
	if (forking)
		pthread_join(forking, NULL);
	writes = writers_stop(writers);
	if (test_wants("--direct")) /* for all that the library knows, reads are under way */
		pagefuse_discard(plan.memory, PAGES * PAGE_BYTES);
	guest_finish(&g, writers, writes);
	return 0;
}
