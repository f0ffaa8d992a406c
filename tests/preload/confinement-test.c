/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The library hears of system call filters before they come into force, and of those that do not after all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/preload/calls.h"

#define NO_FLAGS 0L

static long confine(const struct sock_fprog *program)
{
	return by_number ? syscall(SYS_seccomp, (long)SECCOMP_SET_MODE_FILTER, NO_FLAGS, program)
			 : prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program);
}

/** What the kernel refuses, so that this process stays what it is. */
static void refused(void **state)
{
	struct sock_filter one[] = { BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 1) }, three[] = { one[0], one[0], one[0] };
	struct sock_fprog program = { 1, one };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		expect_failure(confine(&program), EINVAL);
		assert_int_equal(records_count, 2);
		assert_int_equal(records[0].kind, RECORDED_CONFINE);
		assert_int_equal(records[0].detail, program.len);
		assert_int_equal(records[1].kind, RECORDED_CONFINE_FAILED);
		records_count = 0;
		errno = ERRNO_BEFORE;
		program = (struct sock_fprog){ 3, three };
	}
	if (!by_number)
		return;
	expect_failure(syscall(SYS_prctl, (long)PR_SET_SECCOMP, (long)SECCOMP_MODE_FILTER, &program), EINVAL);
	assert_int_equal(records_count, 2);
}

/** Programs that cannot be read, modes that are none, and what is no filter. */
static void unreadable(void **state)
{
	struct sock_fprog nowhere = { 3, (struct sock_filter *)8 }, empty = { 0, NULL };

	(void)state;
	assert_int_equal(confine(NULL), -1);
	assert_int_equal(confine((const struct sock_fprog *)8), -1);
	assert_int_equal(confine(&nowhere), -1);
	assert_int_equal(confine(&empty), -1);
	assert_int_equal(syscall(SYS_seccomp, (long)SECCOMP_SET_MODE_STRICT, 1L, NULL), -1);
	assert_int_equal(prctl(PR_SET_SECCOMP, 77, NULL), -1);
	prctl(PR_GET_DUMPABLE, 0L, 0L, 0L, 0L);
	expect_nothing();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CALL_TEST(refused),
		CALL_TEST(unreadable),
	};

	return calls_run(tests);
}
