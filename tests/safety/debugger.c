/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Another process writes a page through /proc/PID/mem, as a debugger does, just while that page is being held. It has a
 * plain reference for a moment, that UFFDIO_MOVE does not see, and may write after the comparison.
 *
 * The helper writes content A and B in turn, which differ in the last word only; the page is merged with a slot that
 * holds A. A merge in the middle of writing B, after which the page reads A, has lost the write. The kernel copies in
 * less than the time of a merge, so the helper has its CPU interrupted for as long as that takes, by many timers at
 * once, and the worker, on another CPU, waits for that moment before it moves the page. One time in some tens it is the
 * right one.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "include/pagefuse.h"
#include "library/hold-steps.h"
#include "library/kernel.h"
#include "library/sys.h"
#include "tests/support/guest.h"

#define PAGES 64u
#define TIMERS 800u         /* some 100 us without the helper */
#define AHEAD_NSEC 20000    /* that they are set to, after the last of them has been set */
#define SETTING_NSEC 400000 /* that setting them takes at first guess */
#define LATER_NSEC 16384    /* after which the worker moves the page, at most */
#define WAIT_NSEC 4000000   /* of the worker for the helper, which may be off its CPU */

static struct shared {
	_Atomic(uint64_t *) target;   /* to write; NULL: none */
	atomic_bool busy;             /* the helper is at it */
	atomic_ullong interrupt_nsec; /* when it will be interrupted next, or was last */
	atomic_uint lost;
	uint64_t last; /* last word of what the helper wrote last */
	uint64_t writes;
} * shared;

static uint64_t random_state;
static unsigned late_writes; /* that came between the move of a page and the end of the barrier */

static uint64_t now_nsec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void put(int mem, uint64_t *page, uint64_t *bytes, uint64_t last)
{
	uint64_t seen;

	bytes[PAGE_WORDS - 1] = last;
	while (pwrite(mem, bytes, PAGE_BYTES, (off_t)(uintptr_t)page) != (ssize_t)PAGE_BYTES)
		test_check(errno == EIO, "write to /proc/PID/mem: %s",
			   strerror(errno)); /* held: a debugger tries again */
	while (pread(mem, &seen, sizeof(seen), (off_t)(uintptr_t)&page[PAGE_WORDS - 1]) != sizeof(seen))
		test_check(errno == EIO, "read from /proc/PID/mem: %s", strerror(errno));
	if (seen != last)
		atomic_fetch_add(&shared->lost, 1);
	shared->last = last;
	shared->writes++;
}

static void open_timers(int timers[TIMERS])
{
	struct rlimit files;

	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	for (unsigned i = 0; i < TIMERS; i++)
		test_check((timers[i] = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)) >= 0, "timerfd_create: %s",
			   strerror(errno));
}

/** Sets all timers to one moment, soon after this is done, and tells the worker. @return that moment. */
static uint64_t set_timers(const int timers[TIMERS])
{
	static uint64_t setting_nsec = SETTING_NSEC;
	uint64_t begin = now_nsec(), at = begin + setting_nsec + AHEAD_NSEC;
	struct itimerspec when = { .it_value = { (time_t)(at / 1000000000), (long)(at % 1000000000) } };

	for (unsigned i = 0; i < TIMERS; i++)
		timerfd_settime(timers[i], TFD_TIMER_ABSTIME, &when, NULL);
	setting_nsec = (setting_nsec * 7 + (now_nsec() - begin)) / 8;
	atomic_store(&shared->interrupt_nsec, at);
	return at;
}

static _Noreturn void helper(void)
{
	static uint64_t bytes[PAGE_WORDS];
	uint64_t a = pages_word(1, PAGE_WORDS - 1), *page;
	int mem, timers[TIMERS];
	char path[32];

	test_pin(1);
	open_timers(timers);
	snprintf(path, sizeof(path), "/proc/%d/mem", getppid());
	mem = open(path, O_RDWR | O_CLOEXEC);
	test_check(mem >= 0, "%s: %s", path, strerror(errno));
	pages_fill(bytes, 1);
	for (;;) {
		uint64_t until = set_timers(timers);

		atomic_store(&shared->busy, true);
		for (unsigned i = 0; (page = atomic_load(&shared->target)) != NULL && now_nsec() < until; i++)
			put(mem, page, bytes, a + i % 2);
		atomic_store(&shared->busy, false);
		if (page == NULL)
			sched_yield();
	}
}

/** Called by the worker before the barrier and after it: has the page in the scratch been written meanwhile? */
static void look_for_late_write(bool barrier)
{
	const uint64_t *last = (const uint64_t *)hold_scratch + PAGE_WORDS - 1;
	static uint64_t before;
	static bool moved;

	if (!barrier && moved && __atomic_load_n(last, __ATOMIC_RELAXED) != before)
		late_writes++;
	moved = barrier && pages_frame((const void *)hold_scratch) != 0; /* or to look would be to sleep */
	if (moved)
		before = __atomic_load_n(last, __ATOMIC_RELAXED);
}

/** Called by the worker. Before the first move of a hold it waits until the helper is interrupted. */
static void delay(long number, long request)
{
	static uint64_t met_nsec;
	static bool armed;
	uint64_t at, later;

	look_for_late_write(number == SYS_mprotect);
	if (number == SYS_ioctl && (unsigned long)request == UFFDIO_REGISTER)
		armed = true;
	if (number != SYS_ioctl || (unsigned long)request != UFFDIO_MOVE || !armed)
		return;
	armed = false;
	later = now_nsec() + WAIT_NSEC;
	while ((at = atomic_load(&shared->interrupt_nsec)) == met_nsec && now_nsec() < later)
		;
	met_nsec = at;
	later = at + test_random(&random_state) % LATER_NSEC;
	while (now_nsec() < later)
		;
}

static void set_target(uint64_t *page)
{
	atomic_store(&shared->target, page);
	while (page == NULL && atomic_load(&shared->busy))
		sched_yield();
}

/** Page @index is anonymous and holds A; orders merges while it is being written until one succeeds. */
static bool merge_while_written(const struct guest *g, uint32_t index, uint32_t slot)
{
	uint64_t *page = guest_at(g, index);
	bool merged = false;

	shared->last = page[PAGE_WORDS - 1];
	set_target(page);
	for (unsigned i = 0; i < 16 && !merged; i++)
		merged = director_merge(g->vm, g->page + index, 1, slot) == 1;
	set_target(NULL);
	if (atomic_load(&shared->lost) != 0 || page[PAGE_WORDS - 1] != shared->last)
		test_damage("a write through /proc/PID/mem was lost, after %llu", (unsigned long long)shared->writes);
	return merged;
}

static bool merge_next(const struct guest *g, uint32_t slot)
{
	static uint32_t next;
	uint32_t i = next++ % (PAGES - 1);

	pagefuse_discard(guest_at(g, i), PAGE_BYTES);
	pages_fill(guest_at(g, i), 1);
	director_audit(g->vm, g->page + i, 1);
	return merge_while_written(g, i, slot);
}

/** The control proves nothing where no such write comes: so with the barrier on there has to be one first. */
static void expect_late_writes(const struct guest *g, uint32_t slot)
{
	uint32_t merges = 0;

	test_protect(true);
	while (test_running() && late_writes == 0)
		merges += merge_next(g, slot);
	if (late_writes == 0)
		test_skip("no write through /proc/PID/mem has come late in %u merges, so there is nothing to be "
			  "protected from",
			  merges);
	test_protect(false);
	test_restart_clock();
}

int main(int argc, char **argv)
{
	uint64_t begin_msec = test_now_msec();
	uint32_t slot, merges = 0;
	struct guest g;
	char *memory;

	test_begin(argc, argv);
	random_state = test_seed(1);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	test_check(shared != MAP_FAILED, "mmap: %s", strerror(errno));
	test_pin(0);
	if (test_fork() == 0)
		helper();
	memory = pages_map(PAGES, false);
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(memory + i * PAGE_BYTES, 1);
	guest_begin(&g, memory, PAGES);
	slot = director_take_slots(g.director, PAGES);
	director_fetch(g.vm, g.page, PAGES, slot);
	director_merge(g.vm, g.page + PAGES - 1, 1, slot); /* keeps the slot alive */
	atomic_store(&sys_watch, delay);
	fprintf(stderr, "set up in %llu ms\n", (unsigned long long)(test_now_msec() - begin_msec));
	/* A machine that has much else to do may need longer than its time to see each once. */
	if (test_is_control())
		expect_late_writes(&g, slot);
	while (test_running() || merges == 0 || shared->writes == 0)
		merges += merge_next(&g, slot);
	atomic_store(&sys_watch, NULL);
	fprintf(stderr, "%u merges, %llu writes, none lost\n", merges, (unsigned long long)shared->writes);
	guest_report(&g);
	guest_end(&g);
	return 0;
}
