/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finding the real calls; see next.h. */
#include "preload/next.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "library/options.h"
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

static int bare_mseal(void *address, size_t length, unsigned long flags)
{
	return (int)bare_syscall(SYS_mseal, address, length, flags);
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

static int bare_close(int fd)
{
	return (int)bare_syscall(SYS_close, (long)fd);
}

static int bare_close_range(unsigned first, unsigned last, int flags)
{
	return (int)bare_syscall(SYS_close_range, (long)first, (long)last, (long)flags);
}

static void bare_closefrom(int first)
{
	bare_close_range(first < 0 ? 0 : (unsigned)first, ~0u, 0);
}

static int bare_dup3(int from, int to, int flags)
{
	return (int)bare_syscall(SYS_dup3, (long)from, (long)to, (long)flags);
}

static int bare_dup2(int from, int to)
{
	/* dup3() refuses this. */
	if (from == to)
		return bare_syscall(SYS_fcntl, (long)from, (long)F_GETFD) < 0 ? -1 : to;
	return bare_dup3(from, to, 0);
}

static pid_t bare_fork(void)
{
	return (pid_t)bare_syscall(SYS_clone, (long)SIGCHLD, 0L, 0L, 0L, 0L);
}

/* The bare call would need assembly that libc has: finds libc's function, if needed before the constructor runs. */
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

static int bare_openat(int folder, const char *path, int flags, ...)
{
	va_list arguments;
	int mode;

	va_start(arguments, flags);
	mode = va_arg(arguments, int);
	va_end(arguments);
	return (int)bare_syscall(SYS_openat, (long)folder, path, (long)flags, (long)mode);
}

static int bare_open(const char *path, int flags, ...)
{
	va_list arguments;
	int mode;

	va_start(arguments, flags);
	mode = va_arg(arguments, int);
	va_end(arguments);
	return bare_openat(AT_FDCWD, path, flags, mode);
}

static int bare_open_2(const char *path, int flags)
{
	return bare_openat(AT_FDCWD, path, flags, 0);
}

static int bare_openat_2(int folder, const char *path, int flags)
{
	return bare_openat(folder, path, flags, 0);
}

static int bare_creat(const char *path, mode_t mode)
{
	return bare_openat(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

static int bare_open_by_handle_at(int mount, struct file_handle *handle, int flags)
{
	return (int)bare_syscall(SYS_open_by_handle_at, (long)mount, handle, (long)flags);
}

static int bare_pidfd_getfd(int pidfd, int fd, unsigned flags)
{
	return (int)bare_syscall(SYS_pidfd_getfd, (long)pidfd, (long)fd, (long)flags);
}

/** A function NAME of libc's that is more than a system call: found before the constructor runs, if needed. */
#define EARLY(RESULT, NAME, PARAMETERS, ARGUMENTS) \
	static RESULT early_##NAME PARAMETERS \
	{ \
		__typeof__(&early_##NAME) found = NULL; \
\
		*(void **)&found = dlsym(RTLD_NEXT, #NAME); \
		return found ARGUMENTS; \
	}

EARLY(int, mkstemp, (char *pattern), (pattern))
EARLY(int, mkostemp, (char *pattern, int flags), (pattern, flags))
EARLY(int, mkstemps, (char *pattern, int suffix), (pattern, suffix))
EARLY(int, mkostemps, (char *pattern, int suffix, int flags), (pattern, suffix, flags))
EARLY(FILE *, fopen, (const char *path, const char *mode), (path, mode))
EARLY(FILE *, freopen, (const char *path, const char *mode, FILE *stream), (path, mode, stream))
EARLY(FILE *, tmpfile, (void), ())

static int bare_fcntl(int fd, int command, ...)
{
	va_list arguments;
	void *argument;

	va_start(arguments, command);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	return (int)bare_syscall(SYS_fcntl, (long)fd, (long)command, argument);
}

static int bare_prctl(int option, ...)
{
	unsigned long a, b, c, d;
	va_list arguments;

	va_start(arguments, option);
	a = va_arg(arguments, unsigned long);
	b = va_arg(arguments, unsigned long);
	c = va_arg(arguments, unsigned long);
	d = va_arg(arguments, unsigned long);
	va_end(arguments);
	return (int)bare_syscall(SYS_prctl, (long)option, a, b, c, d);
}

static int bare_setsockopt(int fd, int level, int option, const void *value, socklen_t length)
{
	return (int)bare_syscall(SYS_setsockopt, (long)fd, (long)level, (long)option, value, (long)length);
}

static ssize_t bare_pread(int fd, void *buffer, size_t length, off_t offset)
{
	return bare_syscall(SYS_pread64, (long)fd, buffer, length, (long)offset);
}

static ssize_t bare_pread_chk(int fd, void *buffer, size_t length, off_t offset, size_t buffer_length)
{
	(void)buffer_length;
	return bare_pread(fd, buffer, length, offset);
}

static ssize_t bare_preadv(int fd, const struct iovec *vector, int count, off_t offset)
{
	return bare_syscall(SYS_preadv, (long)fd, vector, (long)count, (long)offset, 0L);
}

static ssize_t bare_preadv2(int fd, const struct iovec *vector, int count, off_t offset, int flags)
{
	return bare_syscall(SYS_preadv2, (long)fd, vector, (long)count, (long)offset, 0L, (long)flags);
}

static ssize_t bare_read(int fd, void *buffer, size_t length)
{
	return bare_syscall(SYS_read, (long)fd, buffer, length);
}

static ssize_t bare_read_chk(int fd, void *buffer, size_t length, size_t buffer_length)
{
	(void)buffer_length;
	return bare_read(fd, buffer, length);
}

static ssize_t bare_readv(int fd, const struct iovec *vector, int count)
{
	return bare_syscall(SYS_readv, (long)fd, vector, (long)count);
}

static ssize_t bare_recv(int fd, void *buffer, size_t length, int flags)
{
	return bare_syscall(SYS_recvfrom, (long)fd, buffer, length, (long)flags, 0L, 0L);
}

static ssize_t bare_recv_chk(int fd, void *buffer, size_t length, size_t buffer_length, int flags)
{
	(void)buffer_length;
	return bare_recv(fd, buffer, length, flags);
}

static ssize_t bare_recvfrom(int fd, void *buffer, size_t length, int flags, struct sockaddr *ret_address,
			     socklen_t *address_length)
{
	return bare_syscall(SYS_recvfrom, (long)fd, buffer, length, (long)flags, ret_address, address_length);
}

static ssize_t bare_recvfrom_chk(int fd, void *buffer, size_t length, size_t buffer_length, int flags,
				 struct sockaddr *ret_address, socklen_t *address_length)
{
	(void)buffer_length;
	return bare_recvfrom(fd, buffer, length, flags, ret_address, address_length);
}

static ssize_t bare_recvmsg(int fd, struct msghdr *message, int flags)
{
	return bare_syscall(SYS_recvmsg, (long)fd, message, (long)flags);
}

static int bare_recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout)
{
	return (int)bare_syscall(SYS_recvmmsg, (long)fd, messages, (long)count, (long)flags, timeout);
}

static ssize_t bare_write(int fd, const void *buffer, size_t length)
{
	return bare_syscall(SYS_write, (long)fd, buffer, length);
}

static ssize_t bare_pwrite(int fd, const void *buffer, size_t length, off_t offset)
{
	return bare_syscall(SYS_pwrite64, (long)fd, buffer, length, (long)offset);
}

static ssize_t bare_writev(int fd, const struct iovec *vector, int count)
{
	return bare_syscall(SYS_writev, (long)fd, vector, (long)count);
}

static ssize_t bare_pwritev(int fd, const struct iovec *vector, int count, off_t offset)
{
	return bare_syscall(SYS_pwritev, (long)fd, vector, (long)count, (long)offset, 0L);
}

static ssize_t bare_pwritev2(int fd, const struct iovec *vector, int count, off_t offset, int flags)
{
	return bare_syscall(SYS_pwritev2, (long)fd, vector, (long)count, (long)offset, 0L, (long)flags);
}

static ssize_t bare_vmsplice(int fd, const struct iovec *vector, size_t count, unsigned flags)
{
	return bare_syscall(SYS_vmsplice, (long)fd, vector, count, (long)flags);
}

static ssize_t bare_sendto(int fd, const void *buffer, size_t length, int flags, const struct sockaddr *to,
			   socklen_t to_length)
{
	return bare_syscall(SYS_sendto, (long)fd, buffer, length, (long)flags, to, (long)to_length);
}

static ssize_t bare_send(int fd, const void *buffer, size_t length, int flags)
{
	return bare_sendto(fd, buffer, length, flags, NULL, 0);
}

static ssize_t bare_sendmsg(int fd, const struct msghdr *message, int flags)
{
	return bare_syscall(SYS_sendmsg, (long)fd, message, (long)flags);
}

static int bare_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
	return (int)bare_syscall(SYS_sendmmsg, (long)fd, messages, (long)count, (long)flags);
}

/* As libaio's: returns a negative error, and leaves errno as it is. */
static int bare_io_submit(aio_context_t context, long count, struct iocb **requests)
{
	int saved = errno;
	long result = bare_syscall(SYS_io_submit, context, count, requests);

	if (result < 0)
		result = -errno;
	errno = saved;
	return (int)result;
}

/* ---- liburing, which has no system call to fall back to ---- */

static void *find_uring(const char *name)
{
	void *found = dlsym(RTLD_NEXT, name);
	void *library = found == NULL ? dlopen("liburing.so.2", RTLD_LAZY | RTLD_NOLOAD) : NULL;

	if (library != NULL) {
		found = dlsym(library, name);
		dlclose(library);
	}
	return found;
}

/** A function NAME of liburing with these parameters that is looked up when it is called. */
#define LATE_URING(NAME, PARAMETERS, ARGUMENTS) \
	static int late_##NAME PARAMETERS \
	{ \
		__typeof__(&late_##NAME) found = (__typeof__(&late_##NAME))find_uring(#NAME); \
\
		return found != NULL ? found ARGUMENTS : -ENOSYS; \
	}

LATE_URING(io_uring_submit, (struct uring * uring), (uring))
LATE_URING(io_uring_submit_and_wait, (struct uring * uring, unsigned wait), (uring, wait))
LATE_URING(io_uring_submit_and_get_events, (struct uring * uring), (uring))
LATE_URING(io_uring_submit_and_wait_timeout,
	   (struct uring * uring, struct io_uring_cqe **ret_done, unsigned wait, struct __kernel_timespec *timeout,
	    sigset_t *signals),
	   (uring, ret_done, wait, timeout, signals))
LATE_URING(io_uring_queue_init_params, (unsigned entries, struct uring *uring, struct io_uring_params *parameters),
	   (entries, uring, parameters))
LATE_URING(io_uring_queue_init_mem,
	   (unsigned entries, struct uring *uring, struct io_uring_params *parameters, void *memory, size_t bytes),
	   (entries, uring, parameters, memory, bytes))
LATE_URING(io_uring_setup, (unsigned entries, struct io_uring_params *parameters), (entries, parameters))
LATE_URING(io_uring_register, (unsigned fd, unsigned what, const void *argument, unsigned count),
	   (fd, what, argument, count))
LATE_URING(io_uring_register_ring_fd, (struct uring * uring), (uring))
LATE_URING(io_uring_register_buffers, (struct uring * uring, const struct iovec *vector, unsigned count),
	   (uring, vector, count))
LATE_URING(io_uring_register_buffers_tags,
	   (struct uring * uring, const struct iovec *vector, const __u64 *tags, unsigned count),
	   (uring, vector, tags, count))
LATE_URING(io_uring_register_buffers_update_tag,
	   (struct uring * uring, unsigned first, const struct iovec *vector, const __u64 *tags, unsigned count),
	   (uring, first, vector, tags, count))

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
	.mseal = bare_mseal,
	.mbind = bare_mbind,
	.ioctl = bare_ioctl,
	.close = bare_close,
	.close_range = bare_close_range,
	.closefrom = bare_closefrom,
	.dup2 = bare_dup2,
	.dup3 = bare_dup3,
	.fork = bare_fork,
	.clone = early_clone,
	.open = bare_open,
	.openat = bare_openat,
	.open_2 = bare_open_2,
	.openat_2 = bare_openat_2,
	.creat = bare_creat,
	.open_by_handle_at = bare_open_by_handle_at,
	.pidfd_getfd = bare_pidfd_getfd,
	.mkstemp = early_mkstemp,
	.mkostemp = early_mkostemp,
	.mkstemps = early_mkstemps,
	.mkostemps = early_mkostemps,
	.fopen = early_fopen,
	.freopen = early_freopen,
	.tmpfile = early_tmpfile,
	.fcntl = bare_fcntl,
	.prctl = bare_prctl,
	.setsockopt = bare_setsockopt,
	.pread = bare_pread,
	.pread_chk = bare_pread_chk,
	.preadv = bare_preadv,
	.preadv2 = bare_preadv2,
	.read = bare_read,
	.read_chk = bare_read_chk,
	.readv = bare_readv,
	.recv = bare_recv,
	.recv_chk = bare_recv_chk,
	.recvfrom = bare_recvfrom,
	.recvfrom_chk = bare_recvfrom_chk,
	.recvmsg = bare_recvmsg,
	.recvmmsg = bare_recvmmsg,
	.write = bare_write,
	.pwrite = bare_pwrite,
	.writev = bare_writev,
	.pwritev = bare_pwritev,
	.pwritev2 = bare_pwritev2,
	.vmsplice = bare_vmsplice,
	.send = bare_send,
	.sendto = bare_sendto,
	.sendmsg = bare_sendmsg,
	.sendmmsg = bare_sendmmsg,
	.io_submit = bare_io_submit,
	.io_uring_submit = late_io_uring_submit,
	.io_uring_submit_and_wait = late_io_uring_submit_and_wait,
	.io_uring_submit_and_get_events = late_io_uring_submit_and_get_events,
	.io_uring_submit_and_wait_timeout = late_io_uring_submit_and_wait_timeout,
	.io_uring_queue_init_params = late_io_uring_queue_init_params,
	.io_uring_queue_init_mem = late_io_uring_queue_init_mem,
	.io_uring_setup = late_io_uring_setup,
	.io_uring_register = late_io_uring_register,
	.io_uring_register_ring_fd = late_io_uring_register_ring_fd,
	.io_uring_register_buffers = late_io_uring_register_buffers,
	.io_uring_register_buffers_tags = late_io_uring_register_buffers_tags,
	.io_uring_register_buffers_update_tag = late_io_uring_register_buffers_update_tag,
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
	{ "mseal", offsetof(struct next, mseal) },
	{ "mbind", offsetof(struct next, mbind) },
	{ "ioctl", offsetof(struct next, ioctl) },
	{ "close", offsetof(struct next, close) },
	{ "close_range", offsetof(struct next, close_range) },
	{ "closefrom", offsetof(struct next, closefrom) },
	{ "dup2", offsetof(struct next, dup2) },
	{ "dup3", offsetof(struct next, dup3) },
	{ "_Fork", offsetof(struct next, fork) },
	{ "clone", offsetof(struct next, clone) },
	{ "open64", offsetof(struct next, open) },
	{ "openat64", offsetof(struct next, openat) },
	{ "__open64_2", offsetof(struct next, open_2) },
	{ "__openat64_2", offsetof(struct next, openat_2) },
	{ "creat64", offsetof(struct next, creat) },
	{ "open_by_handle_at", offsetof(struct next, open_by_handle_at) },
	{ "pidfd_getfd", offsetof(struct next, pidfd_getfd) },
	{ "mkstemp64", offsetof(struct next, mkstemp) },
	{ "mkostemp64", offsetof(struct next, mkostemp) },
	{ "mkstemps64", offsetof(struct next, mkstemps) },
	{ "mkostemps64", offsetof(struct next, mkostemps) },
	{ "fopen64", offsetof(struct next, fopen) },
	{ "freopen64", offsetof(struct next, freopen) },
	{ "tmpfile64", offsetof(struct next, tmpfile) },
	{ "fcntl64", offsetof(struct next, fcntl) },
	{ "prctl", offsetof(struct next, prctl) },
	{ "setsockopt", offsetof(struct next, setsockopt) },
	{ "pread64", offsetof(struct next, pread) },
	{ "__pread64_chk", offsetof(struct next, pread_chk) },
	{ "preadv64", offsetof(struct next, preadv) },
	{ "preadv64v2", offsetof(struct next, preadv2) },
	{ "read", offsetof(struct next, read) },
	{ "__read_chk", offsetof(struct next, read_chk) },
	{ "readv", offsetof(struct next, readv) },
	{ "recv", offsetof(struct next, recv) },
	{ "__recv_chk", offsetof(struct next, recv_chk) },
	{ "recvfrom", offsetof(struct next, recvfrom) },
	{ "__recvfrom_chk", offsetof(struct next, recvfrom_chk) },
	{ "recvmsg", offsetof(struct next, recvmsg) },
	{ "recvmmsg", offsetof(struct next, recvmmsg) },
	{ "write", offsetof(struct next, write) },
	{ "pwrite64", offsetof(struct next, pwrite) },
	{ "writev", offsetof(struct next, writev) },
	{ "pwritev64", offsetof(struct next, pwritev) },
	{ "pwritev64v2", offsetof(struct next, pwritev2) },
	{ "vmsplice", offsetof(struct next, vmsplice) },
	{ "send", offsetof(struct next, send) },
	{ "sendto", offsetof(struct next, sendto) },
	{ "sendmsg", offsetof(struct next, sendmsg) },
	{ "sendmmsg", offsetof(struct next, sendmmsg) },
	{ "io_submit", offsetof(struct next, io_submit) },
	{ "io_uring_submit", offsetof(struct next, io_uring_submit) },
	{ "io_uring_submit_and_wait", offsetof(struct next, io_uring_submit_and_wait) },
	{ "io_uring_submit_and_get_events", offsetof(struct next, io_uring_submit_and_get_events) },
	{ "io_uring_submit_and_wait_timeout", offsetof(struct next, io_uring_submit_and_wait_timeout) },
	{ "io_uring_queue_init_params", offsetof(struct next, io_uring_queue_init_params) },
	{ "io_uring_queue_init_mem", offsetof(struct next, io_uring_queue_init_mem) },
	{ "io_uring_setup", offsetof(struct next, io_uring_setup) },
	{ "io_uring_register", offsetof(struct next, io_uring_register) },
	{ "io_uring_register_ring_fd", offsetof(struct next, io_uring_register_ring_fd) },
	{ "io_uring_register_buffers", offsetof(struct next, io_uring_register_buffers) },
	{ "io_uring_register_buffers_tags", offsetof(struct next, io_uring_register_buffers_tags) },
	{ "io_uring_register_buffers_update_tag", offsetof(struct next, io_uring_register_buffers_update_tag) },
};

_Static_assert(sizeof(void *) == sizeof(next.syscall), "a function's address fits a data pointer");
_Static_assert(offsetof(struct next, syscall) == 0, "entry.S jumps through the first place");

__attribute__((constructor(101))) static void next_find(void)
{
	options_by_preload();
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		void *found = dlsym(RTLD_NEXT, names[i].name);

		/* A single store: threads that earlier constructors made may be calling through the table. */
		if (found != NULL)
			__atomic_store_n((void **)((char *)&next + names[i].place), found, __ATOMIC_RELEASE);
	}
	forward_ready = true;
	dlerror(); /* the VMM must not find errors of these lookups */
}
