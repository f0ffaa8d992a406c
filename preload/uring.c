/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * io_uring by way of liburing, whose system calls are seen nowhere else: reads into guest RAM as in read.c; rings
 * without a descriptor, whose buffers and files cannot be looked at; and fixed buffers, which stay pinned
 * (library/files.h).
 */
#include <errno.h>
#include <linux/io_uring.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "preload/calls.h"
#include "preload/next.h"

#define REQUESTS_MAX 65536 /* no queue of the kernel is longer */

/*
 * The beginning of struct io_uring of liburing 2. Its inline functions put requests there, so all of its versions agree
 * on this part: the next submission hands over the requests in [sqe_head, sqe_tail).
 */
struct uring {
	unsigned *khead, *ktail, *ring_mask, *ring_entries, *kflags, *kdropped, *array;
	const struct io_uring_sqe *requests;
	unsigned sqe_head, sqe_tail;
	size_t ring_bytes;
	void *ring;
	unsigned reserved[4];
	void *completion_queue[9];
	unsigned completion_reserved[4];
	unsigned flags;
};

_Static_assert(offsetof(struct uring, flags) == 192, "struct io_uring as liburing has it on 64 bits");

#ifndef IORING_SETUP_SQE128 /* Linux 5.19 */
#define IORING_SETUP_SQE128 (1u << 10)
#endif
#ifndef IORING_SETUP_REGISTERED_FD_ONLY /* Linux 6.5 */
#define IORING_SETUP_REGISTERED_FD_ONLY (1u << 15)
#endif
#define OP_URING_CMD 46      /* IORING_OP_URING_CMD, Linux 5.19 */
#define REGISTER_BUFFERS2 15 /* IORING_REGISTER_BUFFERS2 and _BUFFERS_UPDATE, Linux 5.13 */
#define REGISTER_BUFFERS_UPDATE 16
#define REGISTER_RING_FDS 20      /* IORING_REGISTER_RING_FDS, Linux 5.18 */
#define REGISTER_CLONE_BUFFERS 30 /* IORING_REGISTER_CLONE_BUFFERS, Linux 6.12 */
#define REGISTER_ZCRX_IFQ 32      /* IORING_REGISTER_ZCRX_IFQ, Linux 6.15: memory that a network card fills */
#define REGISTER_USE_REGISTERED_RING (1u << 31)

static void note_pins(void)
{
	int saved = errno;

	if (!forward_may_tell())
		return;
	memory_note_pins();
	errno = saved;
}

/** Requests that may read a file which was not reported before; and commands to a driver, which may do anything. */
static bool brings_unknown(const struct io_uring_sqe *request)
{
	return request->flags & IOSQE_FIXED_FILE || request->opcode == IORING_OP_OPENAT ||
	       request->opcode == IORING_OP_OPENAT2 || request->opcode == IORING_OP_RECVMSG ||
	       request->opcode == OP_URING_CMD;
}

static void tell_request(const struct io_uring_sqe *request)
{
	const void *buffer = (const void *)(uintptr_t)request->addr;
	int fd = request->flags & IOSQE_FIXED_FILE ? -1 : request->fd;

	if (brings_unknown(request))
		note_pins();
	if (request->flags & IOSQE_BUFFER_SELECT)
		return; /* the kernel chooses the buffer */
	if (request->opcode == IORING_OP_READ || request->opcode == IORING_OP_RECV)
		read_tell(fd, buffer, request->len);
	else if (request->opcode == IORING_OP_READV)
		read_tell_vector(fd, buffer, request->len);
}

static void before_uring_submit(const struct uring *uring)
{
	unsigned step = uring->flags & IORING_SETUP_SQE128 ? 2 : 1;

	if (!read_may_matter() || uring->sqe_tail - uring->sqe_head > REQUESTS_MAX)
		return;
	for (unsigned at = uring->sqe_head; at != uring->sqe_tail; at++)
		tell_request(&uring->requests[(size_t)(at & *uring->ring_mask) * step]);
}

/* ---- rings without a descriptor, and fixed buffers ---- */

static void before_setup(unsigned flags)
{
	if (flags & IORING_SETUP_REGISTERED_FD_ONLY)
		note_pins();
}

static bool register_may_pin(unsigned what)
{
	return what == IORING_REGISTER_BUFFERS || what == REGISTER_BUFFERS2 || what == REGISTER_BUFFERS_UPDATE ||
	       what == REGISTER_RING_FDS || what == REGISTER_CLONE_BUFFERS || what == REGISTER_ZCRX_IFQ;
}

void uring_before_number(long number, long b)
{
	const void *parameters = (const void *)b;

	/* Requests to a ring that is not liburing's are not seen. A call without parameters makes no ring. */
	if ((int)number == SYS_io_uring_setup && readable(parameters, sizeof(struct io_uring_params)))
		note_pins();
	if ((int)number == SYS_io_uring_register && register_may_pin((unsigned)b & ~REGISTER_USE_REGISTERED_RING))
		note_pins();
}

/* ---- the calls ---- */

int io_uring_submit(struct uring *uring);
int io_uring_submit_and_wait(struct uring *uring, unsigned wait);
int io_uring_submit_and_get_events(struct uring *uring);
int io_uring_submit_and_wait_timeout(struct uring *uring, struct io_uring_cqe **ret_done, unsigned wait,
				     struct __kernel_timespec *timeout, sigset_t *signals);
int io_uring_queue_init_params(unsigned entries, struct uring *uring, struct io_uring_params *parameters);
int io_uring_queue_init_mem(unsigned entries, struct uring *uring, struct io_uring_params *parameters, void *memory,
			    size_t bytes);
int io_uring_setup(unsigned entries, struct io_uring_params *parameters);
int io_uring_register(unsigned fd, unsigned what, const void *argument, unsigned count);
int io_uring_register_ring_fd(struct uring *uring);
int io_uring_register_buffers(struct uring *uring, const struct iovec *vector, unsigned count);
int io_uring_register_buffers_tags(struct uring *uring, const struct iovec *vector, const __u64 *tags, unsigned count);
int io_uring_register_buffers_update_tag(struct uring *uring, unsigned first, const struct iovec *vector,
					 const __u64 *tags, unsigned count);

INTERPOSED int io_uring_submit(struct uring *uring)
{
	before_uring_submit(uring);
	return next.io_uring_submit(uring);
}

INTERPOSED int io_uring_submit_and_wait(struct uring *uring, unsigned wait)
{
	before_uring_submit(uring);
	return next.io_uring_submit_and_wait(uring, wait);
}

INTERPOSED int io_uring_submit_and_get_events(struct uring *uring)
{
	before_uring_submit(uring);
	return next.io_uring_submit_and_get_events(uring);
}

INTERPOSED int io_uring_submit_and_wait_timeout(struct uring *uring, struct io_uring_cqe **ret_done, unsigned wait,
						struct __kernel_timespec *timeout, sigset_t *signals)
{
	before_uring_submit(uring);
	return next.io_uring_submit_and_wait_timeout(uring, ret_done, wait, timeout, signals);
}

/*
 * Rings without a descriptor need memory of the caller's, which io_uring_queue_init() cannot pass: it is not
 * interposed.
 */
INTERPOSED int io_uring_queue_init_params(unsigned entries, struct uring *uring, struct io_uring_params *parameters)
{
	before_setup(parameters->flags);
	return next.io_uring_queue_init_params(entries, uring, parameters);
}

INTERPOSED int io_uring_queue_init_mem(unsigned entries, struct uring *uring, struct io_uring_params *parameters,
				       void *memory, size_t bytes)
{
	before_setup(parameters->flags);
	return next.io_uring_queue_init_mem(entries, uring, parameters, memory, bytes);
}

/* The system calls, by liburing's names for them (2.3). */
INTERPOSED int io_uring_setup(unsigned entries, struct io_uring_params *parameters)
{
	uring_before_number(SYS_io_uring_setup, (long)parameters);
	return next.io_uring_setup(entries, parameters);
}

INTERPOSED int io_uring_register(unsigned fd, unsigned what, const void *argument, unsigned count)
{
	uring_before_number(SYS_io_uring_register, (long)what);
	return next.io_uring_register(fd, what, argument, count);
}

INTERPOSED int io_uring_register_ring_fd(struct uring *uring)
{
	note_pins();
	return next.io_uring_register_ring_fd(uring);
}

INTERPOSED int io_uring_register_buffers(struct uring *uring, const struct iovec *vector, unsigned count)
{
	note_pins();
	return next.io_uring_register_buffers(uring, vector, count);
}

INTERPOSED int io_uring_register_buffers_tags(struct uring *uring, const struct iovec *vector, const __u64 *tags,
					      unsigned count)
{
	note_pins();
	return next.io_uring_register_buffers_tags(uring, vector, tags, count);
}

INTERPOSED int io_uring_register_buffers_update_tag(struct uring *uring, unsigned first, const struct iovec *vector,
						    const __u64 *tags, unsigned count)
{
	note_pins();
	return next.io_uring_register_buffers_update_tag(uring, first, vector, tags, count);
}
