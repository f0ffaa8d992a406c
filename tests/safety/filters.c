/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * System call filters, told apart by running them: lists of what is denied as VMMs have them, lists of what is allowed,
 * and programs that look at what the library cannot know beforehand.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "library/filter.h"
#include "library/kernel.h"
#include "tests/support/test.h"

#define DATA(field) ((unsigned)offsetof(struct seccomp_data, field))
#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, DATA(field))
#define IF(operation, value, then, otherwise) BPF_JUMP(BPF_JMP | (operation) | BPF_K, value, then, otherwise)
#define COPY_TO_A BPF_STMT(BPF_MISC | BPF_TXA, 0)
#define RETURN(verdict) BPF_STMT(BPF_RET | BPF_K, verdict)

/** Whether a filter lets the library work, as judged; @expected is what has to come of it. */
#define expect(expected, ...) \
	do { \
		struct sock_filter code[] = { __VA_ARGS__ }; \
		struct sock_fprog program = { sizeof(code) / sizeof(*code), code }; \
\
		if (filter_lets_through(&program) != (expected)) \
			test_damage("line %d: a filter is judged wrongly", __LINE__); \
	} while (0)

static void test_verdicts(void)
{
	expect(true, RETURN(SECCOMP_RET_ALLOW));
	expect(true, RETURN(SECCOMP_RET_LOG));
	expect(false, RETURN(SECCOMP_RET_ERRNO | EPERM)); /* in place of all: see below */
	expect(false, RETURN(SECCOMP_RET_ERRNO));         /* a success that is none */
	expect(false, RETURN(SECCOMP_RET_KILL_PROCESS));
	expect(false, RETURN(SECCOMP_RET_KILL_THREAD));
	expect(false, RETURN(SECCOMP_RET_TRAP));
	expect(false, RETURN(SECCOMP_RET_TRACE));
	expect(false, RETURN(SECCOMP_RET_USER_NOTIF));
}

static void test_lists(void)
{
	const unsigned ending[] = { SYS_mremap, SYS_mprotect, SYS_ioctl, SYS_close, SYS_futex, SYS_rt_sigprocmask };

	/* What is denied: calls that the library has no use for, or has. */
	expect(true, LOAD(nr), IF(BPF_JEQ, SYS_execve, 0, 1), RETURN(SECCOMP_RET_KILL_PROCESS),
	       RETURN(SECCOMP_RET_ALLOW));
	expect(false, LOAD(nr), IF(BPF_JEQ, SYS_userfaultfd, 0, 1), RETURN(SECCOMP_RET_KILL_PROCESS),
	       RETURN(SECCOMP_RET_ALLOW));
	expect(true, LOAD(nr), IF(BPF_JEQ, SYS_userfaultfd, 0, 1), RETURN(SECCOMP_RET_ERRNO | ENOSYS),
	       RETURN(SECCOMP_RET_ALLOW));
	/* An error instead, where pages are held that only this call, or one of a few others, can put back. */
	for (unsigned i = 0; i < sizeof(ending) / sizeof(*ending); i++)
		expect(false, LOAD(nr), IF(BPF_JEQ, ending[i], 0, 1), RETURN(SECCOMP_RET_ERRNO | EPERM),
		       RETURN(SECCOMP_RET_ALLOW));
	expect(false, LOAD(nr), IF(BPF_JEQ, SYS_ioctl, 0, 3), LOAD(args[1]), IF(BPF_JEQ, (uint32_t)UFFDIO_COPY, 0, 1),
	       RETURN(SECCOMP_RET_ERRNO | EPERM), RETURN(SECCOMP_RET_ALLOW));
	/* What is allowed. */
	expect(false, LOAD(nr), IF(BPF_JEQ, SYS_read, 0, 1), RETURN(SECCOMP_RET_ALLOW),
	       RETURN(SECCOMP_RET_KILL_PROCESS));
	/* Another architecture is not ours; ours is. */
	expect(true, LOAD(arch), IF(BPF_JEQ, AUDIT_ARCH_S390X, 0, 1), RETURN(SECCOMP_RET_KILL_PROCESS),
	       RETURN(SECCOMP_RET_ALLOW));
	expect(false, LOAD(arch), IF(BPF_JEQ, AUDIT_ARCH_S390X, 1, 0), RETURN(SECCOMP_RET_KILL_PROCESS),
	       RETURN(SECCOMP_RET_ALLOW));
}

static void test_arguments(void)
{
	/* Known ones: threads are made with CLONE_THREAD, of advice there is more than DONTNEED, of requests some. */
	expect(true, LOAD(nr), IF(BPF_JEQ, SYS_clone, 0, 3), LOAD(args[0]), IF(BPF_JSET, CLONE_THREAD, 1, 0),
	       RETURN(SECCOMP_RET_KILL_PROCESS), RETURN(SECCOMP_RET_ALLOW));
	expect(false, LOAD(nr), IF(BPF_JEQ, SYS_madvise, 0, 3), LOAD(args[2]), IF(BPF_JEQ, MADV_DONTNEED, 1, 0),
	       RETURN(SECCOMP_RET_KILL_PROCESS), RETURN(SECCOMP_RET_ALLOW));
	expect(false, LOAD(nr), IF(BPF_JEQ, SYS_ioctl, 0, 3), LOAD(args[1]), IF(BPF_JEQ, (uint32_t)UFFDIO_MOVE, 0, 1),
	       RETURN(SECCOMP_RET_KILL_PROCESS), RETURN(SECCOMP_RET_ALLOW));
	/* The upper half of one is zero. */
	expect(true, LOAD(nr), IF(BPF_JEQ, SYS_ioctl, 0, 3),
	       BPF_STMT(BPF_LD | BPF_W | BPF_ABS, DATA(args[1]) + 4), IF(BPF_JEQ, 0, 1, 0),
	       RETURN(SECCOMP_RET_KILL_PROCESS), RETURN(SECCOMP_RET_ALLOW));
	/* One that varies, on both ways. */
	expect(false, LOAD(nr), IF(BPF_JEQ, SYS_munmap, 0, 3), LOAD(args[1]), IF(BPF_JEQ, 4096, 0, 1),
	       RETURN(SECCOMP_RET_KILL_PROCESS), RETURN(SECCOMP_RET_ALLOW));
	expect(false, LOAD(nr), IF(BPF_JEQ, SYS_munmap, 0, 3), LOAD(args[1]), IF(BPF_JEQ, 4096, 1, 0),
	       RETURN(SECCOMP_RET_KILL_PROCESS), RETURN(SECCOMP_RET_ALLOW));
	expect(true, LOAD(nr), IF(BPF_JEQ, SYS_mlock, 0, 3), LOAD(args[1]), IF(BPF_JEQ, 4096, 1, 0),
	       RETURN(SECCOMP_RET_ERRNO | EINVAL), RETURN(SECCOMP_RET_ALLOW));
	expect(false, LOAD(instruction_pointer), IF(BPF_JGT, 4096, 1, 0), RETURN(SECCOMP_RET_KILL_PROCESS),
	       RETURN(SECCOMP_RET_ALLOW));
}

static void test_instructions(void)
{
	/* The number, by way of memory, the other register and arithmetic. */
	expect(false, LOAD(nr), BPF_STMT(BPF_ST, 3), BPF_STMT(BPF_LDX | BPF_W | BPF_MEM, 3),
	       COPY_TO_A, BPF_STMT(BPF_ALU | BPF_SUB | BPF_K, SYS_userfaultfd), IF(BPF_JEQ, 0, 0, 1),
	       RETURN(SECCOMP_RET_KILL_PROCESS), RETURN(SECCOMP_RET_ALLOW));
	expect(true, LOAD(nr), BPF_STMT(BPF_MISC | BPF_TAX, 0), BPF_STMT(BPF_LD | BPF_IMM, SYS_execve),
	       BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_X, 0, 0, 1), RETURN(SECCOMP_RET_KILL_PROCESS),
	       RETURN(SECCOMP_RET_ALLOW));
	expect(true, BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0), IF(BPF_JEQ, sizeof(struct seccomp_data), 1, 0),
	       RETURN(SECCOMP_RET_KILL_PROCESS), RETURN(SECCOMP_RET_ALLOW));
	expect(true, BPF_STMT(BPF_JMP | BPF_JA, 1), RETURN(SECCOMP_RET_KILL_PROCESS), RETURN(SECCOMP_RET_ALLOW));
	expect(true, BPF_STMT(BPF_LD | BPF_IMM, SECCOMP_RET_ALLOW), BPF_STMT(BPF_RET | BPF_A, 0));
	expect(false, LOAD(args[5]), BPF_STMT(BPF_RET | BPF_A, 0)); /* whatever that is */
}

/** So many questions about what can be anything, one after the other, that nobody can go all ways. */
static void test_too_many_ways(void)
{
	struct sock_filter code[2 * 200 + 1];
	struct sock_fprog program = { sizeof(code) / sizeof(*code), code };

	for (unsigned i = 0; i < 200; i++) {
		code[2 * i] = (struct sock_filter)LOAD(instruction_pointer);
		code[2 * i + 1] = (struct sock_filter)IF(BPF_JGT, i, 0, 0);
	}
	code[400] = (struct sock_filter)RETURN(SECCOMP_RET_ALLOW);
	if (filter_lets_through(&program))
		test_damage("a filter is believed that nobody has gone through");
}

/** Programs that no kernel takes end, too. */
static void test_nonsense(void)
{
	uint64_t random = test_seed(1);
	struct sock_filter code[64];
	struct sock_fprog program = { sizeof(code) / sizeof(*code), code };
	unsigned allowed = 0;

	while (test_running()) {
		for (unsigned i = 0; i < sizeof(code) / sizeof(*code); i++) {
			uint64_t word = test_random(&random);

			memcpy(&code[i], &word, sizeof(word));
			code[i].code &= 0xff;
			code[i].jt %= 8;
			code[i].jf %= 8;
		}
		allowed += filter_lets_through(&program);
	}
	fprintf(stderr, "%u of them let through\n", allowed);
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	test_verdicts();
	test_lists();
	test_arguments();
	test_instructions();
	test_too_many_ways();
	test_nonsense();
	return 0;
}
