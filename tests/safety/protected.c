/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mprotect() over pages that cannot be made plain, as there is no memory for it or they may be pinned: it succeeds, as
 * it would without the library. They stay in the store, and what the kernel was told of them stays as it is: nobody
 * touches them, and what is discarded is missing, and protected as before. Also where the call was made in part only.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/madvise.h"
#include "library/files.h"
#include "library/memory.h"
#include "library/sys.h"
#include "tests/support/guest.h"

#define PAGES 48u
#define DISCARDED 8u /* the first of so many pages that are discarded, in the middle of a run */

/** The VMM's mprotect(); @in_vain: while there is nothing with which to make a page plain. @return 0 or -errno. */
static int try_protect(const struct guest *g, uint32_t first, uint32_t count, int prot, bool in_vain)
{
	void *address = guest_at(g, first);
	int r;

	if (in_vain) {
		sys_fail.number = SYS_mmap;
		sys_fail.error = ENOMEM;
		sys_fail.for_ever = true;
		atomic_store(&sys_fail.countdown, 1);
	}
	r = memory_change_begin(CHANGE_PROTECT, address, count * PAGE_BYTES, prot);
	atomic_store(&sys_fail.countdown, 0);
	test_check(r == 0, "mprotect() is refused: %s", strerror(-r));
	r = syscall(SYS_mprotect, address, count * PAGE_BYTES, prot) < 0 ? -errno : 0;
	memory_change_end(CHANGE_PROTECT, address, count * PAGE_BYTES, prot, r == 0);
	return r;
}

static void protect(const struct guest *g, int prot, bool in_vain)
{
	int r = try_protect(g, 0, PAGES, prot, in_vain);

	test_check(r == 0, "mprotect: %s", strerror(-r));
}

static int protection_of(void *page)
{
	if (syscall(SYS_madvise, page, PAGE_BYTES, MADV_POPULATE_WRITE) == 0)
		return PROT_READ | PROT_WRITE;
	test_check(errno == EINVAL, "MADV_POPULATE_WRITE: %s", strerror(errno));
	return syscall(SYS_madvise, page, PAGE_BYTES, MADV_POPULATE_READ) == 0 ? PROT_READ : PROT_NONE;
}

static void check_protection(const struct guest *g, int prot)
{
	for (uint32_t i = 0; i < PAGES; i++)
		if (protection_of(guest_at(g, i)) != prot)
			test_damage("page %u has protection %d, not %d", i, protection_of(guest_at(g, i)), prot);
}

static bool is_discarded(uint32_t index)
{
	return index - PAGES / 2 < DISCARDED;
}

static void check_bytes(const struct guest *g, const char *when)
{
	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_differ(guest_at(g, i), is_discarded(i) ? 0 : i + 1) >= 0)
			test_damage("page %u reads wrong bytes %s", i, when);
}

/** All shared, and every third page written since. */
static void share_and_write(const struct guest *g)
{
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(guest_at(g, i), i + 1);
	test_check(guest_share(g, 0, PAGES) == PAGES, "not all pages are shared");
	for (uint32_t i = 0; i < PAGES; i += 3)
		pages_fill(guest_at(g, i), i + 1);
}

/** Whatever the daemon wants done to such memory. */
static void order_all(const struct guest *g)
{
	director_scan(g->vm, g->page, PAGES);
	director_share(g->vm, g->page, PAGES);
	director_unshare(g->vm, g->page, PAGES);
	director_zero(g->vm, g->page, PAGES);
}

/** What the VMM does to such memory besides. */
static void change_all(const struct guest *g)
{
	static const enum memory_change changes[] = { CHANGE_UNMERGEABLE, CHANGE_USERFAULTFD, CHANGE_USERFAULTFD_END,
						      CHANGE_NOTHING };

	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		int r = memory_change_begin(changes[i], g->memory, PAGES * PAGE_BYTES, 0);

		test_check(r == 0, "change %d is refused: %s", changes[i], strerror(-r));
		memory_change_end(changes[i], g->memory, PAGES * PAGE_BYTES, 0, true);
	}
	test_check(memory_register(g->memory, PAGES * PAGE_BYTES) >= 0, "it is not taken in again");
}

static void test_discards(const struct guest *g, int prot, int other)
{
	int r;

	share_and_write(g);
	protect(g, prot, true);
	check_protection(g, prot);
	order_all(g);
	r = guest_discard(g, PAGES / 2, DISCARDED, MADV_DONTNEED);
	test_check(r == 0, "madvise: %s", strerror(-r));
	for (uint32_t i = PAGES / 2; i < PAGES / 2 + DISCARDED; i++)
		if (pages_frame(guest_at(g, i)) != 0)
			test_damage("page %u was discarded and is there", i);
	check_protection(g, prot);
	protect(g, other, false);
	check_protection(g, other);
	change_all(g);
	order_all(g);
	protect(g, PROT_READ | PROT_WRITE, false);
	check_bytes(g, "after it was protected");
	check_protection(g, PROT_READ | PROT_WRITE);
}

/** The kernel protects what is there, and fails for the page behind it. */
static void test_in_part(const struct guest *g)
{
	/* At the last moment, or something else is mapped there. */
	test_check(munmap(guest_at(g, PAGES), PAGE_BYTES) == 0, "munmap: %s", strerror(errno));
	test_check(try_protect(g, 0, PAGES + 1, PROT_NONE, true) == -ENOMEM, "mprotect() over a hole succeeds");
	check_protection(g, PROT_NONE);
	order_all(g); /* who touched it would end the process */
	protect(g, PROT_READ | PROT_WRITE, false);
	check_bytes(g, "after it was protected in part");
}

/** Copies that may be pinned: those that the kernel does not show to be unpinned stay. */
static void test_pins(const struct guest *g)
{
	share_and_write(g);
	files_note_pins();
	protect(g, PROT_READ, false);
	check_protection(g, PROT_READ);
	test_check(guest_discard(g, PAGES / 2, DISCARDED, MADV_DONTNEED) == 0, "madvise: %s", strerror(errno));
	check_protection(g, PROT_READ);
	protect(g, PROT_READ | PROT_WRITE, false);
	check_bytes(g, "where it may be pinned");
}

int main(int argc, char **argv)
{
	struct guest g;
	char *memory;

	test_begin(argc, argv);
	memory = pages_map(PAGES + 1, false);
	guest_begin(&g, memory, PAGES);
	test_discards(&g, PROT_READ, PROT_NONE);
	test_discards(&g, PROT_NONE, PROT_READ);
	share_and_write(&g);
	guest_discard(&g, PAGES / 2, DISCARDED, MADV_DONTNEED);
	test_in_part(&g);
	test_pins(&g);
	for (uint32_t i = 0; i < PAGES; i++) /* or they could not be taken back */
		guest_discard(&g, i, 1, MADV_DONTNEED);
	guest_report(&g);
	guest_end(&g);
	return 0;
}
