/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mlock(), mlockall() and what the kernel refuses of them. */
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "library/sys.h"
#include "tests/preload/ram.h"
#include "tests/support/test.h"

static void test_lock(bool on_fault)
{
	struct ram ram;
	long r;

	ram_begin(&ram);
	r = on_fault ? ram_call(SYS_mlock2, ram_at(&ram, 8), 16 * PAGE_BYTES, MLOCK_ONFAULT, 0, 0, 0)
		     : ram_call(SYS_mlock, ram_at(&ram, 8), 16 * PAGE_BYTES, 0, 0, 0, 0);
	if (r < 0)
		test_skip("mlock: %s", strerror(errno));
	ram_check(&ram, "after mlock");
	ram_expect_private(&ram, 8, 16);
	ram_expect_left_alone(&ram, 8, 16);
	ram_call(SYS_munlock, ram_at(&ram, 8), 16 * PAGE_BYTES, 0, 0, 0, 0);
	ram_expect_sharing_again(&ram, 8, 16);
	ram_end(&ram);
}

static void test_lock_all(void)
{
	long flags = MCL_CURRENT | MCL_ONFAULT; /* not populating: all of the store would be, too */
	struct ram ram;
	long r;

	ram_begin(&ram);
	r = way == BY_NAME ? mlockall((int)flags) : syscall(SYS_mlockall, flags);
	if (r < 0)
		test_skip("mlockall: %s", strerror(errno));
	ram_check(&ram, "after mlockall");
	ram_expect_private(&ram, 0, PAGES);
	ram_expect_left_alone(&ram, 0, PAGES);
	r = way == BY_NAME ? munlockall() : syscall(SYS_munlockall);
	test_check(r == 0, "munlockall: %s", strerror(errno));
	ram_expect_sharing_again(&ram, 0, PAGES);
	ram_end(&ram);
}

/** What the kernel says to such a call made past the preload, which fails, or is undone. */
static int error_of(long number, long a, long b)
{
	long r = sys_raw(number, a, b, 0, 0, 0, 0);

	if (r == 0 && (number == SYS_mlockall))
		sys_raw(SYS_munlockall, 0, 0, 0, 0, 0, 0);
	return r < 0 ? (int)-r : 0;
}

static void set_effective(uint32_t clear, uint32_t set)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	test_check(syscall(SYS_capget, &header, data) == 0, "capget: %s", strerror(errno));
	data[0].effective = (data[0].effective & ~clear) | (set & data[0].permitted);
	test_check(syscall(SYS_capset, &header, data) == 0, "capset: %s", strerror(errno));
}

/** A call that has to end as without the preload, and leaves all that it does not lock as it was. */
static void expect_refused(const struct ram *ram, long number, long a, long b)
{
	int error = error_of(number, a, b);
	long r = ram_call(number, (void *)a, (size_t)b, 0, 0, 0, 0);

	test_check(error != 0, "the kernel lets system call %ld through: this test is broken", number);
	test_check(r == -1 && errno == error, "system call %ld ends with %ld, %s, and past the preload with %s", number,
		   r, strerror(errno), strerror(error));
	ram_check(ram, "after a lock that was refused");
}

/** RLIMIT_MEMLOCK, for a VMM that has no CAP_IPC_LOCK. */
static void test_lock_limit(void)
{
	struct rlimit before, limit;
	uint32_t shared;
	struct ram ram;

	ram_begin(&ram);
	director_audit(vm, ram.page, PAGES); /* what has been written */
	shared = director_count(vm, ram.page, PAGES, DIRECTOR_SHARED);
	getrlimit(RLIMIT_MEMLOCK, &before);
	set_effective(UINT32_C(1) << CAP_IPC_LOCK, 0);
	limit = (struct rlimit){ 0, before.rlim_max };
	test_check(setrlimit(RLIMIT_MEMLOCK, &limit) == 0, "setrlimit: %s", strerror(errno));
	expect_refused(&ram, SYS_mlock, (long)ram_at(&ram, 0), PAGE_BYTES);
	expect_refused(&ram, SYS_mlockall, MCL_CURRENT | MCL_ONFAULT, 0);
	expect_refused(&ram, SYS_mlockall, MCL_FUTURE, 0);
	director_audit(vm, ram.page, PAGES);
	test_check(director_count(vm, ram.page, PAGES, DIRECTOR_SHARED) == shared, "may not lock, and shares no more");
	limit = (struct rlimit){ 8 * PAGE_BYTES, before.rlim_max };
	test_check(setrlimit(RLIMIT_MEMLOCK, &limit) == 0, "setrlimit: %s", strerror(errno));
	expect_refused(&ram, SYS_mlock, (long)ram_at(&ram, 0), 16 * PAGE_BYTES);
	ram_expect_sharing_again(&ram, 0, 16);
	expect_refused(&ram, SYS_mlockall, MCL_CURRENT | MCL_ONFAULT, 0);
	ram_expect_sharing_again(&ram, 0, PAGES);
	setrlimit(RLIMIT_MEMLOCK, &before);
	set_effective(0, UINT32_C(1) << CAP_IPC_LOCK);
	ram_end(&ram);
}

/** The sanitizers answer libc's mlock, munlock and the like by themselves: such a call never reaches the preload. */
void test_locks(void)
{
	if (way == BY_NAME && (TEST_ADDRESS_SANITIZER || TEST_THREAD_SANITIZER))
		return;
	test_lock(false);
	test_lock(true);
	test_lock_all();
	test_lock_limit();
}
