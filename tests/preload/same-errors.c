/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Calls that change memory, over RAM that is shared in part and has been written since, give what they give over memory
 * that was never offered: the same result, or errno, and the same bytes. But where a pin of what was written cannot be
 * excluded, those that need another mapping there fail with ENOMEM; then nothing has changed, and they succeed as soon
 * as these pages have been discarded.
 *
 * usage: same-errors [--by-number]     with libc's functions, or with syscall()
 *        same-errors --past            past the preload: the control, which must see that it is not the same
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "library/files.h"
#include "library/sys.h"
#include "tests/preload/ram.h"
#include "tests/support/swap.h"
#include "tests/support/test.h"

#define BYTES (PAGES * PAGE_BYTES)
#define READ_WRITE (PROT_READ | PROT_WRITE)

static const struct call {
	const char *name;
	long number, c, d;
	bool needs_plain; /* memory: it cannot be made over mappings of the store */
} calls[] = {
	{ "mremap in place", SYS_mremap, 2 * BYTES, 0, true },
	{ "mremap", SYS_mremap, 2 * BYTES, MREMAP_MAYMOVE, true },
	{ "mremap that leaves the place mapped", SYS_mremap, BYTES, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, true },
	{ "mremap of the same length", SYS_mremap, BYTES, 0, false },
	{ "mremap with unknown flags", SYS_mremap, BYTES, 1 << 20, false },
	{ "MADV_WIPEONFORK", SYS_madvise, MADV_WIPEONFORK, 0, true },
	{ "MADV_DONTFORK", SYS_madvise, MADV_DONTFORK, 0, false },
	{ "MADV_DONTDUMP", SYS_madvise, MADV_DONTDUMP, 0, false },
	{ "MADV_REMOVE", SYS_madvise, MADV_REMOVE, 0, false },
	{ "MADV_UNMERGEABLE", SYS_madvise, MADV_UNMERGEABLE, 0, false },
	{ "MADV_POPULATE_WRITE", SYS_madvise, MADV_POPULATE_WRITE, 0, false },
	{ "PROT_NONE", SYS_mprotect, PROT_NONE, 0, false },
	{ "PROT_READ", SYS_mprotect, PROT_READ, 0, false },
	{ "PROT_READ and PROT_EXEC", SYS_mprotect, PROT_READ | PROT_EXEC, 0, true },
	{ "PROT_READ, PROT_WRITE and PROT_EXEC", SYS_mprotect, READ_WRITE | PROT_EXEC, 0, true },
	{ "mlock", SYS_mlock, 0, 0, false },
};

/** What a call has given, and where the bytes are then. */
struct outcome {
	int error; /* 0: it has succeeded */
	char *memory;
	size_t length;
};

static struct outcome outcome_of(const struct call *call, char *memory, long result)
{
	struct outcome outcome = { result == -1 ? errno : 0, memory, BYTES };

	if (result != -1 && call->number == SYS_mremap) {
		outcome.memory = (char *)result;
		outcome.length = (size_t)call->c;
	}
	return outcome;
}

/** Behind the memory there is as much more, so that nothing else is there; it goes just before the call. */
static void make_room(char *memory)
{
	sys_raw(SYS_munmap, (long)(memory + BYTES), (long)BYTES, 0, 0, 0, 0);
}

static void discard_outcome(const struct outcome *outcome, char *memory)
{
	test_check(munmap(outcome->memory, outcome->length) == 0, "munmap: %s", strerror(errno));
	if (outcome->memory != memory)
		test_check(munmap(memory, BYTES) == 0, "munmap: %s", strerror(errno));
}

/** The kernel's own: over memory with these bytes, past the preload. @return the error. */
static int make_without(const struct call *call, const uint64_t *contents)
{
	char *memory = pages_map(2 * PAGES, false);
	struct outcome outcome;
	long r;

	for (uint32_t i = 0; i < PAGES; i++)
		if (contents[i] != 0)
			pages_fill(memory + i * PAGE_BYTES, contents[i]);
	make_room(memory);
	r = sys_raw(call->number, (long)memory, (long)BYTES, call->c, call->d, 0, 0);
	errno = sys_is_error(r) ? (int)-r : 0;
	outcome = outcome_of(call, memory, sys_is_error(r) ? -1 : r);
	sys_raw(SYS_mprotect, (long)outcome.memory, (long)BYTES, READ_WRITE, 0, 0, 0);
	for (uint32_t i = 0; i < PAGES; i++)
		test_check(pages_differ(outcome.memory + i * PAGE_BYTES, contents[i]) < 0,
			   "%s: the kernel itself leaves other bytes in page %u", call->name, i);
	discard_outcome(&outcome, memory);
	return outcome.error;
}

static struct outcome make_with(const struct call *call, const struct ram *ram)
{
	return outcome_of(call, ram->memory,
			  ram_call(call->number, ram->memory, BYTES, call->c, call->d, 0, 0));
}

/** The bytes, once they can be looked at. */
static void check_bytes(const struct call *call, struct ram ram, const struct outcome *outcome)
{
	ram.memory = outcome->memory;
	if (call->number == SYS_mprotect)
		test_check(ram_call(SYS_mprotect, ram.memory, BYTES, READ_WRITE, 0, 0, 0) == 0, "mprotect: %s",
			   strerror(errno));
	ram_check(&ram, call->name);
	for (uint32_t i = 0; i < PAGES; i++) /* and that they can be written, each for itself */
		ram_write_page(&ram, i, i + 9000);
	ram_check(&ram, call->name);
}

static void begin(struct ram *ram)
{
	ram->memory = pages_map(2 * PAGES, false);
	ram_offer(ram);
	ram_share(ram);
}

static void end(const struct outcome *outcome, const struct ram *ram)
{
	discard_outcome(outcome, ram->memory);
	test_check(director_wait_until(vm, ram_is_gone, NULL) == 0, "the worker has hung up");
	test_check(director_live_slots(director) == 0, "slots are still in use");
}

static void test_same(const struct call *call)
{
	struct outcome outcome;
	struct ram ram;
	int error;

	begin(&ram);
	error = make_without(call, ram.contents);
	make_room(ram.memory);
	outcome = make_with(call, &ram);
	if (outcome.error != error)
		test_damage("%s gives '%s', and without the preload '%s'", call->name, strerror(outcome.error),
			    strerror(error));
	check_bytes(call, ram, &outcome);
	end(&outcome, &ram);
}

static void discard_diverged(struct ram *ram)
{
	for (uint32_t i = 4; i < PAGES; i += 8) { /* see ram_share() */
		ram_advise(ram, i, 1, MADV_DONTNEED);
		ram->contents[i] = 0;
	}
}

static void test_refused(const struct call *call)
{
	struct outcome outcome;
	struct ram ram;

	begin(&ram);
	make_room(ram.memory);
	outcome = make_with(call, &ram);
	test_check(outcome.error == ENOMEM, "%s gives '%s', where it cannot be made", call->name,
		   strerror(outcome.error));
	ram_check(&ram, call->name);
	for (uint32_t i = 0; i < PAGES; i++)
		ram_write_page(&ram, i, ram.contents[i]); /* no less can be done than before */
	ram_check(&ram, call->name);
	discard_diverged(&ram);
	outcome = make_with(call, &ram);
	if (outcome.error != 0)
		test_damage("%s gives '%s', though nothing can be pinned any more", call->name,
			    strerror(outcome.error));
	check_bytes(call, ram, &outcome);
	end(&outcome, &ram);
}

/* ---- MADV_REMOVE, with other memory before the RAM ---- */

enum front { OF_A_FILE,
	     OF_A_FILE_PRIVATE,
	     NOT_MAPPED,
	     ANONYMOUS,
	     FRONT_END };

/** @return the file, or -1. */
static int put_front(char *area, enum front front)
{
	int flags = (front == OF_A_FILE ? MAP_SHARED : MAP_PRIVATE) | MAP_FIXED, fd;

	if (front == NOT_MAPPED)
		test_check(munmap(area, BYTES) == 0, "munmap: %s", strerror(errno));
	if (front == NOT_MAPPED || front == ANONYMOUS)
		return -1;
	fd = memfd_create("pagefuse-same-errors", MFD_CLOEXEC);
	test_check(fd >= 0 && ftruncate(fd, (off_t)BYTES) == 0 &&
			   mmap(area, BYTES, READ_WRITE, flags, fd, 0) == area,
		   "mmap: %s", strerror(errno));
	memset(area, 'f', BYTES);
	return fd;
}

static void check_fronts(int fd, int other)
{
	char bytes[BYTES], expected[BYTES];

	if (fd < 0)
		return;
	test_check(pread(fd, bytes, BYTES, 0) == BYTES && pread(other, expected, BYTES, 0) == BYTES, "pread: %s",
		   strerror(errno));
	if (memcmp(bytes, expected, BYTES) != 0)
		test_damage("MADV_REMOVE: the file before the RAM is not as its twin");
	close(fd);
	close(other);
}

/** Half of what lies before the RAM, and all of that. */
static void test_remove(enum front front)
{
	char *area = pages_map(2 * PAGES, false), *twin = pages_map(2 * PAGES, false);
	struct ram ram = { .memory = area + BYTES };
	int fd = put_front(area, front), other = put_front(twin, front), error, expected;
	long r;

	ram_offer(&ram);
	ram_share(&ram);
	r = sys_raw(SYS_madvise, (long)(twin + BYTES / 2), (long)(BYTES + BYTES / 2), MADV_REMOVE, 0, 0, 0);
	expected = sys_is_error(r) ? (int)-r : 0;
	r = ram_call(SYS_madvise, area + BYTES / 2, BYTES + BYTES / 2, MADV_REMOVE, 0, 0, 0);
	error = r < 0 ? errno : 0;
	if (error != expected)
		test_damage("MADV_REMOVE after front %d gives '%s', and without the preload '%s'", (int)front,
			    strerror(error), strerror(expected));
	check_fronts(fd, other);
	ram_check(&ram, "after MADV_REMOVE");
	test_check(pages_is_file(ram_at(&ram, 0)), "nothing is shared any more");
	ram_end(&ram);
	munmap(area, BYTES);
	munmap(twin, 2 * BYTES);
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	way = test_wants("--past") ? PAST : test_wants("--by-number") ? BY_NUMBER
								      : BY_NAME;
	director = director_new();
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		test_same(&calls[i]);
	for (enum front front = 0; front < FRONT_END; front++)
		test_remove(front);
	files_note_pins(); /* for good */
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		if (!calls[i].needs_plain)
			test_same(&calls[i]);
		else if (!swap_is_there()) /* by which it may show that nothing is pinned, or not */
			test_refused(&calls[i]);
	director_free(director);
	return 0;
}
