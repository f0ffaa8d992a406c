/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A malformed order ends the connection, wherever the worker meets it: also behind one that it carries out together
 * with what follows. Whatever the daemon was up to, the guest's memory is right.
 */
#include <errno.h>

#include "include/pagefuse.h"
#include "tests/support/guest.h"

#define PAGES 64u

/** @runs orders to merge, then what is no order, then one more: all are there before the worker looks at the second. */
static void post_malformed(const struct ring_record *malformed, uint32_t runs)
{
	struct guest g;
	uint32_t slot, merged;

	guest_begin(&g, pages_map(PAGES, false), PAGES);
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(guest_at(&g, i), i + 1);
	director_scan(g.vm, g.page, PAGES);
	slot = director_take_slots(g.director, PAGES);
	test_check(director_fetch(g.vm, g.page, PAGES, slot) == PAGES, "not all could be fetched");
	test_check(pagefuse_pause() == 0, "pause");
	for (uint32_t i = 0; i < runs; i++)
		director_order(g.vm, ORDER_MERGE, g.page + i * 4, 4, slot + i * 4);
	director_post(g.vm, malformed);
	director_order(g.vm, ORDER_MERGE, g.page + 60, 4, slot + 60);
	test_check(pagefuse_resume() == 0, "resume");
	test_check(director_wait(g.vm) == -ECONNRESET, "order %u is swallowed behind %u others", malformed->op, runs);
	merged = director_count(g.vm, g.page, PAGES, DIRECTOR_SHARED);
	test_check(merged <= runs * 4, "what came after a malformed order was carried out");
	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_differ(guest_at(&g, i), i + 1) >= 0)
			test_damage("page %u reads wrong bytes", i);
	test_check(pagefuse_remove_ram(g.memory, PAGES * PAGE_BYTES) == 0, "remove");
	director_forget(g.vm);
	director_free(g.director);
}

int main(int argc, char **argv)
{
	static const struct ring_record malformed[] = {
		{ .op = 99, .count = 1, .page = 1 },
		{ .op = ORDER_MERGE, .count = 0, .page = 1 },
		{ .op = ORDER_MERGE, .count = RING_RUN_PAGES_MAX + 1, .page = 1 },
		{ .op = ORDER_ZERO, .flags = RING_PRIVATE_COPY, .count = 1, .page = 1 },
	};

	test_begin(argc, argv);
	for (unsigned i = 0; i < sizeof(malformed) / sizeof(*malformed); i++)
		for (uint32_t runs = 0; runs < 4; runs++)
			post_malformed(&malformed[i], runs);
	return 0;
}
