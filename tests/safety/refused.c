/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A discard of a range in which the kernel refuses something: it has to do as much, and to say the same, as for memory
 * that is under nobody. Beside the guest's RAM there is a twin of it, with the same bytes, of which the library knows
 * nothing, and what is done to one is done to the other. MADV_REMOVE, which is always refused, is looked at as well.
 *
 * usage: refused [--pinned]         pages that have been written since they were shared stay in the store
 *        refused --withdrawn        so they do, and the library has fallen silent, for a system call filter to come
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/madvise.h"
#include "library/files.h"
#include "library/memory.h"
#include "library/withdrawal.h"
#include "tests/support/guest.h"
#include "tests/support/swap.h"

#define RANGE 24u  /* pages of a discard */
#define OTHERS 4u  /* of these, that are not what they were */
#define MIDDLE 10u /* where these begin, if neither first nor last */

enum others { LOCKED,
	      OF_A_FILE,
	      NOT_MAPPED,
	      OTHERS_END };

static const int advices[] = { MADV_DONTNEED, MADV_FREE, MADV_DONTNEED_LOCKED, MADV_GUARD_INSTALL, MADV_REMOVE };
static const uint32_t places[] = { 0, MIDDLE, RANGE - OTHERS };

#define ADVICES (sizeof(advices) / sizeof(*advices))
#define PLACES (sizeof(places) / sizeof(*places))
#define PAGES ((uint32_t)(ADVICES * OTHERS_END * PLACES * RANGE))

static char *twin;

/** The same call for the guest's RAM, as the preload makes it, and for the twin. */
static void change_both(const struct guest *g, enum memory_change change, uint32_t first, uint32_t count,
			void (*call)(void *address, size_t length))
{
	void *address = guest_at(g, first);
	size_t length = count * PAGE_BYTES;
	int r = memory_change_begin(change, address, length, 0);

	test_check(r == 0, "memory_change_begin: %s", strerror(-r));
	call(address, length);
	memory_change_end(change, address, length, 0, true);
	call(twin + first * PAGE_BYTES, length);
}

static void map_a_file(void *address, size_t length)
{
	int fd = memfd_create("pagefuse-refused", MFD_CLOEXEC);

	test_check(fd >= 0 && ftruncate(fd, (off_t)length) == 0 &&
			   mmap(address, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == address,
		   "mmap: %s", strerror(errno));
	close(fd);
}

static void unmap(void *address, size_t length)
{
	test_check(munmap(address, length) == 0, "munmap: %s", strerror(errno));
}

static void put_others(const struct guest *g, enum others others, uint32_t first)
{
	if (others == LOCKED)
		change_both(g, CHANGE_LOCK, first, OTHERS, test_lock_memory);
	else
		change_both(g, CHANGE_UNMAP, first, OTHERS, others == OF_A_FILE ? map_a_file : unmap);
}

/** @return 0 or an errno. */
static int discard(const struct guest *g, uint32_t first, int advice)
{
	void *address = guest_at(g, first);
	size_t length = RANGE * PAGE_BYTES;
	enum memory_change change = advice == MADV_REMOVE ? CHANGE_REMOVE : CHANGE_DISCARD;
	int r = memory_change_begin(change, address, length, advice);

	if (r != 0)
		return r < 0 ? -r : 0;
	r = syscall(SYS_madvise, address, length, advice) < 0 ? errno : 0;
	memory_change_end(change, address, length, advice, r == 0);
	return r;
}

static const char *name_of(enum others others)
{
	return others == LOCKED ? "locked" : others == OF_A_FILE ? "of a file"
								 : "not mapped";
}

static bool is_zero(const void *page)
{
	return pages_differ(page, 0) < 0;
}

/** Memory that is given to the kernel to take (MADV_FREE) is the same or gone, as it likes; what is not given stays. */
static void compare(const struct guest *g, uint32_t first, enum others others, uint32_t place, int advice, int error)
{
	for (uint32_t i = 0; i < RANGE; i++) {
		const char *page = guest_at(g, first + i), *other = twin + (first + i) * PAGE_BYTES;
		bool given = advice == MADV_FREE && (i < place || error == 0 || error == ENOMEM);

		if (others != LOCKED && i >= place && i < place + OTHERS)
			continue;
		if (memcmp(page, other, PAGE_BYTES) != 0 && !(given && (is_zero(page) || is_zero(other))))
			test_damage("advice %d, pages from %u on are %s: page %u %s", advice, place, name_of(others), i,
				    is_zero(page) ? "is gone" : "is there still");
	}
}

static void test_case(const struct guest *g, uint32_t first, enum others others, uint32_t place, int advice)
{
	int error, expected;

	put_others(g, others, first + place);
	error = discard(g, first, advice);
	expected = madvise(twin + first * PAGE_BYTES, RANGE * PAGE_BYTES, advice) < 0 ? errno : 0;
	if (error != expected)
		test_damage("advice %d, pages from %u on are %s: errno %d in place of %d", advice, place,
			    name_of(others), error, expected);
	if (advice == MADV_GUARD_INSTALL) {
		(void)madvise(guest_at(g, first), RANGE * PAGE_BYTES, MADV_GUARD_REMOVE);
		(void)madvise(twin + first * PAGE_BYTES, RANGE * PAGE_BYTES, MADV_GUARD_REMOVE);
	}
	compare(g, first, others, place, advice, expected);
}

static void unregister(const struct guest *g)
{
	for (uint32_t first = 0; first < PAGES; first += RANGE)
		change_both(g, CHANGE_UNMAP, first, RANGE, unmap);
}

/** Pages that were written since they were shared may be pinned from now on, and cannot be made plain. */
static void pin(const struct guest *g)
{
	if (swap_is_there())
		test_skip("there is swap, by which pages show that they are not pinned");
	for (uint32_t i = 0; i < PAGES; i++) {
		if (i % RANGE % MIDDLE >= OTHERS && i % 3 != 1) /* all that become others, and some */
			continue;
		pages_fill(guest_at(g, i), i + 100000);
		pages_fill(twin + i * PAGE_BYTES, i + 100000);
	}
	files_note_pins();
}

/** Nothing is called any more. */
static void withdraw(const struct guest *g)
{
	uint32_t left = 0;

	test_check(!withdrawal_before_filter(NULL), "the library has not withdrawn");
	for (uint32_t i = 0; i < PAGES; i++) {
		test_check(memcmp(guest_at(g, i), twin + i * PAGE_BYTES, PAGE_BYTES) == 0, "page %u is wrong", i);
		left += memory_concerns(CHANGE_DISCARD, guest_at(g, i), PAGE_BYTES);
	}
	test_check(left != 0, "nothing is left in the store");
	/* mlockall(MCL_FUTURE) locks nothing of it. */
	test_check(memory_change_begin(CHANGE_LOCK, NULL, SIZE_MAX, MCL_FUTURE) == 0, "memory_change_begin");
	memory_change_end(CHANGE_LOCK, NULL, SIZE_MAX, MCL_FUTURE, true);
}

int main(int argc, char **argv)
{
	struct guest g;
	char *memory;
	uint32_t first = 0, shared;

	test_begin(argc, argv);
	memory = pages_map(PAGES, false);
	twin = pages_map(PAGES, false);
	for (uint32_t i = 0; i < PAGES; i++) {
		pages_fill(memory + i * PAGE_BYTES, i + 1);
		pages_fill(twin + i * PAGE_BYTES, i + 1);
	}
	guest_begin(&g, memory, PAGES);
	shared = guest_share(&g, 0, PAGES);
	test_check(shared == PAGES, "%u of %u pages are shared", shared, PAGES);
	if (test_wants("--pinned") || test_wants("--withdrawn"))
		pin(&g);
	if (test_wants("--withdrawn"))
		withdraw(&g);
	for (size_t a = 0; a < ADVICES; a++) {
		bool known = madvise(NULL, 0, advices[a]) == 0;

		for (enum others others = 0; others < OTHERS_END; others++)
			for (size_t p = 0; p < PLACES; p++, first += RANGE)
				if (known)
					test_case(&g, first, others, places[p], advices[a]);
		printf("advice %d: %s\n", advices[a], known ? "right" : "this kernel does not know it");
	}
	unregister(&g);
	director_free(g.director);
	return 0;
}
