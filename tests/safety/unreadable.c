/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A move fails half way, and just then the pagemap cannot be read: nobody knows which pages are in the scratch. The
 * worker must not take for a page what it reads where none may be; and all that was moved has to come back. With
 * --no-memory there is none to be had for copies meanwhile.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>

#include "library/kernel.h"
#include "library/sys.h"
#include "tests/support/guest.h"

#define PAGES 16u

static char *ram;
static uint32_t hole; /* the page that is missing when the rest is moved */

static uint64_t content_of(uint32_t index)
{
	return index == hole ? 0 : index + 1;
}

static bool no_memory;
static bool broken;

static void fail(int number, int error)
{
	sys_fail.number = number;
	sys_fail.error = error;
	sys_fail.for_ever = true;
	atomic_store(&sys_fail.countdown, 1);
}

/** Called by the worker: before the first move the page of zeros goes, and the pagemap with it. */
static void break_move(long number, long request)
{
	bool copies = number == SYS_ioctl && (unsigned long)request == UFFDIO_COPY;

	if (number == SYS_ioctl && (unsigned long)request == UFFDIO_MOVE && !broken) {
		sys_raw(SYS_madvise, (long)(ram + hole * PAGE_BYTES), PAGE_BYTES, MADV_DONTNEED, 0, 0, 0);
		broken = true;
	}
	if (broken && copies && no_memory)
		fail(SYS_ioctl, ENOMEM);
	else if (broken)
		fail(SYS_pread64, EIO);
}

int main(int argc, char **argv)
{
	uint64_t merged;
	struct guest g;

	test_begin(argc, argv);
	no_memory = test_wants("--no-memory");
	ram = pages_map(PAGES, false);
	hole = PAGES;
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(ram + i * PAGE_BYTES, content_of(i));
	guest_begin(&g, ram, PAGES);
	for (hole = 0; hole < PAGES; hole++) {
		for (uint32_t i = 0; i < PAGES; i++)
			pages_fill(guest_at(&g, i), content_of(i));
		guest_make_plain(&g, 0, PAGES);
		director_scan(g.vm, g.page, PAGES);
		broken = false;
		atomic_store(&sys_watch, break_move);
		guest_share(&g, 0, PAGES);
		atomic_store(&sys_watch, NULL);
		test_check(broken, "no move has been broken");
		for (uint32_t i = 0; i < PAGES; i++)
			if (pages_differ(guest_at(&g, i), content_of(i)) >= 0)
				test_damage("page %u reads wrong bytes after page %u was missing in a move", i, hole);
		atomic_store(&sys_fail.countdown, 0);
		merged = g.vm->reports[REPORT_MERGED];
		guest_make_plain(&g, 0, PAGES);
		guest_share(&g, 0, PAGES);
		test_check(g.vm->reports[REPORT_MERGED] > merged, "nothing is shared any more");
	}
	guest_report(&g);
	guest_end(&g);
	return 0;
}
