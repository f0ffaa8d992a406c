/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory that could not be shared for a while is shared again, and nobody is told any more that it is refused: what was
 * locked, given to a userfaultfd of the VMM's own, or unmapped and mapped anew. And locked memory stays locked, also if
 * it had to be left in a mapping of the store and is discarded.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "include/pagefuse.h"
#include "library/memory.h"
#include "library/sys.h"
#include "tests/support/guest.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

#define PAGES 64u
#define FIRST 16u /* the pages that this is about */
#define COUNT 8u
#define BYTES (COUNT * PAGE_BYTES)

static void fill(const struct guest *g)
{
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(guest_at(g, i), i + 1);
}

static void check(const struct guest *g, uint64_t middle, const char *when)
{
	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_differ(guest_at(g, i), i - FIRST < COUNT ? middle * (i + 1) : i + 1) >= 0)
			test_damage("page %u reads wrong bytes %s", i, when);
}

static void check_shared(const struct guest *g, uint32_t wanted, const char *when)
{
	uint32_t shared;

	director_unshare(g->vm, g->page, PAGES);
	director_audit(g->vm, g->page, PAGES);
	shared = guest_share(g, 0, PAGES);
	test_check(shared == wanted, "%u pages are shared %s, wanted %u", shared, when, wanted);
	check(g, 1, when);
}

struct refusal {
	uint32_t reason;
	uint64_t bytes;
};

static bool is_refused(const struct director_vm *vm, void *context)
{
	const struct refusal *refusal = context;

	return vm->refused[refusal->reason] == refusal->bytes;
}

static void await_refused(const struct guest *g, uint32_t reason, uint64_t bytes)
{
	test_check(director_wait_until(g->vm, is_refused, &(struct refusal){ reason, bytes }) == 0, "the worker left");
}

/** Tells the library of a change, of which the call itself is @number with the usual two arguments; 0: none. */
static void change(const struct guest *g, enum memory_change what, long number)
{
	void *at = guest_at(g, FIRST);
	int r = memory_change_begin(what, at, BYTES, 0);

	test_check(r == 0, "memory_change_begin: %s", strerror(-r));
	r = number == 0 ? 0 : (int)syscall(number, at, BYTES);
	memory_change_end(what, at, BYTES, 0, r == 0);
	test_check(r == 0, "system call %ld: %s", number, strerror(errno));
}

static void test_locked(const struct guest *g)
{
	for (unsigned i = 0; i < 2; i++) /* what is locked already is not counted again */
		change(g, CHANGE_LOCK, SYS_mlock);
	await_refused(g, WIRE_REASON_LOCKED, BYTES);
	check_shared(g, PAGES - COUNT, "while some are locked");
	change(g, CHANGE_UNLOCK, SYS_munlock);
	await_refused(g, WIRE_REASON_LOCKED, 0);
	check_shared(g, PAGES, "after they were unlocked");
}

static void test_userfaultfd(const struct guest *g)
{
	change(g, CHANGE_USERFAULTFD, 0);
	await_refused(g, WIRE_REASON_VMM_USERFAULTFD, BYTES);
	change(g, CHANGE_USERFAULTFD_END, 0);
	await_refused(g, WIRE_REASON_VMM_USERFAULTFD, 0);
	check_shared(g, PAGES, "after the VMM's userfaultfd");
}

static int open_userfaultfd(void)
{
	int fd = (int)syscall(SYS_userfaultfd, (long)(O_CLOEXEC | UFFD_USER_MODE_ONLY));
	struct uffdio_api api = { .api = UFFD_API };

	test_check(fd >= 0 && ioctl(fd, UFFDIO_API, &api) == 0, "userfaultfd: %s", strerror(errno));
	return fd;
}

static void register_memory(int fd, void *memory, size_t length)
{
	struct uffdio_register reg = { .range = { (uint64_t)memory, length }, .mode = UFFDIO_REGISTER_MODE_MISSING };

	test_check(ioctl(fd, UFFDIO_REGISTER, &reg) == 0, "UFFDIO_REGISTER: %s", strerror(errno));
}

static void await_looks(void)
{
	struct timespec seconds = { .tv_sec = 7 };

	nanosleep(&seconds, NULL);
}

/** The library looks for memory that is not under a userfaultfd any more. Who touches an empty page then goes on. */
static void test_closed(const struct guest *g)
{
	int fd = open_userfaultfd(), other = dup(fd);
	char *beside = pages_map(PAGES, false);

	change(g, CHANGE_USERFAULTFD, 0);
	register_memory(fd, guest_at(g, FIRST), BYTES);
	register_memory(fd, beside, PAGES * PAGE_BYTES);
	madvise(beside, PAGES * PAGE_BYTES, MADV_MERGEABLE); /* for the kernel to know that it is offered */
	test_check(memory_register(beside, PAGES * PAGE_BYTES) == -EOPNOTSUPP, "what is under a userfaultfd is taken");
	await_refused(g, WIRE_REASON_VMM_USERFAULTFD, BYTES + PAGES * PAGE_BYTES);
	close(fd);
	await_looks();
	await_refused(g, WIRE_REASON_VMM_USERFAULTFD, BYTES + PAGES * PAGE_BYTES);
	check_shared(g, PAGES - COUNT, "while a userfaultfd is open in another place");
	close(other);
	while (g->vm->refused[WIRE_REASON_VMM_USERFAULTFD] != 0) {
		test_check(guest_discard(g, FIRST, COUNT, MADV_DONTNEED) == 0, "madvise: %s", strerror(errno));
		fill(g);
		director_scan(g->vm, g->page, PAGES); /* and hears of what has changed */
	}
	check_shared(g, PAGES, "after the VMM's userfaultfd was closed");
	test_check(memory_is_ours(beside, PAGES * PAGE_BYTES), "what lies beside is not offered again");
	test_check(memory_change_begin(CHANGE_UNMAP, beside, PAGES * PAGE_BYTES, 0) == 0, "memory_change_begin");
	test_check(munmap(beside, PAGES * PAGE_BYTES) == 0, "munmap: %s", strerror(errno));
	memory_change_end(CHANGE_UNMAP, beside, PAGES * PAGE_BYTES, 0, true);
}

static void test_unmapped(const struct guest *g)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, r; /* as the rest */
	void *at = guest_at(g, FIRST);

	change(g, CHANGE_LOCK, SYS_mlock);
	change(g, CHANGE_UNMAP, SYS_munmap);
	await_refused(g, WIRE_REASON_LOCKED, 0);
	test_check(mmap(at, BYTES, PROT_READ | PROT_WRITE, flags, -1, 0) == at,
		   "mmap: %s", strerror(errno));
	madvise(at, BYTES, MADV_NOHUGEPAGE);
	fill(g);
	director_audit(g->vm, g->page, PAGES);
	check_shared(g, PAGES - COUNT, "when memory is mapped anew and not offered");
	r = memory_register(at, BYTES);
	test_check(r >= 0, "memory_register: %s", strerror(-r));
	check_shared(g, PAGES, "when it is offered");
}

static bool is_locked(void *page)
{
	/* The kernel refuses this advice on locked memory, and it changes nothing elsewhere but the age. */
	return syscall(SYS_madvise, page, PAGE_BYTES, MADV_COLD) < 0 && errno == EINVAL;
}

/** There is no memory to put in the place of shared pages when they are locked: they only get copies of their own. */
static void test_discard_of_locked(const struct guest *g)
{
	int r;

	sys_fail.number = SYS_mmap;
	sys_fail.error = ENOMEM;
	atomic_store(&sys_fail.countdown, 1);
	change(g, CHANGE_LOCK, SYS_mlock);
	test_check(atomic_exchange(&sys_fail.countdown, 0) == 0, "no mmap was made for locked memory");
	test_check(is_locked(guest_at(g, FIRST)), "memory is not locked, or that cannot be seen");
	r = guest_discard(g, FIRST, COUNT, MADV_DONTNEED);
	check(g, 1, "after a discard that the kernel refuses");
	test_check(r == -EINVAL, "MADV_DONTNEED of locked memory gave %d", r);
	r = guest_discard(g, FIRST, COUNT, MADV_DONTNEED_LOCKED);
	check(g, 0, "after a discard of locked memory");
	test_check(r == 0, "MADV_DONTNEED_LOCKED gave %d", r);
	if (!is_locked(guest_at(g, FIRST)))
		test_damage("memory is not locked any more after a discard");
	change(g, CHANGE_UNLOCK, SYS_munlock);
	fill(g);
	check_shared(g, PAGES, "after a discard of locked memory");
}

/** What a mapping of the store could not keep. */
static void test_not_kept(void)
{
	void *memory = pages_map(PAGES, false);
	int r;

	test_check(madvise(memory, PAGES * PAGE_BYTES, MADV_WIPEONFORK) == 0, "MADV_WIPEONFORK: %s", strerror(errno));
	r = pagefuse_add_ram(PAGEFUSE_GPA_UNKNOWN, memory, PAGES * PAGE_BYTES);
	test_check(r == -EOPNOTSUPP, "memory that is wiped on fork is taken: %d", r);
}

int main(int argc, char **argv)
{
	struct guest g;
	void *memory;

	test_begin(argc, argv);
	memory = pages_map(PAGES, false);
	guest_begin(&g, memory, PAGES);
	fill(&g);
	check_shared(&g, PAGES, "at first");
	test_locked(&g);
	test_userfaultfd(&g);
	test_closed(&g);
	test_unmapped(&g);
	test_discard_of_locked(&g);
	test_not_kept();
	guest_report(&g);
	guest_end(&g);
	return 0;
}
