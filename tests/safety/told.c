/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the library knows at once it tells at once: nobody orders a look in this test, and still what is counted as
 * shared falls when the VMM takes memory out of it, and the bytes told to be left alone are those left alone now. The
 * worker does not get to look by itself, either: its wait has no end here unless it is poked or the daemon says
 * something.
 */
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "include/pagefuse.h"
#include "library/memory.h"
#include "library/region.h"
#include "tests/support/guest.h"

#define PAGES 512u
#define BYTES (PAGES * PAGE_BYTES)

static struct guest g;

int __real_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms);

/** The worker's wait has two descriptors: the socket, and what it is poked by. */
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	bool waits = count == 2 && fds[1].fd >= 0;

	return __real_poll(fds, count, waits ? -1 : timeout_ms);
}

/* ---- while orders take long ---- */

/** Of test_during_orders(): the worker's clock runs fast, and it looks whether what it has done was told. */
static atomic_bool during_orders;
static uint32_t told_before; /* reports */
static atomic_bool told_meanwhile;

static uint32_t reports_told(void)
{
	return atomic_load(&g.vm->up.cursors->tail);
}

static bool is_undone(uint32_t index)
{
	return !page_reads_slot(region_of_page(g.page + index)->state[index]);
}

int __real_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);

/** The worker asks for the time between two orders, and as it begins a hold. */
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
	static time_t ahead;
	int r = __real_clock_gettime(clock, ret);

	if (!atomic_load(&during_orders) || gettid() == getpid())
		return r;
	if (clock == CLOCK_MONOTONIC_COARSE)
		ret->tv_sec += ++ahead;
	else if (is_undone(PAGES - 1) && reports_told() != told_before)
		atomic_store(&told_meanwhile, true);
	return r;
}

/** Does what the preload does around a call that @result says the outcome of. */
#define CHANGE(change, address, length, detail, call) \
	do { \
		int begun = memory_change_begin(change, address, length, detail); \
		test_check(begun >= 0, "memory_change_begin: %s", strerror(-begun)); \
		if (begun == 0) \
			memory_change_end(change, address, length, detail, (call) == 0); \
	} while (0)

/* ---- counters ---- */

struct expected {
	uint32_t first, count; /* pages that are to be private */
	uint64_t diverged;     /* pages told so in all */
};

static bool is_told(const struct director_vm *vm, void *context)
{
	const struct expected *expected = context;

	return director_count(vm, g.page + expected->first, expected->count, DIRECTOR_PRIVATE) == expected->count &&
	       vm->reports[REPORT_DIVERGED] >= expected->diverged;
}

/** Waits, without an order, until @count pages from @first on are told to be private by as many reports. */
static void expect_told(uint32_t first, uint32_t count, uint64_t reports_before, const char *what)
{
	struct expected expected = { first, count, reports_before + count };

	test_check(director_wait_until(g.vm, is_told, &expected) == 0, "%s: the library has hung up", what);
	test_check(g.vm->reports[REPORT_DIVERGED] == expected.diverged, "%s: %u pages, told %llu times", what, count,
		   (unsigned long long)(g.vm->reports[REPORT_DIVERGED] - reports_before));
}

static void share_all(void)
{
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(guest_at(&g, i), i % 8 == 0 ? 0 : i);
	director_scan(g.vm, g.page, PAGES);
	for (uint32_t i = 0; i < PAGES; i += 8) {
		test_check(director_zero(g.vm, g.page + i, 1) == 1, "page %u is not given back", i);
		test_check(director_share(g.vm, g.page + i + 1, 7) == 7, "pages from %u on are not shared", i + 1);
	}
}

static void test_discard(void)
{
	uint64_t before;

	share_all();
	before = g.vm->reports[REPORT_DIVERGED];
	CHANGE(CHANGE_DISCARD, guest_at(&g, 100), 50 * PAGE_BYTES, MADV_DONTNEED,
	       syscall(SYS_madvise, guest_at(&g, 100), 50 * PAGE_BYTES, MADV_DONTNEED));
	expect_told(100, 50, before, "a discard of shared pages and zeros");
}

/** A copy that the daemon knows of is none any more. */
static void test_discard_of_copies(void)
{
	uint64_t before;

	share_all();
	for (uint32_t i = 201; i < 208; i++)
		pages_fill(guest_at(&g, i), i + 7000);
	director_audit(g.vm, g.page, PAGES);
	before = g.vm->reports[REPORT_DIVERGED];
	CHANGE(CHANGE_DISCARD, guest_at(&g, 201), 7 * PAGE_BYTES, MADV_DONTNEED,
	       syscall(SYS_madvise, guest_at(&g, 201), 7 * PAGE_BYTES, MADV_DONTNEED));
	expect_told(201, 7, before, "a discard of copies");
}

/** Other memory like it takes the place of some pages, and is not offered. */
static void map_over(uint32_t first, uint32_t count)
{
	char *memory = guest_at(&g, first);
	size_t length = count * PAGE_BYTES;

	CHANGE(CHANGE_UNMAP, memory, length, 0,
	       mmap(memory, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
		    -1, 0) == MAP_FAILED);
	madvise(memory, length, MADV_NOHUGEPAGE);
}

static void test_unmap(void)
{
	uint64_t before;

	share_all();
	before = g.vm->reports[REPORT_DIVERGED];
	map_over(300, 20);
	expect_told(300, 20, before, "memory mapped over");
	test_check(memory_register(guest_at(&g, 300), 20 * PAGE_BYTES) == 1, "register again");
}

struct refusal {
	uint32_t reason;
	uint64_t bytes;
};

static bool is_refused(const struct director_vm *vm, void *context)
{
	const struct refusal *refusal = context;

	for (uint32_t other = 1; other < WIRE_REASON_END; other++)
		if (other != refusal->reason && other != WIRE_REASON_NO_SWAP && vm->refused[other] != 0)
			return false;
	return vm->refused[refusal->reason] == refusal->bytes;
}

/** Waits until so much is told to be left alone for @reason, and nothing for another one. */
static void expect_refused(uint32_t reason, uint64_t bytes, const char *when)
{
	struct refusal refusal = { reason, bytes };
	struct pagefuse_stats stats = { .size = sizeof(stats) };

	test_check(director_wait_until(g.vm, is_refused, &refusal) == 0, "%s: the library has hung up", when);
	test_check(pagefuse_get_stats(&stats) == 0, "stats");
	test_check(stats.refused_bytes == bytes, "%s: the API says %llu bytes, the daemon is told %llu", when,
		   (unsigned long long)stats.refused_bytes, (unsigned long long)bytes);
}

static void test_unmerge(void)
{
	uint64_t before;
	uint32_t zeros = 0;

	share_all();
	before = g.vm->reports[REPORT_DIVERGED];
	CHANGE(CHANGE_UNMERGEABLE, guest_at(&g, 0), BYTES, MADV_UNMERGEABLE, 0);
	for (uint32_t i = 0; i < PAGES; i += 8)
		zeros++;
	for (uint32_t i = 0; i < PAGES; i += 8) /* zeros have no copy to go back to */
		expect_told(i + 1, 7, before + (uint64_t)(PAGES - zeros) - 7, "memory withdrawn");
	expect_refused(WIRE_REASON_MEM_MERGE, BYTES, "withdrawn");
	CHANGE(CHANGE_UNMERGEABLE, guest_at(&g, 0), BYTES, MADV_UNMERGEABLE, 0);
	test_check(memory_register(guest_at(&g, 0), BYTES / 2) == 1, "offered again");
	expect_refused(WIRE_REASON_MEM_MERGE, BYTES / 2, "half of it offered again");
	test_check(memory_register(guest_at(&g, 0), BYTES) == 1, "offered again");
	expect_refused(WIRE_REASON_MEM_MERGE, 0, "all of it offered again");
	director_unshare(g.vm, g.page, PAGES);
	share_all();
}

/* ---- memory that is refused as a whole ---- */

static char *map(size_t length, int flags)
{
	char *memory = mmap(NULL, length, PROT_READ | PROT_WRITE, flags, -1, 0);

	test_check(memory != MAP_FAILED, "mmap: %s", strerror(errno));
	return memory;
}

static void unmap(char *memory, size_t length)
{
	CHANGE(CHANGE_UNMAP, memory, length, 0, munmap(memory, length));
}

static int offer(char *memory, size_t length)
{
	return memory_register(memory, length);
}

static void test_shared_mapping(void)
{
	char *memory = map(BYTES, MAP_SHARED | MAP_ANONYMOUS);

	for (unsigned i = 0; i < 3; i++) { /* as QEMU does, and when merging is switched off and on */
		test_check(offer(memory, BYTES) == -EOPNOTSUPP, "shared memory is not refused");
		expect_refused(WIRE_REASON_SHARED_MAPPING, BYTES, "shared memory");
		test_check(memory_concerns(CHANGE_UNMAP, memory, BYTES), "its end would not be seen");
		CHANGE(CHANGE_UNMERGEABLE, memory, BYTES, MADV_UNMERGEABLE, 0);
		expect_refused(WIRE_REASON_SHARED_MAPPING, 0, "shared memory withdrawn");
	}
	test_check(offer(memory, BYTES) == -EOPNOTSUPP, "shared memory is not refused");
	unmap(memory + 10 * PAGE_BYTES, 20 * PAGE_BYTES);
	expect_refused(WIRE_REASON_SHARED_MAPPING, BYTES - 20 * PAGE_BYTES, "a hole in it");
	unmap(memory, BYTES);
	expect_refused(WIRE_REASON_SHARED_MAPPING, 0, "unmapped");
	test_check(!memory_concerns(CHANGE_UNMAP, memory, BYTES), "what is gone still costs time");
}

/** The same place, and now it can be shared. */
static void test_mapped_anew(void)
{
	char *memory = map(BYTES, MAP_SHARED | MAP_ANONYMOUS);

	test_check(offer(memory, BYTES) == -EOPNOTSUPP, "shared memory is not refused");
	CHANGE(CHANGE_UNMAP, memory, BYTES, 0,
	       mmap(memory, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
		       MAP_FAILED);
	test_check(offer(memory, BYTES) == 1, "private memory in its place is refused");
	expect_refused(WIRE_REASON_SHARED_MAPPING, 0, "mapped anew");
	test_check(pagefuse_remove_ram(memory, BYTES) == 0, "remove");
	munmap(memory, BYTES);
}

static bool has_regions(const struct director_vm *vm, void *context)
{
	unsigned here = 0;

	for (unsigned i = 0; i < vm->region_count; i++)
		here += !vm->regions[i].gone;
	return here == *(unsigned *)context;
}

/** Locked memory, offered as the preload does it: the kernel is told, too, as the library refuses. */
static void offer_locked(char *memory)
{
	if (syscall(SYS_mlock, memory, BYTES) < 0)
		test_skip("cannot lock memory: %s", strerror(errno));
	test_check(offer(memory, BYTES) == -EOPNOTSUPP, "locked memory is not refused");
	if (syscall(SYS_madvise, memory, BYTES, MADV_MERGEABLE) < 0)
		test_skip("this kernel has no KSM to be told of it: %s", strerror(errno));
}

/** What was refused because it was locked takes part once it no longer is, all of it, and not with KSM as well. */
static void test_unlock(void)
{
	char *memory = map(3 * BYTES, MAP_PRIVATE | MAP_ANONYMOUS), *low = memory, *high = memory + 2 * BYTES;
	unsigned regions = 3;

	offer_locked(high);
	offer_locked(low);
	expect_refused(WIRE_REASON_LOCKED, 2 * BYTES, "locked memory");
	CHANGE(CHANGE_UNLOCK, NULL, SIZE_MAX, 0, syscall(SYS_munlockall));
	expect_refused(WIRE_REASON_LOCKED, 0, "unlocked");
	test_check(director_wait_until(g.vm, has_regions, &regions) == 0, "the library has hung up");
	test_check(!pages_has_flag(low, "mg") && !pages_has_flag(high, "mg"), "KSM has it as well");
	test_check(pagefuse_remove_ram(low, BYTES) == 0 && pagefuse_remove_ram(high, BYTES) == 0, "remove");
	munmap(memory, 3 * BYTES);
}

/** A place of which it is not known that what was there is gone: other memory there was never offered. */
static void test_unlock_of_others(void)
{
	char *memory = map(BYTES, MAP_PRIVATE | MAP_ANONYMOUS);

	offer_locked(memory);
	expect_refused(WIRE_REASON_LOCKED, BYTES, "locked memory");
	munmap(memory, BYTES); /* as libc does it, which no preload sees */
	test_check(mmap(memory, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
			   memory,
		   "mmap: %s", strerror(errno));
	test_check(syscall(SYS_mlock, memory, BYTES) == 0, "mlock: %s", strerror(errno));
	CHANGE(CHANGE_UNLOCK, memory, BYTES, 0, syscall(SYS_munlock, memory, BYTES));
	test_check(!memory_is_ours(memory, BYTES), "memory that nobody offered takes part");
	expect_refused(WIRE_REASON_LOCKED, 0, "unlocked, and never offered");
	munmap(memory, BYTES);
}

/** In the API's words. */
static void test_refused_ram(void)
{
	char *memory = map(BYTES, MAP_SHARED | MAP_ANONYMOUS);

	test_check(pagefuse_add_ram(PAGEFUSE_GPA_UNKNOWN, memory, BYTES) == -EOPNOTSUPP, "shared memory is taken");
	expect_refused(WIRE_REASON_SHARED_MAPPING, BYTES, "shared memory");
	test_check(pagefuse_remove_ram(memory, BYTES) == 0, "what was refused cannot be removed");
	expect_refused(WIRE_REASON_SHARED_MAPPING, 0, "removed");
	test_check(pagefuse_remove_ram(memory, BYTES) == -ENOENT, "it can be removed twice");
	munmap(memory, BYTES);
}

/** More pages than have numbers. */
static void test_too_large(void)
{
	const size_t length = (size_t)UINT32_MAX * PAGE_BYTES;
	char *memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED) /* a host that does not let memory be promised that it has not got */
		return;
	test_check(offer(memory, length) == -ENOSPC, "memory without numbers is taken");
	expect_refused(WIRE_REASON_TOO_MANY_REGIONS, length, "too large");
	unmap(memory, length);
	expect_refused(WIRE_REASON_TOO_MANY_REGIONS, 0, "unmapped");
}

/** Memory that took the place of a part of a region is none of ours until it is offered. */
static void test_in_place_of_a_part(void)
{
	char *part = guest_at(&g, 300);
	size_t length = 20 * PAGE_BYTES;

	map_over(300, 20);
	CHANGE(CHANGE_LOCK, part, length, 0, syscall(SYS_mlock, part, length));
	expect_refused(WIRE_REASON_LOCKED, 0, "locked, and not offered");
	test_check(offer(part, length) >= 0, "offer");
	expect_refused(WIRE_REASON_LOCKED, length, "locked and offered");
	CHANGE(CHANGE_UNLOCK, part, length, 0, syscall(SYS_munlock, part, length));
	test_check(offer(part, length) == 1, "offer");
	expect_refused(WIRE_REASON_LOCKED, 0, "offered when unlocked");
}

/* ---- while a child of a fork lives ---- */

/** Zeros and copies that are discarded and written again are looked at again: a child holds no slot of theirs. */
static void test_child(void)
{
	int pipes[2], child;
	char byte;

	guest_make_plain(&g, 0, PAGES);
	share_all();
	for (uint32_t i = 201; i < 208; i++)
		pages_fill(guest_at(&g, i), i + 7000);
	director_audit(g.vm, g.page, PAGES);
	test_check(pipe(pipes) == 0, "pipe: %s", strerror(errno));
	child = test_fork();
	if (child == 0) {
		close(pipes[1]);
		(void)!read(pipes[0], &byte, 1);
		_exit(0);
	}
	CHANGE(CHANGE_DISCARD, guest_at(&g, 200), 8 * PAGE_BYTES, MADV_DONTNEED,
	       syscall(SYS_madvise, guest_at(&g, 200), 8 * PAGE_BYTES, MADV_DONTNEED));
	for (uint32_t i = 200; i < 208; i++)
		pages_fill(guest_at(&g, i), i + 9000);
	director_scan(g.vm, g.page, PAGES);
	for (uint32_t i = 200; i < 208; i++)
		test_check(g.vm->pages[g.page + i].was_hashed, "page %u waits for a child that cannot read it", i);
	close(pipes[1]);
	test_wait_child(child);
	close(pipes[0]);
}

/* ---- the store of a daemon that is gone for good ---- */

static void test_earlier_store(void)
{
	guest_make_plain(&g, 0, PAGES);
	share_all();
	director_disconnect(g.vm);
	director_free(g.director);
	g.director = director_new();
	g.vm = director_accept(g.director);
	g.page = g.vm->regions[0].page;
	expect_refused(WIRE_REASON_EARLIER_STORE, (uint64_t)(PAGES - PAGES / 8) * PAGE_BYTES, "another store");
	for (uint32_t i = 0; i < PAGES / 2; i++)
		pages_fill(guest_at(&g, i), i + 5000);
	director_scan(g.vm, g.page, PAGES);
	expect_refused(WIRE_REASON_EARLIER_STORE, (uint64_t)(PAGES - PAGES / 8) / 2 * PAGE_BYTES, "half of it written");
	test_check(director_share(g.vm, g.page, PAGES / 2) == PAGES / 2, "what was written is not shared anew");
	for (uint32_t i = 0; i < PAGES / 2; i++)
		if (pages_differ(guest_at(&g, i), i + 5000) >= 0)
			test_damage("page %u reads wrong bytes", i);
}

/** Each has a name of its own, and none is called a file that is no file to its owner. */
static void test_kinds(void)
{
	char *memory = mmap(NULL, HUGE_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE, -1, 0);

	if (memory != MAP_FAILED) { /* nothing is touched, so no huge page need be there */
		test_check(offer(memory, HUGE_BYTES) == -EOPNOTSUPP, "hugetlb memory is not refused");
		expect_refused(WIRE_REASON_HUGETLB, HUGE_BYTES, "hugetlb memory");
		unmap(memory, HUGE_BYTES);
		expect_refused(WIRE_REASON_HUGETLB, 0, "unmapped");
	}
	CHANGE(CHANGE_PROTECT, guest_at(&g, 0), 8 * PAGE_BYTES, PROT_READ,
	       mprotect(guest_at(&g, 0), 8 * PAGE_BYTES, PROT_READ));
	expect_refused(WIRE_REASON_PROTECTED, 8 * PAGE_BYTES, "protected");
	CHANGE(CHANGE_PROTECT, guest_at(&g, 0), 8 * PAGE_BYTES, PROT_READ | PROT_WRITE,
	       mprotect(guest_at(&g, 0), 8 * PAGE_BYTES, PROT_READ | PROT_WRITE));
	expect_refused(WIRE_REASON_PROTECTED, 0, "protected no longer");
	CHANGE(CHANGE_ATTRIBUTE, guest_at(&g, 0), 8 * PAGE_BYTES, 0, 0);
	expect_refused(WIRE_REASON_ATTRIBUTE, 8 * PAGE_BYTES, "marked");
	map_over(0, 8);
	expect_refused(WIRE_REASON_ATTRIBUTE, 0, "mapped over");
	test_check(offer(guest_at(&g, 0), 8 * PAGE_BYTES) == 1, "offer");
}

/** What one order has brought is told before the next one is over. There is too little of it to be told for that. */
static void test_during_orders(void)
{
	uint32_t slot = director_take_slots(g.director, PAGES);

	for (uint32_t i = 0; i < PAGES; i++) {
		pages_fill(guest_at(&g, i), i + 1);
		pages_fill(director_slot(g.director, slot + i), i + 1);
	}
	told_before = reports_told();
	memory_lock(); /* until all are there */
	atomic_store(&during_orders, true);
	for (uint32_t i = 0; i < PAGES; i += RING_RUN_PAGES_MAX)
		director_order(g.vm, ORDER_MERGE, g.page + i, RING_RUN_PAGES_MAX, slot + i);
	memory_unlock();
	test_check(director_wait(g.vm) == 0, "the library has hung up");
	atomic_store(&during_orders, false);
	test_check(director_answers(g.vm, g.page, PAGES, REPORT_MERGED) == PAGES, "not all is merged");
	test_check(atomic_load(&told_meanwhile), "what was done is told only when all is done");
	director_unshare(g.vm, g.page, PAGES);
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	guest_begin(&g, pages_map(PAGES, false), PAGES);
	test_during_orders();
	test_discard();
	test_discard_of_copies();
	test_unmap();
	test_unmerge();
	test_shared_mapping();
	test_mapped_anew();
	test_unlock();
	test_unlock_of_others();
	test_refused_ram();
	test_too_large();
	test_in_place_of_a_part();
	test_child();
	test_kinds();
	test_earlier_store(); /* the last one, as half of it stays */
	director_free(g.director);
	return 0;
}
