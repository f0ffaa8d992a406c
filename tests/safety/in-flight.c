/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A read with O_DIRECT is in flight into guest memory, and merges of just these pages are ordered. They hold what their
 * slots hold until the device has written them: to compare proves nothing, only that the kernel refuses to move them.
 *
 * --aio         Linux AIO (io_submit)
 * --uring       io_uring
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/aio_abi.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "include/pagefuse.h"
#include "tests/support/guest.h"

#define PAGES 1024u /* of the read; as many again hold the same for ever, so that the slots stay */
#define READ_BYTES (PAGES * PAGE_BYTES)

static int file = -1; /* O_DIRECT */
static aio_context_t aio;
static struct io_uring uring;

static uint64_t old_content(uint32_t index)
{
	return index % PAGES + 1;
}

static uint64_t new_content(uint32_t index)
{
	return index + PAGES + 1;
}

static void make_file(void *content)
{
	char path[] = "pagefuse-in-flight-XXXXXX";
	struct statfs fs;

	file = mkostemp(path, O_CLOEXEC | O_DIRECT);
	if (file < 0 && errno == EINVAL)
		test_skip("no O_DIRECT on the file system of the working directory");
	test_check(file >= 0 && unlink(path) == 0 && fstatfs(file, &fs) == 0, "%s: %s", path, strerror(errno));
	if (fs.f_type == TMPFS_MAGIC)
		test_skip("the working directory is on a tmpfs, which takes O_DIRECT and copies");
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill((char *)content + i * PAGE_BYTES, new_content(i));
	test_check(pwrite(file, content, READ_BYTES, 0) == (ssize_t)READ_BYTES && fsync(file) == 0, "pwrite: %s",
		   strerror(errno));
}

static void begin_aio(void *to)
{
	static struct iocb read;
	struct iocb *reads[] = { &read };

	read = (struct iocb){ .aio_lio_opcode = IOCB_CMD_PREAD,
			      .aio_fildes = (unsigned)file,
			      .aio_buf = (uintptr_t)to,
			      .aio_nbytes = READ_BYTES };
	test_check(syscall(SYS_io_submit, aio, 1, reads) == 1, "io_submit: %s", strerror(errno));
}

static void end_aio(void)
{
	struct io_event event = { 0 };

	test_check(syscall(SYS_io_getevents, aio, 1, 1, &event, NULL) == 1 && event.res == (int64_t)READ_BYTES,
		   "a read by AIO gave %lld", (long long)event.res);
}

static void begin_uring(void *to)
{
	io_uring_prep_read(io_uring_get_sqe(&uring), file, to, READ_BYTES, 0);
	test_check(io_uring_submit(&uring) == 1, "io_uring_submit failed");
}

static void end_uring(void)
{
	struct io_uring_cqe *cqe;

	test_check(io_uring_wait_cqe(&uring, &cqe) == 0, "io_uring_wait_cqe failed");
	test_check(cqe->res == (int)READ_BYTES, "a read by io_uring gave %d", cqe->res);
	io_uring_cqe_seen(&uring, cqe);
}

static void open_way(bool by_uring)
{
	if (!by_uring)
		test_check(syscall(SYS_io_setup, 1, &aio) == 0, "io_setup: %s", strerror(errno));
	else if (io_uring_queue_init(4, &uring, 0) < 0)
		test_skip("io_uring is not available (kernel.io_uring_disabled?)");
}

/** Makes the slots, and has them read by the second half of memory. @return the first. */
static uint32_t fill_slots(const struct guest *g)
{
	uint32_t slot = director_take_slots(g->director, PAGES), merged;

	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(director_slot(g->director, slot + i), old_content(i));
	merged = director_merge(g->vm, g->page + PAGES, PAGES, slot);
	test_check(merged == PAGES, "%u of %u pages are shared before the reads", merged, PAGES);
	return slot;
}

/** @return how many pages were refused. */
static uint32_t merge_in_flight(const struct guest *g, uint32_t slot, bool by_uring)
{
	uint32_t refused;

	pagefuse_discard(g->memory, READ_BYTES); /* anonymous again: this is about pages that are moved */
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(guest_at(g, i), old_content(i));
	director_audit(g->vm, g->page, PAGES);
	(by_uring ? begin_uring : begin_aio)(g->memory);
	director_merge(g->vm, g->page, PAGES, slot);
	(by_uring ? end_uring : end_aio)();
	refused = director_answers(g->vm, g->page, PAGES, REPORT_BUSY);
	for (uint32_t i = 0; i < 2 * PAGES; i++)
		if (pages_differ(guest_at(g, i), i < PAGES ? new_content(i) : old_content(i)) >= 0)
			test_damage("page %u does not hold what was read into it; merging it was answered %u", i,
				    g->vm->pages[g->page + i].answer);
	return refused;
}

int main(int argc, char **argv)
{
	uint32_t slot, refused = 0, reads = 0;
	bool by_uring;
	struct guest g;
	char *memory;

	test_begin(argc, argv);
	by_uring = test_wants("--uring");
	memory = pages_map(2 * PAGES, false);
	make_file(memory);
	open_way(by_uring);
	for (uint32_t i = 0; i < 2 * PAGES; i++)
		pages_fill(memory + i * PAGE_BYTES, old_content(i));
	guest_begin(&g, memory, 2 * PAGES);
	slot = fill_slots(&g);
	for (; test_running() || refused == 0; reads++)
		refused += merge_in_flight(&g, slot, by_uring);
	fprintf(stderr, "%u reads, %u pages were in flight when they were to be merged\n", reads, refused);
	guest_report(&g);
	pagefuse_discard(memory, 2 * READ_BYTES); /* for all that the library knows, reads are under way */
	guest_end(&g);
	return 0;
}
