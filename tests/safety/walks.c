/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whatever goes through all pages of a VM lets VMM threads in between, after at most REGION_PIECE_PAGES of them.
 *
 * The library's tables of a large region are emptied and given to a userfaultfd, so that each page of a table that is
 * looked at is seen here, with how often the lock has been taken until then: pages in a row with the same count were
 * looked at in one go.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "include/pagefuse.h"
#include "library/kernel.h"
#include "library/memory.h"
#include "library/region.h"
#include "tests/support/guest.h"

#define PAGES (64u * REGION_PIECE_PAGES)
#define SHARED 64u /* at the start; all others were never touched */

/* ---- watching a table ---- */

static struct watch {
	const char *what;
	int uffd, end;
	pthread_t thread;
	uint64_t start, length; /* the first page of the table has content, and is left out */
	uint64_t entry_bytes;
	uint64_t seen, longest; /* pages of the table */
} watch;

static void note(uint64_t *last, uint64_t *row)
{
	uint64_t locks = atomic_load(&memory_locks);

	*row = locks == *last ? *row + 1 : 1;
	*last = locks;
	watch.seen++;
	if (*row > watch.longest)
		watch.longest = *row;
}

static void *serve(void *unused)
{
	struct pollfd fds[] = { { .fd = watch.uffd, .events = POLLIN }, { .fd = watch.end, .events = POLLIN } };
	uint64_t last = UINT64_MAX, row = 0;

	while (poll(fds, 2, -1) >= 0 && fds[1].revents == 0) {
		struct uffd_msg message;
		struct uffdio_zeropage zero = { .range.len = PAGE_BYTES };

		if (read(watch.uffd, &message, sizeof(message)) != sizeof(message))
			continue;
		note(&last, &row);
		zero.range.start = message.arg.pagefault.address & ~(PAGE_BYTES - 1);
		test_check(ioctl(watch.uffd, UFFDIO_ZEROPAGE, &zero) == 0, "UFFDIO_ZEROPAGE: %s", strerror(errno));
	}
	return unused;
}

static void watch_begin(const char *what, void *table, uint64_t entry_bytes)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	watch = (struct watch){ .what = what, .entry_bytes = entry_bytes };
	watch.start = (uint64_t)table + PAGE_BYTES;
	watch.length = PAGES * entry_bytes - PAGE_BYTES;
	watch.uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	watch.end = eventfd(0, EFD_CLOEXEC);
	test_check(watch.uffd >= 0 && watch.end >= 0 && ioctl(watch.uffd, UFFDIO_API, &api) == 0, "userfaultfd: %s",
		   strerror(errno));
	madvise((void *)watch.start, watch.length, MADV_DONTNEED);
	reg.range.start = watch.start;
	reg.range.len = watch.length;
	test_check(ioctl(watch.uffd, UFFDIO_REGISTER, &reg) == 0, "UFFDIO_REGISTER: %s", strerror(errno));
	test_check(pthread_create(&watch.thread, NULL, serve, NULL) == 0, "no thread");
}

/** @all: whether all of the table has to have been looked at. */
static void watch_end(bool all)
{
	uint64_t piece = REGION_PIECE_PAGES * watch.entry_bytes / PAGE_BYTES;
	uint64_t one = 1;

	test_check(write(watch.end, &one, sizeof(one)) == sizeof(one), "eventfd: %s", strerror(errno));
	pthread_join(watch.thread, NULL);
	close(watch.uffd);
	close(watch.end);
	fprintf(stderr, "%s: %llu pages of a table, at most %llu in one go\n", watch.what,
		(unsigned long long)watch.seen, (unsigned long long)watch.longest);
	test_check(!all || watch.seen == watch.length / PAGE_BYTES, "%s: not all was looked at", watch.what);
	if (watch.longest > piece)
		test_damage("%s: %llu pages were looked at in one go", watch.what,
			    (unsigned long long)(watch.longest * PAGE_BYTES / watch.entry_bytes));
}

/* ---- what goes through all pages ---- */

/** The worker forgets what the daemon of before knew. */
static void test_same_store(struct guest *g)
{
	struct director_vm *before = g->vm;

	watch_begin("the daemon came back", region_at(0)->state, sizeof(uint32_t));
	director_disconnect(g->vm);
	g->vm = director_accept(g->director);
	g->page = g->vm->regions[0].page;
	director_forget(before);
	watch_end(true);
	test_check(director_count(g->vm, g->page, PAGES, DIRECTOR_SHARED) == SHARED, "not all pages are adopted");
}

/** It marks all pages of a store that is gone. */
static void test_other_store(struct guest *g)
{
	watch_begin("another daemon came", region_at(0)->state, sizeof(uint32_t));
	director_disconnect(g->vm);
	director_free(g->director);
	g->director = director_new();
	g->vm = director_accept(g->director);
	g->page = g->vm->regions[0].page;
	watch_end(true);
	for (uint32_t i = 0; i < SHARED; i++)
		if (pages_differ(guest_at(g, i), i + 1) >= 0)
			test_damage("page %u reads wrong bytes", i);
}

/** Nothing was said of it that would be over now. */
static void test_offered_again(const struct guest *g)
{
	int r;

	watch_begin("memory was offered again", region_at(0)->excluded, sizeof(uint8_t));
	r = memory_register(g->memory, PAGES * PAGE_BYTES);
	watch_end(true);
	test_check(r == 1, "memory_register: %s", strerror(-r));
}

static void unmap(const struct guest *g, uint32_t index, uint32_t count)
{
	int r = memory_change_begin(CHANGE_UNMAP, guest_at(g, index), count * PAGE_BYTES, 0);

	test_check(r == 0, "memory_change_begin: %s", strerror(-r));
	r = munmap(guest_at(g, index), count * PAGE_BYTES);
	memory_change_end(CHANGE_UNMAP, guest_at(g, index), count * PAGE_BYTES, 0, r == 0);
	test_check(r == 0, "munmap: %s", strerror(errno));
}

static bool has_region_gone(const struct director_vm *vm, void *context)
{
	(void)context;
	return vm->regions[0].gone;
}

/** The last page of a region goes, the first one: the others, long gone, are not looked at once more in one go. */
static void test_unmapped(const struct guest *g)
{
	unmap(g, 1, PAGES - 1);
	watch_begin("the rest was unmapped", region_at(0)->state, sizeof(uint32_t));
	unmap(g, 0, 1);
	test_check(director_wait_until(g->vm, has_region_gone, NULL) == 0, "the worker has hung up");
	watch_end(false);
}

int main(int argc, char **argv)
{
	struct guest g;
	void *memory;

	test_begin(argc, argv);
	memory = pages_map(PAGES, false);
	for (uint32_t i = 0; i < SHARED; i++)
		pages_fill((char *)memory + i * PAGE_BYTES, i + 1);
	guest_begin(&g, memory, PAGES);
	test_check(region_at(0) != NULL && region_at(0)->pages == PAGES, "the region is not the first one");
	test_check(guest_share(&g, 0, SHARED) == SHARED, "not all pages are shared");
	test_same_store(&g);
	test_offered_again(&g);
	test_other_store(&g);
	test_unmapped(&g);
	guest_report(&g);
	director_free(g.director);
	return 0;
}
