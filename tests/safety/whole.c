/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * 2 MiB pages that were split come back, as the kernel sees them: not while anything in them is shared or zero, only to
 * what the VMM has said of its memory, and without a byte being lost.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "common/madvise.h"
#include "include/pagefuse.h"
#include "library/lock.h"
#include "library/memory.h"
#include "library/orders.h"
#include "library/sys.h"
#include "tests/support/guest.h"

#define BLOCK (HUGE_BYTES / PAGE_BYTES)
#define BLOCKS 4u
#define PAGES (BLOCKS * BLOCK)
#define ZEROS 100u /* of each block, from its first page on */

static uint64_t contents[PAGES];

static void write_pages(const struct guest *g, uint32_t first, uint32_t count, uint64_t content)
{
	for (uint32_t i = first; i < first + count; i++) {
		contents[i] = content == 0 ? 0 : content + i;
		pages_fill(guest_at(g, i), contents[i]);
	}
}

static void check_contents(const struct guest *g, const char *when)
{
	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_differ(guest_at(g, i), contents[i]) >= 0)
			test_damage("page %u reads wrong bytes %s", i, when);
}

static void *block_at(const struct guest *g, uint32_t block)
{
	return guest_at(g, block * (uint32_t)BLOCK);
}

/** What khugepaged may do, too, by and by. @return whether the block is a 2 MiB page now. */
static bool collapses(const struct guest *g, uint32_t block)
{
	int r = -1;

	for (int attempts = 0; r < 0 && attempts < 100; attempts++) {
		r = madvise(block_at(g, block), HUGE_BYTES, MADV_COLLAPSE);
		if (r < 0 && errno != EAGAIN)
			return false;
	}
	return r == 0;
}

static bool is_huge(const struct guest *g, uint32_t block)
{
	uint32_t first = block * (uint32_t)BLOCK;

	director_scan(g->vm, g->page + first, BLOCK);
	return g->vm->pages[g->page + first].inside_huge && g->vm->pages[g->page + first + BLOCK - 1].inside_huge;
}

static enum ring_whole give_back(const struct guest *g, uint32_t block, bool collapse)
{
	return guest_whole(g, block * (uint32_t)BLOCK, BLOCK, 0, collapse);
}

/** Zeros are given back in a block, which breaks it. */
static void break_block(const struct guest *g, uint32_t block)
{
	uint32_t first = block * (uint32_t)BLOCK;

	write_pages(g, first, ZEROS, 0);
	director_scan(g->vm, g->page + first, BLOCK);
	test_check(director_zero(g->vm, g->page + first, ZEROS) == ZEROS, "not all zeros are given back");
	test_check(pages_has_flag(block_at(g, block), "nh"), "a block that was broken is not kept from collapsing");
}

static void write_zeros(const struct guest *g, uint32_t block)
{
	uint32_t first = block * (uint32_t)BLOCK;

	write_pages(g, first, ZEROS, 70000);
	director_audit(g->vm, g->page + first, BLOCK);
}

/** A block with zeros that were given back is kept as it is, and khugepaged does not fill them. */
static void test_kept(const struct guest *g)
{
	break_block(g, 0);
	test_check(pages_anonymous(block_at(g, 0), HUGE_BYTES) == HUGE_BYTES - ZEROS * PAGE_BYTES,
		   "zeros were given back, and there is as much memory as before");
	give_back(g, 0, true);
	if (collapses(g, 0) || pages_anonymous(block_at(g, 0), HUGE_BYTES) != HUGE_BYTES - ZEROS * PAGE_BYTES)
		test_damage("what was given back has been filled by a collapse");
	check_contents(g, "in a block that was kept");
}

static void test_given_back(const struct guest *g)
{
	unsigned before = pages_mappings();

	write_pages(g, 0, ZEROS - 1, 70000);
	director_audit(g->vm, g->page, BLOCK);
	test_check(give_back(g, 0, true) == WHOLE_KEPT, "a block is to be whole in which one page is zero");
	write_zeros(g, 0);
	test_check(give_back(g, 0, false) == WHOLE_RELEASED, "a block is kept in which nothing is shared");
	test_check(pages_has_flag(block_at(g, 0), "hg"), "the VMM's setting is not there again");
	test_check(pages_mappings() < before, "there are as many mappings as before");
	test_check(!is_huge(g, 0), "it is a 2 MiB page before anybody made it one");
	test_check(collapses(g, 0) && is_huge(g, 0), "a block that was released stays small: %s", strerror(errno));
	check_contents(g, "in a block that has collapsed");
	test_check(give_back(g, 0, true) == WHOLE_RELEASED, "a block is kept that is not broken");
}

/** By the worker; and it is broken again by what is given back then. */
static void test_collapsed(const struct guest *g)
{
	for (unsigned again = 0; again < 3; again++) {
		enum ring_whole whole;

		break_block(g, 1);
		write_zeros(g, 1);
		whole = give_back(g, 1, true);
		test_check(whole != WHOLE_KEPT, "a block is kept in which nothing is shared");
		test_check(whole == WHOLE_IS || collapses(g, 1), "it does not collapse: %s", strerror(errno));
		test_check(is_huge(g, 1), "it is no 2 MiB page");
		check_contents(g, "in a block that was collapsed");
	}
	/* What is missing does not come back as zeros that take memory. */
	break_block(g, 1);
	write_zeros(g, 1);
	test_check(guest_discard(g, (uint32_t)BLOCK + 10, 1, MADV_DONTNEED) == 0, "madvise");
	contents[BLOCK + 10] = 0;
	director_audit(g->vm, g->page + (uint32_t)BLOCK, BLOCK);
	test_check(give_back(g, 1, true) == WHOLE_RELEASED, "a block with a hole is made a 2 MiB page, or kept");
	test_check(pages_frame(guest_at(g, (uint32_t)BLOCK + 10)) == 0, "a page that was discarded is there");
}

static void advise(const struct guest *g, uint32_t first, uint32_t count, int advice)
{
	void *address = guest_at(g, first);
	int r = memory_change_begin(CHANGE_ADVICE, address, count * PAGE_BYTES, advice);

	test_check(r == 0, "memory_change_begin: %s", strerror(-r));
	r = madvise(address, count * PAGE_BYTES, advice);
	test_check(r == 0, "madvise: %s", strerror(errno));
	memory_change_end(CHANGE_ADVICE, address, count * PAGE_BYTES, advice, true);
}

/** What the VMM has said itself, of a part of its memory or of all of it, stays. */
static void test_advice(const struct guest *g)
{
	advise(g, 2 * (uint32_t)BLOCK, BLOCK, MADV_NOHUGEPAGE);
	break_block(g, 2);
	write_zeros(g, 2);
	test_check(give_back(g, 2, true) == WHOLE_KEPT && pages_has_flag(block_at(g, 2), "nh"),
		   "a block may be a 2 MiB page that the VMM wants to be none");
	break_block(g, 3);
	advise(g, 0, PAGES, MADV_NOHUGEPAGE);
	write_zeros(g, 3);
	test_check(give_back(g, 3, true) == WHOLE_RELEASED && pages_has_flag(block_at(g, 3), "nh"),
		   "a block may be a 2 MiB page in memory that is to have none");
	advise(g, 0, PAGES, MADV_HUGEPAGE);
	test_check(collapses(g, 2) && is_huge(g, 2), "what the VMM says of it last does not count");
	break_block(g, 2);
	write_zeros(g, 2);
	test_check(give_back(g, 2, false) == WHOLE_RELEASED && pages_has_flag(block_at(g, 2), "hg"),
		   "a block is kept that the VMM wants to be a 2 MiB page");
	check_contents(g, "after what the VMM has said");
}

/** What the VMM has locked or protected is as it was; orders that fit no block do nothing. */
static void test_left_alone(const struct guest *g)
{
	void *address = block_at(g, 3);
	int r;

	test_check(collapses(g, 3), "no 2 MiB page to be had: %s", strerror(errno));
	is_huge(g, 3);
	break_block(g, 3);
	write_zeros(g, 3);
	r = memory_change_begin(CHANGE_PROTECT, address, PAGE_BYTES, PROT_READ);
	test_check(r == 0 && mprotect(address, PAGE_BYTES, PROT_READ) == 0, "mprotect");
	memory_change_end(CHANGE_PROTECT, address, PAGE_BYTES, PROT_READ, true);
	test_check(give_back(g, 3, true) == WHOLE_KEPT, "a block is to be whole that is protected in part");
	r = memory_change_begin(CHANGE_PROTECT, address, PAGE_BYTES, PROT_READ | PROT_WRITE);
	test_check(r == 0 && mprotect(address, PAGE_BYTES, PROT_READ | PROT_WRITE) == 0, "mprotect");
	memory_change_end(CHANGE_PROTECT, address, PAGE_BYTES, PROT_READ | PROT_WRITE, true);
	test_check(guest_whole(g, 3 * (uint32_t)BLOCK - 1, 2, 0, true) == WHOLE_KEPT,
		   "two blocks are taken for one");
	test_check(guest_whole(g, PAGES - 1, 2, 0, true) == WHOLE_KEPT, "there is something behind RAM");
	test_check(guest_whole(g, PAGES, 1, 0, true) == WHOLE_KEPT, "what is no RAM is whole");
	test_check(give_back(g, 3, false) == WHOLE_RELEASED, "a block is kept that nobody protects any more");
	check_contents(g, "at the end");
}

/* ---- meanwhile ---- */

static struct {
	const struct guest *guest;
	void *(*change)(void *);
	pthread_t thread;
	atomic_bool begun, done;
} meanwhile;

static void *discard_in(void *block)
{
	uint32_t page = (uint32_t)(uintptr_t)block * (uint32_t)BLOCK + 10;

	test_check(guest_discard(meanwhile.guest, page, 1, MADV_DONTNEED) == 0, "madvise");
	contents[page] = 0;
	return NULL;
}

static void *discard_here(void *unused)
{
	(void)unused;
	discard_in((void *)1);
	atomic_store(&meanwhile.done, true);
	return NULL;
}

static void *pause_all(void *unused)
{
	(void)unused;
	orders_pause();
	atomic_store(&meanwhile.done, true);
	orders_resume();
	return NULL;
}

/** In the worker, as the kernel is about to be asked for a 2 MiB page: one block is being changed, and another one. */
static void change_meanwhile(long number, long second)
{
	pthread_t thread;

	if (number != SYS_madvise || second != (long)HUGE_BYTES || memory_lock_is_mine() ||
	    atomic_exchange(&meanwhile.begun, true))
		return;
	test_check(pthread_create(&meanwhile.thread, NULL, meanwhile.change, NULL) == 0 &&
			   pthread_create(&thread, NULL, discard_in, (void *)2) == 0,
		   "no threads");
	pthread_join(thread, NULL);
	for (unsigned waits = 0; !meanwhile.done && (waits < 20 || test_is_control()); waits++)
		poll(NULL, 0, 1);
	if (meanwhile.done)
		test_damage("a block changes as it becomes a 2 MiB page");
}

/**
 * The kernel may take long to make a 2 MiB page. Who changes that block waits for it, as what he discards would be
 * there again, and so does who has holds paused; who changes another one does not.
 */
static void test_meanwhile(const struct guest *g, void *(*change)(void *))
{
	meanwhile.guest = g;
	meanwhile.change = change;
	meanwhile.begun = meanwhile.done = false;
	break_block(g, 1);
	write_zeros(g, 1);
	atomic_store(&sys_watch, change_meanwhile);
	test_check(give_back(g, 1, true) != WHOLE_KEPT, "a block is kept in which nothing is shared");
	atomic_store(&sys_watch, NULL);
	test_check(meanwhile.begun, "nobody has asked for a 2 MiB page");
	pthread_join(meanwhile.thread, NULL);
	if (change == discard_here)
		test_check(pages_frame(guest_at(g, (uint32_t)BLOCK + 10)) == 0, "a page that was discarded is there");
	check_contents(g, "that was changed as it became a 2 MiB page");
}

/** Nobody has looked at them since the kernel made them 2 MiB pages; what is given back breaks one all the same. */
static void test_unseen(const struct guest *g)
{
	enum ring_whole whole;

	write_pages(g, 0, ZEROS, 0);
	test_check(director_zero(g->vm, g->page, ZEROS) == ZEROS, "not all zeros are given back");
	test_check(pages_has_flag(block_at(g, 0), "nh"), "a block that was broken unseen is not kept from collapsing");
	test_check(g->vm->reports[REPORT_BROKEN] == 1, "the daemon was told %llu times that a block was broken unseen",
		   (unsigned long long)g->vm->reports[REPORT_BROKEN]);
	write_zeros(g, 0);
	whole = give_back(g, 0, true);
	test_check(whole == WHOLE_IS || collapses(g, 0), "it does not collapse: %s", strerror(errno));
	test_check(is_huge(g, 0), "it is no 2 MiB page");
	check_contents(g, "in a block that nobody had seen as a 2 MiB page");
}

static void test_steps(const struct guest *g)
{
	test_kept(g);
	test_given_back(g);
	test_collapsed(g);
	test_advice(g);
	test_left_alone(g);
}

int main(int argc, char **argv)
{
	struct guest g;
	char *memory;

	test_begin(argc, argv);
	memory = pages_map(PAGES, true);
	g.memory = memory;
	for (uint32_t i = 0; i < BLOCKS; i++) {
		write_pages(&g, i * (uint32_t)BLOCK, BLOCK, 1000);
		if (!collapses(&g, i))
			test_skip("no 2 MiB pages to be had: %s", strerror(errno));
	}
	guest_begin(&g, memory, PAGES);
	if (test_wants("--unseen"))
		test_unseen(&g);
	director_scan(g.vm, g.page, PAGES);
	if (test_wants("--meanwhile")) {
		test_meanwhile(&g, pause_all);
		test_meanwhile(&g, discard_here);
	} else if (!test_wants("--unseen")) {
		test_steps(&g);
	}
	guest_report(&g);
	guest_end(&g);
	return 0;
}
