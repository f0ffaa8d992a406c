/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/made-calls.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <linux/memfd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "common/madvise.h"
#include "library/kernel.h"
#include "library/sys.h"

#ifndef FUTEX_CLOCK_REALTIME
#define FUTEX_CLOCK_REALTIME 256
#endif
#ifndef MFD_NOEXEC_SEAL /* Linux 6.3 */
#define MFD_NOEXEC_SEAL 0x0008U
#endif

/* The flags with which libc creates a thread, by clone() if there is no clone3(). */
#define THREAD_FLAGS \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS | \
	 CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)

/* The argument that is known, and its value; the others vary. */
#define ANY(call) \
	{ \
		.number = SYS_##call, .varies = MADE_CALL_ANY \
	}
#define BUT(argument) (MADE_CALL_ANY & ~(UINT32_C(1) << (argument)))
#define WITH(call, argument, value) \
	{ \
		.number = SYS_##call, .varies = BUT(argument), .values[argument] = (value) \
	}
#define ANY_TO_END(call) \
	{ \
		.number = SYS_##call, .varies = MADE_CALL_ANY, .ends_something = true \
	}
#define WITH_TO_END(call, argument, value) \
	{ \
		.number = SYS_##call, .varies = BUT(argument), .values[argument] = (value), .ends_something = true \
	}
#define MMAP(prot, flags) \
	{ \
		.number = SYS_mmap, .varies = BUT(2) & BUT(3), .values = { 0, \
									   0, \
									   (prot), \
									   (flags) } \
	}

#define READ_WRITE (PROT_READ | PROT_WRITE)
#define OWN_MEMORY (MAP_PRIVATE | MAP_ANONYMOUS)
#define CLOSED_FILE (O_RDONLY | O_CLOEXEC)
#define LEASE_FLAGS (MFD_CLOEXEC | MFD_ALLOW_SEALING)

const struct made_call made_calls[] = {
	/* locks, blocked signals, ids */
	WITH_TO_END(futex, 1, FUTEX_WAIT),
	WITH_TO_END(futex, 1, FUTEX_WAIT_PRIVATE),
	WITH_TO_END(futex, 1, FUTEX_WAKE_PRIVATE),
	WITH_TO_END(futex, 1, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME),
	WITH_TO_END(futex, 1, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME),
	ANY(sched_yield),
	ANY(clock_gettime),
	ANY(restart_syscall),
	ANY_TO_END(rt_sigprocmask),
	ANY(getpid),
	ANY(gettid),
	ANY(geteuid),
	ANY(kcmp),
	/* the thread, libc's memory */
	WITH(clone, 0, THREAD_FLAGS),
	ANY(clone3),
	ANY(rt_sigaction),
	ANY(set_robust_list),
	ANY(rseq),
	ANY(exit),
	ANY(brk),
	ANY(getrandom),
	MMAP(READ_WRITE, OWN_MEMORY | MAP_STACK), /* this one and the next since glibc 2.42 */
	WITH(madvise, 2, MADV_GUARD_INSTALL),
	WITH(prctl, 0, PR_SET_NAME),
	WITH(prctl, 0, PR_GET_NAME),
	WITH(prlimit64, 2, 0),
	/* files of /proc, and the VMM's files */
	WITH(openat, 2, CLOSED_FILE),
	WITH(openat, 2, CLOSED_FILE | O_DIRECTORY),
	ANY(read),
	ANY_TO_END(pread64),
	ANY_TO_END(close),
	ANY(getdents64),
	ANY(readlinkat),
	ANY(newfstatat),
	ANY(faccessat),
	ANY_TO_END(fstat),
	ANY(statx),
	ANY(statfs),
	ANY(fstatfs),
	WITH(fcntl, 1, F_GETFD),
	WITH(fcntl, 1, F_GETFL),
	WITH(fcntl, 1, F_DUPFD_CLOEXEC),
	WITH(getsockopt, 2, SO_DOMAIN),
	WITH(getsockopt, 2, TCP_ULP),
	/* leases of children */
	WITH(memfd_create, 1, LEASE_FLAGS | MFD_NOEXEC_SEAL),
	WITH(memfd_create, 1, LEASE_FLAGS),
	ANY(ftruncate),
	WITH(fcntl, 1, F_ADD_SEALS),
	/* the daemon, and waking the worker */
	{ .number = SYS_socket,
	  .varies = MADE_CALL_ANY & ~UINT32_C(0x7),
	  .values = { AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0 } },
	{ .number = SYS_socketpair,
	  .varies = MADE_CALL_ANY & ~UINT32_C(0x7),
	  .values = { AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0 } },
	ANY(connect),
	WITH(getsockopt, 2, SO_PEERCRED),
	ANY(sendmsg),
	ANY(recvmsg),
	ANY(sendto),
	ANY(recvfrom),
	ANY(ppoll),
#ifdef SYS_poll
	ANY(poll),
#endif
	/* memory */
	MMAP(PROT_NONE, OWN_MEMORY),
	MMAP(PROT_NONE, OWN_MEMORY | MAP_NORESERVE),
	MMAP(PROT_NONE, OWN_MEMORY | MAP_STACK),
	MMAP(PROT_NONE, MAP_SHARED),
	MMAP(PROT_NONE, MAP_SHARED | MAP_NORESERVE),
	MMAP(PROT_NONE, MAP_PRIVATE | MAP_NORESERVE),
	MMAP(READ_WRITE, OWN_MEMORY),
	MMAP(READ_WRITE, OWN_MEMORY | MAP_NORESERVE),
	MMAP(PROT_NONE, OWN_MEMORY | MAP_FIXED),
	MMAP(PROT_NONE, OWN_MEMORY | MAP_FIXED | MAP_NORESERVE),
	MMAP(PROT_READ, OWN_MEMORY | MAP_FIXED),
	MMAP(PROT_READ, OWN_MEMORY | MAP_FIXED | MAP_NORESERVE),
	MMAP(READ_WRITE, OWN_MEMORY | MAP_FIXED),
	MMAP(READ_WRITE, OWN_MEMORY | MAP_FIXED | MAP_NORESERVE),
	MMAP(READ_WRITE, MAP_PRIVATE | MAP_NORESERVE),
	ANY_TO_END(munmap),
	WITH_TO_END(mprotect, 2, PROT_NONE),
	WITH_TO_END(mprotect, 2, PROT_READ),
	WITH_TO_END(mprotect, 2, READ_WRITE),
	WITH_TO_END(mremap, 3, MREMAP_MAYMOVE),
	WITH_TO_END(mremap, 3, MREMAP_MAYMOVE | MREMAP_DONTUNMAP),
	WITH_TO_END(mremap, 3, MREMAP_MAYMOVE | MREMAP_FIXED),
	WITH_TO_END(mremap, 3, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP),
	WITH_TO_END(madvise, 2, MADV_DONTNEED),
	WITH_TO_END(madvise, 2, MADV_DONTFORK),
	WITH_TO_END(madvise, 2, MADV_DOFORK),
	WITH(madvise, 2, MADV_WIPEONFORK),
	WITH_TO_END(madvise, 2, MADV_DONTDUMP),
	WITH_TO_END(madvise, 2, MADV_DODUMP),
	WITH_TO_END(madvise, 2, MADV_HUGEPAGE),
	WITH_TO_END(madvise, 2, MADV_NOHUGEPAGE),
	WITH(madvise, 2, MADV_UNMERGEABLE),
	WITH(madvise, 2, MADV_COLD),
	WITH(madvise, 2, MADV_COLLAPSE),
	WITH(madvise, 2, MADV_PAGEOUT),
	WITH(madvise, 2, MADV_POPULATE_READ),
	WITH(madvise, 2, MADV_POPULATE_WRITE),
	ANY(mlock),
	ANY(munlock),
	ANY_TO_END(mincore),
	ANY(get_mempolicy),
	/* the hold */
	WITH(userfaultfd, 0, O_CLOEXEC | O_NONBLOCK),
	WITH(ioctl, 1, USERFAULTFD_IOC_NEW),
	WITH(ioctl, 1, UFFDIO_API),
	WITH_TO_END(ioctl, 1, UFFDIO_REGISTER),
	WITH_TO_END(ioctl, 1, UFFDIO_UNREGISTER),
	WITH_TO_END(ioctl, 1, UFFDIO_WAKE),
	WITH_TO_END(ioctl, 1, UFFDIO_MOVE),
	WITH_TO_END(ioctl, 1, UFFDIO_COPY),
	WITH_TO_END(ioctl, 1, UFFDIO_WRITEPROTECT),
	WITH(ioctl, 1, PAGEMAP_SCAN),
	WITH(ioctl, 1, PROCMAP_QUERY),
};

const unsigned made_calls_count = sizeof(made_calls) / sizeof(*made_calls);

static void *do_nothing(void *unused)
{
	return unused;
}

/** Whether the call has an effect even with arguments that make no sense. */
static bool is_for_libc(int number)
{
	return number == SYS_clone || number == SYS_clone3 || number == SYS_exit || number == SYS_restart_syscall;
}

void made_calls_try(void)
{
	pthread_t thread;

	for (unsigned i = 0; i < made_calls_count; i++) {
		const struct made_call *call = &made_calls[i];
		long arguments[6];
		long r;

		if (is_for_libc(call->number))
			continue;
		/* No descriptor, address, length or count has this value, so each call fails at once. */
		for (unsigned a = 0; a < 6; a++)
			arguments[a] = (call->varies >> a & 1) ? -1 : (long)call->values[a];
		r = sys_raw(call->number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4],
			    arguments[5]);
		if (call->number == SYS_userfaultfd || call->number == SYS_socket)
			sys_raw(SYS_close, r, 0, 0, 0, 0, 0);
	}
	if (pthread_create(&thread, NULL, do_nothing, NULL) == 0)
		pthread_join(thread, NULL);
}
