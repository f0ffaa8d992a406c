/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The VMM forks. A child reads what its parent had at that moment, also when the parent's pages were held, and also
 * later when the parent has written them and their slots could go, be it that the daemon has just been met again;
 * afterwards the parent shares as before.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "include/pagefuse.h"
#include "library/sys.h"
#include "protocol/ring.h"
#include "tests/support/guest.h"

#define PAGES 512u

static atomic_bool stop;
static atomic_uint forks;

static uint64_t content_of(uint32_t index)
{
	return index % 8 == 7 ? 0 : index + 1;
}

static void check(const struct guest *g, const char *who)
{
	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_differ(guest_at(g, i), content_of(i)) >= 0)
			test_damage("page %u reads wrong bytes in %s", i, who);
}

/** Forks all the time; every child looks at all memory. */
static void *fork_in_a_loop(void *argument)
{
	const struct guest *g = argument;

	while (!atomic_load(&stop)) {
		int pid = test_fork();

		if (pid == 0) {
			check(g, "a child");
			_exit(0);
		}
		test_end_child(pid);
		atomic_fetch_add(&forks, 1);
	}
	return NULL;
}

/** Writes the bytes that are there already: pages diverge, and stay what they are. */
static void *write_same_bytes(void *argument)
{
	const struct guest *g = argument;
	uint64_t random = test_seed(3);

	while (!atomic_load(&stop)) {
		uint32_t page = (uint32_t)(test_random(&random) % PAGES),
			 word = (uint32_t)(test_random(&random) % PAGE_WORDS);

		pages_store((uint64_t *)guest_at(g, page) + word, pages_word(content_of(page), word));
	}
	return NULL;
}

static void test_during_holds(const struct guest *g)
{
	uint64_t random = test_seed(1);
	pthread_t forking, writing;

	test_check(pthread_create(&forking, NULL, fork_in_a_loop, (void *)g) == 0 &&
			   pthread_create(&writing, NULL, write_same_bytes, (void *)g) == 0,
		   "no thread");
	while (test_running())
		guest_churn(g, &random);
	atomic_store(&stop, true);
	pthread_join(forking, NULL);
	pthread_join(writing, NULL);
	check(g, "the parent");
	fprintf(stderr, "%u forks\n", atomic_load(&forks));
}

static void say(int fd)
{
	test_check(write(fd, "", 1) == 1, "write to a pipe");
}

static void hear(int fd)
{
	char byte;

	test_check(read(fd, &byte, 1) == 1, "the other process has ended early");
}

/** The parent writes every page while a child lives that reads the old ones. */
static void test_slots_stay(const struct guest *g)
{
	int go[2], pid;

	test_check(pipe(go) == 0, "pipe");
	director_unshare(g->vm, g->page, PAGES);
	guest_share(g, 0, PAGES);
	test_check(director_count(g->vm, g->page, PAGES, DIRECTOR_SHARED) > PAGES / 2,
		   "nothing is shared before the fork");
	pid = test_fork();
	if (pid == 0) {
		hear(go[0]);
		check(g, "a child whose parent has written since");
		_exit(0);
	}
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(guest_at(g, i), i + 100000);
	director_audit(g->vm, g->page, PAGES);
	say(go[1]);
	test_end_child(pid);
	for (uint32_t i = 0; i < PAGES; i++)
		test_check(pages_differ(guest_at(g, i), i + 100000) < 0, "page %u reads wrong bytes in the parent", i);
	close(go[0]);
	close(go[1]);
}

static struct {
	const struct guest *guest;
	int go[2];
	atomic_int pid;
	atomic_bool armed;
} between;

/**
 * Called by the worker, when it maps the ring of a new connection: it has found no child alive before. One is born now,
 * and then its parent leaves slots that the child reads.
 */
static void fork_in_between(long number, long second)
{
	if (number != SYS_mmap || second != (long)RING_BYTES || !atomic_exchange(&between.armed, false))
		return;
	between.pid = test_fork();
	if (between.pid == 0) {
		hear(between.go[0]);
		check(between.guest, "a child born while the parent met the daemon again");
		_exit(0);
	}
	pagefuse_discard(between.guest->memory, PAGES / 2 * PAGE_BYTES);
}

/** The connection ends, and whatever is not told of to the next one is given back. */
static void test_reconnection(struct guest *g)
{
	struct director_vm *before = g->vm, *after;

	director_unshare(g->vm, g->page, PAGES);
	guest_share(g, 0, PAGES);
	test_check(pipe(between.go) == 0, "pipe");
	between.guest = g;
	atomic_store(&between.armed, true);
	atomic_store(&sys_watch, fork_in_between);
	director_disconnect(before);
	after = director_try_accept(g->director); /* NULL: the worker has thought better of it */
	if (after != NULL)
		director_forget(before);
	atomic_store(&sys_watch, NULL);
	test_check(!atomic_load(&between.armed), "there was no fork while the worker connected");
	say(between.go[1]);
	test_end_child(between.pid);
	if (after == NULL) {
		after = director_accept(g->director);
		director_forget(before);
	}
	g->vm = after;
	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_differ(guest_at(g, i), i < PAGES / 2 ? 0 : content_of(i)) >= 0)
			test_damage("page %u reads wrong bytes after the daemon was met again", i);
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(guest_at(g, i), content_of(i));
}

/** When the child is gone all slots go, and everything can be shared again. */
static void test_recovery(const struct guest *g)
{
	director_audit(g->vm, g->page, PAGES);
	test_check(director_live_slots(g->director) == 0, "%llu slots are in use after the child is gone",
		   (unsigned long long)director_live_slots(g->director));
	test_check(guest_share(g, 0, PAGES) == PAGES, "not all pages are shared after a fork; the first is answered %u",
		   g->vm->pages[g->page].answer);
}

int main(int argc, char **argv)
{
	struct guest g;
	void *memory;

	test_begin(argc, argv);
	memory = pages_map(PAGES, false);
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill((char *)memory + i * PAGE_BYTES, content_of(i));
	guest_begin(&g, memory, PAGES);
	test_during_holds(&g);
	test_reconnection(&g);
	test_slots_stay(&g);
	test_recovery(&g);
	guest_report(&g);
	guest_end(&g);
	return 0;
}
