/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* process_madvise(), on the own process and on another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/madvise.h"
#include "tests/preload/calls.h"

static void expect_discarded_by(int pidfd)
{
	struct iovec vector[] = { { other, PAGE_BYTES }, { ram, PAGE_BYTES }, { ram + 2 * PAGE_BYTES, PAGE_BYTES } };
	ssize_t result;

	memset(ram, 'r', BYTES);
	result = call_process_madvise(pidfd, vector, 3, MADV_DONTNEED);
	if (result < 0) {
		assert_int_equal(errno, EINVAL); /* before Linux 6.13 not for this advice: and nothing was dropped */
		errno = ERRNO_BEFORE;
		expect_nothing();
		assert_int_equal(ram[0], 'r');
		return;
	}
	assert_int_equal(result, 3 * PAGE_BYTES);
	assert_int_equal(errno, ERRNO_BEFORE);
	assert_int_equal(records_count, 4);
	expect_bracket_at(0, CHANGE_DISCARD, ram, PAGE_BYTES, MADV_DONTNEED, true);
	expect_bracket_at(2, CHANGE_DISCARD, ram + 2 * PAGE_BYTES, PAGE_BYTES, MADV_DONTNEED, true);
	records_count = 0;
	assert_int_equal(ram[0], 0);
	assert_int_equal(ram[PAGE_BYTES], 'r');
}

static void process_madvise_of_ourselves(void **state)
{
	int pidfd = (int)syscall(SYS_pidfd_open, (long)getpid(), 0L);
	struct iovec entry = { ram, PAGE_BYTES };

	(void)state;
	assert_true(pidfd >= 0);
	expect_discarded_by(pidfd);
	if (call_process_madvise(-10000, &entry, 0, MADV_DONTNEED) == 0) /* PIDFD_SELF_THREAD, Linux 6.14 */
		expect_discarded_by(-10000);
	errno = ERRNO_BEFORE;
	close(pidfd);
}

static void process_madvise_stops_at_an_error(void **state)
{
	int pidfd = (int)syscall(SYS_pidfd_open, (long)getpid(), 0L);
	struct iovec vector[] = { { ram, PAGE_BYTES }, { ram + 1, PAGE_BYTES }, { ram + PAGE_BYTES, PAGE_BYTES } };

	(void)state;
	if (call_process_madvise(pidfd, vector, 0, MADV_DONTNEED) < 0)
		skip();
	assert_int_equal(call_process_madvise(pidfd, vector, 3, MADV_DONTNEED), PAGE_BYTES);
	assert_int_equal(errno, ERRNO_BEFORE);
	expect_bracket(CHANGE_DISCARD, ram, PAGE_BYTES, MADV_DONTNEED, true);
	expect_failure(call_process_madvise(pidfd, vector + 1, 2, MADV_DONTNEED), EINVAL);
	expect_nothing();
	assert_int_equal(ram[PAGE_BYTES], 'r');
	expect_failure(call_process_madvise(pidfd, (void *)8, 3, MADV_DONTNEED), EFAULT);
	expect_failure(call_process_madvise(-1, vector, 1, MADV_DONTNEED), EBADF);
	expect_nothing();
	close(pidfd);
}

/** With no descriptor left, or no /proc, it cannot be told whose memory it is. */
static void process_madvise_of_nobody_knows_whom(void **state)
{
	int pidfd = (int)syscall(SYS_pidfd_open, (long)getpid(), 0L);
	struct iovec entry = { ram, PAGE_BYTES };

	(void)state;
	if (call_process_madvise(pidfd, &entry, 0, MADV_DONTNEED) < 0)
		skip();
	errno = ERRNO_BEFORE;
	recorder_proc_result = -EMFILE;
	expect_failure(call_process_madvise(pidfd, &entry, 1, MADV_DONTNEED), ENOMEM);
	expect_nothing();
	assert_int_equal(ram[0], 'r');
	close(pidfd);
}

static void process_madvise_of_another(void **state)
{
	struct iovec entry = { ram, BYTES };
	int pid, pidfd;

	(void)state;
	pid = fork();
	if (pid == 0) {
		pause();
		_exit(0);
	}
	pidfd = (int)syscall(SYS_pidfd_open, (long)pid, 0L);
	call_process_madvise(pidfd, &entry, 1, MADV_DONTNEED);
	call_process_madvise(pidfd, &entry, 1, MADV_COLLAPSE);
	expect_nothing();
	assert_int_equal(ram[0], 'r');
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(pidfd);
}

static void process_madvise_mergeable(void **state)
{
	int pidfd = (int)syscall(SYS_pidfd_open, (long)getpid(), 0L);
	struct iovec entry = { other, BYTES };

	(void)state;
	recorder_register_result = 1;
	if (call_process_madvise(pidfd, &entry, 0, MADV_MERGEABLE) == 0) {
		assert_int_equal(call_process_madvise(pidfd, &entry, 1, MADV_MERGEABLE), BYTES);
		assert_int_equal(records_count, 1);
		assert_int_equal(records[0].kind, RECORDED_REGISTER);
	}
	close(pidfd);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CALL_TEST(process_madvise_of_ourselves),
		CALL_TEST(process_madvise_stops_at_an_error),
		CALL_TEST(process_madvise_of_nobody_knows_whom),
		CALL_TEST(process_madvise_of_another),
		CALL_TEST(process_madvise_mergeable),
	};

	return calls_run(tests);
}
