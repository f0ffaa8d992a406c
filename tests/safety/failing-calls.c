/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every system call that sharing makes fails once, in turn, with every error that it may give: whatever the outcome,
 * the guest's bytes are right afterwards, nobody sleeps, and the next round shares as if nothing had been. Then each
 * kind of call fails from the N-th on for ever: the bytes are right while it still fails.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "library/sys.h"
#include "tests/support/guest.h"

#define PAGES 24u

static atomic_bool stop;
static atomic_uint sweeps;
static atomic_int sweeper; /* its thread number */

static uint64_t content_of(uint32_t index)
{
	return index % 4 == 3 ? 0 : index + 1;
}

/** Writes every page again and again, with the bytes that are there already, so that somebody sleeps in every hold. */
static void *sweep(void *argument)
{
	const struct guest *g = argument;
	uint64_t random = test_seed(2);

	atomic_store(&sweeper, gettid());
	while (!atomic_load(&stop)) {
		for (uint32_t i = 0; i < PAGES; i++) {
			size_t word = test_random(&random) % PAGE_WORDS;

			__atomic_store_n((uint64_t *)guest_at(g, i) + word, pages_word(content_of(i), word),
					 __ATOMIC_RELAXED);
		}
		atomic_fetch_add(&sweeps, 1);
	}
	return NULL;
}

/** Nothing is held now. A thread that does not come on is awake if it just gets no CPU. */
static void check_awake(int error, int call)
{
	unsigned before = atomic_load(&sweeps);
	uint64_t deadline_msec = test_now_msec() + (uint64_t)TEST_DEADLINE_SECONDS * 1000;

	while (atomic_load(&sweeps) - before < 2) {
		if (test_now_msec() > deadline_msec) {
			if (test_thread_sleeps(atomic_load(&sweeper)))
				test_damage("a thread sleeps after call %d has failed with %s", call, strerror(error));
			deadline_msec += 1000;
		}
		sched_yield();
	}
}

static void check(const struct guest *g, int error, int call)
{
	check_awake(error, call);
	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_differ(guest_at(g, i), content_of(i)) >= 0)
			test_damage("page %u reads wrong bytes after call %d has failed with %s", i, call,
				    strerror(error));
}

/** Merges of every kind: of private, diverged, zero and differing pages; then everything is unshared. */
static void do_all(const struct guest *g)
{
	uint32_t slot = director_take_slots(g->director, PAGES);

	guest_share(g, 0, PAGES);
	guest_share(g, 0, PAGES);
	director_scan(g->vm, g->page, PAGES);
	director_zero(g->vm, g->page, PAGES);
	director_scan(g->vm, g->page, PAGES);
	if (director_fetch(g->vm, g->page, PAGES, slot) > 0)
		for (uint32_t i = 0; i < PAGES; i += 2)
			((char *)director_slot(g->director, slot + i))[100] ^= 1;
	director_merge(g->vm, g->page, PAGES, slot);
	director_unshare(g->vm, g->page, PAGES);
}

/** @number: of the calls that fail, or -1: one of any kind fails once. @return whether a round has that many calls. */
static bool fail_call(const struct guest *g, int number, int error, int call)
{
	uint64_t merged;
	bool reached;

	test_progress(); /* there are hundreds of calls to fail, and slow machines */
	sys_fail.number = number;
	sys_fail.error = error;
	sys_fail.for_ever = number != -1;
	atomic_store(&sys_fail.countdown, call);
	do_all(g);
	reached = atomic_load(&sys_fail.countdown) <= (sys_fail.for_ever ? 1 : 0);
	check(g, error, call);
	atomic_store(&sys_fail.countdown, 0);
	check(g, error, call);
	merged = g->vm->reports[REPORT_MERGED];
	for (unsigned round = 0; round < 16 && g->vm->reports[REPORT_MERGED] == merged; round++)
		do_all(g);
	test_check(g->vm->reports[REPORT_MERGED] > merged,
		   "nothing is shared any more after call %d has failed with %s", call, strerror(error));
	return reached;
}

/** Kinds without which nothing is shared, and one by one has to be done without. */
static void fail_for_ever(const struct guest *g, uint64_t *random)
{
	static const int numbers[] = { SYS_ioctl, SYS_mmap, SYS_mremap, SYS_madvise, SYS_mprotect, SYS_pread64 };

	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		int call = 1;

		while (fail_call(g, numbers[i], ENOMEM, call))
			call += test_running() ? 1 : 1 + (int)(test_random(random) % 32);
		fprintf(stderr, "system call %d for ever: %d calls\n", numbers[i], call);
	}
}

int main(int argc, char **argv)
{
	static const int errors[] = { ENOMEM, EAGAIN, EINTR, EBUSY, EINVAL };
	uint64_t random;
	pthread_t sweeping;
	struct guest g;
	void *memory;

	test_begin(argc, argv);
	random = test_seed(1);
	memory = pages_map(PAGES, false);
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill((char *)memory + i * PAGE_BYTES, content_of(i));
	guest_begin(&g, memory, PAGES);
	test_check(pthread_create(&sweeping, NULL, sweep, &g) == 0, "no thread");
	for (size_t e = 0; e < sizeof(errors) / sizeof(*errors); e++) {
		int call = 1;

		while (fail_call(&g, -1, errors[e], call))
			call += test_running() ? 1 : 1 + (int)(test_random(&random) % 32);
		fprintf(stderr, "%s: %d calls\n", strerror(errors[e]), call);
	}
	test_restart_clock();
	fail_for_ever(&g, &random);
	atomic_store(&stop, true);
	pthread_join(sweeping, NULL);
	guest_report(&g);
	guest_end(&g);
	return 0;
}
