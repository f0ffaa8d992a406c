/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The calls of random.c. */
#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/madvise.h"
#include "library/kernel.h"
#include "preload/next.h"
#include "tests/preload/random.h"
#include "tests/support/test.h"

#ifndef UFFDIO_POISON /* Linux 6.6 */
#define UFFDIO_POISON _IOWR(UFFDIO, 0x08, struct uffdio_zeropage)
#endif

#define FILE_BYTES (64 * PAGE_BYTES)
#define VECTOR_MAX 3u

char random_detail[96];

static char *at(enum side side, struct range range)
{
	return random_at(side, range.area, range.from);
}

/** The same in whole pages. */
static struct range whole(struct range range)
{
	size_t end = (range.from + range.length + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);

	range.from &= ~(PAGE_BYTES - 1);
	range.length = end - range.from;
	return range;
}

/** The same inside its area: where other memory may be put. */
static struct range inside(struct range range)
{
	size_t bytes = random_bytes(range.area);

	if (range.length > bytes - range.from)
		range.length = bytes - range.from;
	return range;
}

static long call_range(enum side side, long number, struct range range, long c, long d, long e, long f)
{
	return random_call(side, number, (long)at(side, range), (long)range.length, c, d, e, f);
}

/* ---- advice ---- */

static const int advices[] = {
	MADV_NORMAL,
	MADV_RANDOM,
	MADV_SEQUENTIAL,
	MADV_WILLNEED,
	MADV_DONTNEED,
	MADV_DONTNEED,
	MADV_DONTNEED,
	MADV_REMOVE,
	MADV_DONTFORK,
	MADV_DOFORK,
	MADV_DOFORK,
	MADV_MERGEABLE,
	MADV_MERGEABLE,
	MADV_UNMERGEABLE,
	MADV_HUGEPAGE,
	MADV_NOHUGEPAGE,
	MADV_DONTDUMP,
	MADV_DODUMP,
	MADV_WIPEONFORK,
	MADV_KEEPONFORK,
	MADV_COLD,
	MADV_PAGEOUT,
	MADV_POPULATE_READ,
	MADV_POPULATE_WRITE,
	MADV_DONTNEED_LOCKED,
	MADV_DONTNEED_LOCKED,
	MADV_COLLAPSE,
	MADV_GUARD_INSTALL,
	MADV_GUARD_REMOVE,
	MADV_GUARD_REMOVE,
	1000, /* unknown */
};

static int advice_of(const struct plan *plan)
{
	return advices[plan->number[0] % (sizeof(advices) / sizeof(*advices))];
}

/** The kernel is not told of MADV_MERGEABLE, as it would not join what has it with what has not. Errors are alike. */
static int advice_for(enum side side, int advice)
{
	return side == TWIN && advice == MADV_MERGEABLE ? MADV_UNMERGEABLE : advice;
}

static struct given advise(enum side side, const struct plan *plan)
{
	int advice = advice_for(side, advice_of(plan));
	long result = call_range(side, SYS_madvise, plan->range, advice, 0, 0, 0);

	snprintf(random_detail, sizeof(random_detail), "advice %d", advice);
	return random_given(advice == MADV_COLLAPSE ? 0 : result);
}

/** When the kernel takes the pages is its own affair. So they are dropped at once: what is refused is refused twice. */
static struct given give(enum side side, const struct plan *plan)
{
	struct given given = random_given(call_range(side, SYS_madvise, plan->range, MADV_FREE, 0, 0, 0));

	given.also = (uint64_t)call_range(side, SYS_madvise, plan->range, MADV_DONTNEED, 0, 0, 0);
	return given;
}

static struct given advise_process(enum side side, const struct plan *plan)
{
	int pidfd = (int)syscall(SYS_pidfd_open, (long)getpid(), 0L);
	int advice = advice_for(side, advice_of(plan));
	struct iovec vector[VECTOR_MAX] = {
		{ at(side, plan->range), plan->range.length },
		{ at(side, plan->other), plan->other.length },
		{ random_at(side, 0, 0), 0 },
	};
	long count = (long)(plan->number[1] % (VECTOR_MAX + 1)), flags = plan->number[2] % 16 == 0;
	long result = random_call(side, SYS_process_madvise, pidfd, (long)vector, count, advice, flags, 0);
	struct given given = random_given(advice == MADV_COLLAPSE ? 0 : result);

	snprintf(random_detail, sizeof(random_detail), "advice %d, %ld ranges", advice, count);
	close(pidfd);
	return given;
}

/* ---- mappings ---- */

static const int protections[] = {
	PROT_READ | PROT_WRITE,
	PROT_READ | PROT_WRITE,
	PROT_READ | PROT_WRITE,
	PROT_READ | PROT_WRITE,
	PROT_READ | PROT_WRITE,
	PROT_READ,
	PROT_NONE,
	PROT_WRITE,
	PROT_READ | PROT_EXEC,
	PROT_EXEC,
	PROT_READ | PROT_WRITE | PROT_EXEC,
};

static int protection_of(uint64_t number)
{
	return protections[number % (sizeof(protections) / sizeof(*protections))];
}

/** A file whose bytes are the same for both sides. */
static int make_file(uint64_t content)
{
	int fd = memfd_create("pagefuse-random", MFD_CLOEXEC);
	char page[PAGE_BYTES] __attribute__((aligned(8)));

	test_check(fd >= 0, "memfd_create: %s", strerror(errno));
	for (size_t i = 0; i < FILE_BYTES; i += PAGE_BYTES) {
		pages_fill(page, content + i / PAGE_BYTES % 8);
		test_check(pwrite(fd, page, PAGE_BYTES, (off_t)i) == (ssize_t)PAGE_BYTES, "pwrite: %s",
			   strerror(errno));
	}
	return fd;
}

static struct given map_over(enum side side, const struct plan *plan)
{
	static const int kinds[] = { MAP_PRIVATE | MAP_ANONYMOUS, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
				     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, MAP_SHARED | MAP_ANONYMOUS,
				     MAP_PRIVATE, MAP_SHARED };
	int flags = kinds[plan->number[0] % (sizeof(kinds) / sizeof(*kinds))] |
		    (plan->number[2] % 16 == 0 ? MAP_FIXED_NOREPLACE : MAP_FIXED);
	int fd = flags & MAP_ANONYMOUS ? -1 : make_file(plan->number[3] % 100);
	struct range range = inside(plan->range);
	struct given given;

	if (fd >= 0 && range.length > FILE_BYTES)
		range.length = FILE_BYTES; /* behind its end there is SIGBUS, which is another test's */
	snprintf(random_detail, sizeof(random_detail), "flags %x, %zu bytes", flags, range.length);
	given = random_given(call_range(side, SYS_mmap, range, protection_of(plan->number[1]), flags, fd, 0));
	if (given.result != -1)
		given.result -= (long)at(side, range);
	if (fd >= 0)
		close(fd);
	return given;
}

static struct given unmap(enum side side, const struct plan *plan)
{
	return random_given(call_range(side, SYS_munmap, plan->range, 0, 0, 0, 0));
}

static struct given protect(enum side side, const struct plan *plan)
{
	static const int odd[] = { PROT_GROWSDOWN | PROT_READ, PROT_GROWSDOWN | PROT_GROWSUP, 0x40 | PROT_READ };
	int prot = plan->number[1] % 16 == 0 ? odd[plan->number[1] / 16 % 3] : protection_of(plan->number[0]);

	snprintf(random_detail, sizeof(random_detail), "protection %x", (unsigned)prot);
	return random_given(call_range(side, SYS_mprotect, plan->range, prot, 0, 0, 0));
}

static struct given protect_by_key(enum side side, const struct plan *plan)
{
	static int key = -2;
	int prot = protection_of(plan->number[0]), which;

	if (key == -2)
		key = (int)syscall(SYS_pkey_alloc, 0L, 0L);
	which = plan->number[1] % 4 == 0 ? -1 : plan->number[1] % 4 == 1 ? 0
					: plan->number[1] % 4 == 2       ? key
									 : 99;
	snprintf(random_detail, sizeof(random_detail), "protection %x, key %d", (unsigned)prot, which);
	return random_given(call_range(side, SYS_pkey_mprotect, plan->range, prot, which, 0, 0));
}

/** What has moved to where the kernel likes is read, and unmapped again. */
static uint64_t sum_and_unmap(enum side side, char *memory, size_t length)
{
	uint64_t sum = 0, word;

	for (size_t i = 0; i < length; i += PAGE_BYTES / 4) {
		struct iovec to = { &word, sizeof(word) }, from = { memory + i, sizeof(word) };

		if (process_vm_readv(getpid(), &to, 1, &from, 1, 0) != (ssize_t)sizeof(word))
			word = (uint64_t)errno;
		sum = sum * 31 + word;
	}
	random_call(side, SYS_munmap, (long)memory, (long)length, 0, 0, 0, 0);
	return sum;
}

/** Whether there is something everywhere in a range. */
static bool is_mapped(struct range range)
{
	range = whole(inside(range));
	return range.length > 0 && call_range(TWIN, SYS_msync, range, MS_ASYNC, 0, 0, 0) == 0;
}

/**
 * Calls that take a range of one mapping only: what is several mappings for the VMM's own reasons may be taken by us
 * mapping by mapping, where the kernel refuses. @return whether the twin was refused and so the call is not to be made.
 */
static bool takes_one_only(enum side side, struct range range, struct range other, int error)
{
	return side == RAM && random_twin.result == -1 && random_twin.error == error && is_mapped(range) &&
	       is_mapped(other);
}

/**
 * Whether a move is left out. From Linux 6.17 on several mappings can be moved, but none of them under a userfaultfd:
 * then some have been moved when the call fails. What is to become longer or shorter has to be one mapping, and before
 * the kernel finds out it has unmapped what is in the way, and what is too much. It also finds out late that something
 * in the way is sealed. And what came from RAM and is elsewhere now stays several mappings, of which the library knows
 * nothing any more.
 */
static bool is_no_move(struct range range, struct range to)
{
	struct range pages = whole(inside(range));
	struct mappings twins = random_mappings(TWIN, pages), ours = random_mappings(RAM, pages);
	bool in_ram = range.area == 0 && range.from >= FRONT_PAGES * PAGE_BYTES &&
		      range.from + range.length <= (FRONT_PAGES + RAM_PAGES) * PAGE_BYTES;

	if (twins.count > 1 && (twins.faulted || to.length != range.length))
		return true;
	if (ours.count > 1 && random_mappings(TWIN, whole(inside(to))).sealed)
		return true;
	return !in_ram && ours.count != twins.count;
}

/** MREMAP_DONTUNMAP unlocks more than its range: all of the mapping that it is in. */
static void unlock_area(enum side side, unsigned area)
{
	for (size_t i = 0; i < random_bytes(area); i += PAGE_BYTES)
		(void)random_call(side, SYS_munlock, (long)random_at(side, area, i), (long)PAGE_BYTES, 0, 0, 0, 0);
}

static struct given move(enum side side, const struct plan *plan)
{
	static const int kinds[] = { 0,
				     MREMAP_MAYMOVE,
				     MREMAP_MAYMOVE | MREMAP_FIXED,
				     MREMAP_MAYMOVE | MREMAP_FIXED,
				     MREMAP_MAYMOVE | MREMAP_FIXED,
				     MREMAP_MAYMOVE | MREMAP_DONTUNMAP,
				     MREMAP_MAYMOVE | MREMAP_DONTUNMAP | MREMAP_FIXED,
				     MREMAP_FIXED,
				     MREMAP_DONTUNMAP,
				     1 << 20 };
	int flags = kinds[plan->number[0] % (sizeof(kinds) / sizeof(*kinds))];
	struct range to = plan->other;
	size_t longer = plan->number[1] % 8 == 0 ? plan->number[2] % 20 * PAGE_BYTES : 0;
	size_t length = plan->range.length + longer;
	char *old = at(side, plan->range), *memory;
	struct range over;
	static bool left_out;
	struct given given;

	if (plan->number[1] % 8 == 1)
		length = plan->number[2] % (plan->range.length + 1);
	if (flags & MREMAP_FIXED) { /* no more than the area */
		size_t room = random_bytes(to.area) - to.from;

		length = length > room ? room : length;
	}
	snprintf(random_detail, sizeof(random_detail), "flags %x to %u:%zx+%zx", flags, to.area, to.from, length);
	over = (struct range){ to.area, to.from, length };
	if (side == TWIN)
		left_out = is_no_move(plan->range, over);
	if (left_out)
		return (struct given){ 0 };
	if (flags & MREMAP_DONTUNMAP)
		unlock_area(side, plan->range.area);
	if (takes_one_only(side, plan->range, plan->range, EFAULT)) {
		/* Before Linux 6.17 what was in the way is gone by then. */
		if ((flags & MREMAP_FIXED) != 0 && random_mappings(TWIN, whole(inside(over))).count == 0)
			(void)call_range(RAM, SYS_munmap, whole(inside(over)), 0, 0, 0, 0);
		return random_twin;
	}
	given = random_given(random_call(side, SYS_mremap, (long)old, (long)plan->range.length, (long)length, flags,
					 (long)at(side, to), 0));
	if (given.result == -1)
		return given;
	memory = (char *)given.result;
	if (memory == old || (flags & MREMAP_FIXED)) {
		given.result -= (long)random_at(side, memory == old ? plan->range.area : to.area, 0);
		return given;
	}
	given.also = sum_and_unmap(side, memory, length);
	given.result = 0;
	return given;
}

static struct given remap_file(enum side side, const struct plan *plan)
{
	return random_given(call_range(side, SYS_remap_file_pages, plan->range, 0, 0, 0, 0));
}

static struct given seal(enum side side, const struct plan *plan)
{
	return random_given(call_range(side, SYS_mseal, plan->range, plan->number[0] % 4 == 0, 0, 0, 0));
}

/* ---- locks ---- */

static struct given lock(enum side side, const struct plan *plan)
{
	long flags = plan->number[1] % 8 == 0 ? 8 : (long)(plan->number[1] % 2);

	if (plan->number[0] % 2)
		return random_given(call_range(side, SYS_mlock, plan->range, 0, 0, 0, 0));
	snprintf(random_detail, sizeof(random_detail), "mlock2 with %ld", flags);
	return random_given(call_range(side, SYS_mlock2, plan->range, flags, 0, 0, 0));
}

static struct given unlock(enum side side, const struct plan *plan)
{
	return random_given(call_range(side, SYS_munlock, plan->range, 0, 0, 0, 0));
}

/** Of the whole process, so once. */
static struct given lock_all(enum side side, const struct plan *plan)
{
	static const int flags[] = { MCL_CURRENT, MCL_CURRENT | MCL_ONFAULT, MCL_FUTURE, MCL_CURRENT | MCL_FUTURE };
	long which = flags[plan->number[0] % 4];

	snprintf(random_detail, sizeof(random_detail), "flags %lx", which);
	if (side == RAM && random_call(RAM, SYS_mlockall, which, 0, 0, 0, 0, 0) != 0)
		test_check(errno == ENOMEM || errno == EAGAIN, "mlockall: %s", strerror(errno));
	return random_given(0);
}

static struct given unlock_all(enum side side, const struct plan *plan)
{
	(void)plan;
	return random_given(side == RAM ? random_call(RAM, SYS_munlockall, 0, 0, 0, 0, 0, 0) : 0);
}

/* ---- calls that look ---- */

static struct given synchronize(enum side side, const struct plan *plan)
{
	static const long flags[] = { MS_ASYNC, MS_SYNC, MS_ASYNC | MS_INVALIDATE, MS_SYNC | MS_ASYNC, 64 };

	snprintf(random_detail, sizeof(random_detail), "flags %lx", flags[plan->number[0] % 5]);
	return random_given(call_range(side, SYS_msync, plan->range, flags[plan->number[0] % 5], 0, 0, 0));
}

/** What is resident is the kernel's affair, and of pages that are shared, ours. */
static struct given look(enum side side, const struct plan *plan)
{
	static unsigned char present[4096];
	struct range range = plan->range;

	if (range.length / PAGE_BYTES >= sizeof(present) && range.length < SIZE_MAX / 2)
		range.length = PAGE_BYTES;
	return random_given(call_range(side, SYS_mincore, range, (long)present, 0, 0, 0));
}

static struct given set_policy(enum side side, const struct plan *plan)
{
	static const int modes[] = { MPOL_DEFAULT, MPOL_BIND, MPOL_PREFERRED, MPOL_INTERLEAVE, 77 };
	static const long flags[] = { 0, 0, MPOL_MF_MOVE, MPOL_MF_STRICT, MPOL_MF_STRICT | MPOL_MF_MOVE, 1 << 20 };
	int mode = modes[plan->number[0] % 5];
	unsigned long nodes = mode == MPOL_DEFAULT ? 0 : plan->number[1] % 8 == 0 ? 2
										  : 1;

	snprintf(random_detail, sizeof(random_detail), "mode %d, nodes %lx, flags %lx", mode, nodes,
		 flags[plan->number[2] % 6]);
	return random_given(
		call_range(side, SYS_mbind, plan->range, mode, (long)&nodes, 8, flags[plan->number[2] % 6]));
}

static struct given set_home_node(enum side side, const struct plan *plan)
{
	return random_given(call_range(side, SYS_set_mempolicy_home_node, plan->range, 0, 0, 0, 0));
}

/* ---- bytes ---- */

static char buffer[FILE_BYTES];

/** As much as fits the buffer. */
static struct range short_range(struct range range)
{
	range = inside(range);
	if (range.length > sizeof(buffer))
		range.length = sizeof(buffer);
	return range;
}

static void fill_buffer(const struct plan *plan)
{
	for (size_t i = 0; i < sizeof(buffer); i += PAGE_BYTES)
		pages_fill(buffer + i, plan->number[0] % 30 + i / PAGE_BYTES);
}

static uint64_t sum_of(const char *bytes, size_t length)
{
	uint64_t sum = length;

	for (size_t i = 0; i < length; i++)
		sum = sum * 31 + (unsigned char)bytes[i];
	return sum;
}

static struct given read_in(enum side side, const struct plan *plan)
{
	struct range a = short_range(plan->range), b = short_range(plan->other);
	struct iovec vector[2] = { { at(side, a), a.length }, { at(side, b), b.length } };
	int fd = make_file(plan->number[0] % 100);
	off_t from = (off_t)(plan->number[1] % 3 == 0 ? plan->number[2] % FILE_BYTES : 0);
	struct given given;

	snprintf(random_detail, sizeof(random_detail), "from %lx of a file", (long)from);
	if (plan->number[3] % 2)
		given = random_given(
			random_call(side, SYS_pread64, fd, (long)vector[0].iov_base, (long)a.length, from, 0, 0));
	else
		given = random_given(random_call(side, SYS_preadv, fd, (long)vector, 2, from, 0, 0));
	close(fd);
	return given;
}

static struct given write_out(enum side side, const struct plan *plan)
{
	struct range range = short_range(plan->range);
	int fd = make_file(1);
	struct given given = random_given(
		random_call(side, SYS_pwrite64, fd, (long)at(side, range), (long)range.length, 0, 0, 0));
	ssize_t length = pread(fd, buffer, sizeof(buffer), 0);

	given.also = sum_of(buffer, length > 0 ? (size_t)length : 0);
	close(fd);
	return given;
}

static struct given read_pipe(enum side side, const struct plan *plan)
{
	struct range range = short_range(plan->range);
	struct given given;
	int ends[2];

	fill_buffer(plan);
	test_check(pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0, "pipe2: %s", strerror(errno));
	test_check(write(ends[1], buffer, 8 * PAGE_BYTES) == 8 * (ssize_t)PAGE_BYTES, "write: %s", strerror(errno));
	given = random_given(random_call(side, SYS_read, ends[0], (long)at(side, range), (long)range.length, 0, 0, 0));
	close(ends[0]);
	close(ends[1]);
	return given;
}

static struct given vm_write(enum side side, const struct plan *plan)
{
	struct range range = short_range(plan->range);
	struct iovec from = { buffer, range.length }, to = { at(side, range), range.length };

	fill_buffer(plan);
	return random_given(random_call(side, SYS_process_vm_writev, getpid(), (long)&from, 1, (long)&to, 1, 0));
}

static struct given vm_read(enum side side, const struct plan *plan)
{
	struct range range = short_range(plan->range);
	struct iovec to = { buffer, range.length }, from = { at(side, range), range.length };
	struct given given =
		random_given(random_call(side, SYS_process_vm_readv, getpid(), (long)&to, 1, (long)&from, 1, 0));

	given.also = given.result > 0 ? sum_of(buffer, (size_t)given.result) : 0;
	return given;
}

static sigjmp_buf faulted;

static void on_fault(int number)
{
	siglongjmp(faulted, number);
}

static void store(enum side side, const struct plan *plan, struct range range)
{
	for (size_t i = 0; i < range.length; i += PAGE_BYTES) {
		char *page = at(side, range) + i;

		if (plan->number[0] % 4 != 0)
			pages_fill(page, (plan->number[1] + i / PAGE_BYTES) % 8);
		else
			pages_store((uint64_t *)(page + plan->number[2] % PAGE_WORDS * sizeof(uint64_t)),
				    plan->number[1]);
	}
}

/** By the CPU. */
static struct given store_pages(enum side side, const struct plan *plan)
{
	struct sigaction action = { .sa_handler = on_fault }, segv, bus;
	int number;

	sigaction(SIGSEGV, &action, &segv);
	sigaction(SIGBUS, &action, &bus);
	number = sigsetjmp(faulted, 1);
	if (number == 0)
		store(side, plan, whole(inside(plan->range)));
	sigaction(SIGSEGV, &segv, NULL);
	sigaction(SIGBUS, &bus, NULL);
	return random_given(number);
}

/* ---- pages that a pipe has ---- */

/** What a pipe was given is what it gives, with what was written there meanwhile. */
static struct {
	int ends[SIDES][2];
	bool open;
} spliced;

static void close_spliced(void)
{
	for (unsigned i = 0; i < 2 * SIDES && spliced.open; i++)
		close(spliced.ends[i / 2][i % 2]);
	spliced.open = false;
}

/**
 * Whether the kernel takes the same pages of both sides. It takes those that are there whatever their protection, and
 * others if they may be read. In place of pages that were never written, and of zeros that were given back and then
 * unshared, it takes its page of zeros, which nobody writes.
 */
static bool is_same_to_pipe(struct range range)
{
	static const char zeros[PAGE_BYTES];
	struct iovec to = { buffer, range.length }, from = { at(TWIN, range), range.length };

	if (process_vm_readv(getpid(), &to, 1, &from, 1, 0) != (ssize_t)range.length)
		return false;
	for (size_t i = 0; i < range.length; i += PAGE_BYTES)
		if (memcmp(buffer + i, zeros, PAGE_BYTES) == 0)
			return false;
	return true;
}

static struct given splice_out(enum side side, const struct plan *plan)
{
	struct range range = short_range(whole(inside(plan->range)));
	struct iovec vector = { at(side, range), range.length };

	if (side == TWIN) {
		close_spliced();
		for (unsigned i = 0; i < SIDES; i++)
			test_check(pipe2(spliced.ends[i], O_NONBLOCK | O_CLOEXEC) == 0, "pipe2: %s", strerror(errno));
		spliced.open = true;
	}
	if (!is_same_to_pipe(range))
		return random_given(0);
	return random_given(random_call(side, SYS_vmsplice, spliced.ends[side][1], (long)&vector, 1,
					plan->number[0] % 2 ? SPLICE_F_GIFT : 0, 0, 0));
}

static struct given read_spliced(enum side side, const struct plan *plan)
{
	struct given given;
	int ends[2];

	if (!spliced.open)
		return random_given(0);
	if (plan->number[3] % 2) {
		given = random_given(read(spliced.ends[side][0], buffer, sizeof(buffer)));
	} else {
		test_check(pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0, "pipe2: %s", strerror(errno));
		(void)tee(spliced.ends[side][0], ends[1], sizeof(buffer), SPLICE_F_NONBLOCK);
		given = random_given(read(ends[0], buffer, sizeof(buffer)));
		close(ends[0]);
		close(ends[1]);
	}
	given.also = given.result > 0 ? sum_of(buffer, (size_t)given.result) : 0;
	return given;
}

static void write_spliced(const struct plan *plan)
{
	struct given given[SIDES];

	random_share(whole(inside(plan->range)));
	for (enum side side = RAM; side < SIDES; side++)
		(void)store_pages(side, plan);
	random_share(whole(inside(plan->range)));
	for (enum side side = RAM; side < SIDES; side++)
		given[side] = read_spliced(side, plan);
	random_same(given, "read of what was spliced and written");
}

/* ---- a userfaultfd of the VMM's ---- */

/**
 * Whoever touches a missing or protected page there gets SIGBUS, or EFAULT, and nobody sleeps. A child needs one of its
 * own: with that of its parent it would change its parent's memory.
 */
static int userfaultfd(void)
{
	static int fd = -1;
	static pid_t owner;
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_SIGBUS };

	if (fd >= 0 && owner == getpid())
		return fd;
	owner = getpid();
	fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		test_skip("userfaultfd: %s", strerror(errno));
	test_check(random_call(TWIN, SYS_ioctl, fd, UFFDIO_API, (long)&api, 0, 0, 0) == 0, "UFFDIO_API: %s",
		   strerror(errno));
	return fd;
}

static struct given fault_call(enum side side, unsigned long request, void *argument)
{
	return random_given(random_call(side, SYS_ioctl, userfaultfd(), (long)request, (long)argument, 0, 0, 0));
}

static struct uffdio_range fault_range(enum side side, struct range range)
{
	return (struct uffdio_range){ (uint64_t)at(side, range), range.length };
}

static struct given fault_register(enum side side, const struct plan *plan)
{
	static const unsigned modes[] = { UFFDIO_REGISTER_MODE_MISSING, UFFDIO_REGISTER_MODE_WP,
					  UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP, 0 };
	struct uffdio_register argument = { .range = fault_range(side, plan->range),
					    .mode = modes[plan->number[0] % 16 == 0 ? 3 : plan->number[1] % 3] };
	struct given given = fault_call(side, UFFDIO_REGISTER, &argument);

	snprintf(random_detail, sizeof(random_detail), "mode %llx", (unsigned long long)argument.mode);
	given.also = argument.ioctls;
	return given;
}

static struct given fault_unregister(enum side side, const struct plan *plan)
{
	struct uffdio_range argument = fault_range(side, plan->range);

	return fault_call(side, UFFDIO_UNREGISTER, &argument);
}

static struct given fault_protect(enum side side, const struct plan *plan)
{
	struct uffdio_writeprotect argument = { .range = fault_range(side, plan->range),
						.mode = plan->number[0] % 2 ? UFFDIO_WRITEPROTECT_MODE_WP : 0 };

	return fault_call(side, UFFDIO_WRITEPROTECT, &argument);
}

static struct given fault_copy(enum side side, const struct plan *plan)
{
	struct uffdio_copy argument = { .dst = (uint64_t)at(side, plan->range),
					.src = (uint64_t)buffer,
					.len = short_range(plan->range).length,
					.copy = 7 };
	struct given given;

	if (takes_one_only(side, short_range(plan->range), short_range(plan->range), ENOENT))
		return random_twin;
	fill_buffer(plan);
	given = fault_call(side, UFFDIO_COPY, &argument);
	given.also = (uint64_t)argument.copy;
	return given;
}

static struct given fault_zero(enum side side, const struct plan *plan)
{
	struct uffdio_zeropage argument = { .range = fault_range(side, plan->range), .zeropage = 7 };
	struct given given;

	if (takes_one_only(side, plan->range, plan->range, ENOENT))
		return random_twin;
	given = fault_call(side, plan->number[0] % 8 ? UFFDIO_ZEROPAGE : UFFDIO_POISON, &argument);
	given.also = (uint64_t)argument.zeropage;
	return given;
}

static struct given fault_move(enum side side, const struct plan *plan)
{
	struct range to = { plan->other.area, plan->other.from, plan->range.length };
	struct uffdio_move argument = { .dst = (uint64_t)at(side, to),
					.src = (uint64_t)at(side, plan->range),
					.len = plan->range.length,
					.mode = plan->number[0] % 4 ? UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES : 0,
					.move = 7 };
	struct given given;

	if (takes_one_only(side, plan->range, to, EINVAL))
		return random_twin;
	given = fault_call(side, UFFDIO_MOVE, &argument);
	snprintf(random_detail, sizeof(random_detail), "to %u:%zx, mode %llx", to.area, to.from,
		 (unsigned long long)argument.mode);
	given.also = (uint64_t)argument.move;
	return given;
}

/* Sanitizers make nothing of these calls by name, and have terabytes of their own, which would be locked by number. */
#define LOCK_WEIGHT(WEIGHT) (TEST_ADDRESS_SANITIZER || TEST_THREAD_SANITIZER ? 0 : (WEIGHT))

const struct kind random_kinds[] = {
	{ "madvise", 24, advise, NULL },
	{ "MADV_FREE", 2, give, NULL },
	{ "process_madvise", 3, advise_process, NULL },
	{ "mmap", 4, map_over, NULL },
	{ "munmap", 3, unmap, NULL },
	{ "mprotect", 8, protect, NULL },
	{ "pkey_mprotect", 2, protect_by_key, NULL },
	{ "mremap", 6, move, NULL },
	{ "remap_file_pages", 1, remap_file, NULL },
	{ "mlock", LOCK_WEIGHT(3), lock, NULL },
	{ "munlock", LOCK_WEIGHT(4), unlock, NULL },
	{ "mlockall", LOCK_WEIGHT(1), lock_all, NULL },
	{ "munlockall", LOCK_WEIGHT(1), unlock_all, NULL },
	{ "mseal", 1, seal, NULL },
	{ "msync", 2, synchronize, NULL },
	{ "mincore", 1, look, NULL },
	{ "mbind", 2, set_policy, NULL },
	{ "set_mempolicy_home_node", 1, set_home_node, NULL },
	{ "pread", 4, read_in, NULL },
	{ "pwrite", 2, write_out, NULL },
	{ "read from a pipe", 2, read_pipe, NULL },
	{ "process_vm_writev", 2, vm_write, NULL },
	{ "process_vm_readv", 1, vm_read, NULL },
	{ "store", 16, store_pages, NULL },
	{ "vmsplice", 2, splice_out, write_spliced },
	{ "read of what was spliced", 2, read_spliced, NULL },
	{ "UFFDIO_REGISTER", 3, fault_register, NULL },
	{ "UFFDIO_UNREGISTER", 3, fault_unregister, NULL },
	{ "UFFDIO_WRITEPROTECT", 2, fault_protect, NULL },
	{ "UFFDIO_COPY", 2, fault_copy, NULL },
	{ "UFFDIO_ZEROPAGE", 2, fault_zero, NULL },
	{ "UFFDIO_MOVE", 3, fault_move, NULL },
};

const size_t random_kind_count = sizeof(random_kinds) / sizeof(*random_kinds);
