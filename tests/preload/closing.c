/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VMM that closes and replaces descriptors which it does not know, in every way there is, over and over, while its
 * memory is shared: its own files get the numbers. Not one byte of these is read or written by anybody else, none is
 * closed, the guest's memory is right, and sharing goes on.
 *
 * The VMM is a child process, as the director's own descriptors are to stay.
 *
 * usage: closing [--by-number]    with libc's functions, or with syscall()
 *        closing --past           past the preload, between two pieces of the worker's work
 *        closing --unshare [--by-number]    by CLOSE_RANGE_UNSHARE in a forked child, where nobody shares its numbers
 *        closing --meanwhile                ranges, while the library opens files for moments
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "include/pagefuse.h"
#include "library/descriptors.h"
#include "library/lock.h"
#include "library/mappings.h"
#include "library/memory.h"
#include "library/protections.h"
#include "library/sys.h"
#include "preload/next.h"
#include "tests/support/guest.h"

#define PAGES 256u
#define CHANGED 64u /* pages of the end, which the VMM's calls are about */
#define IMAGES 24
#define IMAGE_BYTES 4096
#define ROUNDS 40u
#define FIRST_FD 3
#define NUMBERS 64
#define OFFERS 20000u
#define LOOKS 10000u
#define LOOKS_LEAST 20u
#define LATE_YIELDS 200u

enum step {
	STEP_SHARED = 1,
	STEP_CLOSED,
	STEP_SHARED_AGAIN,
	STEP_ENDED,
};

static enum way { BY_NAME,
		  BY_NUMBER,
		  PAST } way;

/** Between the two processes. */
static struct {
	_Atomic unsigned step; /* that the director has come to */
	_Atomic unsigned done; /* that the VMM has come to */
} * common;

static enum what { EVERYTHING,
		   UNSHARED,
		   MEANWHILE } what;

static int images[IMAGES], pipes[2];
static char *memory;

static void await(const _Atomic unsigned *value, unsigned wanted)
{
	while (atomic_load(value) < wanted)
		sched_yield(); /* the watchdog ends it */
}

/* ---- the VMM's files ---- */

static char image_byte(int image, size_t at)
{
	return (char)(image * 31 + (int)at * 7);
}

/** Disk images with their offset in the middle, and a pipe with nothing in it, as of a serial line. */
static void open_files(void)
{
	for (int i = 0; i < IMAGES; i++) {
		char bytes[IMAGE_BYTES];

		for (size_t at = 0; at < IMAGE_BYTES; at++)
			bytes[at] = image_byte(i, at);
		images[i] = open(test_folder(), O_TMPFILE | O_RDWR, 0600);
		test_check(images[i] >= 0 && write(images[i], bytes, IMAGE_BYTES) == IMAGE_BYTES &&
				   lseek(images[i], i, SEEK_SET) == i,
			   "an image: %s", strerror(errno));
	}
	test_check(pipe2(pipes, O_NONBLOCK) == 0, "pipe: %s", strerror(errno));
}

static void check_image(int i)
{
	char bytes[IMAGE_BYTES];

	if (lseek(images[i], 0, SEEK_CUR) != i)
		test_damage("the offset of image %d (descriptor %d) has moved: %s", i, images[i], strerror(errno));
	if (lseek(images[i], 0, SEEK_END) != IMAGE_BYTES || pread(images[i], bytes, IMAGE_BYTES, 0) != IMAGE_BYTES)
		test_damage("image %d has another size", i);
	for (size_t at = 0; at < IMAGE_BYTES; at++)
		if (bytes[at] != image_byte(i, at))
			test_damage("byte %zu of image %d has been written", at, i);
	lseek(images[i], i, SEEK_SET);
}

static void check_files(void)
{
	char byte;

	for (int i = 0; i < IMAGES; i++)
		check_image(i);
	if (read(pipes[0], &byte, 1) >= 0 || errno != EAGAIN)
		test_damage("something came through the pipe, or it is closed: %s", strerror(errno));
}

/* ---- what the VMM does ---- */

static long call(long number, long a, long b, long c)
{
	if (way == PAST)
		return sys_raw(number, a, b, c, 0, 0, 0);
	if (way == BY_NUMBER)
		return syscall(number, a, b, c);
	switch (number) {
	case SYS_close:
		return close((int)a);
	case SYS_close_range:
		return close_range((unsigned)a, (unsigned)b, (int)c);
	default:
		return c == 0 ? dup2((int)a, (int)b) : dup3((int)a, (int)b, (int)c);
	}
}

static void replace_all(void)
{
	for (int fd = FIRST_FD; fd < NUMBERS; fd++)
		test_check(call(SYS_dup3, STDERR_FILENO, fd, fd % 2 ? O_CLOEXEC : 0) == fd, "dup to %d", fd);
	if (way != PAST && call(SYS_dup3, 1000, FIRST_FD, 0) >= 0)
		test_damage("a number that is not open was duplicated");
	for (int fd = FIRST_FD; fd < NUMBERS; fd++)
		test_check(call(SYS_close, fd, 0, 0) == 0, "closing %d", fd);
}

static void close_all(unsigned round)
{
	switch (round % 4) {
	case 0:
		test_check(call(SYS_close_range, FIRST_FD, ~0u, 0) == 0, "close_range: %s", strerror(errno));
		break;
	case 1:
		if (way == BY_NAME)
			closefrom(FIRST_FD);
		else
			call(SYS_close_range, FIRST_FD, 1000, 0);
		break;
	case 2:
		for (int fd = FIRST_FD; fd < NUMBERS; fd++)
			call(SYS_close, fd, 0, 0);
		break;
	default:
		replace_all();
	}
}

static void protect(int prot)
{
	void *at = memory + (PAGES - CHANGED) * PAGE_BYTES;
	int r = memory_change_begin(CHANGE_PROTECT, at, CHANGED * PAGE_BYTES, prot);

	test_check(r == 0 || test_is_control(), "memory_change_begin: %s", strerror(-r));
	if (r < 0)
		return;
	r = mprotect(at, CHANGED * PAGE_BYTES, prot);
	memory_change_end(CHANGE_PROTECT, at, CHANGED * PAGE_BYTES, prot, r == 0);
	test_check(r == 0, "mprotect: %s", strerror(errno));
}

/** Calls for which the library uses descriptors: memory is made plain, a child forked, the worker woken. */
static void change_memory(void)
{
	int pid;

	protect(PROT_READ);
	protect(PROT_READ | PROT_WRITE);
	if (way != PAST) { /* there nobody could tell any more whether a child lives, and nothing would be shared */
		pid = test_fork();
		if (pid == 0)
			_exit(0);
		test_check(test_wait_child(pid) == 0, "a child's status");
	}
	pagefuse_discard(memory + (PAGES - 1) * PAGE_BYTES, PAGE_BYTES);
	pages_fill(memory + (PAGES - 1) * PAGE_BYTES, PAGES);
}

static void check_memory(void)
{
	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_differ(memory + i * PAGE_BYTES, i + 1) >= 0)
			test_damage("page %u reads wrong bytes", i);
}

static void add_memory(void)
{
	int r;

	memory = pages_map(PAGES, false);
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(memory + i * PAGE_BYTES, i + 1);
	r = pagefuse_add_ram(PAGEFUSE_GPA_UNKNOWN, memory, PAGES * PAGE_BYTES);
	test_check(r == 0, "pagefuse_add_ram: %s", strerror(-r));
}

/** Past the preload no call is seen, so that one in the middle of a hold would end it: it is made between two. */
static void close_and_open(unsigned round)
{
	if (way == PAST)
		memory_lock();
	close_all(round);
	open_files();
	if (way == PAST)
		memory_unlock();
}

/** What the kernel refuses before it looks at the descriptors. */
static void check_dup3(int from, int to, int flags)
{
	errno = 0;
	test_check((call(SYS_dup3, from, to, flags) < 0 && errno == EINVAL) || test_is_control(),
		   "dup3(%d, %d, %#x): %s", from, to, (unsigned)flags, strerror(errno));
}

/** What is not the VMM's is not open for it. */
static void check_refusals(void)
{
	unsigned refused = 0;

	for (int fd = FIRST_FD; fd < NUMBERS; fd++) {
		if (fcntl(fd, F_GETFD) < 0 || fd == images[fd % IMAGES])
			continue;
		errno = 0;
		refused += call(SYS_close, fd, 0, 0) < 0 && errno == EBADF && fcntl(fd, F_GETFD) >= 0;
		check_dup3(fd, fd, O_CLOEXEC);
		check_dup3(fd, NUMBERS, ~O_CLOEXEC);
	}
	test_check(refused > 0 || way == PAST || test_is_control(), "nothing of the library's was met");
}

/** A child that borrows its parent's memory, but not its numbers, closes and replaces what it likes. */
static void spawn(void)
{
	int status = 0, pid;

	pid = vfork(); /* NOLINT(clang-analyzer-security.insecureAPI.vfork): it is what this is about */
	if (pid == 0) {
		for (int fd = FIRST_FD; fd < NUMBERS; fd++) /* NOLINT(clang-analyzer-unix.Vfork): the child's own */
			(void)call(SYS_dup3, STDERR_FILENO, fd, 0);
		(void)call(SYS_close_range, FIRST_FD, ~0u, 0);
		_exit(0);
	}
	test_check(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "vfork: %s", strerror(errno));
}

static _Atomic bool offered_enough;

static void *close_strangers(void *unused)
{
	(void)unused;
	while (!atomic_load(&offered_enough))
		for (int fd = FIRST_FD; fd < NUMBERS; fd++)
			if (call(SYS_close, fd, 0, 0) >= 0)
				test_damage("number %d of the library's could be closed", fd);
	return NULL;
}

/** Threads close what they do not know while another one has the library open files for moments. */
static void offer_again(void)
{
	pthread_t threads[2];

	for (unsigned i = 0; i < 2; i++)
		test_check(pthread_create(&threads[i], NULL, close_strangers, NULL) == 0, "no thread");
	for (unsigned i = 0; i < OFFERS; i++)
		(void)madvise(memory, PAGES * PAGE_BYTES, MADV_MERGEABLE);
	atomic_store(&offered_enough, true);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
}

/** Bit by bit, the numbers below NUMBERS that are the library's. */
static uint64_t own_numbers(void)
{
	uint64_t own = 0;
	bool had;
	int fd;

	test_check(descriptors_begin(&had), "the library's descriptors are not this process's");
	for (unsigned from = 0; (fd = descriptors_first(from, NUMBERS - 1)) >= 0; from = (unsigned)fd + 1)
		own |= UINT64_C(1) << fd;
	descriptors_end(had);
	return own;
}

/** In a forked child: there the kernel makes no copies, and what would be closed is what the library has. */
static void close_unshared(void)
{
	uint64_t own = own_numbers();

	test_check(own != 0, "a child has nothing of the library's");
	open_files();
	test_check(call(SYS_close_range, FIRST_FD, ~0u, CLOSE_RANGE_UNSHARE) == 0, "close_range: %s", strerror(errno));
	for (int fd = FIRST_FD; fd < NUMBERS; fd++)
		if ((own >> fd & 1) != (fcntl(fd, F_GETFD) >= 0))
			test_damage("number %d %s", fd, own >> fd & 1 ? "of the library's is closed" : "is not closed");
	_exit(0);
}

static void unshare_in_child(void)
{
	int pid = test_fork();

	if (pid == 0)
		close_unshared();
	_exit(WEXITSTATUS(test_wait_child(pid)));
}

static atomic_uint looks;
static atomic_bool looked;

/** In place of libc's. After the look at which numbers are the library's it gives that the time to open another one. */
static int close_range_late(unsigned first, unsigned last, int flags)
{
	unsigned before = atomic_load(&looks);

	for (unsigned i = 0; i < LATE_YIELDS && atomic_load(&looks) - before < 2; i++)
		sched_yield();
	return (int)sys_raw(SYS_close_range, first, last, flags, 0, 0, 0);
}

static void *close_ranges(void *unused)
{
	(void)unused;
	while (!atomic_load(&looked)) {
		test_check(close_range(FIRST_FD, ~0u, 0) == 0, "close_range: %s", strerror(errno));
		sched_yield();
	}
	return NULL;
}

/** What the library opens while a range is being closed stays open as long as it needs it. */
static void look_meanwhile(void)
{
	int fd = open("/proc/self/exe", O_RDONLY);
	void *mapped = mmap(NULL, PAGE_BYTES, PROT_READ, MAP_PRIVATE, fd, 0);
	pthread_t thread;
	uint64_t offset;

	test_check(fd >= 0 && mapped != MAP_FAILED, "a mapping of a file: %s", strerror(errno));
	next.close_range = close_range_late;
	closing_is_awaited = true;
	test_check(pthread_create(&thread, NULL, close_ranges, NULL) == 0, "no thread");
	/* With who yields a CPU to whom a look takes its time, and on an emulated machine much of it. */
	while (atomic_fetch_add(&looks, 1) < LOOKS && (test_running() || atomic_load(&looks) < LOOKS_LEAST))
		if (mappings_file_offset((uint64_t)mapped, &offset) != 0)
			test_damage("a file of the library's was closed, after %u looks", atomic_load(&looks));
	atomic_store(&looked, true);
	pthread_join(thread, NULL);
	_exit(0);
}

static void run_vmm(void)
{
	close_range(FIRST_FD, ~0u, 0);
	add_memory();
	if (what != EVERYTHING)
		await(&common->step, STEP_SHARED);
	if (what == UNSHARED)
		unshare_in_child();
	if (what == MEANWHILE)
		look_meanwhile();
	await(&common->step, STEP_SHARED);
	if (way != PAST) {
		check_refusals();
		offer_again();
	}
	for (unsigned round = 0; round < ROUNDS; round++) {
		close_and_open(round);
		for (unsigned i = 0; i < 3; i++) {
			change_memory();
			check_files();
		}
		while (test_is_control()) /* the worker comes to use its numbers; the watchdog ends it */
			check_files();
		spawn();
		test_progress();
	}
	check_memory();
	atomic_store(&common->done, STEP_CLOSED);
	await(&common->step, STEP_SHARED_AGAIN);
	check_files();
	check_memory();
	_exit(0);
}

/* ---- the director ---- */

/** Past the preload the worker loses its socket, and comes again. @return the connection that there is now. */
static struct director_vm *meet_again(struct director *director, struct director_vm *vm)
{
	struct director_vm *after = NULL;

	if (vm->socket >= 0)
		return vm;
	if (test_is_control())
		return NULL; /* the VMM says what it has come to */
	test_check(way == PAST, "the worker has hung up");
	while (after == NULL && atomic_load(&common->done) != STEP_ENDED)
		after = director_try_accept(director);
	director_forget(vm);
	return after;
}

static void serve(struct director *director)
{
	struct director_vm *vm = director_accept(director);
	uint64_t random = test_seed(1);
	uint32_t shared = 0;

	director_scan(vm, vm->regions[0].page, PAGES);
	test_check(director_share(vm, vm->regions[0].page, PAGES) == PAGES, "not all pages are shared at first");
	atomic_store(&common->step, STEP_SHARED);
	if (what != EVERYTHING)
		return; /* the VMM ends by itself */
	while (vm != NULL && atomic_load(&common->done) < STEP_CLOSED) {
		director_churn(vm, vm->regions[0].page, PAGES, &random);
		vm = meet_again(director, vm);
	}
	while (vm != NULL && shared <= PAGES / 2) { /* the watchdog ends it */
		director_unshare(vm, vm->regions[0].page, PAGES);
		director_scan(vm, vm->regions[0].page, PAGES);
		shared = director_share(vm, vm->regions[0].page, PAGES);
		vm = meet_again(director, vm);
	}
	atomic_store(&common->step, STEP_SHARED_AGAIN);
}

int main(int argc, char **argv)
{
	struct director *director;
	int pid, status;

	test_begin(argc, argv);
	way = test_wants("--past") ? PAST : test_wants("--by-number") ? BY_NUMBER
								      : BY_NAME;
	what = test_wants("--unshare") ? UNSHARED : test_wants("--meanwhile") ? MEANWHILE
									      : EVERYTHING;
	if (TEST_THREAD_SANITIZER)
		test_skip("under ThreadSanitizer the library's descriptors are among the VMM's");
	common = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	test_check(common != MAP_FAILED, "mmap: %s", strerror(errno));
	director = director_new();
	pid = test_fork();
	if (pid == 0)
		run_vmm();
	serve(director);
	status = test_wait_child(pid);
	director_free(director);
	test_check(WIFEXITED(status), "the VMM has ended with status %d", status);
	return WEXITSTATUS(status);
}
