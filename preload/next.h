/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The real calls. Each is first the bare system call, and from the preload's constructor on the next definition of that
 * name in the dynamic linker's order, if there is one.
 *
 * The next definition is used since others interpose as well: sanitizers, which must see every mapping, libnuma, whose
 * mbind() QEMU calls, other preloads. The bare system call is used before, since constructors of other libraries run
 * earlier and must not see a half-made table; and for functions that this libc does not have. Functions of liburing
 * have no system call of their own: if a VMM has loaded that library later than us it is looked up when it is called.
 */
#ifndef PAGEFUSE_PRELOAD_NEXT_H
#define PAGEFUSE_PRELOAD_NEXT_H

#include <linux/aio_abi.h>
#include <linux/types.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifndef SYS_pidfd_getfd /* Linux 5.6, the same number everywhere */
#define SYS_pidfd_getfd 438
#endif
#ifndef SYS_mseal /* Linux 6.10, the same number everywhere */
#define SYS_mseal 462
#endif

struct file_handle;
struct io_uring_cqe;
struct io_uring_params;
struct __kernel_timespec;
struct uring; /* struct io_uring of liburing */

struct next {
	long (*syscall)(long number, ...); /* entry.S expects it first */
	int (*madvise)(void *, size_t, int);
	int (*posix_madvise)(void *, size_t, int);
	ssize_t (*process_madvise)(int, const struct iovec *, size_t, int, unsigned);
	void *(*mmap)(void *, size_t, int, int, int, off_t);
	int (*munmap)(void *, size_t);
	void *(*mremap)(void *, size_t, size_t, int, ...);
	int (*mlock)(const void *, size_t);
	int (*mlock2)(const void *, size_t, unsigned);
	int (*munlock)(const void *, size_t);
	int (*mlockall)(int);
	int (*munlockall)(void);
	int (*mprotect)(void *, size_t, int);
	int (*pkey_mprotect)(void *, size_t, int, int);
	int (*mseal)(void *, size_t, unsigned long);
	long (*mbind)(void *, unsigned long, int, const unsigned long *, unsigned long, unsigned);
	int (*ioctl)(int, unsigned long, ...);
	int (*close)(int);
	int (*close_range)(unsigned, unsigned, int);
	void (*closefrom)(int);
	int (*dup2)(int, int);
	int (*dup3)(int, int, int);
	pid_t (*fork)(void); /* _Fork() */
	int (*clone)(int (*)(void *), void *, int, void *, ...);
	int (*open)(const char *, int, ...);
	int (*openat)(int, const char *, int, ...);
	int (*open_2)(const char *, int);
	int (*openat_2)(int, const char *, int);
	int (*creat)(const char *, mode_t);
	int (*open_by_handle_at)(int, struct file_handle *, int);
	int (*pidfd_getfd)(int, int, unsigned);
	int (*mkstemp)(char *);
	int (*mkostemp)(char *, int);
	int (*mkstemps)(char *, int);
	int (*mkostemps)(char *, int, int);
	FILE *(*fopen)(const char *, const char *);
	FILE *(*freopen)(const char *, const char *, FILE *);
	FILE *(*tmpfile)(void);
	int (*fcntl)(int, int, ...);
	int (*prctl)(int, ...);
	int (*setsockopt)(int, int, int, const void *, socklen_t);
	ssize_t (*pread)(int, void *, size_t, off_t);
	ssize_t (*pread_chk)(int, void *, size_t, off_t, size_t);
	ssize_t (*preadv)(int, const struct iovec *, int, off_t);
	ssize_t (*preadv2)(int, const struct iovec *, int, off_t, int);
	ssize_t (*read)(int, void *, size_t);
	ssize_t (*read_chk)(int, void *, size_t, size_t);
	ssize_t (*readv)(int, const struct iovec *, int);
	ssize_t (*recv)(int, void *, size_t, int);
	ssize_t (*recv_chk)(int, void *, size_t, size_t, int);
	ssize_t (*recvfrom)(int, void *, size_t, int, struct sockaddr *, socklen_t *);
	ssize_t (*recvfrom_chk)(int, void *, size_t, size_t, int, struct sockaddr *, socklen_t *);
	ssize_t (*recvmsg)(int, struct msghdr *, int);
	int (*recvmmsg)(int, struct mmsghdr *, unsigned, int, struct timespec *);
	ssize_t (*write)(int, const void *, size_t);
	ssize_t (*pwrite)(int, const void *, size_t, off_t);
	ssize_t (*writev)(int, const struct iovec *, int);
	ssize_t (*pwritev)(int, const struct iovec *, int, off_t);
	ssize_t (*pwritev2)(int, const struct iovec *, int, off_t, int);
	ssize_t (*vmsplice)(int, const struct iovec *, size_t, unsigned);
	ssize_t (*send)(int, const void *, size_t, int);
	ssize_t (*sendto)(int, const void *, size_t, int, const struct sockaddr *, socklen_t);
	ssize_t (*sendmsg)(int, const struct msghdr *, int);
	int (*sendmmsg)(int, struct mmsghdr *, unsigned, int);
	int (*io_submit)(aio_context_t, long, struct iocb **);
	int (*io_uring_submit)(struct uring *);
	int (*io_uring_submit_and_wait)(struct uring *, unsigned);
	int (*io_uring_submit_and_get_events)(struct uring *);
	int (*io_uring_submit_and_wait_timeout)(struct uring *, struct io_uring_cqe **, unsigned,
						struct __kernel_timespec *, sigset_t *);
	int (*io_uring_queue_init_params)(unsigned, struct uring *, struct io_uring_params *);
	int (*io_uring_queue_init_mem)(unsigned, struct uring *, struct io_uring_params *, void *, size_t);
	int (*io_uring_setup)(unsigned, struct io_uring_params *);
	int (*io_uring_register)(unsigned, unsigned, const void *, unsigned);
	int (*io_uring_register_ring_fd)(struct uring *);
	int (*io_uring_register_buffers)(struct uring *, const struct iovec *, unsigned);
	int (*io_uring_register_buffers_tags)(struct uring *, const struct iovec *, const __u64 *, unsigned);
	int (*io_uring_register_buffers_update_tag)(struct uring *, unsigned, const struct iovec *, const __u64 *,
						    unsigned);
};

extern struct next next;

/** The system call itself: all arguments as long or pointer. @return the kernel's result, or -1 with errno set. */
long bare_syscall(long number, ...);

#endif
