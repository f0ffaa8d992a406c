/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The VMM is about to use I/O that takes plain references to pages, which no hold sees: from that very call on nothing
 * is hashed, held or merged, whatever is ordered, and for good.
 */
#include "library/memory.h"
#include "tests/support/guest.h"

#define PAGES 32u

int main(int argc, char **argv)
{
	struct guest g;
	uint32_t slot;

	test_begin(argc, argv);
	guest_begin(&g, pages_map(PAGES, false), PAGES);
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(guest_at(&g, i), i + 1);
	test_check(guest_share(&g, 0, PAGES / 2) == PAGES / 2, "nothing is shared before");
	slot = director_take_slots(g.director, PAGES / 2);
	for (uint32_t i = 0; i < PAGES / 2; i++)
		pages_fill(director_slot(g.director, slot + i), PAGES / 2 + i + 1);
	memory_note_references();
	if (director_merge(g.vm, g.page + PAGES / 2, PAGES / 2, slot) != 0)
		test_damage("pages are moved away with I/O under way that has references to them");
	test_check(director_answers(g.vm, g.page + PAGES / 2, PAGES / 2, REPORT_BUSY) == PAGES / 2,
		   "the order was not refused as it should be");
	for (uint32_t i = 0; i < PAGES; i++)
		test_check(pages_differ(guest_at(&g, i), i + 1) < 0, "page %u reads wrong bytes", i);
	guest_report(&g);
	guest_end(&g);
	return 0;
}
