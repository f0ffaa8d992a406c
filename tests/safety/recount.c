/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Mappings are scarce for a while, and then no more: pages stay private meanwhile, and are shared again afterwards,
 * though nothing was merged that would have made the worker count its mappings anew. What makes them scarce:
 *
 *   --limit        the host's limit is lowered (in a mount namespace of one's own; it wants root)
 *   --mappings     the VMM uses them for something else
 *   --descriptors  the worker cannot count them, as there is no descriptor left to do it with
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "include/pagefuse.h"
#include "tests/support/guest.h"
#include "tests/support/limit.h"

#define PAGES 64u
#define LEFT 4096u /* mappings, less than the reserve */

/* ---- mappings ---- */

static void *area;
static size_t area_bytes;

/** Every second page of an area is readable, the others not, until only LEFT mappings are left. */
static void use_mappings(void)
{
	uint64_t all = limit_read(), have = pages_mappings();

	area_bytes = all * PAGE_BYTES;
	area = mmap(NULL, area_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	test_check(area != MAP_FAILED, "mmap: %s", strerror(errno));
	for (uint64_t i = 1; have + i + LEFT < all; i += 2)
		test_check(mprotect((char *)area + i * PAGE_BYTES, PAGE_BYTES, PROT_READ) == 0, "mprotect: %s",
			   strerror(errno));
}

/* ---- descriptors ---- */

static struct rlimit files;

/** What is open stays so. Not less than three, of which poll() would say that they are too many to wait for. */
static void allow_files(bool allow)
{
	struct rlimit now = { .rlim_cur = allow ? files.rlim_cur : 3, .rlim_max = files.rlim_max };

	test_check(setrlimit(RLIMIT_NOFILE, &now) == 0, "setrlimit: %s", strerror(errno));
}

/* ---- all of them ---- */

static void begin(void)
{
	if (test_wants("--limit"))
		limit_own();
	else if (test_wants("--mappings") && limit_read() > 300000)
		test_skip("the limit is %lu mappings: reaching it would take long", (unsigned long)limit_read());
	else
		test_check(getrlimit(RLIMIT_NOFILE, &files) == 0, "getrlimit: %s", strerror(errno));
}

static void make_scarce(void)
{
	if (test_wants("--limit"))
		limit_write(20);
	else if (test_wants("--mappings"))
		use_mappings();
	else
		allow_files(false);
}

static void end_scarcity(uint64_t limit)
{
	if (test_wants("--limit"))
		limit_write(limit);
	else if (test_wants("--mappings"))
		test_check(munmap(area, area_bytes) == 0, "munmap: %s", strerror(errno));
	else
		allow_files(true);
}

static uint64_t deadline(void)
{
	return test_patient_msec() + (uint64_t)TEST_PATIENCE_SECONDS * 1000;
}

/** What the worker told of its last count: no merge may add a mapping. */
static bool is_scarce(const struct guest *g)
{
	struct ring_stats stats = ((const struct ring_page *)g->vm->base)->stats;

	return stats.mappings + 2 >= stats.mappings_limit - stats.mappings_limit / 8;
}

/** Gives a shared page back, so that the worker has a reason to count, and waits until it has found what is scarce. */
static void wait_for_scarcity(const struct guest *g)
{
	uint64_t last = deadline();

	test_check(pagefuse_discard(guest_at(g, 0), PAGE_BYTES) == 0, "a page cannot be discarded");
	pages_fill(guest_at(g, 0), 1);
	while (!is_scarce(g)) {
		test_check(test_patient_msec() < last, "the worker does not see that mappings are scarce");
		test_check(director_audit(g->vm, g->page, PAGES) > 0, "the worker has hung up");
		usleep(10000);
	}
}

/** @return whether all pages are shared, or come to be. */
static bool share_all(const struct guest *g)
{
	uint32_t slot = director_take_slots(g->director, PAGES);

	director_scan(g->vm, g->page, PAGES);
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(director_slot(g->director, slot + i), i + 1);
	director_merge(g->vm, g->page, PAGES, slot);
	return director_count(g->vm, g->page, PAGES, DIRECTOR_SHARED) == PAGES;
}

int main(int argc, char **argv)
{
	uint64_t limit, last;
	struct guest g;
	char *memory;

	test_begin(argc, argv);
	begin();
	limit = limit_read();
	memory = pages_map(PAGES, false);
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(memory + i * PAGE_BYTES, i + 1);
	guest_begin(&g, memory, PAGES);
	test_check(share_all(&g), "pages are not shared at first");
	test_check(!is_scarce(&g), "mappings are scarce before anything is done");
	make_scarce();
	wait_for_scarcity(&g);
	director_unshare(g.vm, g.page, PAGES);
	test_check(!share_all(&g), "pages are merged though mappings are scarce");
	end_scarcity(limit);
	test_progress();
	for (last = deadline(); !share_all(&g); usleep(10000))
		test_check(test_patient_msec() < last,
			   "%u of %u pages are not shared any more, though mappings are plenty",
			   PAGES - director_count(g.vm, g.page, PAGES, DIRECTOR_SHARED), PAGES);
	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_differ(guest_at(&g, i), i + 1) >= 0)
			test_damage("page %u reads wrong bytes", i);
	guest_report(&g);
	guest_end(&g);
	return 0;
}
