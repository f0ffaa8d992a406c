/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads with O_DIRECT that are under way while their thread does something else: Linux AIO, io_uring, fixed buffers,
 * and a ring that was made past libc and has no descriptor.
 */
#include <errno.h>
#include <linux/aio_abi.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#ifdef HAVE_LIBURING
#include <liburing.h>
#endif

#include "library/sys.h"
#include "tests/safety/storm.h"
#include "tests/support/test.h"

#define USE_REGISTERED_RING (1u << 31) /* IORING_REGISTER_USE_REGISTERED_RING, Linux 6.3 */
#define PIECES 4u                      /* that a read is made of, at most */

struct rings {
	aio_context_t aio;
#ifdef HAVE_LIBURING
	bool has_uring;
	struct io_uring uring;
	int hidden; /* its place among the registered descriptors; -1: not made */
	struct io_uring_params hidden_parameters;
	char *queues;
	struct io_uring_sqe *hidden_requests;
	char *private; /* a page that is pinned as long as the hidden ring lives */
#endif
};

/** Pieces of a read. */
struct piece {
	void *to;
	size_t length;
	off_t at;
};

static unsigned cut(const struct storm_thread *t, struct storm_range range, off_t at, struct piece *pieces)
{
	size_t piece = (range.length / PIECES + storm->direct_bytes - 1) / storm->direct_bytes * storm->direct_bytes;
	unsigned count = 0;

	(void)t;
	for (size_t done = 0; done < range.length; done += piece) {
		size_t length = range.length - done < piece ? range.length - done : piece;

		pieces[count++] = (struct piece){ storm_at(range.from + done), length, at + (off_t)done };
	}
	return count;
}

/* ---- Linux AIO ---- */

static ssize_t by_aio(struct storm_thread *t, struct storm_range range, off_t at)
{
	struct rings *rings = t->rings;
	struct piece pieces[PIECES + 1];
	struct iocb requests[PIECES + 1], *list[PIECES + 1];
	struct io_event events[PIECES + 1];
	unsigned count = cut(t, range, at, pieces);
	ssize_t total = 0;
	long r, done = 0;

	if (rings->aio == 0)
		test_check(syscall(SYS_io_setup, PIECES + 1, &rings->aio) == 0, "io_setup: %s", strerror(errno));
	for (unsigned i = 0; i < count; i++) {
		requests[i] = (struct iocb){ .aio_lio_opcode = IOCB_CMD_PREAD,
					     .aio_fildes = (unsigned)t->direct,
					     .aio_buf = (uintptr_t)pieces[i].to,
					     .aio_nbytes = pieces[i].length,
					     .aio_offset = pieces[i].at };
		list[i] = &requests[i];
	}
	for (unsigned i = 0; i < count; i += (unsigned)r) {
		r = syscall(SYS_io_submit, rings->aio, count - i, list + i);
		test_check(r > 0, "io_submit: %s", strerror(errno));
	}
	storm_between(t, range);
	while (done < (long)count) {
		r = syscall(SYS_io_getevents, rings->aio, 1, count - done, events + done, NULL);
		test_check(r > 0 || errno == EINTR, "io_getevents: %s", strerror(errno));
		done += r > 0 ? r : 0;
	}
	for (unsigned i = 0; i < count; i++) {
		if (events[i].res < 0)
			return (ssize_t)events[i].res;
		total += (ssize_t)events[i].res;
	}
	return total;
}

#ifdef HAVE_LIBURING

/* ---- io_uring ---- */

static struct io_uring *uring_of(struct storm_thread *t)
{
	struct rings *rings = t->rings;

	if (!rings->has_uring) {
		storm_files_lock();
		test_check(io_uring_queue_init(8, &rings->uring, 0) == 0, "io_uring_queue_init");
		storm_own(rings->uring.ring_fd);
		storm_files_unlock();
		rings->has_uring = true;
	}
	return &rings->uring;
}

static ssize_t complete(struct io_uring *uring, unsigned count)
{
	ssize_t total = 0;

	for (unsigned i = 0; i < count; i++) {
		struct io_uring_cqe *done;
		int r;

		do
			r = io_uring_wait_cqe(uring, &done);
		while (r == -EINTR);
		test_check(r == 0, "io_uring_wait_cqe: %s", strerror(-r));
		total = total < 0 ? total : done->res < 0 ? done->res
							  : total + done->res;
		io_uring_cqe_seen(uring, done);
	}
	return total;
}

static void submit(struct io_uring *uring, unsigned count)
{
	int r = io_uring_submit(uring);

	test_check(r == (int)count, "io_uring_submit: %d", r);
}

static ssize_t by_uring(struct storm_thread *t, struct storm_range range, off_t at)
{
	struct io_uring *uring = uring_of(t);
	struct piece pieces[PIECES + 1];
	unsigned count = cut(t, range, at, pieces);

	for (unsigned i = 0; i < count; i++) {
		struct io_uring_sqe *request = io_uring_get_sqe(uring);

		io_uring_prep_read(request, t->direct, pieces[i].to, (unsigned)pieces[i].length,
				   (uint64_t)pieces[i].at);
		if (test_random(&t->random) % 4 == 0)
			request->flags |= IOSQE_ASYNC;
	}
	submit(uring, count);
	storm_between(t, range);
	return complete(uring, count);
}

static ssize_t by_fixed(struct storm_thread *t, struct storm_range range, off_t at)
{
	struct io_uring *uring = uring_of(t);
	struct piece pieces[PIECES + 1];
	unsigned count = cut(t, range, at, pieces);

	for (unsigned i = 0; i < count; i++)
		io_uring_prep_read_fixed(io_uring_get_sqe(uring), t->direct, pieces[i].to, (unsigned)pieces[i].length,
					 (uint64_t)pieces[i].at, 0);
	submit(uring, count);
	storm_between(t, range);
	return complete(uring, count);
}

/** The group's pages are a fixed buffer for some reads, while the CPU writes them, too. */
static void fixed(struct storm_thread *t)
{
	struct io_uring *uring = uring_of(t);
	struct iovec buffer = { storm_at(t->group * STORM_GROUP_BYTES), STORM_GROUP_BYTES };
	unsigned rounds = 1 + (unsigned)(test_random(&t->random) % 8);
	int r;

	if (test_random(&t->random) % 2)
		storm_content(t); /* equal to others' when it is pinned */
	r = io_uring_register_buffers(uring, &buffer, 1);
	test_check(r == 0, "io_uring_register_buffers: %s", strerror(-r));
	for (unsigned i = 0; i < rounds; i++) {
		storm_read(t, STORM_FIXED, storm->direct_bytes, by_fixed);
		storm_content(t);
	}
	io_uring_unregister_buffers(uring);
	storm_check_group(t, t->group, "when a fixed buffer is given up");
}

/* ---- a ring that nobody sees ---- */

static long hidden_register(const struct rings *rings, unsigned operation, void *argument, unsigned count)
{
	return sys_raw(SYS_io_uring_register, rings->hidden, (long)(operation | USE_REGISTERED_RING),
		       (long)argument, count, 0, 0);
}

static void hidden_begin(struct storm_thread *t)
{
	struct rings *rings = t->rings;
	struct io_uring_params *p = &rings->hidden_parameters;
	struct iovec buffers[2] = { { 0 } };
	struct io_uring_rsrc_update place = { .offset = -1U };
	size_t bytes;
	long fd, r;

	rings->private = pages_map(1, false);
	buffers[0] = (struct iovec){ rings->private, PAGE_BYTES };
	storm_files_lock();
	fd = sys_raw(SYS_io_uring_setup, 8, (long)p, 0, 0, 0, 0);
	test_check(fd >= 0, "io_uring_setup: %s", strerror((int)-fd));
	bytes = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
	if (bytes < p->sq_off.array + p->sq_entries * sizeof(unsigned))
		bytes = p->sq_off.array + p->sq_entries * sizeof(unsigned);
	rings->queues = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, (int)fd,
			     IORING_OFF_SQ_RING);
	rings->hidden_requests = mmap(NULL, p->sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE,
				      MAP_SHARED | MAP_POPULATE, (int)fd, IORING_OFF_SQES);
	test_check(rings->queues != MAP_FAILED && rings->hidden_requests != MAP_FAILED, "mmap of a ring: %s",
		   strerror(errno));
	place.data = (uint64_t)fd;
	r = sys_raw(SYS_io_uring_register, fd, IORING_REGISTER_RING_FDS, (long)&place, 1, 0, 0);
	test_check(r == 1, "IORING_REGISTER_RING_FDS: %ld", r);
	rings->hidden = (int)place.offset;
	/* The library sees such a ring by what it has pinned, and only by that (docs/design/hold.md). */
	r = sys_raw(SYS_io_uring_register, fd, IORING_REGISTER_BUFFERS, (long)buffers, 2, 0, 0);
	test_check(r == 0, "IORING_REGISTER_BUFFERS: %ld", r);
	sys_raw(SYS_close, fd, 0, 0, 0, 0, 0);
	storm_files_unlock();
}

static void hidden_buffer(const struct rings *rings, void *address, size_t length)
{
	struct iovec buffer = { address, length };
	struct io_uring_rsrc_update2 update = { .offset = 1, .data = (uintptr_t)&buffer, .nr = 1 };
	long r = hidden_register(rings, IORING_REGISTER_BUFFERS_UPDATE, &update, sizeof(update));

	test_check(r == 1, "IORING_REGISTER_BUFFERS_UPDATE: %ld", r);
}

static ssize_t by_hidden(struct storm_thread *t, struct storm_range range, off_t at)
{
	struct rings *rings = t->rings;
	const struct io_uring_params *p = &rings->hidden_parameters;
	unsigned *tail = (unsigned *)(rings->queues + p->sq_off.tail), mask = p->sq_entries - 1;
	unsigned *array = (unsigned *)(rings->queues + p->sq_off.array);
	unsigned *cq_head = (unsigned *)(rings->queues + p->cq_off.head);
	const unsigned *cq_tail = (const unsigned *)(rings->queues + p->cq_off.tail);
	const struct io_uring_cqe *cqes = (const struct io_uring_cqe *)(rings->queues + p->cq_off.cqes);
	struct io_uring_sqe *request = &rings->hidden_requests[*tail & mask];
	ssize_t got;
	long r;

	*request = (struct io_uring_sqe){ .opcode = IORING_OP_READ_FIXED,
					  .fd = t->direct,
					  .off = (uint64_t)at,
					  .addr = (uintptr_t)storm_at(range.from),
					  .len = (unsigned)range.length,
					  .buf_index = 1 };
	array[*tail & mask] = *tail & mask;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	r = sys_raw(SYS_io_uring_enter, rings->hidden, 1, 0, IORING_ENTER_REGISTERED_RING, 0, 0);
	test_check(r == 1, "io_uring_enter: %ld", r);
	storm_between(t, range);
	while (__atomic_load_n(cq_tail, __ATOMIC_ACQUIRE) == *cq_head) {
		r = sys_raw(SYS_io_uring_enter, rings->hidden, 0, 1,
			    IORING_ENTER_GETEVENTS | IORING_ENTER_REGISTERED_RING, 0, 0);
		test_check(r >= 0 || r == -EINTR, "io_uring_enter: %ld", r);
	}
	got = cqes[*cq_head & (p->cq_entries - 1)].res;
	__atomic_store_n(cq_head, *cq_head + 1, __ATOMIC_RELEASE);
	return got;
}

static void hidden(struct storm_thread *t)
{
	struct rings *rings = t->rings;
	unsigned rounds = 1 + (unsigned)(test_random(&t->random) % 8);

	if (rings->hidden < 0)
		hidden_begin(t);
	hidden_buffer(rings, storm_at(t->group * STORM_GROUP_BYTES), STORM_GROUP_BYTES);
	for (unsigned i = 0; i < rounds; i++) {
		storm_read(t, STORM_HIDDEN, storm->direct_bytes, by_hidden);
		storm_content(t);
	}
	hidden_buffer(rings, NULL, 0);
	storm_check_group(t, t->group, "when a hidden fixed buffer is given up");
}

const char *storm_rings_missing(void)
{
	struct io_uring probe;

	if (io_uring_queue_init(4, &probe, 0) < 0)
		return "io_uring is not available (kernel.io_uring_disabled?)";
	io_uring_queue_exit(&probe);
	return NULL;
}

#else

const char *storm_rings_missing(void)
{
	return "built without liburing";
}

#endif

static void rings_begin(struct storm_thread *t)
{
	struct rings *rings = calloc(1, sizeof(*rings));

	test_check(rings != NULL, "no memory");
#ifdef HAVE_LIBURING
	rings->hidden = -1;
#endif
	t->rings = rings;
}

void storm_ring_step(struct storm_thread *t, enum storm_kind kind)
{
	if (t->rings == NULL)
		rings_begin(t);
	if (kind == STORM_AIO)
		storm_read(t, kind, storm->direct_bytes, by_aio);
#ifdef HAVE_LIBURING
	else if (kind == STORM_URING)
		storm_read(t, kind, storm->direct_bytes, by_uring);
	else if (kind == STORM_FIXED)
		fixed(t);
	else if (kind == STORM_HIDDEN)
		hidden(t);
#endif
}
