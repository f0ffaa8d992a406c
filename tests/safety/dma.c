/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads with O_DIRECT are under way into guest memory while everything is shared and unshared.
 *
 * --aio         Linux AIO (io_submit)
 * --uring       io_uring
 * --age         a thread ages pages
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "include/pagefuse.h"
#include "tests/support/guest.h"
#include "tests/support/writers.h"

#define PAGES 1024u
#define THREADS 6

/** One thread's way: its own block of the file is written first, then read into guest memory. */
struct way {
	int file; /* O_DIRECT */
	off_t offset;
	aio_context_t aio;
	struct io_uring uring;
	void *block; /* aligned */
};

static int file = -1;

static void open_file(void)
{
	char path[] = "pagefuse-dma-XXXXXX";

	file = mkostemp(path, O_CLOEXEC | O_DIRECT);
	if (file < 0 && errno == EINVAL)
		test_skip("no O_DIRECT on the file system of the working directory");
	test_check(file >= 0 && unlink(path) == 0 && ftruncate(file, THREADS * PAGE_BYTES) == 0, "%s: %s", path,
		   strerror(errno));
}

static struct way *begin(unsigned which)
{
	struct way *way = calloc(1, sizeof(*way));

	test_check(way != NULL && posix_memalign(&way->block, PAGE_BYTES, PAGE_BYTES) == 0, "no memory");
	way->file = file;
	way->offset = (off_t)(which * PAGE_BYTES);
	return way;
}

static void fill_block(const struct way *way, const void *from, size_t length)
{
	memcpy(way->block, from, length);
	test_check(pwrite(way->file, way->block, length, way->offset) == (ssize_t)length, "writing a block: %s",
		   strerror(errno));
}

static void *begin_aio(unsigned which)
{
	struct way *way = begin(which);

	test_check(syscall(SYS_io_setup, 1, &way->aio) == 0, "io_setup: %s", strerror(errno));
	return way;
}

static void read_by_aio(void *context, void *to, const void *from, size_t length)
{
	struct way *way = context;
	struct iocb read = { .aio_lio_opcode = IOCB_CMD_PREAD,
			     .aio_fildes = (unsigned)way->file,
			     .aio_buf = (uintptr_t)to,
			     .aio_nbytes = length,
			     .aio_offset = way->offset };
	struct iocb *reads[] = { &read };
	struct io_event event = { 0 };

	fill_block(way, from, length);
	test_check(syscall(SYS_io_submit, way->aio, 1, reads) == 1, "io_submit: %s", strerror(errno));
	test_check(syscall(SYS_io_getevents, way->aio, 1, 1, &event, NULL) == 1 && event.res == (int64_t)length,
		   "a read by AIO gave %lld", (long long)event.res);
}

static void end_aio(void *context)
{
	struct way *way = context;

	syscall(SYS_io_destroy, way->aio);
	free(way->block);
	free(way);
}

static void *begin_uring(unsigned which)
{
	struct way *way = begin(which);

	test_check(io_uring_queue_init(4, &way->uring, 0) == 0, "io_uring_queue_init failed");
	return way;
}

static void read_by_uring(void *context, void *to, const void *from, size_t length)
{
	struct way *way = context;
	struct io_uring_sqe *sqe = io_uring_get_sqe(&way->uring);
	struct io_uring_cqe *cqe;
	int r;

	fill_block(way, from, length);
	io_uring_prep_read(sqe, way->file, to, (unsigned)length, (uint64_t)way->offset);
	r = io_uring_submit_and_wait(&way->uring, 1);
	test_check(r == 1 && io_uring_wait_cqe(&way->uring, &cqe) == 0, "io_uring_submit: %s", strerror(-r));
	test_check(cqe->res == (int)length, "a read by io_uring gave %d", cqe->res);
	io_uring_cqe_seen(&way->uring, cqe);
}

static void end_uring(void *context)
{
	struct way *way = context;

	io_uring_queue_exit(&way->uring);
	free(way->block);
	free(way);
}

static const struct writer_method by_aio = { "AIO", PAGE_BYTES, begin_aio, read_by_aio, end_aio };
static const struct writer_method by_uring = { "io_uring", PAGE_BYTES, begin_uring, read_by_uring, end_uring };

static atomic_bool stop;

static void *age(void *argument)
{
	const struct guest *g = argument;

	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		madvise(g->memory, g->pages * PAGE_BYTES, MADV_COLD);
	return NULL;
}

int main(int argc, char **argv)
{
	struct writers_plan plan = { .pages = PAGES, .threads = THREADS, .discards = true };
	struct writers *writers;
	struct io_uring probe;
	pthread_t ageing = 0;
	uint64_t writes;
	struct guest g;

	test_begin(argc, argv);
	open_file();
	if (test_wants("--uring") && io_uring_queue_init(4, &probe, 0) < 0)
		test_skip("io_uring is not available (kernel.io_uring_disabled?)");
	plan.method = test_wants("--uring") ? &by_uring : &by_aio;
	plan.memory = pages_map(PAGES, false);
	writers = writers_new(&plan);
	guest_begin(&g, plan.memory, PAGES);
	writers_start(writers);
	if (test_wants("--age"))
		test_check(pthread_create(&ageing, NULL, age, &g) == 0, "no thread");
	guest_work(&g, writers);
	atomic_store(&stop, true);
	if (test_wants("--age"))
		pthread_join(ageing, NULL);
	writes = writers_stop(writers);
	pagefuse_discard(plan.memory, PAGES * PAGE_BYTES); /* for all that the library knows, reads are under way */
	guest_finish(&g, writers, writes);
	return 0;
}
