/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The real calls. Each is first the bare system call, and from the preload's constructor on the next definition of that
 * name in the dynamic linker's order, if there is one.
 *
 * The next definition, since others stand in this line too: sanitizers, which must see every mapping, libnuma, whose
 * mbind() QEMU calls, other preloads. The bare system call before, since constructors of other libraries run earlier
 * and must not meet a half-made table; and for functions that this libc does not have.
 */
#ifndef PAGEFUSE_PRELOAD_NEXT_H
#define PAGEFUSE_PRELOAD_NEXT_H

#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

struct next {
	long (*syscall)(long number, ...); /* entry.S wants it first */
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
	long (*mbind)(void *, unsigned long, int, const unsigned long *, unsigned long, unsigned);
	int (*ioctl)(int, unsigned long, ...);
	pid_t (*fork)(void); /* _Fork() */
	int (*clone)(int (*)(void *), void *, int, void *, ...);
};

extern struct next next;

/** The system call itself: all arguments as long or pointer. @return the kernel's result, or -1 with errno set. */
long bare_syscall(long number, ...);

#endif
