/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Descriptions of what the interposed calls do to memory, one per call, used by the libc function of that name and by
 * syscall() with that number. They look at arguments only and touch nothing, unless said otherwise.
 */
#ifndef PAGEFUSE_PRELOAD_CALLS_H
#define PAGEFUSE_PRELOAD_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "preload/forward.h"

/* advice.c */
/** Asks the kernel, by an empty call, whether it knows an advice that is newer than others. */
struct change advice_change(void *address, size_t length, int advice);
/** The kernel leaves out what is not mapped, and says so in the end, by ENOMEM. */
bool advice_is_taken(long result);
/**
 * MADV_MERGEABLE: offers the range to the library. @return whether a daemon serves it, so that KSM need not; then
 * *@ret_result is what the call returns, and errno is set if that is -1.
 */
bool advice_register(void *address, size_t length, int *ret_result);
typedef ssize_t process_madvise_function(int pidfd, const struct iovec *vector, size_t count, int advice,
					 unsigned flags);
/** All of process_madvise(), with @real as the real call. */
ssize_t advice_process(process_madvise_function *real, int pidfd, const struct iovec *vector, size_t count, int advice,
		       unsigned flags);

/* mapping.c */
struct change map_change(void *address, size_t length, int flags);
struct change unmap_change(void *address, size_t length);

/* remap.c */
typedef void *remap_function(void *old, size_t old_length, size_t new_length, int flags, void *to);
/** All of mremap(), with @real as the real call. */
void *remap_forward(remap_function *real, void *old, size_t old_length, size_t new_length, int flags, void *to);

/* locking.c */
/**
 * The first two ask the kernel, by an empty call, whether it lets this process lock memory. @flags: as for mlock2().
 */
struct change lock_change(const void *address, size_t length, unsigned flags);
struct change lock_all_change(int flags);
struct change unlock_change(const void *address, size_t length);

/* attributes.c */
struct change protect_change(void *address, size_t length, int prot, int pkey);
/** Asks the kernel, by an empty call, whether it has this call. */
struct change seal_change(void *address, size_t length, unsigned long flags);
typedef long bind_function(void *address, unsigned long length, int mode, const unsigned long *nodes,
			   unsigned long nodes_max, unsigned flags);
/** All of mbind(), with @real as the real call. */
long policy_forward(bind_function *real, void *address, unsigned long length, int mode, const unsigned long *nodes,
		    unsigned long nodes_max, unsigned flags);

/* ioctl.c */
struct ioctl_call {
	int fd;
	unsigned long request;
	void *argument;
	bool by_number;
	long rest[3]; /* by number: ignored by the kernel, but a system call filter may check them */
};
/** All of ioctl(). */
int ioctl_forward(const struct ioctl_call *call);
/** Makes the real call, with @argument in place of its own. */
int ioctl_real(const struct ioctl_call *call, void *argument);

/* userfaultfd.c */
/** Makes an ioctl, in pieces if it fills or takes RAM that has become several mappings. */
int userfaultfd_forward(const struct ioctl_call *call);

/* fork.c */
/**
 * Before a fork that bypasses the handlers of pthread_atfork(); also inside, in the handler of a fault.
 * @return whether fork_end() has to be called.
 */
bool fork_begin(void);
/** After the fork, in the parent (also if it failed) and in the child. @pid: the fork's result. */
void fork_end(bool begun, long pid);

/* read.c */
/**
 * Whether reads can concern the library at all. If so, one of the next two reports the memory that a read is about to
 * fill, for reads that go on after their call. @fd: the file that is read; -1: not known.
 */
bool read_may_matter(void);
void read_tell(int fd, const void *address, size_t length);
void read_tell_vector(int fd, const struct iovec *vector, size_t count);
/**
 * Before a system call by number that may read into guest RAM; @a, @b and @c: its first three arguments.
 * @return for transfer_after().
 */
uint64_t read_before_number(long number, long a, long b, long c);

/* write.c */
/**
 * Before vmsplice(): a pipe keeps the pages of these ranges for as long as it likes, and gives what is written there
 * until it is read. They are unshared, and left alone from now on. @return 0, or -1 and errno: the call has to fail.
 */
int splice_begin(const struct iovec *vector, size_t count);
/** The same for calls that may write guest RAM to a file or socket. */
uint64_t write_before_number(long number, long b, long c);

/* open.c */
struct msghdr;
/** Notes the descriptors in a message that was received, or looked at (MSG_PEEK), which brings them as well. */
void open_note_received(const struct msghdr *message);
/** The same for the first @count of several messages. */
struct mmsghdr;
void open_note_received_all(const struct mmsghdr *messages, long count);
/** Whether a system call by number may bring or change a file. If so, the next two are called before and after it. */
bool open_concerns_number(long number);
void open_before_number(long number, long a, long b, long c);
void open_after_number(long number, long a, long b, long c, long result);

/* closing.c */
/**
 * Whether a system call by number may close or replace a descriptor of the library's. The next one makes it without
 * that.
 */
bool closing_concerns_number(long number, long a, long b);
long closing_by_number(long number, long a, long b, long c);

/* confinement.c */
/**
 * Before seccomp() or prctl(): if the call puts a filter into force, the library withdraws if necessary. @return
 * whether the filter counts as known from now on; to be passed to confinement_end(), with the result of the real call.
 */
bool confinement_begin(long operation, unsigned long flags, const void *arguments);
bool confinement_begin_prctl(int option, unsigned long mode, const void *program);
void confinement_end(bool known, bool succeeded);

/* uring.c */
/** Before a system call by number that may make a ring, or register with one. */
void uring_before_number(long number, long b);

/* syscall.c, called by entry.S */
/** Whether this system call may concern memory of ours, so that syscall_forward() has to see it. */
bool syscall_concerns_us(long number, long a, long b);
long syscall_forward(long number, long a, long b, long c, long d, long e, long f);

#endif
