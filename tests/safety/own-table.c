/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A thread with a table of descriptors of its own (unshare(CLONE_FILES)). What the library opens there for a moment may
 * get a number that it uses in the table of all others: neither is taken for the other, and none is left open.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "include/pagefuse.h"
#include "library/worker.h"
#include "tests/support/guest.h"

#define PAGES 64u
#define FILLED_MAX 64u
#define NUMBERS 1024 /* this process has fewer files */

static pthread_barrier_t step;
static int first_free; /* in the thread's own table */

/* Nothing is opened for it: ThreadSanitizer takes what threads have under the same number for the same. */
static unsigned open_files(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < NUMBERS; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void *offer_by_own_table(void *memory)
{
	unsigned before;
	int r;

	test_check(unshare(CLONE_FILES) == 0, "unshare: %s", strerror(errno));
	first_free = open("/dev/null", O_RDONLY | O_CLOEXEC);
	test_check(first_free >= 0 && close(first_free) == 0, "/dev/null: %s", strerror(errno));
	pthread_barrier_wait(&step);
	pthread_barrier_wait(&step); /* meanwhile, the library has opened others in the table of all other threads */
	before = open_files();
	r = pagefuse_add_ram(PAGEFUSE_GPA_UNKNOWN, memory, PAGES * PAGE_BYTES);
	test_check(r == 0, "adding: %s", strerror(-r));
	test_check(open_files() == before, "a file is left open");
	return NULL;
}

static bool has_two_regions(const struct director_vm *vm, void *unused)
{
	(void)unused;
	return vm->region_count == 2;
}

/** The daemon is another one. The library's socket to it has the lowest number that is free in the thread's table. */
static void connect_anew(struct guest *g)
{
	int fill[FILLED_MAX], filled = 0;
	struct director_vm *before = g->vm;

	test_check(shutdown(before->socket, SHUT_RDWR) == 0, "shutdown: %s",
		   strerror(errno)); /* the thread has it, too */
	director_disconnect(before);
	while (worker_is_connected())
		sched_yield();
	do
		fill[filled++] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	while (filled < (int)FILLED_MAX && fill[filled - 1] < first_free - 1);
	g->vm = director_accept(g->director);
	director_forget(before);
	while (filled > 0)
		close(fill[--filled]);
}

int main(int argc, char **argv)
{
	char *more = pages_map(PAGES, false);
	pthread_t thread;
	struct guest g;

	test_begin(argc, argv);
	guest_begin(&g, pages_map(PAGES, false), PAGES);
	pthread_barrier_init(&step, NULL, 2);
	test_check(pthread_create(&thread, NULL, offer_by_own_table, more) == 0, "no thread");
	pthread_barrier_wait(&step);
	connect_anew(&g);
	pthread_barrier_wait(&step);
	test_check(pthread_join(thread, NULL) == 0, "join");
	test_check(director_wait_until(g.vm, has_two_regions, NULL) == 0, "the worker has lost its daemon");
	for (unsigned i = 0; i < 2; i++)
		director_audit(g.vm, g.vm->regions[i].page, PAGES);
	test_check(g.vm->socket >= 0, "the worker has lost its daemon");
	test_check(pagefuse_remove_ram(more, PAGES * PAGE_BYTES) == 0, "removing");
	guest_end(&g);
	return 0;
}
