/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finding the real calls; see next.h. */
#include "preload/next.h"

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "preload/forward.h"

#ifndef SYS_mlock2
#error "the kernel headers are older than Linux 4.4"
#endif

/** Sets errno for bare_syscall(), which is in entry.S. */
long bare_error(long result);

long bare_error(long result)
{
	errno = (int)-result;
	return -1;
}

static int bare_madvise(void *address, size_t length, int advice)
{
	return (int)bare_syscall(SYS_madvise, address, length, (long)advice);
}

static int bare_posix_madvise(void *address, size_t length, int advice)
{
	int saved = errno;
	int result = 0;

	/* The first four have the same numbers. MADV_DONTNEED would lose content, which POSIX does not allow. */
	if (advice != POSIX_MADV_DONTNEED && bare_madvise(address, length, advice) < 0)
		result = errno;
	errno = saved;
	return result;
}

static ssize_t bare_process_madvise(int pidfd, const struct iovec *vector, size_t count, int advice, unsigned flags)
{
	return bare_syscall(SYS_process_madvise, (long)pidfd, vector, count, (long)advice, (long)flags);
}

static void *bare_mmap(void *address, size_t length, int prot, int flags, int fd, off_t offset)
{
	return (void *)bare_syscall(SYS_mmap, address, length, (long)prot, (long)flags, (long)fd, (long)offset);
}

static int bare_munmap(void *address, size_t length)
{
	return (int)bare_syscall(SYS_munmap, address, length);
}

static void *bare_mremap(void *old, size_t old_length, size_t new_length, int flags, ...)
{
	void *new_address;
	va_list arguments;

	va_start(arguments, flags);
	new_address = va_arg(arguments, void *);
	va_end(arguments);
	return (void *)bare_syscall(SYS_mremap, old, old_length, new_length, (long)flags, new_address);
}

static int bare_mlock(const void *address, size_t length)
{
	return (int)bare_syscall(SYS_mlock, address, length);
}

static int bare_mlock2(const void *address, size_t length, unsigned flags)
{
	return (int)bare_syscall(SYS_mlock2, address, length, (long)flags);
}

static int bare_munlock(const void *address, size_t length)
{
	return (int)bare_syscall(SYS_munlock, address, length);
}

static int bare_mlockall(int flags)
{
	return (int)bare_syscall(SYS_mlockall, (long)flags);
}

static int bare_munlockall(void)
{
	return (int)bare_syscall(SYS_munlockall);
}

static int bare_mprotect(void *address, size_t length, int prot)
{
	return (int)bare_syscall(SYS_mprotect, address, length, (long)prot);
}

static int bare_pkey_mprotect(void *address, size_t length, int prot, int pkey)
{
	return (int)bare_syscall(SYS_pkey_mprotect, address, length, (long)prot, (long)pkey);
}

static long bare_mbind(void *address, unsigned long length, int mode, const unsigned long *nodes,
		       unsigned long nodes_max, unsigned flags)
{
	return bare_syscall(SYS_mbind, address, length, (long)mode, nodes, nodes_max, (long)flags);
}

static int bare_ioctl(int fd, unsigned long request, ...)
{
	va_list arguments;
	void *argument;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	return (int)bare_syscall(SYS_ioctl, (long)fd, request, argument);
}

static pid_t bare_fork(void)
{
	return (pid_t)bare_syscall(SYS_clone, (long)SIGCHLD, 0L, 0L, 0L, 0L);
}

/* What the bare call needs is assembly that libc has: it is found before the constructor runs, if need be. */
static int early_clone(int (*function)(void *), void *stack, int flags, void *argument, ...)
{
	int (*found)(int (*)(void *), void *, int, void *, ...);
	void *tls, *parent_tid, *child_tid;
	va_list arguments;

	va_start(arguments, argument);
	parent_tid = va_arg(arguments, void *);
	tls = va_arg(arguments, void *);
	child_tid = va_arg(arguments, void *);
	va_end(arguments);
	*(void **)&found = dlsym(RTLD_NEXT, "clone");
	return found(function, stack, flags, argument, parent_tid, tls, child_tid);
}

struct next next = {
	.syscall = bare_syscall,
	.madvise = bare_madvise,
	.posix_madvise = bare_posix_madvise,
	.process_madvise = bare_process_madvise,
	.mmap = bare_mmap,
	.munmap = bare_munmap,
	.mremap = bare_mremap,
	.mlock = bare_mlock,
	.mlock2 = bare_mlock2,
	.munlock = bare_munlock,
	.mlockall = bare_mlockall,
	.munlockall = bare_munlockall,
	.mprotect = bare_mprotect,
	.pkey_mprotect = bare_pkey_mprotect,
	.mbind = bare_mbind,
	.ioctl = bare_ioctl,
	.fork = bare_fork,
	.clone = early_clone,
};

static const struct {
	const char *name;
	size_t place;
} names[] = {
	{ "syscall", offsetof(struct next, syscall) },
	{ "madvise", offsetof(struct next, madvise) },
	{ "posix_madvise", offsetof(struct next, posix_madvise) },
	{ "process_madvise", offsetof(struct next, process_madvise) },
	{ "mmap64", offsetof(struct next, mmap) },
	{ "mmap", offsetof(struct next, mmap) },
	{ "munmap", offsetof(struct next, munmap) },
	{ "mremap", offsetof(struct next, mremap) },
	{ "mlock", offsetof(struct next, mlock) },
	{ "mlock2", offsetof(struct next, mlock2) },
	{ "munlock", offsetof(struct next, munlock) },
	{ "mlockall", offsetof(struct next, mlockall) },
	{ "munlockall", offsetof(struct next, munlockall) },
	{ "mprotect", offsetof(struct next, mprotect) },
	{ "pkey_mprotect", offsetof(struct next, pkey_mprotect) },
	{ "mbind", offsetof(struct next, mbind) },
	{ "ioctl", offsetof(struct next, ioctl) },
	{ "_Fork", offsetof(struct next, fork) },
	{ "clone", offsetof(struct next, clone) },
};

_Static_assert(sizeof(void *) == sizeof(next.syscall), "a function's address fits a data pointer");
_Static_assert(offsetof(struct next, syscall) == 0, "entry.S jumps through the first place");

__attribute__((constructor(101))) static void next_find(void)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		void *found = dlsym(RTLD_NEXT, names[i].name);

		/* One store: threads that earlier constructors made may be calling through the table. */
		if (found != NULL)
			__atomic_store_n((void **)((char *)&next + names[i].place), found, __ATOMIC_RELEASE);
	}
	forward_ready = true;
	dlerror(); /* what was not found is not an error that the VMM should come across */
}
