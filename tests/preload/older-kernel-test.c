/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Advice that the kernel is too old for: nothing may be dropped for it. A system call filter is that kernel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "common/madvise.h"
#include "tests/preload/calls.h"

static void newer_discards_are_not_begun(void **state)
{
	static const int advices[] = { MADV_DONTNEED_LOCKED, MADV_GUARD_INSTALL };

	(void)state;
	for (size_t i = 0; i < sizeof(advices) / sizeof(*advices); i++) {
		expect_failure(call_madvise(ram, BYTES, advices[i]), EINVAL);
		expect_nothing();
		assert_int_equal(ram[0], 'r');
	}
}

static void older_discards_are(void **state)
{
	(void)state;
	expect_success(call_madvise(ram, BYTES, MADV_DONTNEED));
	expect_bracket(CHANGE_DISCARD, ram, BYTES, MADV_DONTNEED, true);
	assert_int_equal(ram[0], 0);
}

/** madvise() with one of the newer kinds of advice fails with EINVAL from now on. */
static int become_older(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MADV_DONTNEED_LOCKED, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MADV_GUARD_INSTALL, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(*code), code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) < 0 ? -errno : 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CALL_TEST(newer_discards_are_not_begun),
		CALL_TEST(older_discards_are),
	};
	int r = become_older();

	if (r < 0) {
		fprintf(stderr, "skipped: no system call filter can be had: %s\n", strerror(-r));
		return 77;
	}
	return calls_run(tests);
}
