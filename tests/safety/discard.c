/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory that the VMM discards reads as zeros afterwards, whatever it was, and is the guest's to use again. */
#include <string.h>
#include <sys/mman.h>

#include "include/pagefuse.h"
#include "tests/support/guest.h"

#define PAGES 256u

/** Content 0 for pages that were discarded. */
static uint64_t contents[PAGES];

static void write_page(const struct guest *g, uint32_t i, uint64_t content)
{
	contents[i] = content;
	pages_fill(guest_at(g, i), content);
}

static void check(const struct guest *g, const char *when)
{
	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_differ(guest_at(g, i), contents[i]) >= 0)
			test_damage("page %u reads wrong bytes %s", i, when);
}

/** Of every 8 pages: 4 shared, 1 diverged, 1 given back as zeros, 1 such and written since, 1 private. */
static void prepare(const struct guest *g, uint64_t generation)
{
	director_unshare(g->vm, g->page, PAGES);
	for (uint32_t i = 0; i < PAGES; i++)
		write_page(g, i, i % 8 == 5 || i % 8 == 6 ? 0 : generation * PAGES + i + 1);
	director_scan(g->vm, g->page, PAGES);
	for (uint32_t i = 0; i < PAGES; i += 8) {
		test_check(director_share(g->vm, g->page + i, 5) == 5,
			   "pages from %u on are not shared, but answered %u", i, g->vm->pages[g->page + i].answer);
		test_check(director_zero(g->vm, g->page + i + 5, 2) == 2, "pages from %u on are not zero", i + 5);
		write_page(g, i + 4, generation * PAGES + i + 5000);
		write_page(g, i + 6, generation * PAGES + i + 6000);
	}
	check(g, "after sharing");
}

static void discard_by_call(const struct guest *g, uint32_t first, uint32_t count)
{
	int r = pagefuse_discard(guest_at(g, first), count * PAGE_BYTES);

	test_check(r == 0, "pagefuse_discard: %s", strerror(-r));
}

/** As the preload does it. */
static void discard_by_bracket(const struct guest *g, uint32_t first, uint32_t count)
{
	int r = guest_discard(g, first, count, MADV_DONTNEED);

	test_check(r == 0, "madvise: %s", strerror(-r));
}

static void test_discard(const struct guest *g, uint32_t first, uint32_t count,
			 void (*discard)(const struct guest *g, uint32_t first, uint32_t count))
{
	prepare(g, first + count);
	discard(g, first, count);
	memset(&contents[first], 0, count * sizeof(*contents));
	check(g, "after a discard");
	director_audit(g->vm, g->page, PAGES);
	for (uint32_t i = first; i < first + count; i++)
		test_check(g->vm->pages[g->page + i].state != DIRECTOR_SHARED, "page %u is discarded and still counted",
			   i);
	check(g, "after the slots have been freed");
	for (uint32_t i = first; i < first + count; i++)
		write_page(g, i, i + 9000);
	test_check(guest_share(g, first, count) > 0, "nothing is shared again after a discard");
	check(g, "when shared again");
}

int main(int argc, char **argv)
{
	struct guest g;
	void *memory;

	test_begin(argc, argv);
	memory = pages_map(PAGES, false);
	guest_begin(&g, memory, PAGES);
	test_discard(&g, 0, PAGES, discard_by_call);
	test_discard(&g, 0, PAGES, discard_by_bracket);
	test_discard(&g, 10, 1, discard_by_call);
	test_discard(&g, 9, 70, discard_by_bracket);
	for (uint32_t i = 0; i < 16; i++)
		test_discard(&g, 32 + i, 1 + i % 5, i % 2 ? discard_by_call : discard_by_bracket);
	guest_report(&g);
	guest_end(&g);
	return 0;
}
