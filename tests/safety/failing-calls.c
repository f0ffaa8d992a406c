/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every system call that sharing makes fails once, in turn, with every error that it may give: whatever the outcome,
 * the guest's bytes are right afterwards, nobody sleeps, and what comes then shares as if nothing had been, all pages.
 * Then each kind of call fails from the N-th on for ever: the bytes are right while it still fails.
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

			pages_store((uint64_t *)guest_at(g, i) + word, pages_word(content_of(i), word));
		}
		atomic_fetch_add(&sweeps, 1);
	}
	return NULL;
}

/** Nothing is held now. A thread that does not come on is awake if it just gets no CPU. */
static void check_awake(int error, int call)
{
	unsigned before = atomic_load(&sweeps);
	uint64_t deadline_msec = test_patient_msec() + (uint64_t)TEST_DEADLINE_SECONDS * 1000;

	while (atomic_load(&sweeps) - before < 2) {
		if (test_patient_msec() > deadline_msec) {
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
	uint32_t slot;

	guest_share(g, 0, PAGES);
	guest_share(g, 0, PAGES);
	director_scan(g->vm, g->page, PAGES);
	director_zero(g->vm, g->page, PAGES);
	director_scan(g->vm, g->page, PAGES);
	slot = director_take_slots(g->director, PAGES); /* now, as a segment that nobody reads goes with the next */
	if (director_fetch(g->vm, g->page, PAGES, slot) > 0)
		for (uint32_t i = 0; i < PAGES; i += 2)
			((char *)director_slot(g->director, slot + i))[100] ^= 1;
	director_merge(g->vm, g->page, PAGES, slot);
	director_unshare(g->vm, g->page, PAGES);
}

/** All calls succeed again: so all pages come to be shared, and are plain afterwards. */
static void check_shares(const struct guest *g, int error, int call)
{
	for (unsigned round = 0; round < 64 && director_count(g->vm, g->page, PAGES, DIRECTOR_SHARED) < PAGES; round++)
		guest_share(g, 0, PAGES);
	test_check(director_count(g->vm, g->page, PAGES, DIRECTOR_SHARED) == PAGES,
		   "of %u pages %u are not shared any more after call %d has failed with %s", PAGES,
		   PAGES - director_count(g->vm, g->page, PAGES, DIRECTOR_SHARED), call, strerror(error));
	director_unshare(g->vm, g->page, PAGES);
	guest_make_plain(g, 0, PAGES);
}

/** @number: of the calls that fail, or -1: one of any kind fails once. @return whether a round has that many calls. */
static bool fail_call(const struct guest *g, int number, int error, int call)
{
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
	check_shares(g, error, call);
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

static atomic_uint given_up; /* pages of the scratch that became the region's, with no mapping for their places */

/** Called by the worker: once it gives a page of the scratch itself away, ioctl() succeeds again, but not mmap(). */
static void fail_mmap(long number, long second)
{
	(void)second;
	if (number != SYS_mremap || atomic_load(&sys_fail.countdown) != 1)
		return;
	sys_fail.number = SYS_mmap;
	atomic_fetch_add(&given_up, 1);
}

/** Pages that differ can be neither moved nor copied back. What it costs the scratch is there for the next hold. */
static void fail_on_the_way_back(const struct guest *g)
{
	for (int call = 1; call < 8; call++) {
		uint32_t slot = director_take_slots(g->director, PAGES);

		test_progress();
		director_scan(g->vm, g->page, PAGES);
		director_fetch(g->vm, g->page, PAGES, slot);
		for (uint32_t i = 0; i < PAGES; i += 2)
			((char *)director_slot(g->director, slot + i))[100] ^= 1;
		sys_fail.number = SYS_ioctl;
		sys_fail.error = ENOMEM;
		sys_fail.for_ever = true;
		atomic_store(&sys_watch, fail_mmap);
		atomic_store(&sys_fail.countdown, call);
		director_merge(g->vm, g->page, PAGES, slot);
		atomic_store(&sys_fail.countdown, 0);
		atomic_store(&sys_watch, NULL);
		check(g, ENOMEM, call);
		director_unshare(g->vm, g->page, PAGES);
		guest_make_plain(g, 0, PAGES);
		check_shares(g, ENOMEM, call);
	}
	test_check(atomic_load(&given_up) > 0, "no page of the scratch had to be given up");
	fprintf(stderr, "%u pages of the scratch given up\n", atomic_load(&given_up));
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
	fail_on_the_way_back(&g);
	atomic_store(&stop, true);
	pthread_join(sweeping, NULL);
	guest_report(&g);
	guest_end(&g);
	return 0;
}
