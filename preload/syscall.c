/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * syscall() with the numbers of the calls interposed by name. It always ends in the next syscall(), never in the next
 * function of that name: that function may itself call syscall(). The kernel looks at the low 32 bits of a number,
 * hence the casts.
 */
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "preload/calls.h"
#include "preload/next.h"
#include "preload/transfer.h"

#ifndef SYS_set_mempolicy_home_node /* Linux 5.17, the same number everywhere */
#define SYS_set_mempolicy_home_node 450
#endif

/* The size of the part of struct clone_args that all versions have. */
#define CLONE_ARGS_BYTES 64

/*
 * A child that shares memory is a thread, or borrows its parent's stack like vfork(): then it must return in the same
 * way as its parent, with no frame of ours in between, and there is nothing to report to the library.
 */
static bool is_fork(long number, long a, long b)
{
	switch ((int)number) {
#ifdef SYS_fork
	case SYS_fork:
		return true;
#endif
	case SYS_clone:
		return (a & CLONE_VM) == 0;
	case SYS_clone3:
		return b >= CLONE_ARGS_BYTES && readable((const void *)a, CLONE_ARGS_BYTES) &&
		       (*(const uint64_t *)a & CLONE_VM) == 0;
	default:
		return false;
	}
}

bool syscall_concerns_us(long number, long a, long b)
{
	if (is_fork(number, a, b))
		return forward_ready;
	if (forward_ready && closing_concerns_number(number, a, b))
		return true;
	if (!forward_may_tell())
		return false;
	switch ((int)number) {
	case SYS_madvise:
	case SYS_process_madvise:
	case SYS_mmap:
	case SYS_munmap:
	case SYS_mremap:
	case SYS_mlock:
	case SYS_mlock2:
	case SYS_munlock:
	case SYS_mlockall:
	case SYS_munlockall:
	case SYS_mprotect:
	case SYS_pkey_mprotect:
	case SYS_mseal:
	case SYS_mbind:
	case SYS_set_mempolicy_home_node:
	case SYS_ioctl:
	case SYS_pread64:
	case SYS_preadv:
	case SYS_preadv2:
	case SYS_read:
	case SYS_readv:
	case SYS_recvfrom:
	case SYS_io_submit:
	case SYS_pwrite64:
	case SYS_pwritev:
	case SYS_pwritev2:
	case SYS_vmsplice:
	case SYS_write:
	case SYS_writev:
	case SYS_sendto:
	case SYS_sendmsg:
	case SYS_sendmmsg:
	case SYS_io_uring_setup:
	case SYS_io_uring_register:
	case SYS_seccomp:
		return true;
	case SYS_prctl:
		return (int)a == PR_SET_SECCOMP;
	default:
		return open_concerns_number(number);
	}
}

static struct change change_by_number(long number, long a, long b, long c, long d)
{
	void *address = (void *)a;
	size_t length = (size_t)b;

	switch ((int)number) {
	case SYS_madvise:
		return advice_change(address, length, (int)c);
	case SYS_mmap:
		return map_change(address, length, (int)d);
	case SYS_munmap:
		return unmap_change(address, length);
	case SYS_mlock:
		return lock_change(address, length, 0);
	case SYS_mlock2:
		return lock_change(address, length, (unsigned)c);
	case SYS_munlock:
		return unlock_change(address, length);
	case SYS_mlockall:
		return lock_all_change((int)a);
	case SYS_munlockall:
		return change_of_all(CHANGE_UNLOCK, 0);
	case SYS_mprotect:
		return protect_change(address, length, (int)c, -1);
	case SYS_pkey_mprotect:
		return protect_change(address, length, (int)c, (int)d);
	case SYS_mseal:
		return seal_change(address, length, (unsigned long)c);
	case SYS_set_mempolicy_home_node: /* for a policy that is set already */
		return change_of(CHANGE_NOTHING, address, length, 0);
	default:
		return change_none();
	}
}

static ssize_t process_madvise_by_number(int pidfd, const struct iovec *vector, size_t count, int advice,
					 unsigned flags)
{
	return next.syscall(SYS_process_madvise, (long)pidfd, vector, count, (long)advice, (long)flags);
}

static void *remap_by_number(void *old, size_t old_length, size_t new_length, int flags, void *to)
{
	return (void *)next.syscall(SYS_mremap, old, old_length, new_length, (long)flags, to);
}

static long bind_by_number(void *address, unsigned long length, int mode, const unsigned long *nodes,
			   unsigned long nodes_max, unsigned flags)
{
	return next.syscall(SYS_mbind, address, length, (long)mode, nodes, nodes_max, (long)flags);
}

static long ioctl_by_number(long a, long b, long c, long d, long e, long f)
{
	const struct ioctl_call call = {
		.fd = (int)a, .request = (unsigned long)b, .argument = (void *)c, .by_number = true, .rest = { d, e, f }
	};

	return ioctl_forward(&call);
}

static long fork_by_number(long number, long a, long b, long c, long d, long e, long f)
{
	bool begun = fork_begin();
	long pid = next.syscall(number, a, b, c, d, e, f);

	fork_end(begun, pid);
	return pid;
}

static long confine_by_number(long number, long a, long b, long c, long d, long e)
{
	bool known = (int)number == SYS_seccomp
			     ? confinement_begin((int)a, (unsigned)b, (const void *)c)
			     : confinement_begin_prctl((int)a, (unsigned long)b, (const void *)c);
	long result = next.syscall(number, a, b, c, d, e);

	/* With TSYNC a positive result is a thread that cannot get the filter. With NEW_LISTENER it is a descriptor. */
	confinement_end(known, result == 0 || (result > 0 && (b & SECCOMP_FILTER_FLAG_NEW_LISTENER) != 0));
	return result;
}

long syscall_forward(long number, long a, long b, long c, long d, long e, long f)
{
	struct change change;
	uint64_t transfer;
	long result;
	int r;

	if ((int)number == SYS_process_madvise)
		return advice_process(process_madvise_by_number, (int)a, (const struct iovec *)b, (size_t)c, (int)d,
				      (unsigned)e);
	if ((int)number == SYS_mremap)
		return (long)remap_forward(remap_by_number, (void *)a, (size_t)b, (size_t)c, (int)d, (void *)e);
	if ((int)number == SYS_mbind)
		return policy_forward(bind_by_number, (void *)a, (unsigned long)b, (int)c, (const unsigned long *)d,
				      (unsigned long)e, (unsigned)f);
	if ((int)number == SYS_ioctl)
		return ioctl_by_number(a, b, c, d, e, f);
	if ((int)number == SYS_seccomp || (int)number == SYS_prctl)
		return confine_by_number(number, a, b, c, d, e);
	if (closing_concerns_number(number, a, b))
		return closing_by_number(number, a, b, c);
	if (is_fork(number, a, b))
		return fork_by_number(number, a, b, c, d, e, f);
	if ((int)number == SYS_madvise && (int)c == MADV_MERGEABLE && advice_register((void *)a, (size_t)b, &r))
		return r;
	if ((int)number == SYS_vmsplice && splice_begin((const struct iovec *)b, (size_t)c) < 0)
		return -1;
	transfer = read_before_number(number, a, b, c) | write_before_number(number, b, c);
	open_before_number(number, a, b, c);
	uring_before_number(number, b);
	change = change_by_number(number, a, b, c, d);
	r = change_begin(&change);
	if (r != 0)
		return r < 0 ? -1 : 0;
	result = transfer_after(transfer, next.syscall(number, a, b, c, d, e, f));
	change_end(&change, (int)number == SYS_madvise ? advice_is_taken(result) : result != -1);
	open_after_number(number, a, b, c, result);
	return result;
}
