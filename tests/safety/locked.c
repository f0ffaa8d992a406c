/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VMM that locks its memory, all of it or a range, with every combination of flags, once the worker has held pages:
 * the call comes back, what it locks is left alone and told, every byte is right, discards do what they do without
 * sharing, and no memory of the library's own is locked or filled. After munlockall() all of it is shared again.
 *
 * The VMM is a puppet, as the director's mappings would be locked and filled, too.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/madvise.h"
#include "include/pagefuse.h"
#include "library/memory.h"
#include "library/sys.h"
#include "tests/support/guest.h"
#include "tests/support/puppet.h"

#define PAGES 2048u
#define BYTES (PAGES * PAGE_BYTES)
#define STACK_BYTES (256 * 1024)
/** The worker's stack, which is libc's, and those of this test's threads, of which libc may keep some. */
#define LOCKED_BESIDES_BYTES (5L * STACK_BYTES)

static struct guest g;

/* ---- the VMM's calls, as the preload makes them ---- */

struct call {
	enum memory_change what;
	long number;
	void *address;
	size_t length;
	long third;  /* of its arguments */
	bool of_all; /* the arguments of the system call are then: third */
	int error;   /* out */
	_Atomic int tid;
	atomic_bool done, seen;
};

static void make(struct call *call)
{
	void *address = call->of_all ? NULL : call->address;
	size_t length = call->of_all ? SIZE_MAX : call->length;
	int r = memory_change_begin(call->what, address, length, (int)call->third);

	call->error = r < 0 ? -r : 0;
	if (r != 0)
		return;
	r = call->of_all ? (int)syscall(call->number, call->third)
			 : (int)syscall(call->number, address, length, call->third);
	call->error = r < 0 ? errno : 0;
	memory_change_end(call->what, address, length, (int)call->third, r == 0);
}

static void *make_in_thread(void *argument)
{
	struct call *call = argument;

	atomic_store(&call->tid, gettid());
	make(call);
	atomic_store(&call->done, true);
	while (!atomic_load(&call->seen)) /* who waits looks at this thread */
		sched_yield();
	return NULL;
}

static pthread_t start(struct call *call)
{
	pthread_attr_t attributes;
	pthread_t thread;
	int r;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	r = pthread_create(&thread, &attributes, make_in_thread, call);
	pthread_attr_destroy(&attributes);
	test_check(r == 0, "pthread_create: %s", strerror(r));
	return thread;
}

static bool sleeps(const struct call *call)
{
	int tid = atomic_load(&call->tid);

	return tid != 0 && test_thread_sleeps(tid);
}

/** Waits for a call to come back. One that sleeps, and fills no memory meanwhile, does not. */
static void join(struct call *call, pthread_t thread)
{
	uint64_t filled = 0, deadline_msec = 0;

	while (!atomic_load(&call->done)) {
		uint64_t now = pages_rollup("Rss:");

		if (deadline_msec == 0 || now != filled || !sleeps(call))
			deadline_msec = test_patient_msec() + (uint64_t)TEST_DEADLINE_SECONDS * 1000;
		filled = now;
		if (test_patient_msec() > deadline_msec)
			test_damage("system call %ld with %ld does not come back", call->number, call->third);
		sched_yield();
	}
	atomic_store(&call->seen, true);
	pthread_join(thread, NULL);
	test_progress();
}

static PUPPET long make_and_join(struct call call)
{
	join(&call, start(&call));
	return call.error;
}

static PUPPET struct call call_on(enum memory_change what, long number, long first, long count, long third)
{
	return (struct call){ .what = what,
			      .number = number,
			      .address = guest_at(&g, (uint32_t)first),
			      .length = (size_t)count * PAGE_BYTES,
			      .third = third };
}

static PUPPET long lock_all(long flags, long b, long c)
{
	(void)b;
	(void)c;
	return make_and_join(
		(struct call){ .what = CHANGE_LOCK, .number = SYS_mlockall, .third = flags, .of_all = true });
}

static PUPPET long unlock_all(long a, long b, long c)
{
	(void)a;
	(void)b;
	(void)c;
	return make_and_join((struct call){ .what = CHANGE_UNLOCK, .number = SYS_munlockall, .of_all = true });
}

static PUPPET long lock(long first, long count, long c)
{
	(void)c;
	return make_and_join(call_on(CHANGE_LOCK, SYS_mlock, first, count, 0));
}

static PUPPET long unlock(long first, long count, long c)
{
	(void)c;
	return make_and_join(call_on(CHANGE_UNLOCK, SYS_munlock, first, count, 0));
}

static PUPPET long discard(long first, long count, long advice)
{
	return make_and_join(call_on(CHANGE_DISCARD, SYS_madvise, first, count, advice));
}

static PUPPET long unmap(long first, long count, long c)
{
	(void)c;
	return make_and_join(call_on(CHANGE_UNMAP, SYS_munmap, first, count, 0));
}

/** Memory like the rest of the guest's, in place of some that was unmapped. */
static PUPPET long map_again(long first, long count, long c)
{
	void *memory = guest_at(&g, (uint32_t)first);
	size_t length = (size_t)count * PAGE_BYTES;

	(void)c;
	test_check(mmap(memory, length, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED,
		   "mmap: %s", strerror(errno));
	madvise(memory, length, MADV_NOHUGEPAGE);
	return memory_register(memory, length);
}

static PUPPET long make_plain(long a, long b, long c)
{
	(void)a;
	(void)b;
	(void)c;
	guest_make_plain(&g, 0, PAGES);
	return 0;
}

/* ---- what is to be seen ---- */

static uint64_t *contents; /* that each page must read; of both processes */

static void expect_content(uint32_t first, uint32_t count, uint64_t content)
{
	for (uint32_t i = first; i < first + count; i++)
		contents[i] = content;
}

static PUPPET long fill(long first, long step, long c)
{
	(void)c;
	for (uint32_t i = (uint32_t)first; i < PAGES; i += (uint32_t)step)
		pages_fill(guest_at(&g, i), contents[i]);
	return 0;
}

static PUPPET long find_wrong(long a, long b, long c)
{
	(void)a;
	(void)b;
	(void)c;
	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_differ(guest_at(&g, i), contents[i]) >= 0)
			return i;
	return -1;
}

static void check(const char *when)
{
	long wrong = puppet_call(find_wrong, 0, 0, 0);

	if (wrong >= 0)
		test_damage("page %ld reads wrong bytes %s", wrong, when);
}

/** Shares nearly all of it; some is written then, so that there are copies in between. */
static void share(const char *when)
{
	uint32_t shared = 0;

	for (uint32_t i = 0; i < PAGES; i++)
		contents[i] = i % 16 == 0 ? 0 : i + 1;
	puppet_call(fill, 0, 1, 0);
	director_scan(g.vm, g.page, PAGES);
	for (uint32_t i = 0; i < PAGES; i += 16) {
		shared += director_zero(g.vm, g.page + i, 1);
		shared += director_share(g.vm, g.page + i + 1, 15);
	}
	test_check(shared == PAGES, "%u pages are shared %s", shared, when);
	for (uint32_t i = 5; i < PAGES; i += 50)
		contents[i] = i + 5000;
	puppet_call(fill, 5, 50, 0);
	check(when);
}

static bool is_refused(const struct director_vm *vm, void *context)
{
	return vm->refused[WIRE_REASON_LOCKED] == *(uint64_t *)context;
}

static void expect_locked(uint64_t pages, const char *when)
{
	uint64_t bytes = pages * PAGE_BYTES;

	test_check(director_wait_until(g.vm, is_refused, &bytes) == 0, "%s: the library has hung up", when);
}

static void expect_left_alone(uint32_t first, uint32_t count)
{
	director_scan(g.vm, g.page + first, count);
	test_check(director_share(g.vm, g.page + first, count) == 0, "locked pages are shared");
}

static PUPPET long locked_bytes(long a, long b, long c)
{
	char text[4096], *line;
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ssize_t length = read(fd, text, sizeof(text) - 1);

	(void)a;
	(void)b;
	(void)c;
	close(fd);
	text[length > 0 ? length : 0] = 0;
	line = strstr(text, "VmLck:");
	test_check(line != NULL, "no VmLck in /proc/self/status");
	return strtol(line + strlen("VmLck:"), NULL, 10) * 1024;
}

static const int combinations[] = { MCL_CURRENT,
				    MCL_FUTURE,
				    MCL_CURRENT | MCL_FUTURE,
				    MCL_CURRENT | MCL_ONFAULT,
				    MCL_FUTURE | MCL_ONFAULT,
				    MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT };

/** A sanitizer maps terabytes, that must not be filled. */
static bool can_be(int flags)
{
	return (flags & MCL_CURRENT) == 0 || (flags & MCL_ONFAULT) != 0 ||
	       !(TEST_ADDRESS_SANITIZER || TEST_THREAD_SANITIZER);
}

/** What a mlockall() of the process locks while it has no library at work. @return bytes, or -errno. */
static PUPPET long lock_without(long flags, long b, long c)
{
	long bytes;

	(void)b;
	(void)c;
	if (syscall(SYS_mlockall, flags) < 0)
		return -errno;
	bytes = locked_bytes(0, 0, 0);
	syscall(SYS_munlockall);
	return bytes;
}

static PUPPET long offer(long a, long b, long c)
{
	(void)a;
	(void)b;
	(void)c;
	return pagefuse_add_ram(PAGEFUSE_GPA_UNKNOWN, g.memory, BYTES);
}

/* ---- all of it ---- */

/** As without sharing: refused where the page is locked, else zeros. */
static void test_discards(int flags, const char *when)
{
	long error = puppet_call(discard, 100, 40, MADV_DONTNEED);

	if (flags & MCL_CURRENT) {
		test_check(error == EINVAL, "a discard of locked memory ends with %ld", error);
		check(when);
		error = puppet_call(discard, 100, 40, MADV_DONTNEED_LOCKED);
		if (error == EINVAL) /* Linux before 5.18 */
			return;
	}
	test_check(error == 0, "a discard %s ends with %ld", when, error);
	expect_content(100, 40, 0);
	check(when);
}

static void test_all(int flags, long locked_without)
{
	uint64_t store;
	char when[64];
	long locked;

	snprintf(when, sizeof(when), "after mlockall(%d)", flags);
	share("before mlockall()");
	store = director_store_bytes(g.director);
	test_check(puppet_call(lock_all, flags, 0, 0) == 0, "mlockall(%d)", flags);
	check(when);
	locked = puppet_call(locked_bytes, 0, 0, 0);
	/* Not where AddressSanitizer has memory of its own that comes and goes. */
	if (!TEST_ADDRESS_SANITIZER && locked > locked_without + LOCKED_BESIDES_BYTES)
		test_damage("%s %ld KiB are locked, and %ld without the library", when, locked / 1024,
			    locked_without / 1024);
	if (director_store_bytes(g.director) > store)
		test_damage("the store has grown by %llu bytes %s",
			    (unsigned long long)(director_store_bytes(g.director) - store), when);
	expect_locked(PAGES, when);
	expect_left_alone(0, PAGES);
	test_discards(flags, when);
	test_check(puppet_call(lock_all, flags, 0, 0) == 0, "once more %s", when);
	test_check(puppet_call(unlock_all, 0, 0, 0) == 0, "munlockall()");
	expect_locked(0, "unlocked");
	share("after munlockall()");
}

/** Locks all memory while nothing of it can be made plain, so that it stays in mappings of the store. */
static PUPPET long lock_not_plain(long flags, long b, long c)
{
	long error;

	sys_fail.number = SYS_mremap;
	sys_fail.error = ENOMEM;
	sys_fail.for_ever = true;
	atomic_store(&sys_fail.countdown, 1);
	error = lock_all(flags, b, c);
	atomic_store(&sys_fail.countdown, 0);
	return error;
}

static void test_not_plain(int flags)
{
	share("before mlockall()");
	test_check(puppet_call(lock_not_plain, flags, 0, 0) == 0, "mlockall(%d)", flags);
	check("after mlockall()");
	test_discards(flags, "after mlockall() of copies in mappings of the store");
	test_check(puppet_call(unlock_all, 0, 0, 0) == 0, "munlockall()");
	puppet_call(make_plain, 0, 0, 0);
	share("after munlockall()");
}

/* ---- what comes later ---- */

#define LATER_PAGES 64

static PUPPET long map_more(long a, long b, long c)
{
	(void)a;
	(void)b;
	(void)c;
	return (long)pages_map(LATER_PAGES, false);
}

static PUPPET long offer_more(long memory, long b, long c)
{
	(void)b;
	(void)c;
	return memory_register((void *)memory, LATER_PAGES * PAGE_BYTES);
}

static PUPPET long remove_more(long memory, long b, long c)
{
	struct call unmap_it = { .what = CHANGE_UNMAP,
				 .number = SYS_munmap,
				 .address = (void *)memory,
				 .length = LATER_PAGES * PAGE_BYTES };

	(void)b;
	(void)c;
	return make_and_join(unmap_it);
}

/** AddressSanitizer has memory of its own that comes and goes, and would be locked along. */
static bool is_all_that_is_locked(long bytes)
{
	return TEST_ADDRESS_SANITIZER || puppet_call(locked_bytes, 0, 0, 0) == bytes;
}

/** Memory that was there before mlockall(MCL_FUTURE) and is offered after it; and what is mapped after it. */
static void test_offered_later(void)
{
	long memory = puppet_call(map_more, 0, 0, 0), later, locked;
	uint64_t store;

	test_check(puppet_call(lock_all, MCL_FUTURE, 0, 0) == 0, "mlockall(MCL_FUTURE)");
	locked = puppet_call(locked_bytes, 0, 0, 0);
	test_check(puppet_call(offer_more, memory, 0, 0) == 1, "offer");
	expect_locked(PAGES + LATER_PAGES, "memory offered after mlockall(MCL_FUTURE)");
	if (!is_all_that_is_locked(locked))
		test_damage("the tables of a region are locked");
	later = puppet_call(map_more, 0, 0, 0);
	test_check(puppet_call(offer_more, later, 0, 0) == -EOPNOTSUPP, "locked memory is taken");
	expect_locked(PAGES + 2 * LATER_PAGES, "memory mapped after mlockall(MCL_FUTURE)");
	test_check(puppet_call(remove_more, later, 0, 0) == 0, "munmap");
	/* Whatever is ordered now: none of the store may come to be filled by it. */
	store = director_store_bytes(g.director);
	director_merge(g.vm, g.page, 16, director_take_slots(g.director, 16));
	if (!is_all_that_is_locked(locked) || director_store_bytes(g.director) > store)
		test_damage("the view of the store is locked");
	test_check(puppet_call(remove_more, memory, 0, 0) == 0, "munmap");
	test_check(puppet_call(unlock_all, 0, 0, 0) == 0, "munlockall()");
	expect_locked(0, "unlocked");
	share("after munlockall()");
}

/* ---- ranges ---- */

/** A hole in the range: the kernel locks what is below it and says ENOMEM. */
static void test_half_way(void)
{
	share("before mlock()");
	test_check(puppet_call(unmap, 1000, 1, 0) == 0, "munmap");
	test_check(puppet_call(lock, 900, 200, 0) == ENOMEM, "mlock() over a hole");
	expect_locked(100, "what mlock() locked before it failed");
	expect_left_alone(900, 100);
	test_check(puppet_call(unlock, 800, 400, 0) == ENOMEM, "munlock() over a hole");
	expect_locked(0, "unlocked before it failed");
	test_check(puppet_call(map_again, 1000, 1, 0) == 1, "offer");
	puppet_call(make_plain, 0, 0, 0);
	share("after munlock()");
	test_check(puppet_call(lock, 10, 20, 0) == 0, "mlock()");
	test_check(puppet_call(lock_all, 8, 0, 0) == EINVAL, "a mlockall() that is none");
	expect_locked(20, "a mlockall() that failed");
	test_check(puppet_call(unlock, 10, 20, 0) == 0, "munlock()");
	expect_locked(0, "unlocked");
	share("after munlock()");
}

/* ---- while it waits ---- */

static PUPPET int open_userfaultfd(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	test_check(fd >= 0 && ioctl(fd, UFFDIO_API, &api) == 0, "userfaultfd: %s", strerror(errno));
	return fd;
}

/** The VMM's own userfaultfd, as in postcopy: who resolves the faults of mlock() changes memory meanwhile. */
static PUPPET long lock_under_userfaultfd(long first, long count, long dropped)
{
	int fd = open_userfaultfd();
	void *memory = guest_at(&g, (uint32_t)first);
	struct uffdio_range range = { (uint64_t)memory, (uint64_t)count * PAGE_BYTES };
	struct uffdio_register reg = { .range = range, .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_zeropage zero = { .range = range };
	struct call locks = call_on(CHANGE_LOCK, SYS_mlock, first, count, 0);
	struct call drops = call_on(CHANGE_DISCARD, SYS_madvise, dropped, 8, MADV_DONTNEED);
	pthread_t thread;

	test_check(discard(first, count, MADV_DONTNEED) == 0, "discard");
	test_check(memory_change_begin(CHANGE_USERFAULTFD, memory, range.len, 0) == 0, "begin");
	test_check(ioctl(fd, UFFDIO_REGISTER, &reg) == 0, "register: %s", strerror(errno));
	memory_change_end(CHANGE_USERFAULTFD, memory, range.len, 0, true);
	thread = start(&locks);
	while (!sleeps(&locks))
		sched_yield();
	join(&drops, start(&drops));
	test_check(ioctl(fd, UFFDIO_ZEROPAGE, &zero) == 0, "zeropage: %s", strerror(errno));
	join(&locks, thread);
	test_check(locks.error == 0 && drops.error == 0, "mlock and discard: %d, %d", locks.error, drops.error);
	test_check(memory_change_begin(CHANGE_USERFAULTFD_END, memory, range.len, 0) == 0, "begin");
	close(fd);
	memory_change_end(CHANGE_USERFAULTFD_END, memory, range.len, 0, true);
	return unlock(first, count, 0);
}

static void test_own_userfaultfd(void)
{
	share("before a userfaultfd of the VMM's");
	test_check(puppet_call(lock_under_userfaultfd, 64, 64, 0) == 0, "munlock");
	expect_content(64, 64, 0);
	expect_content(0, 8, 0);
	check("after a mlock() that had to wait");
	share("after munlock()");
}

int main(int argc, char **argv)
{
	long locked[sizeof(combinations) / sizeof(*combinations)];

	test_begin(argc, argv);
	if (TEST_THREAD_SANITIZER)
		test_skip("ThreadSanitizer's own memory would be locked along");
	test_needs_moves();
	contents = mmap(NULL, PAGES * sizeof(*contents), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	g = (struct guest){ .memory = pages_map(PAGES, false), .pages = PAGES, .director = director_new() };
	puppet_start();
	puppet_call(fill, 0, 1, 0);
	for (unsigned i = 0; i < sizeof(combinations) / sizeof(*combinations); i++) {
		locked[i] = can_be(combinations[i]) ? puppet_call(lock_without, combinations[i], 0, 0) : 0;
		if (locked[i] < 0)
			test_skip("mlockall: %s", strerror((int)-locked[i]));
	}
	test_check(puppet_call(offer, 0, 0, 0) == 0, "pagefuse_add_ram");
	g.vm = director_accept(g.director);
	g.page = g.vm->regions[0].page;
	for (unsigned i = 0; i < sizeof(combinations) / sizeof(*combinations); i++)
		if (can_be(combinations[i]))
			test_all(combinations[i], locked[i]);
	test_not_plain(MCL_FUTURE);
	test_not_plain(MCL_CURRENT | MCL_ONFAULT);
	test_offered_later();
	test_half_way();
	test_own_userfaultfd();
	guest_report(&g);
	puppet_end();
	director_free(g.director);
	return 0;
}
