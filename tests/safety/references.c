/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The VMM is about to use I/O that takes plain references to pages, which no hold sees: from that very call on nothing
 * is hashed, held or merged, whatever is ordered, and for good; nor is what a discard had to fill with zeros moved
 * away, to be missing for the VMM's own userfaultfd.
 */
#include "library/kernel.h"
#include "library/memory.h"
#include "tests/support/guest.h"

#define PAGES 32u

/** A page that was filled in place of a discard, and is plain by now. */
static void fill(const struct guest *g)
{
	test_check(guest_share(g, 0, 1) == 1, "page 0 is not shared");
	guest_discard_in_vain(g, 0);
	guest_make_plain(g, 0, 1);
}

static void check_filled(const struct guest *g)
{
	int r = memory_change_begin(CHANGE_USERFAULTFD, g->memory, PAGE_BYTES, UFFDIO_REGISTER_MODE_MISSING);

	test_check(r == 0, "memory_change_begin: %d", r);
	memory_change_end(CHANGE_USERFAULTFD, g->memory, PAGE_BYTES, UFFDIO_REGISTER_MODE_MISSING, true);
	if (pages_frame(g->memory) == 0)
		test_damage("a page of zeros is moved away with I/O under way that has references to it");
}

int main(int argc, char **argv)
{
	struct guest g;
	uint32_t slot;

	test_begin(argc, argv);
	guest_begin(&g, pages_map(PAGES, false), PAGES);
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(guest_at(&g, i), i + 1);
	fill(&g);
	test_check(guest_share(&g, 1, PAGES / 2 - 1) == PAGES / 2 - 1, "nothing is shared before");
	slot = director_take_slots(g.director, PAGES / 2);
	for (uint32_t i = 0; i < PAGES / 2; i++)
		pages_fill(director_slot(g.director, slot + i), PAGES / 2 + i + 1);
	memory_note_references();
	if (director_merge(g.vm, g.page + PAGES / 2, PAGES / 2, slot) != 0)
		test_damage("pages are moved away with I/O under way that has references to them");
	test_check(director_answers(g.vm, g.page + PAGES / 2, PAGES / 2, REPORT_BUSY) == PAGES / 2,
		   "the order was not refused as it should be");
	check_filled(&g);
	for (uint32_t i = 1; i < PAGES; i++)
		test_check(pages_differ(guest_at(&g, i), i + 1) < 0, "page %u reads wrong bytes", i);
	guest_report(&g);
	guest_end(&g);
	return 0;
}
