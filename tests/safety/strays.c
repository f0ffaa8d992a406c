/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A page is in the scratch that nobody has moved there, as a system call puts it there that fills all that is mapped,
 * and it is just what the slot holds. The page that was to be moved, and has changed since it was looked at, stays.
 */
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>

#include "library/hold-steps.h"
#include "library/kernel.h"
#include "library/protections.h"
#include "library/sys.h"
#include "tests/support/guest.h"

#define PAGES 16u

static struct guest g;
static uint32_t stray;
static atomic_uint placed;

/** Called by the worker: just before the first move, when nothing is looked at any more before the pages are held. */
static void place(long number, long request)
{
	if (number != SYS_ioctl || (unsigned long)request != UFFDIO_MOVE)
		return;
	atomic_store(&sys_watch, NULL);
	pages_fill((void *)(hold_scratch + stray * PAGE_BYTES), stray + 1);
	pages_fill(guest_at(&g, stray), stray + 1000);
	atomic_fetch_add(&placed, 1);
}

static void check(uint32_t changed)
{
	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_differ(guest_at(&g, i), i == changed ? i + 1000 : i + 1) >= 0)
			test_damage("page %u reads wrong bytes, page %u was in the scratch", i, stray);
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	hold_length_stays = true; /* a place in the scratch is that of a page of the first hold */
	guest_begin(&g, pages_map(PAGES, false), PAGES);
	for (stray = 0; stray < PAGES; stray++) {
		for (uint32_t i = 0; i < PAGES; i++)
			pages_fill(guest_at(&g, i), i + 1);
		guest_make_plain(&g, 0, PAGES);
		director_scan(g.vm, g.page, PAGES);
		atomic_store(&sys_watch, place);
		director_share(g.vm, g.page, PAGES);
		check(stray);
		pages_fill(guest_at(&g, stray), stray + 1);
		guest_make_plain(&g, 0, PAGES);
		test_check(guest_share(&g, 0, PAGES) == PAGES, "not all is shared afterwards");
		check(PAGES);
	}
	test_check(atomic_load(&placed) == PAGES, "%u moves have been met", atomic_load(&placed));
	guest_report(&g);
	guest_end(&g);
	return 0;
}
