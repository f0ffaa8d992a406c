/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VMM that discards memory by a bare system call, or by io_uring, gets the store's bytes back where pages were
 * shared: nobody could see it. It is found out where a private copy is gone; from then on nothing is shared in that
 * process, and its discards do what the kernel promises. Others, whose calls are seen, are not taken for one.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/support/guest.h"

#define PAGES 512u

static uint64_t contents[PAGES];

static void discard_unseen(const struct guest *g, uint32_t index, uint32_t count)
{
	test_check(syscall(SYS_madvise, guest_at(g, index), count * PAGE_BYTES, MADV_DONTNEED) == 0, "madvise: %s",
		   strerror(errno));
}

static void write_page(const struct guest *g, uint32_t index, uint64_t content)
{
	pages_fill(guest_at(g, index), content);
	contents[index] = content;
}

static void check(const struct guest *g)
{
	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_differ(guest_at(g, i), contents[i]) >= 0)
			test_damage("page %u reads wrong bytes", i);
}

/** Pages shared, written, discarded as it should be, shared once more. */
static void test_seen(const struct guest *g)
{
	for (uint32_t round = 0; round < 3; round++) {
		test_check(guest_share(g, 0, PAGES / 2) > 0, "round %u: nothing is shared", round);
		for (uint32_t i = 0; i < PAGES / 2; i += 3)
			write_page(g, i, 10000 * (round + 1) + i);
		director_audit(g->vm, g->page, PAGES);
		for (uint32_t i = 0; i < PAGES / 2; i += 6) {
			test_check(guest_discard(g, i, 1, MADV_DONTNEED) == 0, "madvise");
			contents[i] = 0;
		}
		director_audit(g->vm, g->page, PAGES);
		check(g);
		for (uint32_t i = 0; i < PAGES / 2; i += 6)
			write_page(g, i, 20000 * (round + 1) + i);
	}
	test_check(g->vm->refused[WIRE_REASON_UNSEEN_CALLS] == 0, "calls that were seen are taken for others");
}

static bool has_left(const struct director_vm *vm, void *context)
{
	const struct guest *g = context;

	return vm->refused[WIRE_REASON_UNSEEN_CALLS] == PAGES * PAGE_BYTES &&
	       director_count(vm, g->page, PAGES, DIRECTOR_SHARED) == 0;
}

static void test_unseen(struct guest *g)
{
	test_check(guest_share(g, 0, PAGES) > PAGES / 2, "too little is shared");
	write_page(g, 100, 777);
	director_audit(g->vm, g->page, PAGES);
	discard_unseen(g, 100, 1);
	test_check(pages_differ(guest_at(g, 100), 777) >= 0, "the discard did nothing");
	contents[100] = *(const uint64_t *)guest_at(g, 100) == 0 ? 0 : 101; /* what it was shared with is back */
	director_audit(g->vm, g->page, PAGES);
	if (test_is_control() && g->vm->refused[WIRE_REASON_UNSEEN_CALLS] == 0) {
		discard_unseen(g, 200, 1);
		if (pages_differ(guest_at(g, 200), 0) >= 0)
			test_damage("page 200 was discarded, and its old bytes are back");
	}
	test_check(director_wait_until(g->vm, has_left, g) == 0, "the worker has hung up");
	for (uint32_t i = 0; i < PAGES; i++) {
		(void)*(const volatile char *)guest_at(g, i);
		if (pages_is_file(guest_at(g, i)))
			test_damage("page %u still is of the store", i);
	}
	check(g);
	discard_unseen(g, 200, 50);
	memset(&contents[200], 0, 50 * sizeof(*contents));
	check(g);
	test_check(guest_share(g, 0, PAGES) == 0, "it shares again");
}

int main(int argc, char **argv)
{
	struct guest g;
	void *memory;

	test_begin(argc, argv);
	memory = pages_map(PAGES, false);
	guest_begin(&g, memory, PAGES);
	for (uint32_t i = 0; i < PAGES; i++)
		write_page(&g, i, i + 1);
	test_seen(&g);
	for (uint32_t i = 0; i < PAGES; i++)
		write_page(&g, i, i + 1);
	test_unseen(&g);
	guest_report(&g);
	guest_end(&g);
	return 0;
}
