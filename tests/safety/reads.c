/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads into shared pages, as of a guest's disk: the pages are made plain just before. Whatever the read then does,
 * every byte is what it would be without sharing; the pages leave their slots, and can be shared again though nothing
 * can tell whether a device is writing them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "library/memory.h"
#include "tests/support/guest.h"

#define PAGES 200u /* more than are made plain at once */
#define FILE_BYTES ((PAGES - 1) * PAGE_BYTES + 100)

static int file = -1;

static uint64_t old_content(uint32_t index)
{
	return index + 1;
}

static uint64_t new_content(uint32_t index)
{
	return index + PAGES + 1;
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

/** A read as the preload hands it on: the library hears of it first. */
static ssize_t read_to(int fd, void *to, size_t length, off_t offset)
{
	errno = EXDEV;
	memory_before_read(to, length);
	test_check(errno == EXDEV, "errno has changed");
	return pread(fd, to, length, offset);
}

static void share(const struct guest *g)
{
	uint32_t shared;

	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(guest_at(g, i), old_content(i));
	shared = guest_share(g, 0, PAGES);
	test_check(shared == PAGES, "%u of %u pages are shared; answered %u", shared, PAGES,
		   g->vm->pages[g->page].answer);
	for (uint32_t i = 0; i < PAGES; i++)
		test_check(pages_differ(guest_at(g, i), old_content(i)) < 0 && pages_is_file(guest_at(g, i)),
			   "page %u does not read the store", i);
}

/** Bytes [from, to) of the memory are the file's, all others as before. */
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

/** Pages [first, end) have memory of their own and left their slots; the others read them still. */
static void expect_plain(const struct guest *g, uint32_t first, uint32_t end)
{
	director_audit(g->vm, g->page, PAGES);
	for (uint32_t i = 0; i < PAGES; i++) {
		bool plain = i >= first && i < end;

		test_check(pages_is_file(guest_at(g, i)) == !plain, "page %u is%s shared", i, plain ? "" : " not");
		test_check((g->vm->pages[g->page + i].state == DIRECTOR_SHARED) == !plain,
			   "page %u is counted wrongly", i);
	}
	test_check(director_live_slots(g->director) == PAGES - (end - first), "%llu slots are in use",
		   (unsigned long long)director_live_slots(g->director));
}

static void test_whole(const struct guest *g)
{
	share(g);
	test_check(read_to(file, g->memory, FILE_BYTES, 0) == (ssize_t)FILE_BYTES, "pread: %s", strerror(errno));
	check(g, 0, FILE_BYTES, "a read");
	expect_plain(g, 0, PAGES);
}

/** It covers its first and last page in part only. */
static void test_part(const struct guest *g)
{
	size_t from = 3 * PAGE_BYTES + 10, to = 75 * PAGE_BYTES + 20;

	share(g);
	test_check(read_to(file, g->memory + from, to - from, (off_t)from) == (ssize_t)(to - from), "pread: %s",
		   strerror(errno));
	check(g, from, to, "a read of parts of pages");
	expect_plain(g, 3, 76);
}

static void test_short(const struct guest *g)
{
	share(g);
	test_check(read_to(file, g->memory, PAGES * PAGE_BYTES, 0) == (ssize_t)FILE_BYTES, "pread: %s",
		   strerror(errno));
	check(g, 0, FILE_BYTES, "a read beyond the file's end");
	expect_plain(g, 0, PAGES);
}

static void test_failed(const struct guest *g)
{
	share(g);
	test_check(read_to(-1, g->memory, PAGES * PAGE_BYTES, 0) == -1 && errno == EBADF, "pread of no file");
	check(g, 0, 0, "a read that failed");
	expect_plain(g, 0, PAGES);
}

/** Pages that have copies already stay where they are. */
static void test_written(const struct guest *g)
{
	share(g);
	for (uint32_t i = 0; i < PAGES; i += 3)
		memset(guest_at(g, i), 'w', 1);
	memory_before_read(g->memory, PAGES * PAGE_BYTES);
	for (uint32_t i = 0; i < PAGES; i++) {
		char first = *(const char *)guest_at(g, i);

		if (i % 3 == 0)
			test_check(first == 'w', "what was written to page %u is lost", i);
		else
			test_check(pages_differ(guest_at(g, i), old_content(i)) < 0, "page %u has changed", i);
		test_check(!pages_is_file(guest_at(g, i)), "page %u is shared", i);
	}
	test_check(guest_share(g, 1, 2) == 2, "pages that were made plain are not shared again");
}

/** The range is larger than the RAM, or wraps around. */
static void test_beyond(const struct guest *g)
{
	share(g);
	memory_before_read(g->memory - 10 * PAGE_BYTES, 20 * PAGE_BYTES);
	memory_before_read(guest_at(g, PAGES - 10), 1000 * PAGE_BYTES);
	memory_before_read(g->memory, SIZE_MAX);
	memory_before_read((const void *)1, 4096);
	check(g, 0, 0, "reads of other memory, too");
	director_audit(g->vm, g->page, PAGES);
	for (uint32_t i = 10; i < PAGES - 10; i++)
		test_check(pages_is_file(guest_at(g, i)), "page %u is not shared", i);
	test_check(!pages_is_file(guest_at(g, 9)) && !pages_is_file(guest_at(g, PAGES - 10)), "some are not plain");
}

int main(int argc, char **argv)
{
	static void (*const tests[])(const struct guest *g) = { test_whole, test_part, test_short,
								test_failed, test_written, test_beyond };
	struct guest g;

	test_begin(argc, argv);
	make_file();
	for (size_t i = 0; i < sizeof(tests) / sizeof(*tests); i++) {
		guest_begin(&g, pages_map(PAGES, false), PAGES);
		tests[i](&g);
		guest_end(&g);
		munmap(g.memory, PAGES * PAGE_BYTES);
	}
	return 0;
}
