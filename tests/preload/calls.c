/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/preload/calls.h"

bool by_number;
char *ram, *other;

static void *map_bytes(int byte)
{
	char *map = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(map, MAP_FAILED);
	memset(map, byte, BYTES);
	return map;
}

int calls_set_up(void **state)
{
	(void)state;
	recorder_reset(NULL, 0);
	ram = map_bytes('r');
	other = map_bytes('o');
	recorder_reset(ram, BYTES);
	errno = ERRNO_BEFORE;
	return 0;
}

int calls_tear_down(void **state)
{
	(void)state;
	recorder_reset(NULL, 0);
	munmap(ram, BYTES);
	munmap(other, BYTES);
	return 0;
}

/* ---- what was recorded ---- */

void expect_nothing(void)
{
	assert_int_equal(records_count, 0);
}

void expect_bracket_at(unsigned at, enum memory_change change, void *address, size_t length, int detail,
		       bool succeeded)
{
	assert_true(records_count >= at + 2);
	for (unsigned i = at; i < at + 2; i++) {
		assert_int_equal(records[i].kind, i == at ? RECORDED_BEGIN : RECORDED_END);
		assert_int_equal(records[i].change, change);
		assert_ptr_equal(records[i].address, address);
		assert_int_equal(records[i].length, length);
		assert_int_equal(records[i].detail, detail);
	}
	assert_int_equal(records[at + 1].succeeded, succeeded);
}

/* Exactly one begin and its end, and the records are used up. */
void expect_bracket(enum memory_change change, void *address, size_t length, int detail, bool succeeded)
{
	expect_bracket_at(0, change, address, length, detail, succeeded);
	assert_int_equal(records_count, 2);
	records_count = 0;
}

void expect_success(long result)
{
	assert_int_equal(result, 0);
	assert_int_equal(errno, ERRNO_BEFORE);
}

void expect_failure(long result, int error)
{
	assert_int_equal(result, -1);
	assert_int_equal(errno, error);
	errno = ERRNO_BEFORE;
}

/* ---- the calls, by name or by number ---- */

int call_madvise(void *address, size_t length, int advice)
{
	return by_number ? (int)syscall(SYS_madvise, address, length, (long)advice) : madvise(address, length, advice);
}

ssize_t call_process_madvise(int pidfd, const struct iovec *vector, size_t count, int advice)
{
	return by_number ? syscall(SYS_process_madvise, (long)pidfd, vector, count, (long)advice, 0L)
			 : process_madvise(pidfd, vector, count, advice, 0);
}

void *call_mmap(void *address, size_t length, int prot, int flags, int fd, off_t offset)
{
	if (by_number)
		return (void *)syscall(SYS_mmap, address, length, (long)prot, (long)flags, (long)fd, offset);
	return mmap(address, length, prot, flags, fd, offset);
}

int call_munmap(void *address, size_t length)
{
	return by_number ? (int)syscall(SYS_munmap, address, length) : munmap(address, length);
}

void *call_mremap(void *old, size_t old_length, size_t new_length, int flags, void *new_address)
{
	if (by_number)
		return (void *)syscall(SYS_mremap, old, old_length, new_length, (long)flags, new_address);
	return mremap(old, old_length, new_length, flags, new_address);
}

int call_mprotect(void *address, size_t length, int prot)
{
	return by_number ? (int)syscall(SYS_mprotect, address, length, (long)prot) : mprotect(address, length, prot);
}

int call_pkey_mprotect(void *address, size_t length, int prot, int pkey)
{
	return by_number ? (int)syscall(SYS_pkey_mprotect, address, length, (long)prot, (long)pkey)
			 : pkey_mprotect(address, length, prot, pkey);
}

int calls_run_tests(const struct CMUnitTest *tests, size_t count)
{
	int failed = 0;

	for (int i = 0; i < 2; i++) {
		by_number = i == 1;
		failed += _cmocka_run_group_tests(by_number ? "by number" : "by name", tests, count, NULL, NULL);
	}
	return failed != 0;
}
