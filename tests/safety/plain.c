/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pages of the store, and private copies of them, become anonymous memory again: with their bytes, without anything of
 * the store, and with the advice on huge pages that was given. Also when the kernel has unmapped the pages to put the
 * new memory in their place and has none for that, just then. And not before a call of the VMM's that is at them is
 * done, which could not be stopped else.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "library/kernel.h"
#include "library/sys.h"
#include "library/transfers.h"
#include "tests/support/guest.h"

#define PAGES 24u /* one run: made plain at once */

/** Of the pages that are shared now, every third gets a copy of its own. */
static void share_and_write(const struct guest *g)
{
	guest_share(g, 0, PAGES);
	for (uint32_t i = 0; i < PAGES; i++) {
		(void)*(const volatile char *)guest_at(g, i);
		test_check(pages_is_file(guest_at(g, i)), "page %u is not shared", i);
		if (i % 3 == 0)
			pages_fill(guest_at(g, i), i + 1);
	}
}

static void check(const struct guest *g)
{
	for (uint32_t i = 0; i < PAGES; i++) {
		if (pages_differ(guest_at(g, i), i + 1) >= 0)
			test_damage("page %u reads wrong bytes", i);
		test_check(!pages_is_file(guest_at(g, i)), "page %u is still of the store", i);
	}
	test_check(pages_has_flag(g->memory, "hg"), "the advice on huge pages is lost");
	director_audit(g->vm, g->page, PAGES);
	test_check(director_live_slots(g->director) == 0, "%llu slots are still in use",
		   (unsigned long long)director_live_slots(g->director));
}

static char *pages;
static atomic_bool armed;

/** Does to the pages what mremap() does to its target first; then the call fails, as sys_fail says. */
static void unmap_first(long number, long second)
{
	if (number == SYS_mremap && second == (long)(PAGES * PAGE_BYTES) && atomic_exchange(&armed, false))
		sys_raw(SYS_munmap, (long)pages, second, 0, 0, 0, 0);
}

static void test_hole(const struct guest *g)
{
	share_and_write(g);
	pages = g->memory;
	atomic_store(&armed, true);
	atomic_store(&sys_watch, unmap_first);
	sys_fail.number = SYS_mremap;
	sys_fail.error = ENOMEM;
	sys_fail.for_ever = false;
	atomic_store(&sys_fail.countdown, 1);
	guest_make_plain(g, 0, PAGES);
	atomic_store(&sys_watch, NULL);
	test_check(!atomic_load(&armed) && atomic_load(&sys_fail.countdown) == 0, "no mremap() has failed");
	check(g);
}

static uint64_t transfer;
static atomic_bool transferred, held_meanwhile;

/** The call is preempted for a while: it ends only when the one that waits for it begins to sleep. */
static void transfer_late(long number, long second)
{
	if (number == SYS_ppoll) {
		transfers_end(transfer);
		atomic_store(&transferred, true);
	} else if (number == SYS_ioctl && second == (long)UFFDIO_WRITEPROTECT && !atomic_load(&transferred)) {
		atomic_store(&held_meanwhile, true);
	}
}

static void test_transfer(const struct guest *g)
{
	share_and_write(g);
	transfer = transfers_begin(guest_at(g, 1), PAGE_BYTES);
	atomic_store(&sys_watch, transfer_late);
	guest_make_plain(g, 0, PAGES);
	atomic_store(&sys_watch, NULL);
	if (atomic_load(&held_meanwhile) || !atomic_load(&transferred))
		test_damage("pages are held while a call of the VMM's is at them");
	check(g);
}

int main(int argc, char **argv)
{
	struct guest g;
	void *memory;

	test_begin(argc, argv);
	memory = pages_map(PAGES, true);
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill((char *)memory + i * PAGE_BYTES, i + 1);
	guest_begin(&g, memory, PAGES);
	share_and_write(&g);
	guest_make_plain(&g, 0, PAGES);
	check(&g);
	test_hole(&g);
	test_transfer(&g);
	test_check(guest_share(&g, 0, PAGES) == PAGES, "not all pages are shared again");
	guest_report(&g);
	guest_end(&g);
	return 0;
}
