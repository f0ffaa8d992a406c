/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pages pinned as fixed buffers of io_uring: a device may write them at any time, so they must not be shared, whatever
 * they hold now. Pinned private pages are refused by the kernel's move; pinned pages that diverged must be found out.
 *
 * --swap   pages of a process with fixed buffers, but unpinned themselves, are shared again where swap can tell
 * --read   a read covers those that diverged, as the preload hands it on, and fails; files have been opened that pin
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "include/pagefuse.h"
#include "library/memory.h"
#include "tests/support/guest.h"
#include "tests/support/swap.h"

#define PAGES 64u
#define PINNED 24u /* pages [8, 32) */
#define FIRST 8u

static struct io_uring uring;

static void fill(const struct guest *g, uint64_t generation)
{
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(guest_at(g, i), generation * PAGES + i + 1);
}

static void check(const struct guest *g, uint32_t index, uint64_t content, const char *when)
{
	long word = pages_differ(guest_at(g, index), content);

	if (word >= 0)
		test_damage("page %u word %ld does not hold what was written %s", index, word, when);
}

static void pin(const struct guest *g)
{
	struct iovec buffers[PINNED];
	int r;

	for (unsigned i = 0; i < PINNED; i++)
		buffers[i] = (struct iovec){ guest_at(g, FIRST + i), PAGE_BYTES };
	r = io_uring_register_buffers(&uring, buffers, PINNED);
	test_check(r == 0, "io_uring_register_buffers: %s", strerror(-r));
}

/** Reads @content into the fixed buffer @which, as a device would, and looks whether the guest sees it. */
static void write_by_device(const struct guest *g, int file, unsigned which, uint64_t content)
{
	_Alignas(PAGE_BYTES) char block[PAGE_BYTES];
	struct io_uring_sqe *sqe = io_uring_get_sqe(&uring);
	struct io_uring_cqe *cqe;

	pages_fill(block, content);
	test_check(pwrite(file, block, PAGE_BYTES, 0) == (ssize_t)PAGE_BYTES, "pwrite: %s", strerror(errno));
	io_uring_prep_read_fixed(sqe, file, guest_at(g, FIRST + which), PAGE_BYTES, 0, (int)which);
	test_check(io_uring_submit_and_wait(&uring, 1) == 1 && io_uring_wait_cqe(&uring, &cqe) == 0, "io_uring_submit");
	test_check(cqe->res == (int)PAGE_BYTES, "a read into a fixed buffer gave %d", cqe->res);
	io_uring_cqe_seen(&uring, cqe);
	check(g, FIRST + which, content, "by a device");
}

static void write_all_by_device(const struct guest *g, int file, uint64_t generation)
{
	for (unsigned i = 0; i < PINNED; i++)
		write_by_device(g, file, i, generation * PAGES + FIRST + i + 1);
	for (uint32_t i = 0; i < PAGES; i++)
		if (i < FIRST || i >= FIRST + PINNED)
			check(g, i, (generation - 1) * PAGES + i + 1, "before");
}

/** Pages that were never shared. */
static void test_private(const struct guest *g, int file)
{
	uint32_t merged;

	fill(g, 0);
	pin(g);
	merged = guest_share(g, 0, PAGES);
	write_all_by_device(g, file, 1);
	test_check(merged == PAGES - PINNED, "%u pages are shared, wanted the %u that are not pinned", merged,
		   PAGES - PINNED);
	io_uring_unregister_buffers(&uring);
	merged = guest_share(g, FIRST, PINNED);
	test_check(merged == PINNED, "%u of %u pages are shared after the pins have gone", merged, PINNED);
}

/** Pages that were shared and written since: private copies in a mapping of the store. */
static void test_diverged(const struct guest *g, int file, bool swap)
{
	uint32_t merged;

	fill(g, 2);
	pin(g);
	if (test_wants("--read") && pages_pinned() == 0)
		memory_note_pins(); /* a kernel that does not count them: the preload sees the call that pins */
	if (test_wants("--read"))
		memory_before_read(g->memory, PAGES * PAGE_BYTES);
	merged = guest_share(g, 0, PAGES);
	write_all_by_device(g, file, 3);
	test_check(merged == (swap ? PAGES - PINNED : 0), "%u pages are shared, wanted %u", merged,
		   swap ? PAGES - PINNED : 0);
	io_uring_unregister_buffers(&uring);
}

int main(int argc, char **argv)
{
	char path[] = "pagefuse-pinned-XXXXXX";
	bool swap;
	struct guest g;
	void *memory;
	int file;

	test_begin(argc, argv);
	swap = test_wants("--swap");
	if (swap)
		swap_begin(); /* the rest runs in a child, its parent removes the swap */
	else if (swap_is_there())
		test_skip("this host has swap; the variant with --swap applies");
	file = mkostemp(path, O_CLOEXEC);
	test_check(file >= 0 && unlink(path) == 0, "%s: %s", path, strerror(errno));
	if (test_wants("--read"))
		memory_note_file(file, true);
	if (io_uring_queue_init(4, &uring, 0) < 0)
		test_skip("io_uring is not available (kernel.io_uring_disabled?)");
	test_pin(0); /* and the worker: new pages lie in a batch of their CPU, which no other swaps out */
	memory = pages_map(PAGES, false);
	guest_begin(&g, memory, PAGES);
	test_private(&g, file);
	test_diverged(&g, file, swap);
	guest_report(&g);
	pagefuse_discard(memory, PAGES * PAGE_BYTES); /* for all that the library knows, it is still pinned */
	guest_end(&g);
	return 0;
}
