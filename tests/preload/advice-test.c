/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* madvise() and posix_madvise(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/madvise.h"
#include "include/pagefuse.h"
#include "tests/preload/calls.h"

static void mergeable_served(void **state)
{
	(void)state;
	recorder_register_result = 1;
	expect_success(call_madvise(other, BYTES - 1, MADV_MERGEABLE));
	assert_int_equal(records_count, 1);
	assert_int_equal(records[0].kind, RECORDED_REGISTER);
	assert_ptr_equal(records[0].address, other);
	assert_int_equal(records[0].length, BYTES);
}

/* The flag that KSM goes by, from smaps. */
static bool is_mergeable(const void *address)
{
	FILE *smaps = fopen("/proc/self/smaps", "re");
	bool inside = false, found = false;
	char line[512];

	assert_non_null(smaps);
	while (!found && fgets(line, sizeof(line), smaps) != NULL) {
		unsigned long start, end;

		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			inside = start <= (unsigned long)address && (unsigned long)address < end;
		found = inside && strncmp(line, "VmFlags:", 8) == 0;
	}
	fclose(smaps);
	assert_true(found);
	return strstr(line, " mg") != NULL;
}

static void mergeable_goes_to_the_kernel_if_not_served(void **state)
{
	(void)state;
	recorder_register_result = 1;
	call_madvise(other, BYTES, MADV_MERGEABLE);
	assert_false(is_mergeable(other));
	for (int answer = 0; answer >= -EOPNOTSUPP; answer -= EOPNOTSUPP) {
		recorder_reset(ram, BYTES);
		recorder_register_result = answer;
		errno = ERRNO_BEFORE;
		if (call_madvise(other, BYTES, MADV_MERGEABLE) < 0) {
			assert_int_equal(errno, EINVAL); /* a kernel without KSM */
			skip();
		}
		assert_int_equal(errno, ERRNO_BEFORE);
		assert_int_equal(records_count, 1);
		assert_true(is_mergeable(other));
		syscall(SYS_madvise, other, BYTES, (long)MADV_UNMERGEABLE);
		assert_false(is_mergeable(other));
	}
}

static void mergeable_not_aligned(void **state)
{
	(void)state;
	recorder_register_result = 1;
	expect_failure(call_madvise(other + 1, BYTES, MADV_MERGEABLE), EINVAL);
	expect_nothing();
}

static void unmergeable(void **state)
{
	int result;

	(void)state;
	result = call_madvise(ram, BYTES, MADV_UNMERGEABLE);
	expect_bracket(CHANGE_UNMERGEABLE, ram, BYTES, MADV_UNMERGEABLE, result == 0);
}

static void still_there(void)
{
	assert_int_equal(ram[PAGE_BYTES], 'r'); /* begin comes before the call, not after it */
}

static void discard(void **state)
{
	(void)state;
	recorder_in_begin = still_there;
	expect_success(call_madvise(ram + PAGE_BYTES, 2 * PAGE_BYTES, MADV_DONTNEED));
	expect_bracket(CHANGE_DISCARD, ram + PAGE_BYTES, 2 * PAGE_BYTES, MADV_DONTNEED, true);
	assert_int_equal(ram[0], 'r');
	assert_int_equal(ram[PAGE_BYTES], 0);
	assert_int_equal(ram[2 * PAGE_BYTES], 0);
	assert_int_equal(ram[3 * PAGE_BYTES], 'r');
}

static void discards_of_other_kinds(void **state)
{
	static const int advices[] = { MADV_FREE, MADV_DONTNEED_LOCKED, MADV_GUARD_INSTALL };

	(void)state;
	for (size_t i = 0; i < sizeof(advices) / sizeof(*advices); i++) {
		int result = call_madvise(ram, PAGE_BYTES, advices[i]);

		if (result == 0)
			expect_bracket(CHANGE_DISCARD, ram, PAGE_BYTES, advices[i], true);
		else
			expect_nothing(); /* newer than this kernel */
	}
	call_madvise(ram, PAGE_BYTES, MADV_GUARD_REMOVE);
	expect_nothing();
}

static void discard_rounds_as_the_kernel_does(void **state)
{
	(void)state;
	expect_success(call_madvise(ram, 1, MADV_DONTNEED));
	expect_bracket(CHANGE_DISCARD, ram, PAGE_BYTES, MADV_DONTNEED, true);
}

/* The library drops content in begin: not for a call that the kernel refuses. */
static void refused_calls_are_not_begun(void **state)
{
	(void)state;
	expect_failure(call_madvise(ram + 8, PAGE_BYTES, MADV_DONTNEED), EINVAL);
	expect_failure(call_madvise(ram, SIZE_MAX, MADV_DONTNEED), EINVAL);
	expect_failure(call_madvise(ram, SIZE_MAX - 2 * PAGE_BYTES, MADV_DONTNEED), EINVAL);
	expect_success(call_madvise(ram, 0, MADV_DONTNEED));
	expect_nothing();
	assert_int_equal(ram[0], 'r');
}

/* MADV_REMOVE fails on private memory. What fails must not have dropped anything. */
static void remove_is_no_discard(void **state)
{
	(void)state;
	assert_int_equal(call_madvise(ram, BYTES, MADV_REMOVE), -1);
	expect_bracket(CHANGE_REMOVE, ram, BYTES, MADV_REMOVE, false);
	assert_int_equal(ram[0], 'r');
}

static void advice_is_remembered(void **state)
{
	static const int advices[] = { MADV_DONTFORK, MADV_DOFORK, MADV_DONTDUMP, MADV_DODUMP, MADV_HUGEPAGE,
				       MADV_NOHUGEPAGE };

	(void)state;
	for (size_t i = 0; i < sizeof(advices) / sizeof(*advices); i++) {
		int result = call_madvise(ram, BYTES, advices[i]);

		expect_bracket(CHANGE_ADVICE, ram, BYTES, advices[i], result == 0);
	}
}

static void advice_that_a_merge_would_lose(void **state)
{
	(void)state;
	expect_success(call_madvise(ram, BYTES, MADV_WIPEONFORK));
	expect_bracket(CHANGE_MOVE, ram, BYTES, MADV_WIPEONFORK, true);
}

static void collapse_excludes_holds(void **state)
{
	int result;

	(void)state;
	result = call_madvise(ram, BYTES, MADV_COLLAPSE);
	expect_bracket(CHANGE_NOTHING, ram, BYTES, MADV_COLLAPSE, result == 0);
}

static void advice_that_needs_nothing(void **state)
{
	static const int advices[] = {
		MADV_NORMAL,
		MADV_RANDOM,
		MADV_SEQUENTIAL,
		MADV_WILLNEED,
		MADV_COLD,
		MADV_PAGEOUT,
		MADV_POPULATE_READ,
		MADV_POPULATE_WRITE,
		MADV_KEEPONFORK,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(advices) / sizeof(*advices); i++)
		call_madvise(ram, BYTES, advices[i]);
	expect_nothing();
}

static void not_ours(void **state)
{
	(void)state;
	expect_success(call_madvise(other, BYTES, MADV_DONTNEED));
	expect_success(call_mprotect(other, BYTES, PROT_READ));
	expect_success(call_munmap(other, BYTES));
	expect_nothing();
}

static void posix_dontneed_keeps_content(void **state)
{
	(void)state;
	assert_int_equal(posix_madvise(ram, BYTES, POSIX_MADV_DONTNEED), 0);
	assert_int_equal(posix_madvise(ram, BYTES, POSIX_MADV_WILLNEED), 0);
	assert_int_equal(posix_madvise(ram + 1, BYTES, POSIX_MADV_WILLNEED), EINVAL);
	assert_int_equal(errno, ERRNO_BEFORE);
	assert_int_equal(ram[0], 'r');
	expect_nothing();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CALL_TEST(mergeable_served),
		CALL_TEST(mergeable_goes_to_the_kernel_if_not_served),
		CALL_TEST(mergeable_not_aligned),
		CALL_TEST(unmergeable),
		CALL_TEST(discard),
		CALL_TEST(discards_of_other_kinds),
		CALL_TEST(discard_rounds_as_the_kernel_does),
		CALL_TEST(refused_calls_are_not_begun),
		CALL_TEST(remove_is_no_discard),
		CALL_TEST(advice_is_remembered),
		CALL_TEST(advice_that_a_merge_would_lose),
		CALL_TEST(collapse_excludes_holds),
		CALL_TEST(advice_that_needs_nothing),
		CALL_TEST(not_ours),
		CALL_TEST(posix_dontneed_keeps_content),
	};

	return calls_run(tests);
}
