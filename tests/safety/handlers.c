/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The VMM's own fork handlers and signal handlers. Handlers of a fork take a lock that other threads have when they
 * discard memory, discard some themselves, and fork; be they registered before the library's or after. A signal handler
 * discards and forks, whatever its thread is doing. Nobody may wait for ever, and what was discarded reads as zeros.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "include/pagefuse.h"
#include "tests/support/guest.h"

#define PAGES 256u
#define OWN 4u /* pages at the end that each of the below has for itself, and the director never touches */

enum owner { EARLY,
	     LATE,
	     SIGNALLED,
	     IN_HANDLER,
	     OWNERS };

static struct guest guest;
static atomic_bool stop;
static atomic_ulong rounds[OWNERS];
static pthread_mutex_t locks[2] = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER }; /* EARLY, LATE */
static __thread unsigned depth[2];

/** Shared memory, when it is the director's turn; in the child of a fork, too. */
static void discard(enum owner owner)
{
	uint32_t first = PAGES / OWNERS * owner, last = first + OWN;

	for (uint32_t i = first; i < last; i++) {
		pages_fill(guest_at(&guest, i), i % 2 + 1);
		if (pagefuse_discard(guest_at(&guest, i), PAGE_BYTES) != 0)
			test_damage("page %u cannot be discarded", i);
		if (pages_differ(guest_at(&guest, i), 0) >= 0)
			test_damage("page %u is not zero after a discard", i);
	}
}

static void end_child(int pid)
{
	int status;

	test_check(pid >= 0, "fork: %s", strerror(errno));
	if (pid == 0)
		_exit(0);
	while (waitpid(pid, &status, 0) < 0)
		test_check(errno == EINTR, "waitpid: %s", strerror(errno));
	test_check(status == 0, "a child ended with status %d", status);
}

/* ---- the VMM's fork handlers ---- */

static void prepare(enum owner which)
{
	if (depth[which]++ > 0 || guest.memory == NULL)
		return;
	end_child(fork());
	pthread_mutex_lock(&locks[which]);
	discard(which);
}

static void after(enum owner which)
{
	if (--depth[which] > 0 || guest.memory == NULL)
		return;
	discard(which);
	pthread_mutex_unlock(&locks[which]);
}

static void prepare_early(void)
{
	prepare(EARLY);
}

static void after_early(void)
{
	after(EARLY);
}

/** In the child: first of all, as it may wait for ever in one of the other handlers. */
static void after_early_in_child(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	after(EARLY);
}

static void prepare_late(void)
{
	prepare(LATE);
}

static void after_late(void)
{
	after(LATE);
}

/** Before the library's own constructor. */
__attribute__((constructor(101))) static void register_early(void)
{
	(void)pthread_atfork(prepare_early, after_early, after_early_in_child);
}

/* ---- its threads ---- */

static void *discard_with_lock(void *argument)
{
	enum owner which = *(const enum owner *)argument;

	while (!atomic_load(&stop)) {
		pthread_mutex_lock(&locks[which]);
		discard(which);
		pthread_mutex_unlock(&locks[which]);
		atomic_fetch_add(&rounds[which], 1);
	}
	return NULL;
}

static void on_signal(int number)
{
	int saved = errno;

	(void)number;
	discard(IN_HANDLER);
	end_child(fork());
	atomic_fetch_add(&rounds[IN_HANDLER], 1);
	errno = saved;
}

static void *discard_and_be_interrupted(void *unused)
{
	sigset_t one;

	sigemptyset(&one);
	sigaddset(&one, SIGUSR1);
	pthread_sigmask(SIG_UNBLOCK, &one, NULL);
	while (!atomic_load(&stop)) {
		discard(SIGNALLED);
		atomic_fetch_add(&rounds[SIGNALLED], 1);
	}
	return unused;
}

static void *fork_in_a_loop(void *unused)
{
	while (!atomic_load(&stop))
		end_child(fork());
	return unused;
}

/* ---- the test ---- */

/** Fails if one of them stands still for as long as only one that waits for ever does. */
static void watch(void)
{
	static unsigned long seen[OWNERS];
	static uint64_t last_msec[OWNERS];
	uint64_t now = test_patient_msec();

	for (unsigned i = 0; i < OWNERS; i++) {
		unsigned long rounds_now = atomic_load(&rounds[i]);

		if (rounds_now != seen[i] || last_msec[i] == 0)
			last_msec[i] = now;
		seen[i] = rounds_now;
		if (now - last_msec[i] > (uint64_t)TEST_DEADLINE_SECONDS * 1000)
			test_damage("thread %u waits for ever", i);
	}
}

static void merge_something(uint64_t *random)
{
	uint32_t owner = (uint32_t)(test_random(random) % OWNERS), first = PAGES / OWNERS * owner + OWN;

	guest_share(&guest, first, PAGES / OWNERS - OWN);
	director_audit(guest.vm, guest.page, PAGES);
	director_scan(guest.vm, guest.page, PAGES);
	director_share(guest.vm, guest.page, PAGES);
}

static pthread_t start(void *(*function)(void *), void *argument)
{
	pthread_t thread;

	test_check(pthread_create(&thread, NULL, function, argument) == 0, "no thread");
	return thread;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_flags = SA_RESTART };
	enum owner early = EARLY, late = LATE;
	uint64_t random;
	pthread_t threads[4];
	sigset_t one;
	char *memory;

	test_begin(argc, argv);
	random = test_seed(1);
	memory = pages_map(PAGES, false);
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(memory + i * PAGE_BYTES, i % 16 + 1);
	guest_begin(&guest, memory, PAGES);
	test_check(pthread_atfork(prepare_late, after_late, after_late) == 0, "pthread_atfork");
	action.sa_handler = on_signal;
	test_check(sigaction(SIGUSR1, &action, NULL) == 0, "sigaction");
	sigemptyset(&one);
	sigaddset(&one, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &one, NULL); /* the others' too */
	threads[0] = start(discard_with_lock, &early);
	threads[1] = start(discard_with_lock, &late);
	threads[2] = start(discard_and_be_interrupted, NULL);
	threads[3] = start(fork_in_a_loop, NULL);
	while (test_running()) {
		pthread_kill(threads[2], SIGUSR1);
		merge_something(&random);
		watch();
	}
	while (atomic_load(&rounds[IN_HANDLER]) == 0)
		watch();
	atomic_store(&stop, true);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < OWNERS; i++)
		fprintf(stderr, "%lu rounds\n", atomic_load(&rounds[i]));
	guest_report(&guest);
	guest_end(&guest);
	return 0;
}
