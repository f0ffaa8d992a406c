/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a child of a fork has of the library: of the store mappings only, no descriptor of its own is taken for one of
 * the library's, memory that was not inherited is not taken for RAM, handlers that were asked for twice run once, and
 * no lock is held by a thread that is not there. And the parent takes none of many children that are gone for alive:
 * the region could not go then.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "include/pagefuse.h"
#include "library/fork.h"
#include "library/memory.h"
#include "tests/support/guest.h"

#define PAGES 64u
#define FILES 64
#define FORKS 200 /* more than the library can remember at a time */

static void end_child(int pid)
{
	int status = test_wait_child(pid);

	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		test_fail("a child ended with status %d; it has said why", status);
}

/** Descriptors of the store's files that can only be read, which the director's own are not. */
static unsigned count_store_files(void)
{
	char path[64], name[64];
	unsigned count = 0;

	for (int fd = 0; fd < 1024; fd++) {
		int flags = fcntl(fd, F_GETFL);
		ssize_t length;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		length = flags < 0 ? -1 : readlink(path, name, sizeof(name) - 1);
		if (length < 0)
			continue;
		name[length] = '\0';
		count += (flags & O_ACCMODE) == O_RDONLY && strstr(name, "pagefuse-store") != NULL;
	}
	return count;
}

static void test_store_is_closed(void)
{
	unsigned before = count_store_files();
	int pid;

	test_check(before > 0, "the library has no file of the store open");
	pid = test_fork();
	if (pid == 0) {
		if (count_store_files() != 0)
			test_fail("a child has files of the store open");
		_exit(0);
	}
	end_child(pid);
	test_check(count_store_files() == before, "the parent has lost files of the store");
}

/** A child opens files, where numbers are free again, and has a child itself. */
static void test_descriptors(void)
{
	int pid = test_fork(), files[FILES];

	if (pid != 0) {
		end_child(pid);
		return;
	}
	for (int i = 0; i < FILES; i++)
		test_check((files[i] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0, "open /dev/null");
	pid = test_fork();
	if (pid != 0) {
		end_child(pid);
		_exit(0);
	}
	for (int i = 0; i < FILES; i++)
		if (fcntl(files[i], F_GETFD) < 0)
			test_damage("descriptor %d is closed in a grandchild", files[i]);
	_exit(0);
}

static void test_not_inherited(const struct guest *g)
{
	int r = memory_change_begin(CHANGE_ADVICE, g->memory, PAGES * PAGE_BYTES, MADV_DONTFORK), pid;

	test_check(r == 0, "memory_change_begin: %s", strerror(-r));
	r = madvise(g->memory, PAGES * PAGE_BYTES, MADV_DONTFORK);
	memory_change_end(CHANGE_ADVICE, g->memory, PAGES * PAGE_BYTES, MADV_DONTFORK, r == 0);
	test_check(r == 0, "MADV_DONTFORK");
	pid = test_fork();
	if (pid == 0) {
		if (memory_is_ours(g->memory, PAGES * PAGE_BYTES))
			test_damage("a child takes for RAM what it has not inherited");
		_exit(0);
	}
	end_child(pid);
}

static atomic_bool stop;

static void *resume_in_a_loop(void *unused)
{
	while (!atomic_load(&stop))
		pagefuse_resume(); /* of what was not paused: does nothing but to take the lock */
	return unused;
}

static void test_locks(void)
{
	pthread_t thread;

	test_check(pthread_create(&thread, NULL, resume_in_a_loop, NULL) == 0, "no thread");
	for (unsigned i = 0; i < FORKS; i++) {
		int pid = test_fork();

		if (pid == 0) {
			pagefuse_pause();
			pagefuse_resume();
			_exit(0);
		}
		end_child(pid);
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
	struct guest g;
	void *memory;

	test_begin(argc, argv);
	memory = pages_map(PAGES, false);
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill((char *)memory + i * PAGE_BYTES, i + 1);
	guest_begin(&g, memory, PAGES);
	test_check(fork_watch() == 0, "fork_watch"); /* as when the worker's thread could not be started at first */
	test_check(guest_share(&g, 0, PAGES) == PAGES, "not all pages are shared");
	test_store_is_closed();
	test_descriptors();
	test_locks();
	test_not_inherited(&g);
	guest_end(&g);
	return 0;
}
