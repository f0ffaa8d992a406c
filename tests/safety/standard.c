/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VMM that was started with its standard files closed, and reads and writes there all the same, does so in vain: none
 * of the library's files comes to have such a number and stays there.
 *
 * The VMM is a child process, as the director and the test's messages need theirs.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "include/pagefuse.h"
#include "library/lock.h"
#include "tests/support/guest.h"

#define PAGES 64u
#define LOOKS 20u
#define MESSAGES 20 /* where standard error is meanwhile */

/** Between the two processes. */
static struct {
	_Atomic bool shared;
} * common;

static void check_standard_files(void)
{
	memory_lock(); /* a number that the library has just been given it has until then */
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		bool open = fcntl(fd, F_GETFD) >= 0;

		if (!open)
			continue;
		dup2(MESSAGES, STDERR_FILENO);
		test_damage("descriptor %d is the library's", fd);
	}
	memory_unlock();
}

static void run_vmm(void)
{
	char *memory = pages_map(PAGES, false);

	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(memory + i * PAGE_BYTES, i + 1);
	dup2(STDERR_FILENO, MESSAGES);
	close_range(0, STDERR_FILENO, 0);
	if (pagefuse_add_ram(PAGEFUSE_GPA_UNKNOWN, memory, PAGES * PAGE_BYTES) != 0)
		_exit(EXIT_FAILURE);
	while (!atomic_load(&common->shared)) {
		check_standard_files();
		sched_yield();
	}
	for (unsigned i = 0; i < LOOKS; i++) {
		pagefuse_discard(memory, PAGE_BYTES);
		check_standard_files();
	}
	for (uint32_t i = 1; i < PAGES; i++) {
		if (pages_differ(memory + i * PAGE_BYTES, i + 1) < 0)
			continue;
		dup2(MESSAGES, STDERR_FILENO);
		test_damage("page %u reads wrong bytes", i);
	}
	_exit(EXIT_SUCCESS);
}

int main(int argc, char **argv)
{
	struct director *director;
	struct director_vm *vm;
	int pid;

	test_begin(argc, argv);
	test_needs_moves();
	common = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	test_check(common != MAP_FAILED, "mmap");
	director = director_new();
	pid = test_fork();
	if (pid == 0)
		run_vmm();
	vm = director_try_accept(director);
	if (vm != NULL) {
		director_scan(vm, vm->regions[0].page, PAGES);
		test_check(director_share(vm, vm->regions[0].page, PAGES) == PAGES || test_is_control(),
			   "not all pages are shared");
	}
	atomic_store(&common->shared, true);
	test_end_as(test_wait_child(pid));
}
