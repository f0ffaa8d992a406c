/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Runs of diverged pages are held together, and of one of them the kernel registers a part and then lets nothing be
 * unregistered, or nobody be woken. So the userfaultfd is closed, which takes the protection from the runs before. What
 * is written to these just then is not lost.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/syscall.h>

#include "library/kernel.h"
#include "library/protections.h"
#include "library/sys.h"
#include "tests/support/guest.h"

#define RUNS 4u
#define RUN 3u /* pages; behind each there are as many that still read their slots */
#define PAGES (2 * RUN * RUNS)

static struct guest g;

/* What is to fail in a hold, see meet_reopening(). */
static unsigned refused;  /* the run that cannot be registered */
static unsigned long way; /* UFFDIO_UNREGISTER or UFFDIO_WAKE: what fails as well, so that it is closed */
static bool for_good;     /* and no other userfaultfd is to be had */

static unsigned registered;       /* runs, in this hold; worker */
static bool reopened;             /* the same */
static atomic_uint written, late; /* holds in which the exposed pages were written; just before a mapping */

static bool is_in_run(uint32_t index)
{
	return index % (2 * RUN) < RUN;
}

static bool is_exposed(uint32_t index)
{
	return is_in_run(index) && index / (2 * RUN) < refused;
}

static void fail(int number, bool for_ever)
{
	sys_fail.number = number;
	sys_fail.error = ENOMEM;
	sys_fail.for_ever = for_ever;
	atomic_store(&sys_fail.countdown, 1);
}

/** What a guest writes then, as nothing keeps it from that. */
static void write_exposed(bool before_mapping)
{
	for (uint32_t i = 0; i < PAGES; i++)
		if (is_exposed(i))
			pages_fill(guest_at(&g, i), i + 1 + PAGES);
	atomic_fetch_add(&written, 1);
	atomic_fetch_add(&late, before_mapping);
	atomic_store(&sys_watch, NULL);
}

/**
 * Called by the worker. The exposed pages are written when those that may be mapped next have been compared, if any
 * are, or else before the first run is let go.
 */
static void meet_reopening(long number, long second)
{
	unsigned long request = number == SYS_ioctl ? (unsigned long)second : 0;

	if (reopened) {
		if (number == SYS_mremap || request == UFFDIO_UNREGISTER)
			write_exposed(number == SYS_mremap);
	} else if (number == SYS_userfaultfd) {
		reopened = true;
		atomic_store(&sys_fail.countdown, 0);
		if (for_good)
			fail(SYS_userfaultfd, false);
	} else if (request == UFFDIO_REGISTER && registered++ == refused) {
		fail(SYS_ioctl, true);
	} else if (request == UFFDIO_UNREGISTER && way == UFFDIO_WAKE) {
		atomic_store(&sys_fail.countdown, 0);
	} else if (request == UFFDIO_WAKE && way == UFFDIO_WAKE && registered > refused) {
		fail(SYS_ioctl, true);
	}
}

static void check(uint32_t changed_by)
{
	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_differ(guest_at(&g, i), i + 1 + (is_exposed(i) ? changed_by : 0)) >= 0)
			test_damage("page %u reads wrong bytes, run %u was not registered", i, refused);
}

/** All shared, and some written since with the bytes that are there. */
static void share_and_write(void)
{
	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_differ(guest_at(&g, i), i + 1) >= 0)
			pages_fill(guest_at(&g, i), i + 1);
	guest_share(&g, 0, PAGES);
	for (uint32_t i = 0; i < PAGES; i++) {
		test_check(pages_differ(guest_at(&g, i), i + 1) < 0 && pages_is_file(guest_at(&g, i)),
			   "page %u is not shared", i);
		if (is_in_run(i))
			pages_fill(guest_at(&g, i), i + 1);
	}
	director_scan(g.vm, g.page, PAGES);
}

static void hold_together(void)
{
	uint32_t slot = director_take_slots(g.director, PAGES);
	unsigned before = atomic_load(&written);

	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(director_slot(g.director, slot + i), i + 1);
	registered = 0;
	reopened = false;
	atomic_store(&sys_watch, meet_reopening);
	director_merge(g.vm, g.page, PAGES, slot);
	atomic_store(&sys_watch, NULL);
	atomic_store(&sys_fail.countdown, 0);
	check(PAGES);
	test_check(atomic_load(&written) == before + 1, "the userfaultfd was not closed for run %u", refused);
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	hold_length_stays = true; /* all runs are held together */
	guest_begin(&g, pages_map(PAGES, false), PAGES);
	for (unsigned round = 0; round < 4 * (RUNS - 1); round++) {
		refused = 1 + round / 4;
		way = round % 2 == 0 ? UFFDIO_UNREGISTER : UFFDIO_WAKE;
		for_good = round % 4 >= 2;
		share_and_write();
		hold_together();
	}
	share_and_write();
	check(0);
	fprintf(stderr, "%u times written in between, %u of them before a mapping\n", atomic_load(&written),
		atomic_load(&late));
	guest_report(&g);
	guest_end(&g);
	return 0;
}
