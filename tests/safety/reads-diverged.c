/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads into pages that were shared and written since, in a process that does direct I/O: private copies in mappings of
 * the store, of which nothing can tell whether a device is writing them. Those that a read covers wholly are plain
 * memory before it begins, and can be shared again; whatever then becomes of the read, every byte is what it would be
 * without sharing. Those that it covers in part stay as they are, also when another read covers them.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "include/pagefuse.h"
#include "library/files.h"
#include "library/hold.h"
#include "library/mappings.h"
#include "library/memory.h"
#include "library/worker.h"
#include "tests/support/guest.h"
#include "tests/support/limit.h"
#include "tests/support/swap.h"

#define PAGES 200u /* more than are made plain at once */
#define BYTES ((size_t)PAGES * PAGE_BYTES)
#define FILE_BYTES (BYTES - PAGE_BYTES + 100)

static int file = -1;
static bool audited; /* the library knows already that the pages were written */

static uint64_t shared_content(uint32_t index)
{
	return index + 1;
}

static uint64_t old_content(uint32_t index)
{
	return index + PAGES + 1;
}

static uint64_t new_content(uint32_t index)
{
	return index + 2 * PAGES + 1;
}

static void make_file(void)
{
	char path[] = "pagefuse-reads-XXXXXX";
	_Alignas(8) char page[PAGE_BYTES];

	file = mkostemp(path, O_CLOEXEC);
	test_check(file >= 0 && unlink(path) == 0, "%s: %s", path, strerror(errno));
	for (uint32_t i = 0; i < PAGES; i++) {
		pages_fill(page, new_content(i));
		test_check(pwrite(file, page, PAGE_BYTES, i * PAGE_BYTES) == (ssize_t)PAGE_BYTES, "pwrite");
	}
	test_check(ftruncate(file, FILE_BYTES) == 0, "ftruncate: %s", strerror(errno));
}

/** As if a file had been opened that pins what it is read into, for as long as the read takes. */
static void note_direct_file(void)
{
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);

	test_check(fd >= 0, "open: %s", strerror(errno));
	memory_note_file(fd, true);
	close(fd);
	test_check(files_pins_are_brief(), "it was judged wrongly");
}

/** A read as the preload hands it on: the library hears of it first. */
static ssize_t read_to(int fd, void *to, size_t length, off_t offset)
{
	errno = EXDEV;
	memory_before_read(to, length);
	test_check(errno == EXDEV, "errno has changed");
	return pread(fd, to, length, offset);
}

/** All pages are shared, and then written. */
static void diverge(const struct guest *g)
{
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(guest_at(g, i), shared_content(i));
	test_check(guest_share(g, 0, PAGES) == PAGES, "not all pages are shared");
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(guest_at(g, i), old_content(i));
	if (audited)
		director_audit(g->vm, g->page, PAGES);
}

/** Bytes [from, to) of the memory are the file's, all others as they were written. */
static void check(const struct guest *g, size_t from, size_t to, const char *what)
{
	_Alignas(8) char old[PAGE_BYTES], new[PAGE_BYTES];

	for (uint32_t i = 0; i < PAGES; i++) {
		const char *page = guest_at(g, i);

		pages_fill(old, old_content(i));
		pages_fill(new, new_content(i));
		for (size_t at = 0; at < PAGE_BYTES; at++) {
			size_t byte = i * PAGE_BYTES + at;
			const char *expected = byte >= from && byte < to ? new : old;

			if (page[at] != expected[at])
				test_damage("byte %zu of page %u is wrong after %s", at, i, what);
		}
	}
}

static bool is_plain(const struct guest *g, uint32_t index)
{
	uint64_t offset;

	return mappings_file_offset((uint64_t)guest_at(g, index), &offset) == -ENOENT;
}

/** Pages [first, end) are in no mapping of the store any more, all others are; the daemon knows. */
static void expect_plain(const struct guest *g, uint32_t first, uint32_t end, const char *what)
{
	for (uint32_t i = 0; i < PAGES; i++)
		test_check(is_plain(g, i) == (i >= first && i < end), "page %u is%s plain after %s", i,
			   is_plain(g, i) ? "" : " not", what);
	director_audit(g->vm, g->page, PAGES);
	test_check(director_live_slots(g->director) == 0, "%llu slots are in use after %s",
		   (unsigned long long)director_live_slots(g->director), what);
}

/** Only these, too, can be shared again, unless there is swap to see by that nothing is pinned. */
static void expect_shareable(const struct guest *g, uint32_t pages)
{
	uint32_t shared = guest_share(g, 0, PAGES);

	test_check(shared == pages || (swap_is_there() && shared == PAGES), "%u of %u pages are shared again", shared,
		   pages);
}

static void expect(const struct guest *g, size_t from, size_t to, uint32_t first, uint32_t end, const char *what)
{
	check(g, from, to, what);
	expect_plain(g, first, end, what);
	expect_shareable(g, end - first);
	check(g, from, to, "sharing again");
}

static void test_whole(const struct guest *g)
{
	test_check(read_to(file, g->memory, FILE_BYTES, 0) == (ssize_t)FILE_BYTES, "pread: %s", strerror(errno));
	expect(g, 0, FILE_BYTES, 0, PAGES - 1, "a read");
}

/** It covers its first and last page in part only; and these stay then, as that read might be under way still. */
static void test_part(const struct guest *g)
{
	size_t from = 3 * PAGE_BYTES + 10, to = 75 * PAGE_BYTES + 20;

	test_check(read_to(file, g->memory + from, to - from, (off_t)from) == (ssize_t)(to - from), "pread: %s",
		   strerror(errno));
	memory_before_read(g->memory, 10 * PAGE_BYTES);
	memory_before_read(guest_at(g, 75), PAGE_BYTES);
	check(g, from, to, "reads of parts of pages");
	for (uint32_t i = 0; i < PAGES; i++)
		test_check(is_plain(g, i) == (i < 75 && i != 3), "page %u is%s plain", i, is_plain(g, i) ? "" : " not");
}

static void test_inside(const struct guest *g)
{
	size_t from = 5 * PAGE_BYTES + 512;

	test_check(read_to(file, g->memory + from, PAGE_BYTES, (off_t)from) == (ssize_t)PAGE_BYTES, "pread: %s",
		   strerror(errno));
	expect(g, from, from + PAGE_BYTES, 0, 0, "a read of parts of two pages");
}

static void test_short(const struct guest *g)
{
	test_check(read_to(file, g->memory, BYTES, 0) == (ssize_t)FILE_BYTES, "pread: %s", strerror(errno));
	expect(g, 0, FILE_BYTES, 0, PAGES, "a read beyond the file's end");
}

static void test_failed(const struct guest *g)
{
	int broken = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);

	test_check(read_to(broken, g->memory, BYTES / 2, 0) == -1 && errno == EIO, "a read that is to fail: %s",
		   strerror(errno));
	close(broken);
	test_check(read_to(-1, g->memory, BYTES, 0) == -1 && errno == EBADF, "a read of no file: %s", strerror(errno));
	expect(g, 0, 0, 0, PAGES, "reads that failed");
}

/** The kernel cannot write its pages; one of them is read before that shows. */
static void test_faulty(const struct guest *g)
{
	ssize_t got;

	memory_before_read(g->memory, BYTES);
	test_check(syscall(SYS_mprotect, guest_at(g, 1), PAGE_BYTES, PROT_READ) == 0, "mprotect: %s", strerror(errno));
	got = pread(file, guest_at(g, 1), PAGE_BYTES, PAGE_BYTES);
	test_check(got == -1 && errno == EFAULT, "a read to memory that cannot be written gave %zd", got);
	got = pread(file, g->memory, BYTES, 0);
	test_check(got == (ssize_t)PAGE_BYTES, "a read that meets such memory gave %zd", got);
	test_check(syscall(SYS_mprotect, guest_at(g, 1), PAGE_BYTES, PROT_READ | PROT_WRITE) == 0, "mprotect");
	expect(g, 0, PAGE_BYTES, 0, PAGES, "reads that met a fault");
}

struct cancelled {
	const struct guest *guest;
	int fd;
	atomic_bool told;
};

static void *read_for_ever(void *argument)
{
	struct cancelled *reader = argument;

	memory_before_read(reader->guest->memory, BYTES);
	atomic_store(&reader->told, true);
	return (void *)read(reader->fd, reader->guest->memory, BYTES);
}

static void test_cancelled(const struct guest *g)
{
	struct cancelled reader = { .guest = g };
	pthread_t thread;
	void *result;
	int ends[2];

	test_check(pipe2(ends, O_CLOEXEC) == 0, "pipe: %s", strerror(errno));
	reader.fd = ends[0];
	test_check(pthread_create(&thread, NULL, read_for_ever, &reader) == 0, "no thread");
	while (!atomic_load(&reader.told))
		sched_yield();
	test_check(pthread_cancel(thread) == 0 && pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED,
		   "the read has not been cancelled");
	close(ends[0]);
	close(ends[1]);
	expect(g, 0, 0, 0, PAGES, "a read that was cancelled");
}

static uint64_t mixed_content(uint32_t index)
{
	if (index >= 20 && index < 30)
		return 0;
	return index % 3 == 0 ? old_content(index) : shared_content(index);
}

static void check_mixed(const struct guest *g, const char *when)
{
	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_differ(guest_at(g, i), mixed_content(i)) >= 0)
			test_damage("page %u is wrong %s", i, when);
}

/** Some are shared still, others discarded, and some are discarded afterwards. */
static void test_mixed(const struct guest *g)
{
	pagefuse_discard(g->memory, BYTES);
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(guest_at(g, i), shared_content(i));
	test_check(guest_share(g, 0, PAGES) == PAGES, "not all pages are shared");
	for (uint32_t i = 0; i < PAGES; i += 3)
		pages_fill(guest_at(g, i), old_content(i));
	if (audited)
		director_audit(g->vm, g->page, PAGES);
	test_check(guest_discard(g, 20, 10, MADV_DONTNEED) == 0, "a discard fails");
	memory_before_read(g->memory, BYTES);
	check_mixed(g, "before a read");
	expect_plain(g, 0, PAGES, "a read of all");
	/* Those that were discarded are not there, or are since they were read. */
	expect_shareable(g, pages_read_empty() ? PAGES - 10 : PAGES);
	test_check(guest_discard(g, 50, 10, MADV_DONTNEED) == 0, "a discard fails");
	for (uint32_t i = 50; i < 60; i++)
		if (!pages_fill_missing(guest_at(g, i), mixed_content(i)))
			test_damage("page %u is there after a discard", i);
	check_mixed(g, "in the end");
}

/** A child of before goes on reading what it has, and one of after what the read has brought. */
static void test_fork_beside(const struct guest *g)
{
	int go[2], before, after, status;
	char byte = 0;

	test_check(pipe2(go, O_CLOEXEC) == 0, "pipe: %s", strerror(errno));
	before = test_fork();
	if (before == 0) {
		test_check(read(go[0], &byte, 1) == 1, "the parent has ended early");
		check(g, 0, 0, "a read in the parent");
		memory_before_read(g->memory, BYTES); /* a child shares nothing, and has nothing to make plain for */
		check(g, 0, 0, "one in the child");
		_exit(0);
	}
	test_check(read_to(file, g->memory, FILE_BYTES, 0) == (ssize_t)FILE_BYTES, "pread: %s", strerror(errno));
	after = test_fork();
	if (after == 0) {
		check(g, 0, FILE_BYTES, "a read, in a child");
		_exit(0);
	}
	test_check(write(go[1], &byte, 1) == 1, "write: %s", strerror(errno));
	for (unsigned i = 0; i < 2; i++) {
		status = test_wait_child(i == 0 ? before : after);
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
			test_end_as(status);
	}
	close(go[0]);
	close(go[1]);
	expect(g, 0, FILE_BYTES, 0, PAGES - 1, "a read beside forks");
}

static void wait_for_limit(const struct guest *g, uint64_t limit)
{
	const struct ring_page *ring = g->vm->base;

	while (ring->stats.mappings_limit != limit) {
		atomic_fetch_add(&hold_discards, 1); /* so that it is counted again */
		director_audit(g->vm, g->page, 1);
	}
}

/** No mapping is to be had: nothing changes its place, and nothing is lost. */
static void test_limit(const struct guest *g)
{
	uint64_t limit = limit_read();

	limit_write(pages_mappings());
	wait_for_limit(g, limit_read());
	test_check(read_to(file, guest_at(g, 10), 7 * PAGE_BYTES, 10 * PAGE_BYTES) == (ssize_t)(7 * PAGE_BYTES),
		   "pread: %s", strerror(errno));
	check(g, 10 * PAGE_BYTES, 17 * PAGE_BYTES, "a read at the limit");
	expect_plain(g, 0, 0, "a read at the limit");
	limit_write(limit);
	wait_for_limit(g, limit);
	memory_before_read(guest_at(g, 9), 9 * PAGE_BYTES);
	check(g, 10 * PAGE_BYTES, 17 * PAGE_BYTES, "a read below the limit");
	for (uint32_t i = 9; i < 18; i++) { /* of the others that read may be under way, for all that is known */
		bool plain = i == 9 || i == 17;

		test_check(is_plain(g, i) == plain, "page %u is%s plain", i, plain ? " not" : "");
	}
}

/** Where nothing pins, copies are shared as they are; so they stay there. */
static void test_without_direct_files(const struct guest *g)
{
	test_check(!files_pins_noted(), "pins are taken to be possible from the start");
	test_check(read_to(file, g->memory, FILE_BYTES, 0) == (ssize_t)FILE_BYTES, "pread: %s", strerror(errno));
	expect_plain(g, 0, 0, "a read from a file that copies");
	expect_shareable(g, PAGES);
	check(g, 0, FILE_BYTES, "sharing again");
}

static _Atomic time_t now_sec = 1000; /* of the clock by which the library knows how old a look is */

int __real_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
	if (clock != CLOCK_MONOTONIC_COARSE)
		return __real_clock_gettime(clock, ret);
	*ret = (struct timespec){ .tv_sec = now_sec };
	return 0;
}

/** Without a daemon nobody looks what files are open: for a while it counts what was seen last, then no longer. */
static void test_without_daemon(void)
{
	struct director_vm *before;
	struct guest g;

	guest_begin(&g, pages_map(PAGES, false), PAGES);
	diverge(&g);
	before = g.vm;
	director_disconnect(before);
	while (worker_is_connected())
		sched_yield();
	memory_before_read(g.memory, 10 * PAGE_BYTES);
	now_sec += 3600;
	memory_before_read(g.memory, BYTES);
	check(&g, 0, 0, "reads without a daemon");
	for (uint32_t i = 0; i < PAGES; i++)
		test_check(is_plain(&g, i) == (i < 10), "page %u is%s plain", i, i < 10 ? " not" : "");
	g.vm = director_accept(g.director);
	director_forget(before);
	pagefuse_discard(g.memory, BYTES);
	guest_end(&g);
}

static void run(void (*test)(const struct guest *g))
{
	struct guest g;

	for (int i = 0; i < (test == test_limit ? 1 : 2); i++) { /* that one takes long */
		audited = i == 0;
		guest_begin(&g, pages_map(PAGES, false), PAGES);
		diverge(&g);
		test(&g);
		pagefuse_discard(g.memory, BYTES); /* for all that the library knows, reads are under way */
		guest_end(&g);
		munmap(g.memory, BYTES);
	}
}

int main(int argc, char **argv)
{
	static void (*const tests[])(const struct guest *g) = {
		test_whole,
		test_part,
		test_inside,
		test_short,
		test_failed,
		test_faulty,
		test_cancelled,
		test_mixed,
		test_fork_beside,
		test_limit,
	};

	test_begin(argc, argv);
	limit_own();
	make_file();
	run(test_without_direct_files);
	note_direct_file();
	for (size_t i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		run(tests[i]);
	test_without_daemon();
	return 0;
}
