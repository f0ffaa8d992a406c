/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mmap(), munmap(), mremap(), locks, protection, policy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/mempolicy.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "preload/next.h"
#include "tests/preload/calls.h"
#include "tests/support/test.h"

long mbind(void *address, unsigned long length, int mode, const unsigned long *nodes, unsigned long nodes_max,
	   unsigned flags);
int mseal(void *address, size_t length, unsigned long flags);

/* ---- mmap, munmap, mremap ---- */

static void unmap(void **state)
{
	(void)state;
	expect_success(call_munmap(ram + PAGE_BYTES, 1));
	expect_bracket(CHANGE_UNMAP, ram + PAGE_BYTES, PAGE_BYTES, 0, true);
	assert_int_equal(msync(ram + PAGE_BYTES, PAGE_BYTES, MS_ASYNC), -1);
	errno = ERRNO_BEFORE;
	expect_failure(call_munmap(ram, 0), EINVAL);
	expect_failure(call_munmap(ram + 1, PAGE_BYTES), EINVAL);
	expect_nothing();
}

static void unmap_over_several(void **state)
{
	char *map = mmap(NULL, 4 * BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	recorder_reset(map + BYTES, BYTES);
	expect_success(call_munmap(map, 4 * BYTES));
	expect_bracket(CHANGE_UNMAP, map, 4 * BYTES, 0, true);
}

static void map_fixed(void **state)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;

	(void)state;
	assert_ptr_equal(call_mmap(ram, PAGE_BYTES + 1, PROT_READ, flags, -1, 0), ram);
	assert_int_equal(errno, ERRNO_BEFORE);
	expect_bracket(CHANGE_UNMAP, ram, 2 * PAGE_BYTES, 0, true);
	assert_int_equal(ram[0], 0);
	assert_int_equal(ram[2 * PAGE_BYTES], 'r');
	expect_failure((long)call_mmap(ram, PAGE_BYTES, PROT_READ, MAP_PRIVATE | MAP_FIXED, -1, 0), EBADF);
	expect_bracket(CHANGE_UNMAP, ram, PAGE_BYTES, 0, false);
	expect_failure((long)call_mmap(ram + 1, PAGE_BYTES, PROT_READ, flags, -1, 0), EINVAL);
	expect_nothing();
}

static void map64_fixed(void **state)
{
	(void)state;
	assert_ptr_equal(mmap64(ram, BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), ram);
	expect_bracket(CHANGE_UNMAP, ram, BYTES, 0, true);
	assert_int_equal(ram[0], 0);
}

static void map_elsewhere(void **state)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS;
	void *map;

	(void)state;
	map = call_mmap(ram, BYTES, PROT_READ, flags, -1, 0); /* a wish only */
	assert_ptr_not_equal(map, MAP_FAILED);
	assert_ptr_not_equal(map, ram);
	expect_failure((long)call_mmap(ram, BYTES, PROT_READ, flags | MAP_FIXED_NOREPLACE, -1, 0), EEXIST);
	expect_failure((long)call_mmap(ram, BYTES, PROT_READ, flags | MAP_FIXED | MAP_FIXED_NOREPLACE, -1, 0), EEXIST);
	expect_nothing();
	munmap(map, BYTES);
}

/* All six arguments arrive: the last one is the offset. */
static void map_of_file_with_offset(void **state)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	char *map;

	(void)state;
	assert_int_equal(pwrite(fd, "first", 6, 0), 6);
	assert_int_equal(pwrite(fd, "second", 7, PAGE_BYTES), 7);
	map = call_mmap(ram, PAGE_BYTES, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, PAGE_BYTES);
	assert_ptr_equal(map, ram);
	assert_string_equal(map, "second");
	expect_bracket(CHANGE_UNMAP, ram, PAGE_BYTES, 0, true);
	close(fd);
}

static void remap_moves(void **state)
{
	char *moved;

	(void)state;
	moved = call_mremap(ram, BYTES - 1, 64 * BYTES, MREMAP_MAYMOVE, NULL);
	assert_ptr_not_equal(moved, MAP_FAILED);
	expect_bracket(CHANGE_MOVE, ram, BYTES, 0, true);
	assert_int_equal(moved[BYTES - 1], 'r');
	munmap(moved, 64 * BYTES);
}

static void remap_shrinks(void **state)
{
	(void)state;
	assert_ptr_equal(call_mremap(ram, BYTES, PAGE_BYTES + 1, 0, NULL), ram);
	assert_int_equal(errno, ERRNO_BEFORE);
	expect_bracket(CHANGE_UNMAP, ram + 2 * PAGE_BYTES, BYTES - 2 * PAGE_BYTES, 0, true);
	assert_ptr_equal(call_mremap(ram, PAGE_BYTES, PAGE_BYTES, 0, NULL), ram);
	expect_nothing();
}

static void remap_over(void **state)
{
	(void)state;
	assert_ptr_equal(call_mremap(other, PAGE_BYTES, PAGE_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, ram), ram);
	expect_bracket(CHANGE_UNMAP, ram, PAGE_BYTES, 0, true);
	assert_int_equal(ram[0], 'o');
	assert_int_equal(ram[PAGE_BYTES], 'r');
}

/* Both ranges are ours: two brackets, one after the other, since a second begin inside would wait for itself. */
static void remap_within_ours(void **state)
{
	char *from = ram + PAGE_BYTES;

	(void)state;
	*from = 'f';
	assert_ptr_equal(call_mremap(from, PAGE_BYTES, PAGE_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, ram), ram);
	assert_int_equal(errno, ERRNO_BEFORE);
	assert_int_equal(records_count, 4);
	expect_bracket_at(0, CHANGE_MOVE, from, PAGE_BYTES, 0, true);
	expect_bracket_at(2, CHANGE_UNMAP, ram, PAGE_BYTES, 0, true);
	assert_int_equal(ram[0], 'f');
}

static void remap_leaves_holes(void **state)
{
	char *moved = call_mremap(ram, BYTES, BYTES, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);

	(void)state;
	assert_ptr_not_equal(moved, MAP_FAILED);
	expect_bracket(CHANGE_MOVE, ram, BYTES, 0, true);
	assert_int_equal(moved[0], 'r');
	assert_int_equal(ram[0], 0);
	munmap(moved, BYTES);
}

/* ---- locks, protection, policy ---- */

static int call_mlock(const void *address, size_t length)
{
	return by_number ? (int)syscall(SYS_mlock, address, length) : mlock(address, length);
}

static int call_mlock2(const void *address, size_t length, unsigned flags)
{
	return by_number ? (int)syscall(SYS_mlock2, address, length, (long)flags) : mlock2(address, length, flags);
}

static int call_munlock(const void *address, size_t length)
{
	return by_number ? (int)syscall(SYS_munlock, address, length) : munlock(address, length);
}

static int call_mlockall(int flags)
{
	return by_number ? (int)syscall(SYS_mlockall, (long)flags) : mlockall(flags);
}

static void locks(void **state)
{
	static const size_t one_page[] = { 0, 1, SIZE_MAX - 50 }; /* the kernel adds the 100 without a carry */

	(void)state;
	expect_success(call_mlock(ram + 100, PAGE_BYTES)); /* touches two pages */
	expect_bracket(CHANGE_LOCK, ram, 2 * PAGE_BYTES, 0, true);
	expect_success(call_mlock2(ram, 1, MLOCK_ONFAULT));
	expect_bracket(CHANGE_LOCK, ram, PAGE_BYTES, 0, true);
	expect_success(call_munlock(ram + PAGE_BYTES - 1, 2));
	expect_bracket(CHANGE_UNLOCK, ram, 2 * PAGE_BYTES, 0, true);
	expect_failure(call_mlock2(ram, PAGE_BYTES, ~MLOCK_ONFAULT), EINVAL);
	expect_nothing();
	expect_success(call_mlock(ram, 0));
	expect_success(call_mlock(other, BYTES));
	expect_success(call_munlock(other, BYTES));
	expect_nothing();
	for (unsigned i = 0; i < sizeof(one_page) / sizeof(*one_page); i++) {
		expect_success(call_mlock(ram + 100, one_page[i]));
		expect_bracket(CHANGE_LOCK, ram, PAGE_BYTES, 0, true);
		expect_success(call_munlock(ram + 100, one_page[i]));
		expect_bracket(CHANGE_UNLOCK, ram, PAGE_BYTES, 0, true);
	}
}

static void locks_all(void **state)
{
	(void)state;
	for (int used = 0; used < 2; used++) {
		recorder_reset(ram, used ? BYTES : 0);
		errno = ERRNO_BEFORE;
		expect_success(call_mlockall(MCL_CURRENT | MCL_ONFAULT));
		if (used)
			expect_bracket(CHANGE_LOCK, NULL, SIZE_MAX, MCL_CURRENT | MCL_ONFAULT, true);
		expect_success(by_number ? syscall(SYS_munlockall) : munlockall());
		if (used)
			expect_bracket(CHANGE_UNLOCK, NULL, SIZE_MAX, 0, true);
		if ((TEST_ADDRESS_SANITIZER || TEST_THREAD_SANITIZER) && !by_number)
			continue;
		/* Those that the kernel refuses are not begun. */
		expect_failure(call_mlockall(MCL_ONFAULT), EINVAL);
		expect_failure(call_mlockall(0), EINVAL);
		expect_failure(call_mlockall(MCL_CURRENT | 64), EINVAL);
		expect_nothing();
	}
}

static void protection(void **state)
{
	(void)state;
	expect_success(call_mprotect(ram, PAGE_BYTES, PROT_NONE));
	expect_bracket(CHANGE_PROTECT, ram, PAGE_BYTES, PROT_NONE, true);
	expect_success(call_pkey_mprotect(ram, PAGE_BYTES, PROT_READ, -1));
	expect_bracket(CHANGE_PROTECT, ram, PAGE_BYTES, PROT_READ, true);
	assert_int_equal(ram[0], 'r');
	expect_failure(call_pkey_mprotect(ram, PAGE_BYTES, PROT_READ, 9), EINVAL); /* not allocated */
	expect_bracket(CHANGE_ATTRIBUTE, ram, PAGE_BYTES, PROT_READ, false);
}

static int call_mseal(void *address, size_t length, unsigned long flags)
{
	return by_number ? (int)syscall(SYS_mseal, address, length, flags) : mseal(address, length, flags);
}

/** What is sealed stays until the end of the test. */
static void seals(void **state)
{
	char *lasting = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool known = syscall(SYS_mseal, 0L, 0L, 0L) == 0;

	(void)state;
	assert_ptr_not_equal(lasting, MAP_FAILED);
	recorder_reset(lasting, BYTES);
	errno = ERRNO_BEFORE;
	if (known) {
		expect_success(call_mseal(lasting + PAGE_BYTES, PAGE_BYTES + 1, 0));
		expect_bracket(CHANGE_SEAL, lasting + PAGE_BYTES, 2 * PAGE_BYTES, 0, true);
	}
	/* Those that the kernel refuses for their arguments, or as it knows none, are not begun. */
	assert_int_equal(call_mseal(lasting, PAGE_BYTES, 1), -1);
	assert_int_equal(call_mseal(lasting + 1, PAGE_BYTES, 0), -1);
	assert_int_equal(call_mseal(lasting, known ? 0 : PAGE_BYTES, 0), known ? 0 : -1);
	expect_nothing();
}

static void policy(void **state)
{
	const unsigned long node_0 = 1;
	long result;

	(void)state;
	result = by_number ? syscall(SYS_mbind, ram, BYTES, 0L, NULL, 0L, 0L) : mbind(ram, BYTES, 0, NULL, 0, 0);
	expect_bracket(CHANGE_POLICY, ram, BYTES, 0, result == 0);
	result = by_number ? syscall(SYS_mbind, ram, BYTES, (long)MPOL_BIND, &node_0, 2L, 0L)
			   : mbind(ram, BYTES, MPOL_BIND, &node_0, 2, 0);
	expect_bracket(CHANGE_POLICY, ram, BYTES, MPOL_BIND, result == 0);
	result = syscall(450L /* set_mempolicy_home_node */, ram, BYTES, 0L, 0L);
	expect_bracket(CHANGE_NOTHING, ram, BYTES, 0, result == 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CALL_TEST(unmap),
		CALL_TEST(unmap_over_several),
		CALL_TEST(map_fixed),
		CALL_TEST(map64_fixed),
		CALL_TEST(map_elsewhere),
		CALL_TEST(map_of_file_with_offset),
		CALL_TEST(remap_moves),
		CALL_TEST(remap_shrinks),
		CALL_TEST(remap_over),
		CALL_TEST(remap_within_ours),
		CALL_TEST(remap_leaves_holes),
		CALL_TEST(locks),
		CALL_TEST(locks_all),
		CALL_TEST(protection),
		CALL_TEST(seals),
		CALL_TEST(policy),
	};

	return calls_run(tests);
}
