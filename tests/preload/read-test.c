/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads: the library hears of the memory of ours that each is about to fill, and the call is what it would be without.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#ifdef HAVE_LIBURING
#include <liburing.h>
#endif
#include <linux/aio_abi.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/preload/calls.h"

ssize_t __pread64_chk(int fd, void *buffer, size_t length, off_t offset, size_t buffer_length);
ssize_t __pread_chk(int fd, void *buffer, size_t length, off_t offset, size_t buffer_length);
ssize_t __read_chk(int fd, void *buffer, size_t length, size_t buffer_length);
ssize_t __recv_chk(int fd, void *buffer, size_t length, size_t buffer_length, int flags);
ssize_t __recvfrom_chk(int fd, void *buffer, size_t length, size_t buffer_length, int flags,
		       struct sockaddr *ret_address, socklen_t *address_length);
int io_submit(aio_context_t context, long count, struct iocb **requests);

static int file; /* BYTES of 'f' */
static int sockets[2];
static int from; /* which of them is read */

static int set_up(void **state)
{
	char path[] = "pagefuse-read-test-XXXXXX", content[BYTES];

	memset(content, 'f', BYTES);
	file = mkostemp(path, O_CLOEXEC);
	assert_true(file >= 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(pwrite(file, content, BYTES, 0), BYTES);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
	assert_int_equal(write(sockets[1], content, BYTES), BYTES);
	from = file;
	return calls_set_up(state);
}

static int tear_down(void **state)
{
	close(file);
	close(sockets[0]);
	close(sockets[1]);
	return calls_tear_down(state);
}

#define READ_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

/** The library was told of this memory and of nothing else, and the read has given it @length bytes. */
static void expect_read(long result, const char *memory, size_t length)
{
	assert_int_equal(result, length);
	assert_int_equal(records_count, 1);
	assert_int_equal(records[0].kind, RECORDED_READ);
	assert_ptr_equal(records[0].address, memory);
	assert_int_equal(records[0].length, length);
	assert_int_equal(errno, ERRNO_BEFORE);
	assert_int_equal(recorder_transfers.open, 0);
	for (size_t i = 0; i < length; i++)
		assert_int_equal(memory[i], 'f');
	assert_int_equal(memory[length], 'r');
	memset(ram, 'r', BYTES);
	records_count = 0;
	assert_int_equal(recorder_notes.count, 1);
	assert_ptr_equal(recorder_notes.address, memory);
	assert_int_equal(recorder_notes.length, length);
	assert_int_equal(recorder_notes.fd, from);
	recorder_notes.count = 0;
}

/** The same, and when it is over nobody will tell. */
static void expect_submitted(long result, const char *memory, size_t length)
{
	expect_read(result, memory, length);
	assert_int_equal(recorder_notes.kind, NOTE_SUBMITTED);
	assert_int_equal(recorder_transfers.begun, 0);
}

/** A read whose thread was in the kernel while that memory was filled, which was known when it was noted. */
static void expect_transfer(long result, const char *memory, size_t length)
{
	expect_read(result, memory, length);
	assert_int_equal(recorder_transfers.begun, 1);
	assert_ptr_equal(recorder_transfers.address, memory);
	assert_int_equal(recorder_transfers.length, length);
	assert_int_equal(recorder_notes.kind, NOTE_READ);
	assert_true(recorder_notes.in_transfer);
	recorder_transfers.begun = 0;
}

#define AT (ram + 100)
#define LENGTH (PAGE_BYTES + 10)

static void of_files(void **state)
{
	(void)state;
	if (by_number) {
		expect_transfer(syscall(SYS_pread64, (long)file, AT, LENGTH, 0L), AT, LENGTH);
		expect_transfer(syscall(SYS_read, (long)file, AT, LENGTH), AT, LENGTH);
		return;
	}
	expect_transfer(pread(file, AT, LENGTH, 1), AT, LENGTH);
	expect_transfer(pread64(file, AT, LENGTH, 1), AT, LENGTH);
	expect_transfer(__pread_chk(file, AT, LENGTH, 1, BYTES), AT, LENGTH);
	expect_transfer(__pread64_chk(file, AT, LENGTH, 1, BYTES), AT, LENGTH);
	expect_transfer(read(file, AT, LENGTH), AT, LENGTH);
	expect_transfer(__read_chk(file, AT, LENGTH, BYTES), AT, LENGTH);
}

/** A vector of three: memory of ours is in the middle. */
static void of_vectors(void **state)
{
	struct iovec vector[] = { { other, 10 }, { AT, LENGTH }, { other + 20, 30 } };
	struct msghdr message = { .msg_iov = vector, .msg_iovlen = 3 };
	struct mmsghdr several = { .msg_hdr = message };

	(void)state;
	if (by_number) {
		expect_transfer(syscall(SYS_preadv, (long)file, vector, 3L, 0L, 0L) - 40, AT, LENGTH);
		expect_transfer(syscall(SYS_preadv2, (long)file, vector, 3L, 0L, 0L, 0L) - 40, AT, LENGTH);
		expect_transfer(syscall(SYS_readv, (long)file, vector, 3L) - 40, AT, LENGTH);
		from = sockets[0];
		expect_transfer(syscall(SYS_recvmsg, (long)sockets[0], &message, 0L) - 40, AT, LENGTH);
		assert_int_equal(syscall(SYS_recvmmsg, (long)sockets[0], &several, 1L, 0L, NULL), 1);
		expect_transfer((long)several.msg_len - 40, AT, LENGTH);
		return;
	}
	expect_transfer(preadv(file, vector, 3, 1) - 40, AT, LENGTH);
	expect_transfer(preadv64(file, vector, 3, 1) - 40, AT, LENGTH);
	expect_transfer(preadv2(file, vector, 3, 1, 0) - 40, AT, LENGTH);
	expect_transfer(preadv64v2(file, vector, 3, 1, 0) - 40, AT, LENGTH);
	expect_transfer(readv(file, vector, 3) - 40, AT, LENGTH);
	from = sockets[0];
	expect_transfer(recvmsg(sockets[0], &message, 0) - 40, AT, LENGTH);
	assert_int_equal(recvmmsg(sockets[0], &several, 1, 0, NULL), 1);
	expect_transfer((long)several.msg_len - 40, AT, LENGTH);
	assert_int_equal(other[0], 'f');
}

static void of_sockets(void **state)
{
	(void)state;
	from = sockets[0];
	if (by_number) {
		expect_transfer(syscall(SYS_recvfrom, (long)sockets[0], AT, LENGTH, 0L, NULL, NULL), AT, LENGTH);
		return;
	}
	expect_transfer(recv(sockets[0], AT, LENGTH, 0), AT, LENGTH);
	expect_transfer(__recv_chk(sockets[0], AT, LENGTH, BYTES, 0), AT, LENGTH);
	expect_transfer(recvfrom(sockets[0], AT, LENGTH, 0, NULL, NULL), AT, LENGTH);
	expect_transfer(__recvfrom_chk(sockets[0], AT, LENGTH, BYTES, 0, NULL, NULL), AT, LENGTH);
}

static int submit(aio_context_t context, long count, struct iocb **requests)
{
	return by_number ? (int)syscall(SYS_io_submit, context, count, requests)
			 : io_submit(context, count, requests);
}

static void of_linux_aio(void **state)
{
	struct iovec vector[] = { { other, PAGE_BYTES }, { AT, LENGTH } };
	struct iocb plain = { .aio_lio_opcode = IOCB_CMD_PREAD, .aio_buf = (uintptr_t)AT, .aio_nbytes = LENGTH };
	struct iocb vectored = { .aio_lio_opcode = IOCB_CMD_PREADV, .aio_buf = (uintptr_t)vector, .aio_nbytes = 2 };
	struct iocb written = { .aio_lio_opcode = IOCB_CMD_FSYNC };
	struct iocb *requests[] = { &plain, &vectored, &written };
	aio_context_t context = 0;
	struct io_event event;

	(void)state;
	plain.aio_fildes = vectored.aio_fildes = written.aio_fildes = (uint32_t)file;
	assert_int_equal(syscall(SYS_io_setup, 4L, &context), 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(submit(context, 1, &requests[i]), 1);
		assert_int_equal(syscall(SYS_io_getevents, context, 1L, 1L, &event, NULL), 1);
		expect_submitted(event.res - (i == 1 ? (long)PAGE_BYTES : 0), AT, LENGTH);
	}
	assert_int_equal(submit(context, 1, &requests[2]), 1);
	expect_nothing();
	if (!by_number) /* libaio's way to fail */
		assert_int_equal(submit(0, 1, requests), -EINVAL);
	assert_int_equal(syscall(SYS_io_destroy, context), 0);
}

#ifdef HAVE_LIBURING
static long finish(struct io_uring *ring)
{
	struct io_uring_cqe *done;
	int result;

	assert_int_equal(io_uring_wait_cqe(ring, &done), 0);
	result = done->res;
	io_uring_cqe_seen(ring, done);
	return result;
}

static void of_uring_with(unsigned flags)
{
	struct iovec vector[] = { { other, PAGE_BYTES }, { AT, LENGTH } };
	struct io_uring_cqe *done;
	struct io_uring ring;

	if (io_uring_queue_init(4, &ring, flags) < 0)
		skip();
	for (unsigned i = 0; i < 6; i++) { /* the queue goes round */
		io_uring_prep_read(io_uring_get_sqe(&ring), file, AT, LENGTH, 0);
		assert_int_equal(io_uring_submit(&ring), 1);
		expect_submitted(finish(&ring), AT, LENGTH);
	}
	io_uring_prep_readv(io_uring_get_sqe(&ring), file, vector, 2, 0);
	assert_int_equal(io_uring_submit_and_wait(&ring, 1), 1);
	expect_submitted(finish(&ring) - (long)PAGE_BYTES, AT, LENGTH);
	from = sockets[0];
	io_uring_prep_recv(io_uring_get_sqe(&ring), sockets[0], AT, LENGTH, 0);
	assert_int_equal(io_uring_submit_and_wait_timeout(&ring, &done, 1, NULL, NULL), 1);
	expect_submitted(finish(&ring), AT, LENGTH);
	from = file;
	io_uring_prep_write(io_uring_get_sqe(&ring), file, AT, LENGTH, BYTES);
	io_uring_prep_nop(io_uring_get_sqe(&ring));
	assert_int_equal(io_uring_submit(&ring), 2);
	expect_nothing();
	io_uring_queue_exit(&ring);
}

static void of_uring(void **state)
{
	(void)state;
	of_uring_with(0);
	records_count = 0;
	errno = ERRNO_BEFORE;
#ifdef IORING_SETUP_SQE128
	of_uring_with(IORING_SETUP_SQE128);
#endif
}
#endif

static void expect_forgotten(unsigned first, unsigned last)
{
	assert_int_equal(recorder_forgotten.first, first);
	assert_int_equal(recorder_forgotten.last, last);
	recorder_forgotten = (struct recorded_forgotten){ 0 };
}

/** What is read by a number is another file from then on. */
static void closing(void **state)
{
	int copy = dup(file);

	(void)state;
	assert_true(copy >= 0);
	assert_int_equal(dup2(file, copy), copy);
	expect_forgotten((unsigned)copy, (unsigned)copy);
	assert_int_equal(dup3(file, copy, O_CLOEXEC), copy);
	expect_forgotten((unsigned)copy, (unsigned)copy);
	assert_int_equal(dup2(file, file), file);
	expect_forgotten(0, 0);
	assert_int_equal(close(copy), 0);
	expect_forgotten((unsigned)copy, (unsigned)copy);
	copy = dup(file);
	assert_int_equal(close_range((unsigned)copy, (unsigned)copy, 0), 0);
	expect_forgotten((unsigned)copy, (unsigned)copy);
}

/** Nothing of ours, nothing to say; and arguments that the kernel refuses are refused as ever. */
static void others(void **state)
{
	struct iovec *volatile wild = (struct iovec *)8;
	volatile int negative = -1;

	(void)state;
	assert_int_equal(pread(file, other, BYTES, 0), BYTES);
	expect_nothing();
	expect_failure(preadv(file, wild, 3, 0), EFAULT);
	expect_failure(preadv(file, wild, negative, 0), EINVAL);
	expect_failure(syscall(SYS_readv, (long)file, wild, 2L), EFAULT);
	expect_failure(recvmsg(sockets[0], (struct msghdr *)wild, 0), EFAULT);
	expect_failure(syscall(SYS_io_submit, 0L, 1L, wild), EINVAL);
	expect_nothing();
	assert_int_equal(recorder_transfers.begun, 0);
	assert_int_equal(recorder_notes.count, 0);
	expect_failure(pread(-1, ram, BYTES, 0), EBADF);
	assert_int_equal(recorder_transfers.begun, 1);
	assert_int_equal(recorder_transfers.open, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		READ_TEST(of_files),
		READ_TEST(of_vectors),
		READ_TEST(of_sockets),
		READ_TEST(of_linux_aio),
#ifdef HAVE_LIBURING
		READ_TEST(of_uring),
#endif
		READ_TEST(closing),
		READ_TEST(others),
	};

	return calls_run(tests);
}
