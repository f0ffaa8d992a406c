/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/preload/life.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>
#include <linux/vfio.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "library/descriptors.h"
#include "tests/support/pages.h"

#ifndef SYS_pidfd_open /* Linux 5.3, the same number everywhere */
#define SYS_pidfd_open 434
#endif

#define SOME 8u
#define WANTED(condition) \
	do { \
		if (!(condition)) \
			return __LINE__; \
	} while (0)

long life_call(long number, long a, long b, long c, long d, long e)
{
	return syscall(number, a, b, c, d, e, (long)LIFE_MARK);
}

/* ---- files ---- */

static int opened(const char *path, int flags)
{
	return (int)life_call(SYS_openat, AT_FDCWD, (long)path, flags, 0, 0);
}

static void closed(int fd)
{
	life_call(SYS_close, fd, 0, 0, 0, 0);
}

/** Hands itself files through a socket. */
static long receive(int fd, int other)
{
	char space[CMSG_SPACE(2 * sizeof(int))] = { 0 }, byte = 'x';
	struct iovec vector = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &vector, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)
	};
	struct cmsghdr *part = CMSG_FIRSTHDR(&message);
	int sockets[2], fds[2] = { fd, other };

	WANTED(life_call(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, (long)sockets, 0) == 0);
	part->cmsg_level = SOL_SOCKET;
	part->cmsg_type = SCM_RIGHTS;
	part->cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(part), fds, sizeof(fds));
	WANTED(life_call(SYS_sendmsg, sockets[0], (long)&message, 0, 0, 0) == 1);
	WANTED(life_call(SYS_recvmsg, sockets[1], (long)&message, 0, 0, 0) == 1);
	part = CMSG_FIRSTHDR(&message);
	WANTED(part != NULL);
	memcpy(fds, CMSG_DATA(part), sizeof(fds));
	for (unsigned i = 0; i < 2; i++) {
		closed(fds[i]);
		closed(sockets[i]);
	}
	return 0;
}

static long use_files(void)
{
	static const char *const paths[] = { "/proc/self/maps", "/dev/null", "/dev/zero", "/", "/proc/self/fd" };
	int file = (int)life_call(SYS_memfd_create, (long)"life", 0, 0, 0, 0);
	int tcp = (int)life_call(SYS_socket, AF_INET, SOCK_STREAM, 0, 0, 0);

	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		int fd = opened(paths[i], O_RDONLY);

		WANTED(fd >= 0);
		closed(fd);
	}
	WANTED(file >= 0);
	life_call(SYS_fcntl, file, F_SETFL, O_DIRECT, 0, 0); /* whether it takes that or not */
	life_call(SYS_setsockopt, tcp, IPPROTO_TCP, TCP_ULP, (long)"none", 4);
	WANTED(receive(file, tcp >= 0 ? tcp : file) == 0);
	closed(tcp);
	closed(file);
	WANTED(life_call(SYS_io_uring_setup, 0, 0, 0, 0, 0) == -1); /* as who asks whether there is such a thing */
	WANTED(life_call(SYS_clone3, 0, 0, 0, 0, 0) == -1);
	return 0;
}

/** Closes and replaces descriptors of the library's, as long as it has any. */
static long close_unknown(void)
{
	bool had;
	int file, first, second;

	if (!descriptors_begin(&had))
		return 0;
	first = descriptors_first(0, ~0u);
	second = first < 0 ? -1 : descriptors_first((unsigned)first + 1, ~0u);
	descriptors_end(had);
	if (second < 0)
		return 0;
	file = (int)life_call(SYS_memfd_create, (long)"life", 0, 0, 0, 0);
	WANTED(file >= 0 && life_call(SYS_dup3, file, first, 0, 0, 0) == first);
	life_call(SYS_close, second, 0, 0, 0, 0);
	life_call(SYS_close_range, second, second, 0, 0, 0);
	closed(first);
	closed(file);
	return 0;
}

/* ---- memory ---- */

static long call_on(long number, const char *memory, unsigned first, unsigned count, long third)
{
	return life_call(number, (long)(memory + first * PAGE_BYTES), count * (long)PAGE_BYTES, third, 0, 0);
}

static long discard(char *memory, uint64_t *contents, unsigned first, unsigned count)
{
	WANTED(call_on(SYS_madvise, memory, first, count, MADV_DONTNEED) == 0);
	for (unsigned i = first; i < first + count; i++) {
		contents[i] = 0;
		WANTED(pages_differ(memory + i * PAGE_BYTES, 0) < 0);
	}
	return 0;
}

/** Through itself, as far as this kernel takes that. */
static long discard_by_descriptor(char *memory, uint64_t *contents, unsigned first)
{
	int self = (int)life_call(SYS_pidfd_open, life_call(SYS_getpid, 0, 0, 0, 0, 0), 0, 0, 0, 0);
	struct iovec vector = { memory + first * PAGE_BYTES, SOME * PAGE_BYTES };

	if (life_call(SYS_process_madvise, self, (long)&vector, 1, MADV_DONTNEED, 0) == (long)vector.iov_len)
		for (unsigned i = first; i < first + SOME; i++)
			contents[i] = 0;
	closed(self);
	return 0;
}

static long read_disk(char *memory, uint64_t *contents, unsigned first)
{
	int file = (int)life_call(SYS_memfd_create, (long)"disk", 0, 0, 0, 0);
	static char page[PAGE_BYTES];
	struct iovec vector = { memory + (first + 1) * PAGE_BYTES, PAGE_BYTES };

	pages_fill(page, 77);
	for (unsigned i = 0; i < 2; i++)
		WANTED(life_call(SYS_pwrite64, file, (long)page, PAGE_BYTES, (long)(i * PAGE_BYTES), 0) == PAGE_BYTES);
	WANTED(life_call(SYS_pread64, file, (long)(memory + first * PAGE_BYTES), PAGE_BYTES, 0, 0) == PAGE_BYTES);
	WANTED(life_call(SYS_preadv, file, (long)&vector, 1, 0, 0) == PAGE_BYTES);
	contents[first] = contents[first + 1] = 77;
	closed(file);
	return 0;
}

/** What cannot be made plain may refuse the first of these. */
static long change_protection(char *memory, unsigned first)
{
	if (call_on(SYS_mprotect, memory, first, SOME, PROT_READ) == 0)
		WANTED(call_on(SYS_mprotect, memory, first, SOME, PROT_READ | PROT_WRITE) == 0);
	else
		WANTED(errno == ENOMEM);
	return 0;
}

static long lock(char *memory, unsigned first)
{
	WANTED(call_on(SYS_mlock, memory, first, SOME, 0) == 0);
	WANTED(call_on(SYS_munlock, memory, first, SOME, 0) == 0);
	WANTED(life_call(SYS_mlockall, MCL_FUTURE, 0, 0, 0, 0) == 0);
	WANTED(life_call(SYS_munlockall, 0, 0, 0, 0, 0) == 0);
	return 0;
}

static long use_userfaultfd(char *memory, unsigned first)
{
	int fd = (int)life_call(SYS_userfaultfd, O_CLOEXEC, 0, 0, 0, 0);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { (uint64_t)(memory + first * PAGE_BYTES), SOME * PAGE_BYTES },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};

	WANTED(fd >= 0 && life_call(SYS_ioctl, fd, (long)UFFDIO_API, (long)&api, 0, 0) == 0);
	if (life_call(SYS_ioctl, fd, (long)UFFDIO_REGISTER, (long)&reg, 0, 0) == 0)
		WANTED(life_call(SYS_ioctl, fd, (long)UFFDIO_UNREGISTER, (long)&reg.range, 0, 0) == 0);
	else
		WANTED(errno == ENOMEM);
	closed(fd);
	return 0;
}

static long give_to_device(char *memory, unsigned first)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map), .vaddr = (uint64_t)(memory + first * PAGE_BYTES), .size = SOME * PAGE_BYTES
	};

	WANTED(life_call(SYS_ioctl, -1, VFIO_IOMMU_MAP_DMA, (long)&map, 0, 0) == -1);
	return 0;
}

static long offer(char *memory, unsigned first)
{
	call_on(SYS_madvise, memory, first, SOME, MADV_MERGEABLE); /* if nobody takes it, it is up to the kernel */
	return 0;
}

static long map_anew(char *memory, uint64_t *contents, unsigned first)
{
	char *at = memory + first * PAGE_BYTES;

	WANTED(call_on(SYS_munmap, memory, first, SOME, 0) == 0);
	WANTED(syscall(SYS_mmap, at, SOME * PAGE_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, (long)LIFE_MARK) == (long)at);
	WANTED(call_on(SYS_madvise, memory, first, SOME, MADV_NOHUGEPAGE) == 0); /* like the rest */
	for (unsigned i = first; i < first + SOME; i++)
		contents[i] = 0;
	WANTED(discard(memory, contents, first, SOME) == 0);
	return offer(memory, first);
}

/** Where it stays in place as it cannot be made plain, that is all right. */
static long move_away(char *memory, uint64_t *contents, unsigned first)
{
	char *at = memory + first * PAGE_BYTES;
	long moved = life_call(SYS_mremap, (long)at, SOME * PAGE_BYTES, SOME * PAGE_BYTES * 2, MREMAP_MAYMOVE, 0);

	if (moved == -1 && (errno == ENOMEM || errno == EFAULT))
		return 0;
	WANTED(moved != -1 && pages_differ((char *)moved, contents[first]) < 0);
	WANTED(life_call(SYS_munmap, moved, SOME * PAGE_BYTES * 2, 0, 0, 0) == 0);
	return map_anew(memory, contents, first);
}

static long bind_memory(char *memory, unsigned first)
{
	unsigned long nodes = 1;

	life_call(SYS_mbind, (long)(memory + first * PAGE_BYTES), SOME * PAGE_BYTES, MPOL_BIND, (long)&nodes, 8);
	return 0;
}

/** A child that has its parent's memory, and discards some of it. */
static long fork_child(char *memory, uint64_t *contents, unsigned first)
{
	long child = life_call(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	int status;

	WANTED(child >= 0);
	if (child == 0) {
		bool right = pages_differ(memory, contents[0]) < 0;

		right = right && call_on(SYS_madvise, memory, first, SOME, MADV_DONTNEED) == 0;
		for (unsigned i = first; i < first + SOME; i++)
			right = right && pages_differ(memory + i * PAGE_BYTES, 0) < 0;
		life_call(SYS_exit_group, right ? 0 : 1, 0, 0, 0, 0);
	}
	WANTED(life_call(SYS_wait4, child, (long)&status, 0, 0, 0) == child);
	WANTED(status == 0);
	return 0;
}

#define STEP(call) \
	do { \
		long line = (call); \
\
		if (line != 0) \
			return line; \
	} while (0)

long life_live(char *memory, uint64_t *contents)
{
	STEP(use_files());
	STEP(discard(memory, contents, 16, SOME));
	STEP(discard_by_descriptor(memory, contents, 32));
	STEP(read_disk(memory, contents, 48));
	STEP(change_protection(memory, 64));
	STEP(lock(memory, 80));
	STEP(use_userfaultfd(memory, 96));
	STEP(give_to_device(memory, 112));
	STEP(fork_child(memory, contents, 128));
	STEP(map_anew(memory, contents, 144));
	STEP(move_away(memory, contents, 160));
	STEP(close_unknown());
	WANTED(call_on(SYS_madvise, memory, 0, LIFE_PAGES, MADV_DONTDUMP) == 0);
	WANTED(call_on(SYS_madvise, memory, 0, LIFE_PAGES, MADV_DODUMP) == 0);
	STEP(bind_memory(memory, LIFE_PAGES - SOME));
	return 0;
}

long life_hurry(char *memory, uint64_t *contents, unsigned which, unsigned threads)
{
	unsigned share = LIFE_PAGES / threads, first = which * share;
	int fd = opened("/dev/null", O_RDONLY);

	WANTED(fd >= 0);
	closed(fd);
	STEP(discard(memory, contents, first, share / 2));
	STEP(change_protection(memory, first + share / 2));
	STEP(offer(memory, first));
	return 0;
}
