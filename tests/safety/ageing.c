/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernel misreports what it has moved: if something clears the accessed bit of a page between two looks of
 * UFFDIO_MOVE at it, the kernel tries again, moves all pages, and then says EEXIST and "nothing moved". So a thread
 * reads and ages, without end, the first page of the run that is held next; and the worker is made to wait before a
 * move until that thread is at it.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "library/kernel.h"
#include "library/sys.h"
#include "tests/support/guest.h"

#define PAGES 512u
#define RUN 4u
#define DELAY_STEPS 8192 /* of an empty loop: some microseconds, about a round of ageing */

static atomic_bool stop;
static atomic_uint rounds; /* of reading and ageing */
static uint64_t contents[PAGES];
static char *_Atomic held; /* the run that is to be moved next */
static uint64_t watch_random;

/** Sleeps with the others when the page is held, and goes on with them. */
static void *age(void *unused)
{
	test_pin(1);
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		char *page = atomic_load(&held);

		(void)__atomic_load_n(page, __ATOMIC_RELAXED);
		atomic_fetch_add(&rounds, 1);
		madvise(page, PAGE_BYTES, MADV_COLD);
	}
	return unused;
}

/** Called by the worker. Waits before the first move of a hold only: after that the ageing thread may be asleep. */
static void meet_ageing(long number, long request)
{
	static bool armed;
	unsigned before;

	if (number == SYS_ioctl && (unsigned long)request == UFFDIO_REGISTER)
		armed = true;
	if (number != SYS_ioctl || (unsigned long)request != UFFDIO_MOVE || !armed)
		return;
	armed = false;
	before = atomic_load(&rounds);
	while (atomic_load(&rounds) == before && !atomic_load(&stop))
		sched_yield();
	for (unsigned i = test_random(&watch_random) % DELAY_STEPS; i > 0; i--)
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static uint64_t repaired(const struct guest *g)
{
	return ((struct ring_page *)g->vm->base)->stats.repaired_moves;
}

static void check(const struct guest *g, uint32_t first, uint32_t count)
{
	for (uint32_t i = first; i < first + count; i++)
		if (pages_differ(guest_at(g, i), contents[i]) >= 0)
			test_damage("page %u reads wrong bytes after a hold; %llu moves were repaired", i,
				    (unsigned long long)repaired(g));
}

static void round_of(const struct guest *g, uint64_t *random)
{
	static uint64_t content = PAGES;
	uint32_t first = (uint32_t)(test_random(random) % (PAGES / RUN)) * RUN;

	for (uint32_t i = first; i < first + RUN; i++)
		pages_fill(guest_at(g, i), contents[i] = ++content);
	atomic_store(&held, guest_at(g, first));
	guest_share(g, first, RUN);
	check(g, first, RUN);
	guest_make_plain(g, first, RUN); /* only anonymous pages are moved, and aged at any length */
}

/** The control, on a kernel that reports rightly, would prove nothing: so it is first seen not to. */
static void expect_misreports(const struct guest *g, uint64_t *random)
{
	uint64_t moves = 0;

	test_protect(true);
	for (; test_running() && repaired(g) == 0; moves++)
		round_of(g, random);
	if (repaired(g) == 0)
		test_skip("this kernel has reported %llu moves rightly, so there is nothing to be protected from",
			  (unsigned long long)moves);
	test_protect(false);
	test_restart_clock();
}

int main(int argc, char **argv)
{
	uint64_t random;
	pthread_t thread;
	struct guest g;
	void *memory;

	test_begin(argc, argv);
	test_pin(0); /* and the worker: alternating is faster than being sent from one CPU to the other */
	random = test_seed(1);
	memory = pages_map(PAGES, false);
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill((char *)memory + i * PAGE_BYTES, contents[i] = i + 1);
	guest_begin(&g, memory, PAGES);
	watch_random = test_seed(2);
	atomic_store(&held, g.memory);
	atomic_store(&sys_watch, meet_ageing);
	test_check(pthread_create(&thread, NULL, age, NULL) == 0, "no thread");
	if (test_is_control())
		expect_misreports(&g, &random);
	while (test_running())
		round_of(&g, &random);
	atomic_store(&sys_watch, NULL);
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	check(&g, 0, PAGES);
	guest_report(&g);
	guest_end(&g);
	return 0;
}
