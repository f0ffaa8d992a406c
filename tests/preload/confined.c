/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VMM that confines itself by a system call filter which ends it at any call that is not on a list. Where the list
 * has what the library calls, it shares under it: so the library's own list is whole. Where it has only what the VMM
 * itself calls, the VMM lives on, with every byte, and nothing of it is shared from then on; the daemon is told why, if
 * the library had met it before. By prctl() and by seccomp(), for the calling thread and for all.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/madvise.h"
#include "library/made-calls.h"
#include "library/memory.h"
#include "library/visits.h"
#include "tests/preload/life.h"
#include "tests/support/director.h"
#include "tests/support/pages.h"
#include "tests/support/puppet.h"
#include "tests/support/test.h"

#define PAGES LIFE_PAGES
#define FILTER_MAX 1024u
#define DATA(field) ((unsigned)offsetof(struct seccomp_data, field))

enum way {
	BY_PRCTL,
	BY_SECCOMP,
	BY_SECCOMP_FOR_ALL,
	WAYS,
};

static char *memory;
static struct director *director;
static struct director_vm *vm;
static uint32_t first;

/* ---- filters ---- */

/** What the puppet itself calls without a mark: its pipes, the watchdog's clock, its end, locks. */
static const int calls_of_vmm[] = { SYS_read, SYS_write, SYS_alarm, SYS_exit_group, SYS_futex };

/** Those of life.c that lose their mark on the way, or are made by name. */
static const struct made_call more_of_vmm[] = {
	{ .number = SYS_process_madvise, .varies = MADE_CALL_ANY },
	{ .number = SYS_dup3, .varies = MADE_CALL_ANY },
	{ .number = SYS_close_range, .varies = MADE_CALL_ANY },
	{ .number = SYS_mremap, .varies = MADE_CALL_ANY & ~UINT32_C(8), .values = { 0, 0, 0, MREMAP_MAYMOVE } },
	{ .number = SYS_madvise, .varies = MADE_CALL_ANY & ~UINT32_C(4), .values = { 0, 0, MADV_DONTNEED } },
	{ .number = SYS_madvise, .varies = MADE_CALL_ANY & ~UINT32_C(4), .values = { 0, 0, MADV_MERGEABLE } },
};

static struct sock_filter filter[FILTER_MAX];
static unsigned filter_length;

static void add(struct sock_filter code)
{
	test_check(filter_length < FILTER_MAX, "the filter is too long");
	filter[filter_length++] = code;
}

static void begin_filter(void)
{
	filter_length = 0;
	add((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, DATA(nr)));
}

/** Lets a call through whose known arguments are these. */
static void let_through(const struct made_call *call)
{
	unsigned known = 6 - (unsigned)__builtin_popcount(call->varies & MADE_CALL_ANY);

	if (known == 0) {
		add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call->number, 0, 1));
		add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
		return;
	}
	/* Behind it the number is in the accumulator again. */
	add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call->number, 0,
					 (uint8_t)(2 * known + 2)));
	for (unsigned a = 0; a < 6; a++) {
		if (call->varies >> a & 1)
			continue;
		known--;
		add((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, DATA(args) + a * 8));
		add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call->values[a], 0,
						 (uint8_t)(2 * known + 1)));
	}
	add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
	add((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, DATA(nr)));
}

static void let_vmm_through(void)
{
	add((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, DATA(args[5])));
	add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, LIFE_MARK, 0, 1));
	add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
	add((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, DATA(nr)));
	for (size_t i = 0; i < sizeof(calls_of_vmm) / sizeof(*calls_of_vmm); i++)
		let_through(&(struct made_call){ .number = calls_of_vmm[i], .varies = MADE_CALL_ANY });
	for (size_t i = 0; i < sizeof(more_of_vmm) / sizeof(*more_of_vmm); i++)
		let_through(&more_of_vmm[i]);
}

/** Calls of the library's that a filter has. */
enum list {
	NONE,
	ALL,
	BUT_COLLAPSE, /* what an earlier release has made */
};

static bool is_listed(const struct made_call *call, enum list list)
{
	bool collapses = call->number == SYS_madvise && call->values[2] == MADV_COLLAPSE;

	return list == ALL || (list == BUT_COLLAPSE && !collapses);
}

/** @return 0, or the error of the kernel. */
static PUPPET long install(long way, long list, long c)
{
	struct sock_fprog program = { .filter = filter };
	long r;

	(void)c;
	begin_filter();
	let_vmm_through();
	for (unsigned i = 0; i < made_calls_count; i++)
		if (is_listed(&made_calls[i], (enum list)list))
			let_through(&made_calls[i]);
	add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
	program.len = (unsigned short)filter_length;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return errno;
	if (way == BY_PRCTL)
		r = prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
	else
		r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
			    way == BY_SECCOMP_FOR_ALL ? SECCOMP_FILTER_FLAG_TSYNC : 0, &program);
	return r < 0 ? errno : 0;
}

/* ---- the VMM ---- */

static uint64_t *contents; /* of both processes */

static PUPPET long fill(long from, long step, long c)
{
	(void)c;
	for (uint32_t i = (uint32_t)from; i < PAGES; i += (uint32_t)step)
		pages_fill(memory + i * PAGE_BYTES, contents[i]);
	return 0;
}

static PUPPET long find_wrong(long a, long b, long c)
{
	(void)a;
	(void)b;
	(void)c;
	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_differ(memory + i * PAGE_BYTES, contents[i]) >= 0)
			return i;
	return -1;
}

static PUPPET long offer(long a, long b, long c)
{
	(void)a;
	(void)b;
	(void)c;
	return madvise(memory, PAGES * PAGE_BYTES, MADV_MERGEABLE) < 0 ? errno : 0;
}

static PUPPET long balloon(long from, long count, long c)
{
	(void)c;
	return madvise(memory + from * (long)PAGE_BYTES, (size_t)count * PAGE_BYTES, MADV_DONTNEED) < 0 ? errno : 0;
}

static PUPPET long live(long a, long b, long c)
{
	(void)a;
	(void)b;
	(void)c;
	return life_live(memory, contents);
}

/** From now on this process may have memory pinned, and has no swap: what has diverged cannot be made plain. */
static PUPPET long pin(long a, long b, long c)
{
	(void)a;
	(void)b;
	(void)c;
	memory_note_pins();
	return 0;
}

/* ---- what is to be seen ---- */

/** Has the VMM do it; one that the filter ends is damage. */
static long survive(puppet_function *function, long a, long b, const char *what)
{
	int status;
	long result;

	if (puppet_survives(function, a, b, 0, &result, &status))
		return result;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		test_skip("the VMM has said why");
	if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
		test_fail("the VMM ended with status %d; it has said why", WEXITSTATUS(status));
	test_damage("the VMM ends %s: %s", what, WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "?");
}

static void check(const char *when)
{
	long wrong = survive(find_wrong, 0, 0, when);

	if (wrong >= 0)
		test_damage("page %ld reads wrong bytes %s", wrong, when);
}

static void write_all(void)
{
	for (uint32_t i = 0; i < PAGES; i++)
		contents[i] = i + 1;
	survive(fill, 0, 1, "as it writes");
}

static void share(void)
{
	write_all();
	director_scan(vm, first, PAGES);
	test_check(director_share(vm, first, PAGES) == PAGES, "not all is shared");
	for (uint32_t i = 3; i < PAGES; i += 16)
		contents[i] = i + 1000;
	survive(fill, 3, 16, "as it writes to shared pages");
	check("when shared");
}

static void use_balloon(uint32_t from, uint32_t count)
{
	long error = survive(balloon, from, count, "as it discards");

	test_check(error == 0, "madvise: %s", strerror((int)error));
	for (uint32_t i = from; i < from + count; i++)
		contents[i] = 0;
	check("after a discard");
}

static void live_on(const char *when)
{
	long line = survive(live, 0, 0, when);

	test_check(line == 0, "life.c:%ld goes wrong %s", line, when);
	check(when);
}

static void begin(bool offered)
{
	director = director_new();
	puppet_start();
	write_all();
	if (!offered)
		return;
	test_check(survive(offer, 0, 0, "as it offers memory") == 0, "MADV_MERGEABLE");
	vm = director_accept(director);
	first = vm->regions[0].page;
	share();
}

static void end(void)
{
	puppet_end();
	director_free(director);
}

static void confine(enum way way, enum list list)
{
	long error = survive(install, way, list, "as it confines itself");

	if (error != 0)
		test_skip("no system call filter can be had: %s", strerror((int)error));
}

/* ---- the tests ---- */

/** Under a list that has what the library calls, all goes on. */
static void test_let_through(enum way way, bool before)
{
	begin(!before);
	confine(way, ALL);
	if (before) {
		test_check(survive(offer, 0, 0, "as it offers memory") == 0, "MADV_MERGEABLE");
		vm = director_accept(director);
		first = vm->regions[0].page;
	}
	share();
	use_balloon(40, 20);
	director_audit(vm, first, PAGES);
	director_unshare(vm, first, PAGES);
	share();
	live_on("under a list that has what the library calls");
	director_scan(vm, first, PAGES);
	director_zero(vm, first, PAGES);
	director_share(vm, first, PAGES);
	check("at the end");
	director_disconnect(vm); /* it connects again, once it has seen that */
	vm = director_accept(director);
	director_scan(vm, vm->regions[0].page, PAGES);
	end();
}

static bool is_told(const struct director_vm *of, void *unused)
{
	(void)unused;
	return of->refused[WIRE_REASON_SECCOMP] == PAGES * PAGE_BYTES;
}

static bool never(const struct director_vm *of, void *unused)
{
	(void)of;
	(void)unused;
	return false;
}

/** Memory is offered when the filter is there already: nobody hears of it. */
static void test_confined_before(enum way way)
{
	long error;

	begin(false);
	confine(way, NONE);
	error = survive(offer, 0, 0, "as it offers memory");
	test_check(error == 0 || error == EINVAL, "MADV_MERGEABLE: %s", strerror((int)error)); /* without KSM */
	use_balloon(40, 20);
	live_on("confined before it has memory");
	end();
}

/** It has been shared. */
static void test_confined_after(enum way way, enum list list)
{
	begin(true);
	confine(way, list);
	check("under its filter");
	if (director_wait_until(vm, is_told, NULL) != 0)
		test_damage("it is not told why nothing is shared any more");
	test_check(director_wait_until(vm, never, NULL) < 0, "the library is still there");
	use_balloon(0, 30);
	write_all();
	use_balloon(100, PAGES - 100);
	survive(offer, 0, 0, "as it offers memory again");
	live_on("confined when it has shared");
	end();
}

/** Pages that have been written since they were shared may be pinned. */
static void test_not_plain(enum way way)
{
	begin(true);
	survive(pin, 0, 0, "as it may pin memory");
	director_audit(vm, first, PAGES);
	confine(way, NONE);
	check("under its filter");
	live_on("with pages that cannot be made plain");
	use_balloon(0, 30);
	write_all();
	use_balloon(100, PAGES - 100);
	end();
}

/** Orders are under way. */
static void test_in_flight(enum way way)
{
	begin(true);
	write_all();
	director_order(vm, ORDER_SCAN, first, PAGES, 0);
	for (uint32_t i = 0; i < PAGES; i += 64)
		director_order(vm, ORDER_ZERO, first + i, 64, 0);
	director_order(vm, ORDER_SCAN, first, PAGES, 0);
	confine(way, NONE);
	director_wait(vm);
	check("with orders under way");
	live_on("confined with orders under way");
	end();
}

/** The daemon has just gone. */
static void test_without_daemon(enum way way)
{
	begin(true);
	director_disconnect(vm);
	confine(way, NONE);
	check("without a daemon");
	live_on("confined without a daemon");
	end();
}

/* ---- from all sides ---- */

#define THREADS 4u

static struct {
	_Atomic unsigned rounds[THREADS];
	_Atomic long wrong; /* line */
} * hurried;

static PUPPET void *hurry(void *argument)
{
	unsigned which = (unsigned)(uintptr_t)argument;

	for (;;) {
		long line = life_hurry(memory, contents, which, THREADS);

		if (line != 0)
			hurried->wrong = line;
		hurried->rounds[which]++;
	}
	return NULL;
}

static PUPPET long start_threads(long a, long b, long c)
{
	(void)a;
	(void)b;
	(void)c;
	for (uintptr_t i = 0; i < THREADS; i++) {
		pthread_t thread;
		int r = pthread_create(&thread, NULL, hurry, (void *)i);

		if (r != 0)
			return r;
	}
	return 0;
}

/** The threads have each gone on so often. */
static PUPPET long await_rounds(long count, long b, long c)
{
	(void)b;
	(void)c;
	for (unsigned i = 0; i < THREADS; i++) {
		unsigned wanted = hurried->rounds[i] + (unsigned)count;

		while ((int)(hurried->rounds[i] - wanted) < 0)
			life_call(SYS_sched_yield, 0, 0, 0, 0, 0);
	}
	return hurried->wrong;
}

/** One thread confines all while the others make calls on memory that is shared. */
static void test_threads(void)
{
	long line;

	begin(true);
	memset(hurried, 0, sizeof(*hurried));
	test_check(survive(start_threads, 0, 0, "as it starts threads") == 0, "no threads");
	line = survive(await_rounds, 3, 0, "with threads");
	director_scan(vm, first, PAGES);
	director_share(vm, first, PAGES);
	confine(BY_SECCOMP_FOR_ALL, NONE);
	line = line != 0 ? line : survive(await_rounds, 20, 0, "when one thread has confined the others");
	if (line != 0)
		test_damage("life.c:%ld goes wrong while another thread confines this one", line);
	end();
}

/** A filter that the kernel refuses changes nothing but that what was shared is plain; and one without a program. */
static PUPPET long install_none(long a, long b, long c)
{
	(void)a;
	(void)b;
	(void)c;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, NULL) == -1 &&
	       syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 1, NULL) == -1 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, 1L) == -1 && errno == EFAULT;
}

static void test_no_filter(void)
{
	begin(true);
	test_check(survive(install_none, 0, 0, "asking what there is") == 1, "filters that are none are taken");
	share();
	end();
}

/** One that ends all, as the library reads it, and that no kernel takes. */
static PUPPET long install_nonsense(void)
{
	static struct sock_filter code[] = {
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(*code), code };

	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == -1 ? errno : 0;
}

static PUPPET void *be_cancelled(void *unused)
{
	(void)unused;
	pthread_cancel(pthread_self());
	return (void *)install_nonsense();
}

/** A thread that is to be cancelled at the next occasion, which prctl() is not; and the next one. */
static PUPPET long install_cancelled(long a, long b, long c)
{
	pthread_t thread;
	void *result;

	(void)a;
	(void)b;
	(void)c;
	if (pthread_create(&thread, NULL, be_cancelled, NULL) != 0 || pthread_join(thread, &result) != 0)
		return -1;
	return result == (void *)EINVAL ? install_nonsense() : -2;
}

static void test_cancelled(void)
{
	begin(true);
	test_check(survive(install_cancelled, 0, 0, "as it is cancelled") == EINVAL || test_is_control(),
		   "a thread is cancelled in a call that is no place for that");
	check("when one of its threads is cancelled");
	end();
}

static PUPPET void *visit(void *unused)
{
	(void)unused;
	return (void *)(uintptr_t)visit_begin();
}

/** A thread leaves the library without its knowing, by longjmp() out of a handler. */
static PUPPET long leave_visit(long a, long b, long c)
{
	pthread_t thread;
	void *begun;

	(void)a;
	(void)b;
	(void)c;
	return pthread_create(&thread, NULL, visit, NULL) == 0 && pthread_join(thread, &begun) == 0 && begun != NULL;
}

static void test_left_visit(void)
{
	begin(true);
	test_check(survive(leave_visit, 0, 0, "as a thread leaves") == 1, "no visit");
	confine(BY_PRCTL, NONE);
	check("when a thread has left unseen");
	live_on("when a thread has left unseen");
	end();
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	if (TEST_ADDRESS_SANITIZER || TEST_THREAD_SANITIZER)
		test_skip("a sanitizer makes system calls of its own");
	test_needs_moves();
	contents = mmap(NULL, PAGES * sizeof(*contents), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	hurried = mmap(NULL, sizeof(*hurried), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	memory = pages_map(PAGES, false);
	test_no_filter();
	for (unsigned i = 0; i < 20; i++) /* the wait that it is about may be over at once */
		test_cancelled();
	for (enum way way = 0; way < WAYS; way++) {
		test_let_through(way, true);
		test_let_through(way, false);
		test_confined_before(way);
		test_confined_after(way, NONE);
		test_confined_after(way, BUT_COLLAPSE);
		test_not_plain(way);
		test_in_flight(way);
		test_without_daemon(way);
	}
	test_left_visit();
	do
		test_threads();
	while (test_running());
	return 0;
}
