/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the child of a fork does to the memory that it inherited: discards give zeros, mprotect() and mremap() work, and
 * other memory of its own is left as it is. Also where another thread was just unmapping some, where the parent had
 * locked it, and where the child may not open what its parent could.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "include/pagefuse.h"
#include "library/memory.h"
#include "library/sys.h"
#include "tests/support/guest.h"

#define PAGES 64u
#define CUT 16u /* pages that are unmapped during a fork, from here on */
#define SOME 8u /* and how many at a time */
#define NOBODY 65534

static void begin(enum memory_change change, void *address, int detail)
{
	int r = memory_change_begin(change, address, SOME * PAGE_BYTES, detail);

	test_check(r == 0, "memory_change_begin: %s", strerror(-r));
}

static void end(enum memory_change change, void *address, int detail)
{
	memory_change_end(change, address, SOME * PAGE_BYTES, detail, true);
}

static void share(const struct guest *g)
{
	guest_share(g, 0, PAGES);
	for (uint32_t i = 0; i < PAGES; i++) {
		(void)*(const volatile char *)guest_at(g, i);
		test_check(pages_is_file(guest_at(g, i)), "page %u is not shared", i);
	}
}

/* ---- a call that is cut in two ---- */

static struct {
	char *address; /* NULL: no call is made during forks */
	bool before;   /* the fork comes before the system call, not after it */
	sem_t begin, there, forked;
} cut;

/** After the library's own handler, as it is registered before. */
static void fork_is_next(void)
{
	if (cut.address == NULL)
		return;
	sem_post(&cut.begin);
	while (sem_wait(&cut.there) < 0)
		;
}

static void fork_is_over(void)
{
	if (cut.address != NULL)
		sem_post(&cut.forked);
}

__attribute__((constructor(101))) static void register_first(void)
{
	(void)pthread_atfork(fork_is_next, fork_is_over, NULL);
}

static void wait_for_fork(void)
{
	sem_post(&cut.there);
	while (sem_wait(&cut.forked) < 0)
		;
}

static void *unmap(void *unused)
{
	while (sem_wait(&cut.begin) < 0)
		;
	begin(CHANGE_UNMAP, cut.address, 0);
	if (cut.before)
		wait_for_fork();
	munmap(cut.address, SOME * PAGE_BYTES);
	if (!cut.before)
		wait_for_fork();
	end(CHANGE_UNMAP, cut.address, 0);
	return unused;
}

static int fork_during_unmap(char *address, bool before)
{
	pthread_t thread;
	int pid;

	cut.address = address;
	cut.before = before;
	test_check(pthread_create(&thread, NULL, unmap, NULL) == 0, "no thread");
	pid = test_fork();
	if (pid == 0)
		return 0;
	pthread_join(thread, NULL);
	cut.address = NULL;
	return pid;
}

/** In a child where it is still mapped. */
static _Noreturn void discard_and_check(char *address)
{
	test_check(pagefuse_discard(address, SOME * PAGE_BYTES) == 0, "pagefuse_discard");
	for (uint32_t i = 0; i < SOME; i++)
		if (pages_differ(address + i * PAGE_BYTES, 0) >= 0)
			test_damage("page %u is not zero after a discard in a child", i);
	_exit(0);
}

/** In a child where it is not: what takes its place is a file, which discards do not change. */
static _Noreturn void map_file_and_check(char *address)
{
	int fd = memfd_create("file", MFD_CLOEXEC);
	void *mapped;

	test_check(fd >= 0 && ftruncate(fd, SOME * PAGE_BYTES) == 0, "memfd: %s", strerror(errno));
	mapped = mmap(address, SOME * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
	test_check(mapped == address, "mapping a file where RAM was: %s", strerror(errno));
	for (uint32_t i = 0; i < SOME; i++)
		pages_fill(address + i * PAGE_BYTES, i + 1);
	test_check(pagefuse_discard(address, SOME * PAGE_BYTES) == 0, "pagefuse_discard");
	for (uint32_t i = 0; i < SOME; i++)
		if (pages_differ(address + i * PAGE_BYTES, i + 1) >= 0)
			test_damage("page %u of a file is taken for RAM in a child", i);
	_exit(0);
}

static void test_cut_calls(const struct guest *g)
{
	char *first = guest_at(g, CUT), *second = guest_at(g, CUT + SOME);
	int pid;

	sem_init(&cut.begin, 0, 0);
	sem_init(&cut.there, 0, 0);
	sem_init(&cut.forked, 0, 0);
	pid = fork_during_unmap(first, true);
	if (pid == 0)
		discard_and_check(first);
	test_end_child(pid);
	pid = fork_during_unmap(second, false);
	if (pid == 0)
		map_file_and_check(second);
	test_end_child(pid);
}

/* ---- locked by the parent ---- */

/** The library finds no memory to replace the store's pages by, so they only get copies of their own. */
static void test_locked(const struct guest *g)
{
	int pid;

	sys_fail.number = SYS_mmap;
	sys_fail.error = ENOMEM;
	sys_fail.for_ever = false;
	atomic_store(&sys_fail.countdown, 1);
	begin(CHANGE_LOCK, g->memory, 0);
	test_check(atomic_load(&sys_fail.countdown) == 0, "no mmap() has failed");
	test_lock_memory(g->memory, SOME * PAGE_BYTES);
	end(CHANGE_LOCK, g->memory, 0);
	pid = test_fork();
	if (pid == 0)
		discard_and_check(g->memory);
	test_end_child(pid);
	begin(CHANGE_UNLOCK, g->memory, 0);
	test_unlock_memory(g->memory, SOME * PAGE_BYTES);
	end(CHANGE_UNLOCK, g->memory, 0);
}

/* ---- a child of an ordinary user ---- */

static void check_bytes(const char *address, uint32_t index)
{
	for (uint32_t i = 0; i < SOME; i++)
		if (pages_differ(address + i * PAGE_BYTES, index + i + 1) >= 0)
			test_damage("page %u reads wrong bytes in a child", index + i);
}

static _Noreturn void change_as_nobody(const struct guest *g)
{
	const uint32_t protected = PAGES - SOME, moved = PAGES - 2 * SOME;
	char *from = guest_at(g, moved), *to = pages_map(SOME, false);

	test_check(setgroups(0, NULL) == 0 && setresgid(NOBODY, NOBODY, NOBODY) == 0 &&
			   setresuid(NOBODY, NOBODY, NOBODY) == 0 && prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0,
		   "becoming nobody: %s", strerror(errno));
	begin(CHANGE_PROTECT, guest_at(g, protected), PROT_READ);
	test_check(mprotect(guest_at(g, protected), SOME * PAGE_BYTES, PROT_READ) == 0, "mprotect: %s",
		   strerror(errno));
	end(CHANGE_PROTECT, guest_at(g, protected), PROT_READ);
	check_bytes(guest_at(g, protected), protected);
	begin(CHANGE_MOVE, from, 0);
	test_check(mremap(from, SOME * PAGE_BYTES, SOME * PAGE_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to,
		   "mremap: %s", strerror(errno));
	end(CHANGE_MOVE, from, 0);
	check_bytes(to, moved);
	_exit(0);
}

static void test_ordinary_user(const struct guest *g)
{
	int pid;

	if (geteuid() != 0 || access("/dev/userfaultfd", R_OK | W_OK) < 0)
		return; /* the daemon has none to lend either */
	pid = test_fork();
	if (pid == 0)
		change_as_nobody(g);
	test_end_child(pid);
}

int main(int argc, char **argv)
{
	struct guest g;
	char *memory;

	test_begin(argc, argv);
	memory = pages_map(PAGES, false);
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(memory + i * PAGE_BYTES, i + 1);
	guest_begin(&g, memory, PAGES);
	share(&g);
	test_ordinary_user(&g);
	test_locked(&g);
	test_cut_calls(&g);
	director_audit(g.vm, g.page, PAGES);
	director_free(g.director);
	return 0;
}
