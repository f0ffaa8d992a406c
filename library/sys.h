/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The thin platform layer: the system calls that change memory, made directly. The preload interposes libc's functions
 * of the same names, so the library must not call those; and errno, which belongs to the VMM's code, stays untouched.
 * All return the kernel's result or -errno. Any thread.
 *
 * In test builds the N-th call can be made to fail, see sys_fail, and every call be watched, see sys_watch.
 */
#ifndef PAGEFUSE_LIBRARY_SYS_H
#define PAGEFUSE_LIBRARY_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

#ifdef PAGEFUSE_TEST_CONTROLS
/** Makes call number `countdown` (counted from 1) of system call `number` (-1: any) fail with `error`; 0: off. */
struct sys_fail {
	_Atomic int countdown, number, error;
	_Atomic bool for_ever; /* all later calls fail, too, until countdown is set to 0 */
};
extern struct sys_fail sys_fail;
/** Called before each system call with its number and second argument (an ioctl's request), to wait at some of them. */
extern void (*_Atomic sys_watch)(long number, long second);
/** @return 0, or the error (positive) with which this call has to fail. */
int sys_fail_now(long number, long second);
#else
static inline int sys_fail_now(long number, long second)
{
	(void)number;
	(void)second;
	return 0;
}
#endif

#if defined(__x86_64__)
static inline long sys_raw(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}
#elif defined(__aarch64__)
static inline long sys_raw(long number, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc 0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
}
#else
#error "pagefuse needs its system call stub for this architecture"
#endif

static inline long sys_call(long number, long a, long b, long c, long d, long e, long f)
{
	int error = sys_fail_now(number, b);

	return error != 0 ? -error : sys_raw(number, a, b, c, d, e, f);
}

static inline long sys_mmap(uint64_t address, uint64_t length, int prot, int flags, int fd, uint64_t offset)
{
	return sys_call(SYS_mmap, (long)address, (long)length, prot, flags, fd, (long)offset);
}

static inline int sys_munmap(uint64_t address, uint64_t length)
{
	return (int)sys_call(SYS_munmap, (long)address, (long)length, 0, 0, 0, 0);
}

static inline int sys_mprotect(uint64_t address, uint64_t length, int prot)
{
	return (int)sys_call(SYS_mprotect, (long)address, (long)length, prot, 0, 0, 0);
}

static inline int sys_madvise(uint64_t address, uint64_t length, int advice)
{
	return (int)sys_call(SYS_madvise, (long)address, (long)length, advice, 0, 0, 0);
}

static inline int sys_munlock(uint64_t address, uint64_t length)
{
	return (int)sys_call(SYS_munlock, (long)address, (long)length, 0, 0, 0, 0);
}

static inline long sys_mremap(uint64_t from, uint64_t length, uint64_t new_length, int flags, uint64_t to)
{
	return sys_call(SYS_mremap, (long)from, (long)length, (long)new_length, flags, (long)to, 0);
}

static inline int sys_ioctl(int fd, unsigned long request, void *argument)
{
	return (int)sys_call(SYS_ioctl, fd, (long)request, (long)argument, 0, 0, 0);
}

/** Sleeps for @nsec or a little longer; less if a signal is handled. @nsec: below a second. */
static inline void sys_nap(long nsec)
{
	long left[2] = { 0, nsec }; /* the kernel's struct timespec */

	sys_call(SYS_ppoll, 0, 0, (long)left, 0, 0, 0);
}

static inline int sys_userfaultfd(int flags)
{
	return (int)sys_call(SYS_userfaultfd, flags, 0, 0, 0, 0, 0);
}

/** Whether a result of sys_mmap() or sys_mremap() is an error. */
static inline int sys_is_error(long result)
{
	return result < 0 && result >= -4095;
}

#endif
