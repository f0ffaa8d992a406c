/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What holds for every call: refused by the library, done by the library, entered again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "preload/next.h"
#include "tests/preload/calls.h"

long mbind(void *address, unsigned long length, int mode, const unsigned long *nodes, unsigned long nodes_max,
	   unsigned flags);

static void number_with_high_bits(void **state)
{
	(void)state;
	expect_success(syscall(SYS_madvise | (1L << 40), ram, BYTES, (long)MADV_DONTNEED));
	expect_bracket(CHANGE_DISCARD, ram, BYTES, MADV_DONTNEED, true);
}

static void begin_can_fail_the_call(void **state)
{
	(void)state;
	recorder_begin_result = -ENOMEM;
	expect_failure(call_madvise(ram, BYTES, MADV_DONTNEED), ENOMEM);
	expect_failure(call_munmap(ram, BYTES), ENOMEM);
	expect_failure((long)call_mremap(ram, BYTES, 2 * BYTES, MREMAP_MAYMOVE, NULL), ENOMEM);
	expect_failure((long)call_mmap(ram, BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), ENOMEM);
	assert_int_equal(records_count, 4);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(records[i].kind, RECORDED_BEGIN);
	assert_int_equal(ram[0], 'r');
	recorder_reset(ram, BYTES);
	expect_success(call_madvise(ram, BYTES, MADV_DONTNEED)); /* and the thread is not left inside */
	expect_bracket(CHANGE_DISCARD, ram, BYTES, MADV_DONTNEED, true);
}

/* The library writes zeros by itself where a discard could not split a mapping. */
static void begin_can_do_the_discard(void **state)
{
	int pidfd = (int)syscall(SYS_pidfd_open, (long)getpid(), 0L);
	struct iovec vector[] = { { ram, PAGE_BYTES }, { ram + PAGE_BYTES, PAGE_BYTES } };

	(void)state;
	recorder_begin_result = 1;
	expect_success(call_madvise(ram, BYTES, MADV_DONTNEED));
	assert_int_equal(records_count, 1);
	assert_int_equal(ram[0], 'r'); /* no other call was made */
	if (call_process_madvise(pidfd, vector, 0, MADV_DONTNEED) == 0) {
		assert_int_equal(call_process_madvise(pidfd, vector, 2, MADV_DONTNEED), 2 * PAGE_BYTES);
		assert_int_equal(records_count, 3);
		assert_int_equal(ram[0], 'r');
	}
	close(pidfd);
	recorder_reset(ram, BYTES);
	errno = ERRNO_BEFORE;
	expect_success(call_madvise(ram, BYTES, MADV_DONTNEED));
	expect_bracket(CHANGE_DISCARD, ram, BYTES, MADV_DONTNEED, true);
}

static void call_again(void)
{
	call_madvise(ram, PAGE_BYTES, MADV_DONTNEED);
	call_madvise(ram, PAGE_BYTES, MADV_MERGEABLE);
	call_mprotect(ram, PAGE_BYTES, PROT_READ | PROT_WRITE);
	mlockall(MCL_ONFAULT);
	munlockall();
}

static void on_signal(int number)
{
	(void)number;
	call_again();
}

static void raise_signal(void)
{
	raise(SIGUSR1);
}

static void reentry_goes_straight_on(void **state)
{
	(void)state;
	recorder_in_begin = call_again;
	expect_success(call_madvise(ram + PAGE_BYTES, PAGE_BYTES, MADV_DONTNEED));
	expect_bracket(CHANGE_DISCARD, ram + PAGE_BYTES, PAGE_BYTES, MADV_DONTNEED, true);
	assert_int_equal(ram[0], 0);

	signal(SIGUSR1, on_signal);
	recorder_in_begin = raise_signal;
	expect_success(call_madvise(ram + PAGE_BYTES, PAGE_BYTES, MADV_DONTNEED));
	expect_bracket(CHANGE_DISCARD, ram + PAGE_BYTES, PAGE_BYTES, MADV_DONTNEED, true);
	signal(SIGUSR1, SIG_DFL);
}

/* libnuma's mbind() is made of syscall(): the real call comes back to us, ours or not. */
static long mbind_of_libnuma(void *address, unsigned long length, int mode, const unsigned long *nodes,
			     unsigned long nodes_max, unsigned flags)
{
	return syscall(SYS_mbind, address, length, (long)mode, nodes, nodes_max, (long)flags);
}

static void real_call_made_of_syscall(void **state)
{
	typeof(next.mbind) before = next.mbind;
	long result;

	(void)state;
	next.mbind = mbind_of_libnuma;
	result = mbind(ram, BYTES, 0, NULL, 0, 0);
	expect_bracket(CHANGE_POLICY, ram, BYTES, 0, result == 0);
	assert_int_equal(mbind(other, BYTES, 0, NULL, 0, 0), result);
	expect_nothing();
	next.mbind = before;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CALL_TEST(number_with_high_bits),
		CALL_TEST(begin_can_fail_the_call),
		CALL_TEST(begin_can_do_the_discard),
		CALL_TEST(reentry_goes_straight_on),
		CALL_TEST(real_call_made_of_syscall),
	};

	return calls_run(tests);
}
