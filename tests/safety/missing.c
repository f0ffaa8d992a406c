/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VMM registers a userfaultfd of its own to fetch what is missing from elsewhere, as at the end of a postcopy
 * migration. Missing is what it never touched or has discarded, and nothing else: not what the library gave back
 * because it was full of zeros, for which nobody would ever send a page; but also what had to be filled with zeros
 * because a discard could not be done.
 */
#include <string.h>
#include <sys/mman.h>

#include "library/kernel.h"
#include "library/memory.h"
#include "library/transfers.h"
#include "tests/support/guest.h"

#define PAGES 128u
#define ZEROS 32u /* the first pages: full of zeros */
#define FETCHED 1000u

static uint64_t content_of(uint32_t index)
{
	return index < ZEROS ? 0 : index + 1;
}

static void discard(const struct guest *g, uint32_t index, uint32_t count)
{
	int r = guest_discard(g, index, count, MADV_DONTNEED);

	test_check(r == 0, "madvise: %s", strerror(-r));
}

static void prepare(const struct guest *g)
{
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(guest_at(g, i), content_of(i));
	director_scan(g->vm, g->page, PAGES);
	test_check(director_zero(g->vm, g->page, ZEROS) == ZEROS, "not all zeros are given back");
	test_check(guest_share(g, ZEROS, PAGES - ZEROS) == PAGES - ZEROS, "not all pages are shared");
}

/** The VMM registers all of it. */
static void change(const struct guest *g, enum memory_change change, uint64_t mode)
{
	int r = memory_change_begin(change, g->memory, PAGES * PAGE_BYTES, (int)mode);

	test_check(r == 0, "memory_change_begin: %s", strerror(-r));
	memory_change_end(change, g->memory, PAGES * PAGE_BYTES, (int)mode, true);
}

static void expect(const struct guest *g, uint32_t index, bool missing)
{
	uint64_t content = missing ? FETCHED + index : content_of(index);

	if (pages_fill_missing(guest_at(g, index), FETCHED + index) != missing)
		test_damage("page %u is %s", index, missing ? "there, and was discarded" : "missing, and was there");
	if (pages_differ(guest_at(g, index), content) >= 0)
		test_damage("page %u reads wrong bytes", index);
}

static bool was_discarded(uint32_t index)
{
	static const uint32_t discarded[] = { 3, 4, ZEROS + 10, ZEROS + 11, ZEROS + 20, ZEROS + 40 };

	for (size_t i = 0; i < sizeof(discarded) / sizeof(*discarded); i++)
		if (discarded[i] == index)
			return true;
	return false;
}

static void test_missing(const struct guest *g)
{
	prepare(g);
	discard(g, 3, 2); /* zeros that were given back */
	discard(g, ZEROS + 10, 2);
	guest_discard_in_vain(g, ZEROS + 20);
	guest_discard_in_vain(g, ZEROS + 30);
	guest_discard_in_vain(g, ZEROS + 40);
	pages_fill(guest_at(g, ZEROS + 30), content_of(ZEROS + 30)); /* somebody has written since */
	discard(g, ZEROS + 40, 1);                                   /* and that can be done */
	change(g, CHANGE_USERFAULTFD, UFFDIO_REGISTER_MODE_MISSING);
	for (uint32_t i = 0; i < PAGES; i++)
		expect(g, i, was_discarded(i));
	change(g, CHANGE_USERFAULTFD_END, 0);
	director_audit(g->vm, g->page, PAGES);
	test_check(director_live_slots(g->director) == 0, "slots are still in use");
}

/** For write-protection alone, what reads as zeros has to be there, or it would not be protected. */
static void test_protected(const struct guest *g)
{
	prepare(g);
	guest_discard_in_vain(g, ZEROS + 20);
	change(g, CHANGE_USERFAULTFD, UFFDIO_REGISTER_MODE_WP);
	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_frame(guest_at(g, i)) == 0)
			test_damage("page %u is missing", i);
	change(g, CHANGE_USERFAULTFD_END, 0);
}

/** A call of the VMM's is just reading into a page that a discard had to fill: it is not taken from under it. */
static void test_read_into(const struct guest *g)
{
	uint64_t transfer;

	prepare(g);
	guest_discard_in_vain(g, ZEROS + 20);
	guest_make_plain(g, ZEROS + 20, 1);
	transfer = transfers_begin(guest_at(g, ZEROS + 20), PAGE_BYTES);
	change(g, CHANGE_USERFAULTFD, UFFDIO_REGISTER_MODE_MISSING);
	transfers_end(transfer);
	if (pages_frame(guest_at(g, ZEROS + 20)) == 0)
		test_damage("a page is moved away while a call of the VMM's is at it");
	change(g, CHANGE_USERFAULTFD_END, 0);
}

int main(int argc, char **argv)
{
	struct guest g;
	void *memory;

	test_begin(argc, argv);
	memory = pages_map(PAGES, false);
	guest_begin(&g, memory, PAGES);
	test_missing(&g);
	test_protected(&g);
	test_read_into(&g);
	guest_report(&g);
	guest_end(&g);
	return 0;
}
