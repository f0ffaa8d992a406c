/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Blocks whose pages lie in several mappings, of the store and others, become one mapping again, and so 2 MiB pages: no
 * byte is lost, whoever writes meanwhile, and what is pinned stays where it is.
 *
 * --unadvised   the VMM has said nothing about 2 MiB pages
 * --writers     threads write all the time, while blocks are shared and given back at random
 * --reads       and say now and then that pages are about to be read into
 * --failing     they do, and each system call of the library fails in turn, once or for ever
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#ifdef HAVE_LIBURING
#include <liburing.h>
#endif

#include "common/madvise.h"
#include "include/pagefuse.h"
#include "library/sys.h"
#include "tests/support/guest.h"

#define BLOCK ((uint32_t)(HUGE_BYTES / PAGE_BYTES))
#define BLOCKS 4u
#define PAGES (BLOCKS * BLOCK)
#define SHARED 200u /* of a block, from page FIRST on */
#define FIRST 50u

static uint64_t contents[PAGES];
static bool advised = true;

static void write_pages(const struct guest *g, uint32_t first, uint32_t count, uint64_t content)
{
	for (uint32_t i = first; i < first + count; i++) {
		contents[i] = content + i;
		pages_fill(guest_at(g, i), contents[i]);
	}
}

static void check(const struct guest *g, const char *when)
{
	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_differ(guest_at(g, i), contents[i]) >= 0)
			test_damage("page %u reads wrong bytes %s", i, when);
}

static bool is_huge(const struct guest *g, uint32_t block)
{
	director_scan(g->vm, g->page + block * BLOCK, BLOCK);
	return g->vm->pages[g->page + block * BLOCK].inside_huge &&
	       g->vm->pages[g->page + (block + 1) * BLOCK - 1].inside_huge;
}

/** The kernel may be at one of its pages just now, or have no 2 MiB page to give. */
static bool collapses(const struct guest *g, uint32_t block)
{
	int r = -1;

	for (int attempts = 0; r < 0 && attempts < 1000; attempts++) {
		r = madvise(guest_at(g, block * BLOCK), HUGE_BYTES, MADV_COLLAPSE);
		if (r < 0 && errno != EAGAIN && errno != EBUSY)
			break;
	}
	return r == 0;
}

static void share(const struct guest *g, uint32_t block)
{
	test_check(guest_share(g, block * BLOCK + FIRST, SHARED) == SHARED, "not all pages are shared");
	test_check(pages_has_flag(guest_at(g, block * BLOCK), "nh"), "a block that was broken may collapse");
	check(g, "when shared");
}

/** It has come back: with the VMM's setting, and as one mapping. */
static void check_back(const struct guest *g, uint32_t block, enum ring_whole whole, const char *what)
{
	void *address = guest_at(g, block * BLOCK);

	test_check(whole != WHOLE_KEPT, "%s: it is kept as it is", what);
	test_check(pages_has_flag(address, "hg") == advised && !pages_has_flag(address, "nh"), "%s: advice", what);
	test_check((whole == WHOLE_IS || collapses(g, block)) && is_huge(g, block), "%s: it is no 2 MiB page", what);
	check(g, what);
}

/** What is shared stays; what was written since is the VM's own, in a 2 MiB page. */
static void test_diverged(const struct guest *g)
{
	uint64_t slots;

	share(g, 0);
	test_check(guest_whole(g, 0, BLOCK, 0, true) == WHOLE_KEPT, "a block is given back that is shared");
	slots = director_live_slots(g->director);
	write_pages(g, FIRST, SHARED - 1, 5000);
	director_audit(g->vm, g->page, BLOCK);
	test_check(guest_whole(g, 0, BLOCK, 0, true) == WHOLE_KEPT, "a block is given back with one page shared");
	write_pages(g, FIRST + SHARED - 1, 1, 5000);
	director_audit(g->vm, g->page, BLOCK);
	check_back(g, 0, guest_whole(g, 0, BLOCK, 0, true), "what was shared, and written since");
	director_audit(g->vm, g->page, BLOCK);
	test_check(director_live_slots(g->director) < slots, "slots are kept that nobody reads");
	share(g, 0); /* and so on */
	write_pages(g, FIRST, SHARED, 9000);
	director_audit(g->vm, g->page, BLOCK);
	check_back(g, 0, guest_whole(g, 0, BLOCK, 0, true), "the same, once more");
}

/** Few pages are shared: it takes no more of them than it may. */
static void test_few(const struct guest *g)
{
	share(g, 1);
	write_pages(g, BLOCK + FIRST, SHARED - 10, 7000);
	director_audit(g->vm, g->page + BLOCK, BLOCK);
	test_check(guest_whole(g, BLOCK, BLOCK, 9, true) == WHOLE_KEPT, "more is unshared than may be");
	test_check(pages_is_file(guest_at(g, BLOCK + FIRST + SHARED - 1)), "a block is kept, and a page has left");
	check_back(g, 1, guest_whole(g, BLOCK, BLOCK, 10, true), "a block of which little was shared");
	director_audit(g->vm, g->page + BLOCK, BLOCK);
	test_check(director_count(g->vm, g->page + BLOCK, BLOCK, DIRECTOR_SHARED) == 0, "something counts as shared");
}

/** Pages were made plain, which are a mapping of their own. */
static void test_plain(const struct guest *g)
{
	share(g, 2);
	guest_make_plain(g, 2 * BLOCK + FIRST, SHARED);
	check_back(g, 2, guest_whole(g, 2 * BLOCK, BLOCK, 0, true), "what was made plain");
}

#ifdef HAVE_LIBURING
/** A device may be writing one of its pages. */
static void test_pinned(const struct guest *g)
{
	const uint32_t pinned = 3 * BLOCK + 300;
	struct iovec buffer = { guest_at(g, pinned), PAGE_BYTES };
	struct io_uring uring;
	uint64_t frame;

	share(g, 3);
	guest_make_plain(g, 3 * BLOCK + FIRST, SHARED);
	if (io_uring_queue_init(4, &uring, 0) < 0 || io_uring_register_buffers(&uring, &buffer, 1) < 0) {
		printf("no io_uring: nothing was pinned\n");
		return;
	}
	frame = pages_frame(buffer.iov_base);
	if (guest_whole(g, 3 * BLOCK, BLOCK, 0, true) == WHOLE_IS || pages_frame(buffer.iov_base) != frame)
		test_damage("a pinned page was moved");
	check(g, "beside a page that is pinned");
	io_uring_queue_exit(&uring);
}
#else
static void test_pinned(const struct guest *g)
{
	(void)g;
}
#endif

static void test_steps(void *memory)
{
	struct guest g = { .memory = memory };

	for (uint32_t i = 0; i < BLOCKS; i++) {
		write_pages(&g, i * BLOCK, BLOCK, 1000);
		if (!collapses(&g, i))
			test_skip("no 2 MiB pages to be had: %s", strerror(errno));
	}
	guest_begin(&g, memory, PAGES);
	director_scan(g.vm, g.page, PAGES);
	test_diverged(&g);
	test_few(&g);
	test_plain(&g);
	test_pinned(&g);
	guest_report(&g);
	guest_end(&g);
}

static void test_writers(void *memory)
{
	struct writers_plan plan = { .memory = memory, .pages = PAGES, .threads = 3, .reads = test_wants("--reads") };
	struct writers *writers = writers_new(&plan);
	uint64_t random = test_seed(1), back[WHOLE_END] = { 0 }, writes;
	struct guest g = { .memory = memory };

	for (uint32_t i = 0; i < BLOCKS; i++)
		if (!collapses(&g, i))
			test_skip("no 2 MiB pages to be had: %s", strerror(errno));
	guest_begin(&g, memory, PAGES);
	writers_start(writers);
	while (test_running() || back[WHOLE_IS] == 0 || g.vm->reports[REPORT_DIVERGED] == 0) {
		uint32_t block = (uint32_t)(test_random(&random) % BLOCKS);

		writers_check_awake(writers);
		director_scan(g.vm, g.page + block * BLOCK, BLOCK);
		guest_churn(&g, &random);
		back[guest_whole(&g, block * BLOCK, BLOCK, BLOCK, true)]++;
	}
	writes = writers_stop(writers);
	fprintf(stderr, "blocks: %llu kept, %llu released, %llu given back\n", (unsigned long long)back[WHOLE_KEPT],
		(unsigned long long)back[WHOLE_RELEASED], (unsigned long long)back[WHOLE_IS]);
	guest_finish(&g, writers, writes);
}

/**
 * A block is shared in part, and to be given back while calls fail: the @call-th, once if @number is -1, for any kind;
 * else of that kind, and all after it. @return whether there were so many.
 */
static bool fail_call(const struct guest *g, uint64_t *random, int number, int call)
{
	static const int errors[] = { ENOMEM, EAGAIN, EINVAL, EBUSY };
	enum ring_whole whole;
	bool reached;

	test_progress();
	director_scan(g->vm, g->page, BLOCK);
	guest_churn(g, random);
	for (uint32_t i = 0; i < 4; i++)
		guest_share(g, (uint32_t)(test_random(random) % (BLOCK - 20)), 20);
	director_scan(g->vm, g->page, BLOCK);
	sys_fail.number = number;
	sys_fail.error = number == -1 ? errors[test_random(random) % 4] : ENOMEM;
	sys_fail.for_ever = number != -1;
	atomic_store(&sys_fail.countdown, call);
	whole = guest_whole(g, 0, BLOCK, BLOCK, true);
	reached = atomic_load(&sys_fail.countdown) <= (sys_fail.for_ever ? 1 : 0);
	atomic_store(&sys_fail.countdown, 0);
	return reached || whole == WHOLE_KEPT;
}

static void test_failing(void *memory)
{
	static const int numbers[] = { -1, SYS_ioctl, SYS_mmap, SYS_mremap, SYS_madvise, SYS_mprotect, SYS_munmap };
	struct writers_plan plan = { .memory = memory, .pages = BLOCK, .threads = 2 };
	struct writers *writers = writers_new(&plan);
	uint64_t random = test_seed(1);
	struct guest g = { .memory = memory };

	if (!collapses(&g, 0))
		test_skip("no 2 MiB pages to be had: %s", strerror(errno));
	guest_begin(&g, memory, BLOCK);
	writers_start(writers);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		int call = 1, misses = 0;

		for (; misses < 8; call += test_running() ? 1 : 1 + (int)(test_random(&random) % 64)) {
			writers_check_awake(writers);
			misses += !fail_call(&g, &random, numbers[i], call);
		}
		fprintf(stderr, "system call %d: %d calls\n", numbers[i], call);
	}
	guest_finish(&g, writers, writers_stop(writers));
}

int main(int argc, char **argv)
{
	void *memory;

	test_begin(argc, argv);
	advised = !test_wants("--unadvised");
	memory = pages_map(PAGES, true);
	if (!advised) { /* which no advice can undo */
		int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;

		memory = mmap(memory, PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE, flags, -1, 0);
		test_check(memory != MAP_FAILED, "mmap: %s", strerror(errno));
	}
	if (test_wants("--writers"))
		test_writers(memory);
	else if (test_wants("--failing"))
		test_failing(memory);
	else
		test_steps(memory);
	return 0;
}
