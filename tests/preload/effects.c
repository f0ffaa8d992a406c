/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Each interposed call over RAM that is partly shared, as an unmodified VMM makes it: afterwards every byte is what it
 * would be without sharing, what the call has set stays set on what is shared later, and the director's books and the
 * kernel's page tables agree.
 *
 * The program may have the preload linked in, or be started with it; it cannot tell.
 *
 * usage: effects [--by-number]         with libc's functions, or with syscall()
 *        effects --past                past the preload: the control, which must see stale bytes
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/madvise.h"
#include "library/mappings.h"
#include "library/sys.h"
#include "tests/preload/ram.h"
#include "tests/support/test.h"

/* ---- discards ---- */

static void zeros(struct ram *ram, uint32_t first, uint32_t count)
{
	memset(&ram->contents[first], 0, count * sizeof(ram->contents[0]));
}

static void test_discard(int advice)
{
	struct ram ram;

	ram_begin(&ram);
	if (ram_call(SYS_madvise, ram_at(&ram, 6), 21 * PAGE_BYTES, advice, 0, 0, 0) < 0) {
		test_check(errno == EINVAL, "madvise %d: %s", advice, strerror(errno));
		ram_check(&ram, "though this kernel refuses that advice"); /* it is newer than the kernel */
	} else {
		if (advice == MADV_GUARD_INSTALL)
			ram_advise(&ram, 6, 21, MADV_GUARD_REMOVE);
		zeros(&ram, 6, 21);
		ram_check(&ram, "after a discard");
		ram_expect_private(&ram, 6, 21);
		for (uint32_t i = 6; i < 27; i++)
			ram_write_page(&ram, i, i + 9000);
		ram_expect_sharing_again(&ram, 6, 21);
	}
	ram_end(&ram);
}

/* MADV_FREE leaves it to the kernel when the old bytes go; shared pages must read one or the other, too. */
static void test_free(void)
{
	struct ram ram;

	ram_begin(&ram);
	ram_advise(&ram, 0, PAGES, MADV_FREE);
	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_differ(ram_at(&ram, i), 0) < 0)
			ram.contents[i] = 0;
	ram_check(&ram, "after MADV_FREE");
	for (uint32_t i = 0; i < PAGES; i++)
		ram_write_page(&ram, i, i + 9000);
	ram_expect_private(&ram, 0, PAGES);
	ram_end(&ram);
}

static void test_process_madvise(void)
{
	int pidfd = (int)syscall(SYS_pidfd_open, (long)getpid(), 0L);
	struct iovec vector[2];
	struct ram ram;
	ssize_t r;

	ram_begin(&ram);
	vector[0] = (struct iovec){ ram_at(&ram, 0), 2 * PAGE_BYTES };
	vector[1] = (struct iovec){ ram_at(&ram, 9), 10 * PAGE_BYTES };
	r = way == BY_NAME ? process_madvise(pidfd, vector, 2, MADV_DONTNEED, 0)
			   : syscall(SYS_process_madvise, (long)pidfd, vector, 2L, (long)MADV_DONTNEED, 0L);
	if (r >= 0) {
		test_check(r == 12 * (ssize_t)PAGE_BYTES, "process_madvise: %zd", r);
		zeros(&ram, 0, 2);
		zeros(&ram, 9, 10);
	}
	ram_check(&ram, "after process_madvise");
	ram_expect_private(&ram, 0, r >= 0 ? 2 : 0);
	close(pidfd);
	ram_end(&ram);
}

static void test_keeps_content(void)
{
	struct ram ram;

	ram_begin(&ram);
	test_check(posix_madvise(ram_at(&ram, 0), PAGES * PAGE_BYTES, POSIX_MADV_DONTNEED) == 0, "posix_madvise");
	test_check(ram_call(SYS_madvise, ram_at(&ram, 0), PAGES * PAGE_BYTES, MADV_REMOVE, 0, 0, 0) < 0, "it succeeds");
	ram_call(SYS_madvise, ram_at(&ram, 0), PAGES * PAGE_BYTES, MADV_COLLAPSE, 0, 0, 0);
	ram_call(SYS_mbind, ram_at(&ram, 0), PAGES * PAGE_BYTES, 0, 0, 0, 0);
	ram_advise(&ram, 0, PAGES, MADV_COLD);
	ram_check(&ram, "after calls that change no byte");
	ram_expect_sharing_again(&ram, 0, PAGES);
	ram_end(&ram);
}

static bool has_more_regions(const struct director_vm *of, void *context)
{
	return of->region_count > *(unsigned *)context;
}

static bool is_empty(char *block)
{
	unsigned char resident[HUGE_BYTES / PAGE_BYTES];

	test_check(mincore(block, HUGE_BYTES, resident) == 0, "mincore: %s", strerror(errno));
	for (size_t i = 0; i < sizeof(resident); i++)
		if (resident[i] & 1)
			return false;
	return true;
}

/* Where there is nothing, MADV_COLLAPSE makes nothing, and says what the kernel says without the preload. */
static void test_collapse_of_nothing(void)
{
	char *block = pages_map(HUGE_BYTES / PAGE_BYTES, true), *twin = pages_map(HUGE_BYTES / PAGE_BYTES, true);
	unsigned before = vm->region_count;
	long r, expected;

	test_check(madvise(block, HUGE_BYTES, MADV_MERGEABLE) == 0, "madvise: %s", strerror(errno));
	test_check(director_wait_until(vm, has_more_regions, &before) == 0, "the worker has hung up");
	for (unsigned emptied = 0; emptied < 2; emptied++) {
		expected = sys_raw(SYS_madvise, (long)twin, (long)HUGE_BYTES, MADV_COLLAPSE, 0, 0, 0);
		r = ram_call(SYS_madvise, block, HUGE_BYTES, MADV_COLLAPSE, 0, 0, 0);
		test_check(r == (expected == 0 ? 0 : -1) && (r == 0 || errno == -expected),
			   "MADV_COLLAPSE: %s, and not %s", r == 0 ? "done" : strerror(errno),
			   expected == 0 ? "done" : strerror((int)-expected));
		test_check(is_empty(block) == is_empty(twin), "pages have been made where there were none");
		pages_fill(block, 1);
		pages_fill(twin, 1);
		test_check(ram_call(SYS_madvise, block, HUGE_BYTES, MADV_DONTNEED, 0, 0, 0) == 0 &&
				   sys_raw(SYS_madvise, (long)twin, (long)HUGE_BYTES, MADV_DONTNEED, 0, 0, 0) == 0,
			   "madvise");
	}
	test_check(munmap(block, HUGE_BYTES) == 0 && munmap(twin, HUGE_BYTES) == 0, "munmap: %s",
		   strerror(errno));
	test_check(director_wait_until(vm, ram_is_gone, NULL) == 0, "the worker has hung up");
}

/* ---- mappings ---- */

static void test_unmap(bool map_over)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
	struct ram ram;
	long r;

	ram_begin(&ram);
	if (!map_over) {
		r = ram_call(SYS_munmap, ram_at(&ram, 6), 21 * PAGE_BYTES, 0, 0, 0, 0);
		test_check(r == 0, "munmap: %s", strerror(errno));
		test_check(msync(ram_at(&ram, 6), PAGE_BYTES, MS_ASYNC) < 0, "it is still mapped");
	}
	r = ram_call(SYS_mmap, ram_at(&ram, 6), 21 * PAGE_BYTES, PROT_READ | PROT_WRITE, flags, -1, 0);
	test_check(r == (long)ram_at(&ram, 6), "mmap: %s", strerror(errno));
	zeros(&ram, 6, 21);
	ram_check(&ram, "after mmap over it");
	ram_expect_private(&ram, 6, 21);
	for (uint32_t i = 6; i < 27; i++)
		ram_write_page(&ram, i, i + 9000);
	ram_expect_left_alone(&ram, 6, 21); /* other memory now, though at the same place */
	ram_expect_sharing_again(&ram, 32, 32);
	ram_end(&ram);
}

/** Asks for a file that there is not: the kernel changes nothing. */
static void map_in_vain(const struct ram *ram)
{
	long r = ram_call(SYS_mmap, ram_at(ram, 0), PAGES * PAGE_BYTES, PROT_READ, MAP_PRIVATE | MAP_FIXED, -1, 0);

	test_check(r == -1 && errno == EBADF, "mmap of no file: %s", r == -1 ? strerror(errno) : "it succeeds");
}

/** What this thread has read, by read() and its kin; or 0, if the kernel does not count that. */
static unsigned long reads_made(void)
{
	FILE *file = fopen("/proc/thread-self/io", "r");
	unsigned long reads = 0;
	char line[64];

	while (file != NULL && fgets(line, sizeof(line), file) != NULL && sscanf(line, "syscr: %lu", &reads) != 1)
		;
	if (file != NULL)
		fclose(file);
	return reads;
}

#define WORKER_TURN_USEC 1500000 /* in which the worker waits for orders, and looks after its house, at least once */

/*
 * What is mapped is found out once, and not for each page; and it is not taken for gone if it cannot be found out. A
 * limit that allows no descriptors, below those that are open, ends no connection.
 */
static void test_map_in_vain(bool has_descriptors)
{
	struct rlimit before, none;
	unsigned long once, reads;
	uint64_t offset;
	struct ram ram;

	ram_begin(&ram);
	test_check(getrlimit(RLIMIT_NOFILE, &before) == 0, "getrlimit: %s", strerror(errno));
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = before.rlim_max };
	once = reads_made();
	mappings_file_offset((uint64_t)&once, &offset);
	reads = reads_made();
	once = reads - once;
	test_check(has_descriptors || setrlimit(RLIMIT_NOFILE, &none) == 0, "setrlimit: %s", strerror(errno));
	map_in_vain(&ram);
	if (!has_descriptors)
		usleep(WORKER_TURN_USEC);
	test_check(setrlimit(RLIMIT_NOFILE, &before) == 0, "setrlimit: %s", strerror(errno));
	reads = reads_made() - reads;
	test_check(reads <= 2 * once, "%lu reads, where the mappings are read by %lu", reads, once);
	ram_check(&ram, "after mmap has failed");
	ram_advise(&ram, 0, PAGES, MADV_DONTNEED);
	zeros(&ram, 0, PAGES);
	ram_check(&ram, "after a discard of what is still there");
	ram_expect_private(&ram, 0, PAGES);
	for (uint32_t i = 0; i < PAGES; i++)
		ram_write_page(&ram, i, i + 9000);
	ram_expect_sharing_again(&ram, 0, PAGES);
	ram_end(&ram);
}

static void remap(const struct ram *ram, uint32_t first, uint32_t count, uint32_t new_count, int flags, void *to)
{
	long length = (long)(new_count * PAGE_BYTES);
	long r = ram_call(SYS_mremap, ram_at(ram, first), count * PAGE_BYTES, length, flags, (long)to, 0);

	test_check(r != -1, "mremap: %s", strerror(errno));
	test_check(r == (long)to, "mremap: %lx", r);
}

enum growth { IN_PLACE,
	      ANYWHERE,
	      TO_ADDRESS };

static void test_remap_grows(enum growth growth)
{
	int flags = growth == IN_PLACE ? 0 : growth == ANYWHERE ? MREMAP_MAYMOVE
								: MREMAP_MAYMOVE | MREMAP_FIXED;
	char *target = pages_map(2 * PAGES, false);
	struct ram ram = { .memory = pages_map(2 * PAGES, false) };
	char *behind = ram.memory + PAGES * PAGE_BYTES;
	long r;

	ram_offer(&ram);
	ram_share(&ram);
	if (growth == IN_PLACE)
		munmap(behind, PAGES * PAGE_BYTES);
	r = ram_call(SYS_mremap, ram_at(&ram, 0), PAGES * PAGE_BYTES, 2 * PAGES * PAGE_BYTES, flags, (long)target, 0);
	test_check(r != -1, "mremap: %s", strerror(errno));
	test_check((r == (long)ram.memory) == (growth == IN_PLACE) && (r == (long)target) == (growth == TO_ADDRESS),
		   "mremap to %lx", r);
	ram.memory = (char *)r;
	ram_check(&ram, "after it has grown");
	for (uint32_t i = 0; i < PAGES; i++)
		test_check(!pages_is_file(ram_at(&ram, i)), "page %u still reads the store", i);
	pages_fill(ram_at(&ram, 2 * PAGES - 1), 1);
	test_check(director_wait_until(vm, ram_is_gone, NULL) == 0, "the worker has hung up");
	test_check(director_live_slots(director) == 0, "slots are still in use");
	ram_check(&ram, "after the slots have been freed");
	munmap(ram.memory, 2 * PAGES * PAGE_BYTES);
	if (growth != IN_PLACE)
		munmap(behind, PAGES * PAGE_BYTES);
	if (growth != TO_ADDRESS)
		munmap(target, 2 * PAGES * PAGE_BYTES);
}

static void test_remap_shrinks(void)
{
	struct ram ram;

	ram_begin(&ram);
	remap(&ram, 0, PAGES, 19, 0, ram.memory);
	for (uint32_t i = 0; i < 19; i++)
		test_check(pages_differ(ram_at(&ram, i), ram.contents[i]) < 0, "page %u reads wrong bytes", i);
	test_check(pages_is_file(ram_at(&ram, 0)) && pages_is_file(ram_at(&ram, 16)), "what stays is not shared");
	test_check(msync(ram_at(&ram, 19), PAGE_BYTES, MS_ASYNC) < 0, "the tail is still there");
	ram_end(&ram);
}

/* The first pages of one region come in the place of those of another one; the rest goes. */
static void test_remap_over_another(uint32_t first, uint32_t count, uint32_t new_count)
{
	struct ram ram, other;

	ram_begin(&ram);
	other = ram;
	ram_begin(&other);
	remap(&ram, first, count, new_count, MREMAP_MAYMOVE | MREMAP_FIXED, ram_at(&other, 3));
	memcpy(&other.contents[3], &ram.contents[first], new_count * sizeof(ram.contents[0]));
	ram_check(&other, "after a move to there");
	for (uint32_t i = first; i < first + count; i++)
		test_check(msync(ram_at(&ram, i), PAGE_BYTES, MS_ASYNC) < 0, "page %u is still there", i);
	ram_expect_private(&other, 3, new_count);
	test_check(munmap(ram.memory, PAGES * PAGE_BYTES) == 0, "munmap: %s", strerror(errno));
	ram_end(&other);
}

/* The content moves, and the old place is there and empty. */
static void test_remap_leaves_zeros(void)
{
	struct ram ram, moved;
	long r;

	ram_begin(&ram);
	moved = ram;
	r = ram_call(SYS_mremap, ram_at(&ram, 0), PAGES * PAGE_BYTES, PAGES * PAGE_BYTES,
		     MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0, 0);
	test_check(r != -1, "mremap: %s", strerror(errno));
	moved.memory = (char *)r;
	zeros(&ram, 0, PAGES);
	ram_check(&moved, "after a move");
	ram_check(&ram, "where it was");
	test_check(director_wait_until(vm, ram_is_gone, NULL) == 0, "the worker has hung up");
	ram_check(&moved, "after the slots have been freed");
	munmap(moved.memory, PAGES * PAGE_BYTES);
	ram_end(&ram);
}

/* From one place in RAM to another. */
static void test_remap_within(void)
{
	struct ram ram;

	ram_begin(&ram);
	remap(&ram, 2, 9, 9, MREMAP_MAYMOVE | MREMAP_FIXED, ram_at(&ram, 33));
	memcpy(&ram.contents[33], &ram.contents[2], 9 * sizeof(ram.contents[0]));
	test_check(ram_call(SYS_mmap, ram_at(&ram, 2), 9 * PAGE_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == (long)ram_at(&ram, 2),
		   "mmap: %s", strerror(errno));
	zeros(&ram, 2, 9);
	ram_check(&ram, "after a move within");
	ram_expect_private(&ram, 33, 9);
	ram_expect_sharing_again(&ram, 48, 16);
	ram_end(&ram);
}

/* ---- protection ---- */

/** Whether the kernel may write to the page for us, as it may for the guest. */
static bool is_writable(void *page)
{
	int pipes[2];
	bool result;

	test_check(pipe(pipes) == 0 && write(pipes[1], page, 1) == 1, "pipe: %s", strerror(errno));
	result = read(pipes[0], page, 1) == 1;
	close(pipes[0]);
	close(pipes[1]);
	return result;
}

static void protect(const struct ram *ram, uint32_t first, uint32_t count, int prot, bool with_key)
{
	long number = with_key ? SYS_pkey_mprotect : SYS_mprotect;
	long r = ram_call(number, ram_at(ram, first), count * PAGE_BYTES, prot, -1, 0, 0);

	test_check(r == 0, "mprotect: %s", strerror(errno));
}

static void test_protection(bool with_key)
{
	struct ram ram;

	ram_begin(&ram);
	protect(&ram, 0, 15, PROT_READ, with_key);
	ram_check(&ram, "after mprotect");
	director_scan(vm, ram.page, PAGES);
	director_share(vm, ram.page, 15);
	for (uint32_t i = 0; i < 15; i++)
		test_check(!is_writable(ram_at(&ram, i)), "page %u can be written again", i);
	ram_check(&ram, "after a merge of pages that are protected");
	protect(&ram, 0, 15, PROT_READ | PROT_WRITE, with_key);
	for (uint32_t i = 0; i < 15; i++)
		ram_write_page(&ram, i, i + 9000);
	ram_expect_private(&ram, 0, 15);
	ram_expect_sharing_again(&ram, 0, 15);
	ram_end(&ram);
}

/* ---- NUMA policy ---- */

/** The policy of a page's mapping; for a page of the store it would be the store's. */
static int policy_of(const void *address)
{
	int mode = -1;

	test_check(syscall(SYS_get_mempolicy, &mode, NULL, 0L, address, (long)MPOL_F_ADDR) == 0, "get_mempolicy: %s",
		   strerror(errno));
	return mode;
}

static void bind_memory(void *address, uint32_t count)
{
	static const unsigned long node_0 = 1;
	long r = ram_call(SYS_mbind, address, count * PAGE_BYTES, MPOL_BIND, (long)&node_0, 2, 0);

	test_check(r == 0, "mbind: %s", strerror(errno));
}

static bool is_refused_pages(const struct director_vm *of, void *pages)
{
	return of->refused[WIRE_REASON_ATTRIBUTE] == *(uint32_t *)pages * PAGE_BYTES;
}

static void await_refused(uint32_t pages)
{
	test_check(director_wait_until(vm, is_refused_pages, &pages) == 0, "nobody is told of %u pages", pages);
}

/** Copies of the store's pages could not keep it. What is bound to no node, as QEMU says by default, is shared. */
static void test_policy(void)
{
	struct ram ram;

	ram_begin(&ram);
	if (ram_call(SYS_mbind, ram_at(&ram, 0), PAGES * PAGE_BYTES, MPOL_DEFAULT, 0, 0, 0) < 0)
		test_skip("mbind: %s", strerror(errno)); /* a kernel without NUMA */
	ram_expect_sharing_again(&ram, 0, PAGES);
	bind_memory(ram_at(&ram, 8), 16);
	ram_check(&ram, "after mbind");
	ram_expect_private(&ram, 8, 16);
	ram_expect_left_alone(&ram, 8, 16);
	await_refused(16);
	ram_advise(&ram, 8, 16, MADV_DONTNEED);
	zeros(&ram, 8, 16);
	ram_check(&ram, "after a discard of what is bound");
	for (uint32_t i = 0; i < PAGES; i++)
		test_check(policy_of(ram_at(&ram, i)) == (i - 8 < 16 ? MPOL_BIND : MPOL_DEFAULT), "page %u", i);
	ram_end(&ram);
	await_refused(0);
	ram.memory = pages_map(PAGES, false); /* and what is bound before it is offered */
	bind_memory(ram.memory, PAGES);
	madvise(ram.memory, PAGES * PAGE_BYTES, MADV_MERGEABLE);
	await_refused(PAGES);
	munmap(ram.memory, PAGES * PAGE_BYTES);
}

/** There is nothing to make pages plain with: these are left out, as the policy would be the store's, for everybody. */
static void test_policy_in_vain(void)
{
	static const unsigned long node_0 = 1;
	struct ram ram;
	long strict;

	ram_begin(&ram);
	sys_fail.number = SYS_mmap;
	sys_fail.error = ENOMEM;
	sys_fail.for_ever = true;
	atomic_store(&sys_fail.countdown, 1);
	bind_memory(ram_at(&ram, 8), 16);
	strict = ram_call(SYS_mbind, ram_at(&ram, 8), 16 * PAGE_BYTES, MPOL_BIND, (long)&node_0, 2, MPOL_MF_STRICT);
	test_check(strict == 0 || errno == EIO, "mbind: %s", strerror(errno));
	atomic_store(&sys_fail.countdown, 0);
	ram_check(&ram, "after mbind, with no memory for it");
	for (uint32_t i = 0; i < PAGES; i++) {
		bool asked = i - 8 < 16, bound = policy_of(ram_at(&ram, i)) == MPOL_BIND;

		test_check(asked || !bound, "page %u is bound", i);
		test_check(!(bound && pages_is_file(ram_at(&ram, i))), "page %u is bound, and the store's", i);
		test_check(!asked || bound || i % 8 < 5, "page %u is not bound, and not the store's", i);
		test_check(!asked || bound || strict != 0, "page %u is not bound, and nobody hears of it", i);
	}
	ram_end(&ram);
}

/* ---- advice that outlives a merge ---- */

enum child_sees { CHILD_SAME,
		  CHILD_ZEROS,
		  CHILD_NOTHING };

static void look_as_child(const struct ram *ram, enum child_sees sees)
{
	int pipes[2];

	test_check(pipe(pipes) == 0, "pipe: %s", strerror(errno));
	for (uint32_t i = 0; i < PAGES; i++) {
		bool there = write(pipes[1], ram_at(ram, i), 1) == 1;

		if (there != (sees != CHILD_NOTHING))
			test_damage("page %u is %sthere in a child", i, there ? "" : "not ");
		if (there && pages_differ(ram_at(ram, i), sees == CHILD_ZEROS ? 0 : ram->contents[i]) >= 0)
			test_damage("page %u reads wrong bytes in a child", i);
	}
	_exit(0);
}

static void expect_in_child(const struct ram *ram, enum child_sees sees)
{
	int pid = test_fork();

	if (pid == 0)
		look_as_child(ram, sees);
	test_end_child(pid);
}

/** Whether all mappings of the RAM have this flag of VmFlags. */
static bool has_flag(const struct ram *ram, const char *flag)
{
	uint64_t from = (uint64_t)ram->memory, to = from + PAGES * PAGE_BYTES;
	FILE *smaps = fopen("/proc/self/smaps", "re");
	bool inside = false, all = true;
	char line[512];

	test_check(smaps != NULL, "smaps: %s", strerror(errno));
	while (fgets(line, sizeof(line), smaps) != NULL) {
		unsigned long start, end_of;

		if (sscanf(line, "%lx-%lx ", &start, &end_of) == 2)
			inside = start < to && end_of > from;
		else if (inside && strncmp(line, "VmFlags:", 8) == 0)
			all = all && strstr(line, flag) != NULL;
	}
	fclose(smaps);
	return all;
}

static void share_the_rest(const struct ram *ram)
{
	ram_expect_sharing_again(ram, 0, PAGES);
}

static void test_not_in_children(void)
{
	struct ram ram;

	ram_begin(&ram);
	expect_in_child(&ram, CHILD_SAME);
	ram_check(&ram, "after a fork");
	ram_advise(&ram, 0, PAGES, MADV_DONTFORK);
	expect_in_child(&ram, CHILD_NOTHING);
	share_the_rest(&ram);
	expect_in_child(&ram, CHILD_NOTHING);
	director_unshare(vm, ram.page, PAGES);
	expect_in_child(&ram, CHILD_NOTHING);
	ram_advise(&ram, 0, PAGES, MADV_DOFORK);
	expect_in_child(&ram, CHILD_SAME);
	share_the_rest(&ram);
	expect_in_child(&ram, CHILD_SAME);
	ram_end(&ram);
}

static void test_wiped_in_children(void)
{
	struct ram ram;

	ram_begin(&ram);
	ram_advise(&ram, 0, PAGES, MADV_WIPEONFORK);
	ram_check(&ram, "after MADV_WIPEONFORK");
	expect_in_child(&ram, CHILD_ZEROS);
	director_scan(vm, ram.page, PAGES);
	director_share(vm, ram.page, PAGES);
	expect_in_child(&ram, CHILD_ZEROS);
	ram_end(&ram);
}

static void test_not_in_dumps(void)
{
	struct ram ram;

	ram_begin(&ram);
	ram_advise(&ram, 0, PAGES, MADV_DONTDUMP);
	test_check(has_flag(&ram, " dd"), "some of it would be dumped");
	share_the_rest(&ram);
	test_check(has_flag(&ram, " dd"), "some of it would be dumped after a merge");
	ram_advise(&ram, 0, PAGES, MADV_DONTNEED);
	zeros(&ram, 0, PAGES);
	test_check(has_flag(&ram, " dd"), "some of it would be dumped after a discard");
	ram_advise(&ram, 0, PAGES, MADV_DODUMP);
	test_check(!has_flag(&ram, " dd"), "it is still not dumped");
	ram_end(&ram);
}

static void test_huge_advice(void)
{
	struct ram ram;

	ram_begin(&ram);
	ram_advise(&ram, 0, PAGES, MADV_HUGEPAGE);
	ram_advise(&ram, 0, PAGES, MADV_DONTNEED); /* new mappings come where the runs were */
	zeros(&ram, 0, PAGES);
	test_check(has_flag(&ram, " hg"), "the wish for huge pages is lost");
	ram_advise(&ram, 0, PAGES, MADV_NOHUGEPAGE);
	ram_share(&ram);
	ram_advise(&ram, 0, PAGES, MADV_DONTNEED);
	zeros(&ram, 0, PAGES);
	test_check(has_flag(&ram, " nh"), "the wish for no huge pages is lost");
	ram_check(&ram, "after all that");
	ram_end(&ram);
}

static void test_unmergeable(void)
{
	struct ram ram;

	ram_begin(&ram);
	ram_advise(&ram, 0, PAGES, MADV_UNMERGEABLE);
	ram_check(&ram, "after MADV_UNMERGEABLE");
	ram_expect_private(&ram, 0, PAGES);
	ram_expect_left_alone(&ram, 0, PAGES);
	test_check(ram_call(SYS_madvise, ram.memory, PAGES * PAGE_BYTES, MADV_MERGEABLE, 0, 0, 0) == 0,
		   "MADV_MERGEABLE");
	test_check(!has_flag(&ram, " mg"), "it went to KSM, too");
	ram_expect_sharing_again(&ram, 0, PAGES);
	ram_end(&ram);
}

/** What a pipe was given shows what is written there later, whatever else is done to the page. */
static void test_pipe(uint32_t page)
{
	static char shown[PAGE_BYTES] __attribute__((aligned(PAGE_BYTES)));
	struct iovec vector;
	struct ram ram;
	int ends[2];

	ram_begin(&ram);
	vector = (struct iovec){ ram_at(&ram, page), PAGE_BYTES };
	test_check(pipe(ends) == 0, "pipe: %s", strerror(errno));
	test_check(ram_call(SYS_vmsplice, (void *)(long)ends[1], (size_t)&vector, 1, 0, 0, 0) == (long)PAGE_BYTES,
		   "vmsplice: %s", strerror(errno));
	(void)ram_call(SYS_mlock, vector.iov_base, PAGE_BYTES, 0, 0, 0, 0);
	(void)ram_call(SYS_munlock, vector.iov_base, PAGE_BYTES, 0, 0, 0, 0);
	ram_write_page(&ram, page, 12345);
	test_check(read(ends[0], shown, PAGE_BYTES) == (ssize_t)PAGE_BYTES, "read: %s", strerror(errno));
	if (pages_differ(shown, 12345) >= 0)
		test_damage("a pipe does not show what was written to page %u since", page);
	close(ends[0]);
	close(ends[1]);
	ram_end(&ram);
}

/* ---- userfaultfd of the VMM's own ---- */

static int call_ioctl(int fd, unsigned long request, void *argument)
{
	return way == BY_NAME ? ioctl(fd, request, argument) : (int)syscall(SYS_ioctl, (long)fd, request, argument);
}

static void test_userfaultfd(void)
{
	int fd = (int)syscall(SYS_userfaultfd, (long)(O_CLOEXEC | UFFD_USER_MODE_ONLY));
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct ram ram;

	if (fd < 0)
		test_skip("userfaultfd: %s", strerror(errno));
	ram_begin(&ram);
	test_check(call_ioctl(fd, UFFDIO_API, &api) == 0, "UFFDIO_API: %s", strerror(errno));
	range.range = (struct uffdio_range){ (uint64_t)ram_at(&ram, 8), 16 * PAGE_BYTES };
	test_check(call_ioctl(fd, UFFDIO_REGISTER, &range) == 0, "UFFDIO_REGISTER: %s", strerror(errno));
	for (uint32_t i = 8; i < 24; i++)
		if (ram.contents[i] != 0)
			test_check(!pages_is_file(ram_at(&ram, i)) &&
					   pages_differ(ram_at(&ram, i), ram.contents[i]) < 0,
				   "page %u is still shared, or wrong", i);
	director_scan(vm, ram.page, PAGES);
	test_check(director_share(vm, ram.page + 8, 16) == 0, "it is shared under the VMM's userfaultfd");
	test_check(call_ioctl(fd, UFFDIO_UNREGISTER, &range.range) == 0, "UFFDIO_UNREGISTER: %s", strerror(errno));
	ram_check(&ram, "after a userfaultfd of the VMM's own");
	ram_expect_sharing_again(&ram, 8, 16);
	close(fd);
	ram_end(&ram);
}

/* ---- forks that pass the handlers by ---- */

static void test_bare_fork(void)
{
	struct ram ram;
	int pid;

	ram_begin(&ram);
	pid = way == BY_NAME ? _Fork() : (int)syscall(SYS_clone, (long)SIGCHLD, 0L, 0L, 0L, 0L);
	test_check(pid >= 0, "fork: %s", strerror(errno));
	if (pid == 0)
		look_as_child(&ram, CHILD_SAME);
	test_end_child(pid);
	ram_check(&ram, "after a fork without handlers");
	for (uint32_t i = 0; i < PAGES; i++)
		ram_write_page(&ram, i, i + 9000); /* the kernel's own copies: nothing can be moved before */
	ram_expect_sharing_again(&ram, 0, PAGES);
	ram_end(&ram);
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	way = test_wants("--past") ? PAST : test_wants("--by-number") ? BY_NUMBER
								      : BY_NAME;
	director = director_new();
	test_discard(MADV_DONTNEED);
	test_discard(MADV_DONTNEED_LOCKED);
	test_discard(MADV_GUARD_INSTALL);
	test_free();
	test_process_madvise();
	test_keeps_content();
	test_collapse_of_nothing();
	test_unmap(false);
	test_unmap(true);
	test_pipe(0); /* shared */
	test_pipe(4); /* diverged */
	test_map_in_vain(true);
	test_map_in_vain(false);
	test_remap_grows(IN_PLACE);
	test_remap_grows(ANYWHERE);
	test_remap_grows(TO_ADDRESS);
	test_remap_shrinks();
	test_remap_leaves_zeros();
	test_remap_over_another(0, PAGES, 32);
	test_remap_over_another(0, PAGES, 61);
	test_remap_over_another(9, 32, 16);
	test_remap_over_another(9, 32, 32);
	test_remap_within();
	test_protection(false);
	test_protection(true);
	test_locks();
	test_not_in_children();
	test_wiped_in_children();
	test_not_in_dumps();
	test_huge_advice();
	test_unmergeable();
	test_userfaultfd();
	test_bare_fork();
	test_policy(); /* skipped where the kernel has no NUMA */
	test_policy_in_vain();
	director_free(director);
	return 0;
}
