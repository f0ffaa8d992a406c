/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Two runs of pages want the same slots in one merge, and are staged as the same addresses of a template. For the first
 * the kernel unmaps what is in its place and has no memory for a copy of the mapping then, so that the template has to
 * give these addresses away; and at once the VMM has memory of its own there. The second run does not get that, and
 * the VMM keeps it.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "library/orders.h"
#include "library/protections.h"
#include "library/sys.h"
#include "library/view.h"
#include "tests/support/guest.h"

#define RUN 12u /* pages */
#define PAGES (2 * RUN)
#define VMMS_CONTENT 1000u

static struct guest g;
static char *place;       /* of the first run */
static uint64_t offset;   /* of the slots in their file */
static char *staged;      /* the addresses, in the worker's hold */
static char *vmms;        /* what the VMM has there */
static atomic_uint moves; /* mremap() calls for a run */

/** The template's address of the slots: it alone is a piece of the store that long which can be written. */
static char *find_staged(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long long start, end, from;
	char line[512], *found = NULL;

	test_check(maps != NULL, "/proc/self/maps: %s", strerror(errno));
	while (fgets(line, sizeof(line), maps) != NULL)
		if (sscanf(line, "%llx-%llx rw-p %llx", &start, &end, &from) == 3 &&
		    strstr(line, "pagefuse-store") != NULL && end - start >= VIEW_WINDOW_SLOTS * PAGE_BYTES &&
		    offset >= from && offset - from < end - start)
			found = (char *)(uintptr_t)(start + (offset - from));
	fclose(maps);
	test_check(found != NULL, "nothing is staged of a template");
	return found;
}

static void map_there(void)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;

	vmms = mmap(staged, RUN * PAGE_BYTES, PROT_READ | PROT_WRITE, flags, -1, 0);
	test_check(vmms == staged, "what was given away is mapped still: %s", strerror(errno));
	for (uint32_t i = 0; i < RUN; i++)
		pages_fill(vmms + i * PAGE_BYTES, VMMS_CONTENT + i);
}

/** Called by the worker. The first call is to fail, and the second one moves what was staged for it. */
static void tear(long number, long second)
{
	unsigned move;

	if (number != SYS_mremap || second != (long)(RUN * PAGE_BYTES))
		return;
	move = atomic_fetch_add(&moves, 1);
	if (move == 0) {
		staged = find_staged();
		sys_raw(SYS_munmap, (long)place, second, 0, 0, 0, 0);
		atomic_store(&sys_fail.countdown, 1);
	} else if (move == 2) {
		map_there();
	}
}

static uint64_t content_of(uint32_t index)
{
	return index % RUN + 1;
}

static void check(void)
{
	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_differ(guest_at(&g, i), content_of(i)) >= 0)
			test_damage("page %u reads wrong bytes", i);
	for (uint32_t i = 0; i < RUN && vmms != NULL; i++)
		if (pages_differ(vmms + i * PAGE_BYTES, VMMS_CONTENT + i) >= 0)
			test_damage("memory of the VMM's own reads wrong bytes");
}

/** All are shared, and have been written since. */
static void share_and_write(void)
{
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(guest_at(&g, i), content_of(i));
	test_check(guest_share(&g, 0, PAGES) == PAGES, "not all pages are shared");
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(guest_at(&g, i), content_of(i));
}

/** Both orders wait behind another one, so the worker finds them together. */
static void merge_together(uint32_t slot)
{
	orders_pause();
	director_order(g.vm, ORDER_SCAN, g.page, PAGES, 0);
	director_order(g.vm, ORDER_MERGE, g.page, RUN, slot);
	director_order(g.vm, ORDER_MERGE, g.page + RUN, RUN, slot);
	orders_resume();
	test_check(director_wait(g.vm) == 0, "the worker has hung up");
}

static void share_torn(void)
{
	uint32_t slot = director_take_slots(g.director, RUN);

	for (uint32_t i = 0; i < RUN; i++)
		pages_fill(director_slot(g.director, slot + i), content_of(i));
	offset = slot % VIEW_SEGMENT_SLOTS * PAGE_BYTES;
	vmms = NULL;
	atomic_store(&moves, 0);
	atomic_store(&sys_watch, tear);
	merge_together(slot);
	atomic_store(&sys_watch, NULL);
	check();
	test_check(atomic_load(&moves) == 2, "%u moves were made", atomic_load(&moves));
	test_check(director_count(g.vm, g.page, RUN, DIRECTOR_SHARED) == RUN, "the first run is not shared");
	test_check(director_answers(g.vm, g.page + RUN, RUN, REPORT_FULL) == RUN, "the second run is not refused");
	map_there();
	share_and_write(); /* the rest of the template goes */
	check();
	munmap(vmms, RUN * PAGE_BYTES);
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	hold_length_stays = true;
	guest_begin(&g, pages_map(PAGES, false), PAGES);
	place = g.memory;
	sys_fail.number = SYS_mremap;
	sys_fail.error = ENOMEM;
	sys_fail.for_ever = false;
	for (unsigned round = 0; round < 4; round++) {
		share_and_write();
		share_torn();
	}
	guest_report(&g);
	guest_end(&g);
	return 0;
}
