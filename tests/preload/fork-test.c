/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * New processes: those that fork() does not make are told to the library, and syscall() stays usable for the numbers
 * that return twice on one stack.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/sched.h> /* struct clone_args */
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/page.h"
#include "tests/preload/recorder.h"

#define CHILD_STATUS 7

pid_t _Fork(void);

static int set_up(void **state)
{
	(void)state;
	recorder_reset(NULL, 0);
	return 0;
}

static int status_of(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* In parent and child: @pid is what the call under test has returned. */
static void expect_told(pid_t pid)
{
	if (pid == 0)
		_exit(records_count == 2 && records[0].kind == RECORDED_FORK_PREPARE &&
				      records[1].kind == RECORDED_FORK_CHILD
			      ? CHILD_STATUS
			      : 1);
	assert_true(pid > 0);
	assert_int_equal(status_of(pid), CHILD_STATUS);
	assert_int_equal(records_count, 2);
	assert_int_equal(records[0].kind, RECORDED_FORK_PREPARE);
	assert_int_equal(records[1].kind, RECORDED_FORK_PARENT);
	records_count = 0;
}

static void fork_without_handlers(void **state)
{
	(void)state;
	expect_told(_Fork());
}

static void fork_by_number(void **state)
{
	struct clone_args arguments = { .exit_signal = SIGCHLD };

	(void)state;
#ifdef SYS_fork
	expect_told((pid_t)syscall(SYS_fork));
#endif
	expect_told((pid_t)syscall(SYS_clone, (long)SIGCHLD, 0L, 0L, 0L, 0L));
	expect_told((pid_t)syscall(SYS_clone3, &arguments, sizeof(arguments)));
}

static _Alignas(16) char child_stack[65536];

static int exit_if_told(void *argument)
{
	return records_count == 2 && records[0].kind == RECORDED_FORK_PREPARE &&
			       records[1].kind == RECORDED_FORK_CHILD && argument == child_stack
		       ? CHILD_STATUS
		       : 1;
}

static int exit_at_once(void *argument)
{
	*(int *)argument = CHILD_STATUS;
	return CHILD_STATUS;
}

static void clone_of_libc(void **state)
{
	char *stack = child_stack + sizeof(child_stack);
	int tid = 0, ran = 0;

	(void)state;
	expect_told(clone(exit_if_told, stack, SIGCHLD | CLONE_PARENT_SETTID, child_stack, &tid));
	assert_true(tid > 0);
	/* One that shares memory is none. */
	assert_int_equal(status_of(clone(exit_at_once, stack, CLONE_VM | CLONE_VFORK | SIGCHLD, &ran)), CHILD_STATUS);
	assert_int_equal(ran, CHILD_STATUS);
	assert_int_equal(records_count, 0);
	assert_int_equal(clone(NULL, stack, SIGCHLD, NULL), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(records_count, 0);
	assert_int_equal(clone(exit_if_told, NULL, SIGCHLD, NULL), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(records_count, 2);
	assert_int_equal(records[1].kind, RECORDED_FORK_PARENT);
}

/* A fork in the middle of another call, as by the handler of a fault, is one, too. */
static void fork_inside(void)
{
	pid_t pid = _Fork();

	if (pid == 0)
		_exit(records[records_count - 1].kind == RECORDED_FORK_CHILD ? CHILD_STATUS : 1);
	assert_int_equal(status_of(pid), CHILD_STATUS);
}

static void fork_in_the_middle(void **state)
{
	char *ram = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_true(ram != MAP_FAILED);
	recorder_reset(ram, PAGE_BYTES);
	recorder_in_begin = fork_inside;
	assert_int_equal(madvise(ram, PAGE_BYTES, MADV_DONTNEED), 0);
	assert_int_equal(records_count, 4);
	assert_int_equal(records[1].kind, RECORDED_FORK_PREPARE);
	assert_int_equal(records[2].kind, RECORDED_FORK_PARENT);
	recorder_reset(NULL, 0);
	munmap(ram, PAGE_BYTES);
}

static void failed_fork(void **state)
{
	(void)state;
	errno = 0;
	assert_int_equal(syscall(SYS_clone, (long)(SIGCHLD | CLONE_SIGHAND), 0L, 0L, 0L, 0L), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(records_count, 2);
	assert_int_equal(records[1].kind, RECORDED_FORK_PARENT);
}

static void refused_clone3(void **state)
{
	(void)state;
	assert_int_equal(syscall(SYS_clone3, 8L, sizeof(struct clone_args)), -1);
	assert_int_equal(errno, EFAULT);
	assert_int_equal(syscall(SYS_clone3, 0L, 0L), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(records_count, 0);
}

#if defined(__x86_64__)
/*
 * Ends a child that runs on its parent's stack, after writing over all that lies below it, except for the one word that
 * libc's own syscall() returns through. A frame of the preload's would be destroyed for the parent.
 */
#define CHILD_ENDS_HERE() \
	__asm__ volatile("leaq -1040(%%rsp), %%rdi\n\t" \
			 "movl $128, %%ecx\n\t" \
			 "movq $-1, %%rax\n\t" \
			 "rep stosq\n\t" \
			 "movl %0, %%edi\n\t" \
			 "movl %1, %%eax\n\t" \
			 "syscall" \
			 : \
			 : "i"(CHILD_STATUS), "i"(SYS_exit) \
			 : "rax", "rcx", "rdi", "r11", "memory")

static __attribute__((noinline)) pid_t vfork_by_number(void)
{
	long pid = syscall(SYS_vfork);

	if (pid == 0)
		CHILD_ENDS_HERE();
	return (pid_t)pid;
}

static __attribute__((noinline)) pid_t clone_by_number(void)
{
	long pid = syscall(SYS_clone, (long)(CLONE_VM | CLONE_VFORK | SIGCHLD), 0L, 0L, 0L, 0L);

	if (pid == 0)
		CHILD_ENDS_HERE();
	return (pid_t)pid;
}

static __attribute__((noinline)) pid_t clone3_by_number(struct clone_args *arguments)
{
	long pid = syscall(SYS_clone3, arguments, sizeof(*arguments));

	if (pid == 0)
		CHILD_ENDS_HERE();
	return (pid_t)pid;
}

static void borrowed_stack(void **state)
{
	struct clone_args arguments = { .flags = CLONE_VM | CLONE_VFORK, .exit_signal = SIGCHLD };

	(void)state;
	assert_int_equal(status_of(vfork_by_number()), CHILD_STATUS);
	assert_int_equal(status_of(clone_by_number()), CHILD_STATUS);
	assert_int_equal(status_of(clone3_by_number(&arguments)), CHILD_STATUS);
	assert_int_equal(records_count, 0);
}
#else
static void borrowed_stack(void **state)
{
	(void)state;
	skip();
}
#endif

/* A number that is passed on has all its arguments, too, and its own errno. */
static void six_arguments(void **state)
{
	char from[4] = "abc", to[4] = "";
	struct iovec source = { from, 4 }, target = { to, 4 };

	(void)state;
	assert_int_equal(syscall(SYS_process_vm_readv, (long)getpid(), &target, 1L, &source, 1L, 0L), 4);
	assert_string_equal(to, "abc");
	errno = 0;
	assert_int_equal(syscall(SYS_process_vm_readv, (long)getpid(), &target, 1L, &source, 1L, 1L), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(syscall(-1L), -1);
	assert_int_equal(errno, ENOSYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(fork_without_handlers, set_up),
		cmocka_unit_test_setup(fork_by_number, set_up),
		cmocka_unit_test_setup(clone_of_libc, set_up),
		cmocka_unit_test_setup(fork_in_the_middle, set_up),
		cmocka_unit_test_setup(failed_fork, set_up),
		cmocka_unit_test_setup(refused_clone3, set_up),
		cmocka_unit_test_setup(borrowed_stack, set_up),
		cmocka_unit_test_setup(six_arguments, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
