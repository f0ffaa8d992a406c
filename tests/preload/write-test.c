/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writes from guest RAM: the library knows of the memory while the call lasts; the call is what it would be without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/preload/calls.h"

#define AT (ram + 100)
#define LENGTH (PAGE_BYTES + 10)

static int file;
static int sockets[2]; /* what is sent to [0] is read from [1] */

static int set_up(void **state)
{
	file = memfd_create("pagefuse-write-test", MFD_CLOEXEC);
	assert_true(file >= 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, sockets), 0);
	return calls_set_up(state);
}

static int tear_down(void **state)
{
	close(file);
	close(sockets[0]);
	close(sockets[1]);
	return calls_tear_down(state);
}

#define WRITE_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

/** @before bytes of other memory and the LENGTH at AT have been written, and were known of meanwhile. */
static void expect_write(long result, size_t before)
{
	char written[BYTES];
	ssize_t there;

	assert_int_equal(errno, ERRNO_BEFORE);
	assert_int_equal(result, before + LENGTH);
	assert_int_equal(recorder_transfers.begun, 1);
	assert_int_equal(recorder_transfers.open, 0);
	assert_ptr_equal(recorder_transfers.address, AT);
	assert_int_equal(recorder_transfers.length, LENGTH);
	expect_nothing();
	recorder_reset(ram, BYTES);
	there = pread(file, written, BYTES, 0);
	if (there == 0)
		there = recv(sockets[1], written, BYTES, 0);
	assert_int_equal(there, before + LENGTH);
	for (size_t i = 0; i < (size_t)there; i++)
		assert_int_equal(written[i], i < before ? 'o' : 'r');
	assert_int_equal(ftruncate(file, 0), 0);
	assert_int_equal(lseek(file, 0, SEEK_SET), 0);
	errno = ERRNO_BEFORE;
}

static void to_files(void **state)
{
	(void)state;
	if (by_number) {
		expect_write(syscall(SYS_write, (long)file, AT, LENGTH), 0);
		expect_write(syscall(SYS_pwrite64, (long)file, AT, LENGTH, 0L), 0);
		return;
	}
	expect_write(write(file, AT, LENGTH), 0);
	expect_write(pwrite(file, AT, LENGTH, 0), 0);
	expect_write(pwrite64(file, AT, LENGTH, 0), 0);
}

static void of_vectors(void **state)
{
	struct iovec vector[] = { { other, 10 }, { AT, LENGTH } };
	struct msghdr message = { .msg_iov = vector, .msg_iovlen = 2 };
	struct mmsghdr several = { .msg_hdr = message };

	(void)state;
	if (by_number) {
		expect_write(syscall(SYS_writev, (long)file, vector, 2L), 10);
		expect_write(syscall(SYS_pwritev, (long)file, vector, 2L, 0L, 0L), 10);
		expect_write(syscall(SYS_pwritev2, (long)file, vector, 2L, 0L, 0L, 0L), 10);
		expect_write(syscall(SYS_sendmsg, (long)sockets[0], &message, 0L), 10);
		assert_int_equal(syscall(SYS_sendmmsg, (long)sockets[0], &several, 1L, 0L), 1);
		expect_write(several.msg_len, 10);
		return;
	}
	expect_write(writev(file, vector, 2), 10);
	expect_write(pwritev(file, vector, 2, 0), 10);
	expect_write(pwritev64(file, vector, 2, 0), 10);
	expect_write(pwritev2(file, vector, 2, 0, 0), 10);
	expect_write(pwritev64v2(file, vector, 2, 0, 0), 10);
	expect_write(sendmsg(sockets[0], &message, 0), 10);
	assert_int_equal(sendmmsg(sockets[0], &several, 1, 0), 1);
	expect_write(several.msg_len, 10);
}

static void to_sockets(void **state)
{
	(void)state;
	if (by_number) {
		expect_write(syscall(SYS_sendto, (long)sockets[0], AT, LENGTH, 0L, NULL, 0L), 0);
		return;
	}
	expect_write(send(sockets[0], AT, LENGTH, 0), 0);
	expect_write(sendto(sockets[0], AT, LENGTH, 0, NULL, 0), 0);
}

/** Nothing of ours, nothing to know; and what the kernel refuses is refused as ever. */
static void others(void **state)
{
	struct iovec *volatile wild = (struct iovec *)8;
	volatile int negative = -1;

	(void)state;
	assert_int_equal(pwrite(file, other, BYTES, 0), BYTES);
	expect_nothing();
	expect_failure(pwritev(file, wild, 3, 0), EFAULT);
	expect_failure(pwritev(file, wild, negative, 0), EINVAL);
	expect_failure(syscall(SYS_writev, (long)file, wild, 2L), EFAULT);
	expect_failure(sendmsg(sockets[0], (struct msghdr *)wild, 0), EFAULT);
	assert_int_equal(recorder_transfers.begun, 0);
	expect_failure(pwrite(-1, ram, BYTES, 0), EBADF);
	assert_int_equal(recorder_transfers.begun, 1);
	assert_int_equal(recorder_transfers.open, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WRITE_TEST(to_files),
		WRITE_TEST(of_vectors),
		WRITE_TEST(to_sockets),
		WRITE_TEST(others),
	};

	return calls_run(tests);
}
