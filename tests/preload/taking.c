/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a VMM does with a userfaultfd of its own to RAM that is shared, or was: it takes pages away from there, and
 * fills it. All that gives what it gives for a twin of the RAM, of which nothing is known: the same result, the same
 * error, the same bytes, and the same pages are missing. To fill it, it waits for no other thread.
 *
 * usage: taking [--by-number]         with libc's functions, or with syscall()
 *        taking --past                past the preload: the control, which must see that it is not the same
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/madvise.h"
#include "library/files.h"
#include "library/kernel.h"
#include "library/lock.h"
#include "library/sys.h"
#include "tests/preload/ram.h"
#include "tests/support/swap.h"
#include "tests/support/test.h"

#define BYTES (PAGES * PAGE_BYTES)

/** The RAM, or its twin. */
struct side {
	char *memory;
	char *elsewhere; /* as much, and as full, that is never offered */
	int fd;          /* its userfaultfd */
	bool twin;
};

static struct ram ram;
static struct side sides[2];

static int call_ioctl(const struct side *side, unsigned long request, void *argument)
{
	long r;

	if (!side->twin && way == BY_NAME)
		return ioctl(side->fd, request, argument);
	if (!side->twin && way == BY_NUMBER)
		return (int)syscall(SYS_ioctl, (long)side->fd, request, argument);
	r = sys_raw(SYS_ioctl, side->fd, (long)request, (long)argument, 0, 0, 0);
	errno = sys_is_error(r) ? (int)-r : errno;
	return sys_is_error(r) ? -1 : (int)r;
}

static void advise(const struct side *side, uint32_t first, uint32_t count, int advice)
{
	if (!side->twin)
		ram_advise(&ram, first, count, advice);
	else
		sys_raw(SYS_madvise, (long)(side->memory + first * PAGE_BYTES), (long)(count * PAGE_BYTES), advice, 0,
			0, 0);
}

static int open_userfaultfd(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MOVE };
	int fd = (int)syscall(SYS_userfaultfd, (long)(O_CLOEXEC | UFFD_USER_MODE_ONLY));

	if (fd < 0)
		test_skip("userfaultfd: %s", strerror(errno));
	test_check(ioctl(fd, UFFDIO_API, &api) == 0, "UFFDIO_API: %s", strerror(errno));
	return fd;
}

static char *map_elsewhere(void)
{
	char *memory = pages_map(PAGES, false);

	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(memory + i * PAGE_BYTES, i + 70000);
	return memory;
}

/** Pages of zeros that were given back: as they are before anybody reads them. */
static void forget_zeros(void)
{
	for (uint32_t i = 5; i < PAGES; i += 8) /* see ram_share() */
		sys_raw(SYS_madvise, (long)ram_at(&ram, i), (long)PAGE_BYTES, MADV_DONTNEED, 0, 0, 0);
}

static void begin(void)
{
	ram_begin(&ram);
	forget_zeros();
	for (unsigned s = 0; s < 2; s++)
		sides[s] = (struct side){ .elsewhere = map_elsewhere(), .fd = open_userfaultfd(), .twin = s == 1 };
	sides[0].memory = ram.memory;
	sides[1].memory = pages_map(PAGES, false);
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(sides[1].memory + i * PAGE_BYTES, ram.contents[i]);
}

static void register_memory(const struct side *side, char *memory)
{
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	range.range = (struct uffdio_range){ (uint64_t)memory, BYTES };
	test_check(call_ioctl(side, UFFDIO_REGISTER, &range) == 0, "UFFDIO_REGISTER: %s", strerror(errno));
}

static void unregister_memory(const struct side *side, char *memory)
{
	struct uffdio_range range = { (uint64_t)memory, BYTES };

	test_check(call_ioctl(side, UFFDIO_UNREGISTER, &range) == 0, "UFFDIO_UNREGISTER: %s", strerror(errno));
}

/** Nobody may wait for a page now. */
static void check_same(const char *when)
{
	for (uint32_t i = 0; i < PAGES; i++) {
		size_t at = i * PAGE_BYTES;

		if (memcmp(sides[0].memory + at, sides[1].memory + at, PAGE_BYTES) != 0)
			test_damage("page %u reads other bytes than its twin %s", i, when);
		if (memcmp(sides[0].elsewhere + at, sides[1].elsewhere + at, PAGE_BYTES) != 0)
			test_damage("page %u elsewhere reads other bytes than its twin %s", i, when);
	}
}

static void end(void)
{
	for (unsigned s = 0; s < 2; s++) {
		close(sides[s].fd);
		munmap(sides[s].elsewhere, BYTES);
	}
	munmap(sides[1].memory, BYTES);
	ram_end(&ram);
}

/** What a call has given. */
struct given {
	int error;
	int64_t done;
};

static struct given move(const struct side *side, bool away, uint32_t first, uint32_t count, uint64_t mode)
{
	struct uffdio_move argument = { .len = count * PAGE_BYTES, .mode = mode };
	char *from = away ? side->memory : side->elsewhere, *to = away ? side->elsewhere : side->memory;
	struct given given;

	argument.src = (uint64_t)(from + first * PAGE_BYTES);
	argument.dst = (uint64_t)(to + first * PAGE_BYTES);
	given.error = call_ioctl(side, UFFDIO_MOVE, &argument) < 0 ? errno : 0;
	given.done = argument.move;
	return given;
}

static struct given copy(const struct side *side)
{
	struct uffdio_copy argument = { .dst = (uint64_t)side->memory, .src = (uint64_t)side->elsewhere, .len = BYTES };
	struct given given;

	given.error = call_ioctl(side, UFFDIO_COPY, &argument) < 0 ? errno : 0;
	given.done = argument.copy;
	return given;
}

static struct given put_zeros(const struct side *side)
{
	struct uffdio_zeropage argument = { .range = { (uint64_t)side->memory, BYTES } };
	struct given given;

	given.error = call_ioctl(side, UFFDIO_ZEROPAGE, &argument) < 0 ? errno : 0;
	given.done = argument.zeropage;
	return given;
}

static void check_given(const struct given given[2], const char *what)
{
	if (given[0].error != given[1].error || given[0].done != given[1].done)
		test_damage("%s gives '%s' and %" PRId64 ", and without the preload '%s' and %" PRId64, what,
			    strerror(given[0].error), given[0].done, strerror(given[1].error), given[1].done);
}

/** @return whether it was missing. */
static bool fill_page(const struct side *side, uint32_t i)
{
	static char page[PAGE_BYTES] __attribute__((aligned(PAGE_BYTES)));
	struct uffdio_copy argument = { .dst = (uint64_t)(side->memory + i * PAGE_BYTES),
					.src = (uint64_t)page,
					.len = PAGE_BYTES };

	pages_fill(page, i + 80000);
	return call_ioctl(side, UFFDIO_COPY, &argument) == 0;
}

/* ---- away from there ---- */

/** And fills what is missing. */
static void count_missing(struct given given[2])
{
	for (unsigned s = 0; s < 2; s++) {
		given[s] = (struct given){ 0, 0 };
		register_memory(&sides[s], sides[s].memory);
		for (uint32_t i = 0; i < PAGES; i++)
			given[s].done += fill_page(&sides[s], i);
		unregister_memory(&sides[s], sides[s].memory);
	}
}

static void test_away(uint32_t first, uint32_t count, bool holes, uint64_t mode)
{
	struct given given[2];

	begin();
	for (unsigned s = 0; s < 2; s++) {
		if (holes)
			advise(&sides[s], first + 3, 4, MADV_DONTNEED);
		sys_raw(SYS_madvise, (long)sides[s].elsewhere, (long)BYTES, MADV_DONTNEED, 0, 0, 0);
		register_memory(&sides[s], sides[s].elsewhere);
		given[s] = move(&sides[s], true, first, count, mode);
		unregister_memory(&sides[s], sides[s].elsewhere);
	}
	check_given(given, "UFFDIO_MOVE");
	count_missing(given);
	check_given(given, "filling what is missing");
	check_same("when pages were taken away");
	end();
}

/** No page is missing that was there before, and no more are taken away than can be, where one may be pinned. */
static void test_away_from_pinned(void)
{
	begin();
	sys_raw(SYS_madvise, (long)sides[0].elsewhere, (long)BYTES, MADV_DONTNEED, 0, 0, 0);
	register_memory(&sides[0], sides[0].elsewhere);
	test_check(move(&sides[0], true, 0, 8, 0).error == EBUSY, "UFFDIO_MOVE of what may be pinned: %s",
		   strerror(errno));
	ram_check(&ram, "when it could not be taken away");
	test_check(move(&sides[0], true, 8, 4, 0).error == 0, "UFFDIO_MOVE: %s", strerror(errno));
	ram_advise(&ram, 4, 1, MADV_DONTNEED);
	test_check(move(&sides[0], true, 0, 8, UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES).error == 0, "UFFDIO_MOVE: %s",
		   strerror(errno));
	for (uint32_t i = 0; i < 12; i++)
		if (i != 4 && pages_differ(sides[0].elsewhere + i * PAGE_BYTES, ram.contents[i]) >= 0)
			test_damage("page %u reads wrong bytes where it was moved to", i);
	unregister_memory(&sides[0], sides[0].elsewhere);
	end();
}

/* ---- to there ---- */

static void test_to(struct given (*fill)(const struct side *side), const char *what, bool with_page)
{
	struct given given[2];

	begin();
	for (unsigned s = 0; s < 2; s++) {
		register_memory(&sides[s], sides[s].memory);
		advise(&sides[s], 0, PAGES, MADV_DONTNEED);
		if (with_page)
			test_check(fill_page(&sides[s], 37), "UFFDIO_COPY: %s", strerror(errno));
		given[s] = fill(&sides[s]);
		unregister_memory(&sides[s], sides[s].memory);
	}
	check_given(given, what);
	check_same(what);
	end();
}

static struct given move_to(const struct side *side)
{
	return move(side, false, 0, PAGES, 0);
}

/** A call that has the memory lock, and may wait for what is filled. */
static void *hold_lock(void *barrier)
{
	memory_lock();
	pthread_barrier_wait(barrier);
	pthread_barrier_wait(barrier);
	memory_unlock();
	return NULL;
}

static void test_fill_takes_no_lock(void)
{
	pthread_barrier_t barrier;
	pthread_t thread;
	struct given given;

	begin();
	register_memory(&sides[0], ram.memory);
	ram_advise(&ram, 0, PAGES, MADV_DONTNEED);
	pthread_barrier_init(&barrier, NULL, 2);
	test_check(pthread_create(&thread, NULL, hold_lock, &barrier) == 0, "pthread_create");
	pthread_barrier_wait(&barrier);
	given = copy(&sides[0]);
	pthread_barrier_wait(&barrier);
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&barrier);
	test_check(given.error == 0 && given.done == BYTES, "UFFDIO_COPY: %s", strerror(given.error));
	unregister_memory(&sides[0], ram.memory);
	end();
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	way = test_wants("--past") ? PAST : test_wants("--by-number") ? BY_NUMBER
								      : BY_NAME;
	director = director_new();
	test_away(0, PAGES, false, 0);
	test_away(0, 8, false, 0);
	test_away(3, 1, false, 0);
	test_away(5, 1, false, 0);
	test_away(6, 21, false, 0);
	test_away(7, 30, true, 0);
	test_away(7, 30, true, UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES);
	for (int with_page = 0; with_page < 2; with_page++) {
		test_to(copy, "UFFDIO_COPY", with_page);
		test_to(put_zeros, "UFFDIO_ZEROPAGE", with_page);
		test_to(move_to, "UFFDIO_MOVE to it", with_page);
	}
	test_fill_takes_no_lock();
	files_note_pins();    /* for good */
	if (!swap_is_there()) /* by which it may show that nothing is pinned, or not */
		test_away_from_pinned();
	director_free(director);
	return 0;
}
