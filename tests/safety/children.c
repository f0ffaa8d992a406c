/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a child of a fork has of the library: of the store mappings only, no descriptor of its own is taken for one of
 * the library's, memory that was not inherited is not taken for RAM, and no lock is held by a thread that is not there.
 *
 * And what the parent has of its children: slots stay while any of them reads, whatever it closes or forks itself, and
 * go when it has called exec or ended, however many there were, and though there was no descriptor to be had.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "include/pagefuse.h"
#include "library/memory.h"
#include "tests/support/guest.h"

#define PAGES 64u
#define FILES 64
#define FORKS 200
#define MANY 100u

/** Without the descriptor that waiting for it with a deadline takes. */
static void end_child_at_once(void)
{
	pid_t pid = fork();
	int status;

	test_check(pid >= 0, "fork");
	if (pid == 0)
		_exit(0);
	test_check(waitpid(pid, &status, 0) == pid && status == 0, "a child");
}

/** Descriptors of the store's files that can only be read, which the director's own are not. */
static unsigned count_store_files(void)
{
	char path[64], name[64];
	unsigned count = 0;

	for (int fd = 0; fd < 1024; fd++) {
		int flags = fcntl(fd, F_GETFL);
		ssize_t length;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		length = flags < 0 ? -1 : readlink(path, name, sizeof(name) - 1);
		if (length < 0)
			continue;
		name[length] = '\0';
		count += (flags & O_ACCMODE) == O_RDONLY && strstr(name, "pagefuse-store") != NULL;
	}
	return count;
}

static void test_store_is_closed(void)
{
	unsigned before = count_store_files();
	int pid;

	test_check(before > 0, "the library has no file of the store open");
	pid = test_fork();
	if (pid == 0) {
		if (count_store_files() != 0)
			test_fail("a child has files of the store open");
		_exit(0);
	}
	test_end_child(pid);
	test_check(count_store_files() == before, "the parent has lost files of the store");
}

/** A child opens files, where numbers are free again, and has a child itself. */
static void test_descriptors(void)
{
	int pid = test_fork(), files[FILES];

	if (pid != 0) {
		test_end_child(pid);
		return;
	}
	for (int i = 0; i < FILES; i++)
		test_check((files[i] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0, "open /dev/null");
	pid = test_fork();
	if (pid != 0) {
		test_end_child(pid);
		_exit(0);
	}
	for (int i = 0; i < FILES; i++)
		if (fcntl(files[i], F_GETFD) < 0)
			test_damage("descriptor %d is closed in a grandchild", files[i]);
	_exit(0);
}

static void test_not_inherited(const struct guest *g)
{
	int r = memory_change_begin(CHANGE_ADVICE, g->memory, PAGES * PAGE_BYTES, MADV_DONTFORK), pid;

	test_check(r == 0, "memory_change_begin: %s", strerror(-r));
	r = madvise(g->memory, PAGES * PAGE_BYTES, MADV_DONTFORK);
	memory_change_end(CHANGE_ADVICE, g->memory, PAGES * PAGE_BYTES, MADV_DONTFORK, r == 0);
	test_check(r == 0, "MADV_DONTFORK");
	pid = test_fork();
	if (pid == 0) {
		if (memory_is_ours(g->memory, PAGES * PAGE_BYTES))
			test_damage("a child takes for RAM what it has not inherited");
		_exit(0);
	}
	test_end_child(pid);
}

/* ---- readers ---- */

/** Every page is written, and would leave its slot. @return slots that are in use still. */
static uint64_t write_all(const struct guest *g)
{
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(guest_at(g, i), i + 1 + PAGES);
	director_audit(g->vm, g->page, PAGES);
	return director_live_slots(g->director);
}

static void share_again(const struct guest *g)
{
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(guest_at(g, i), i + 1);
	test_check(guest_share(g, 0, PAGES) == PAGES, "not all pages are shared");
}

static void expect_freed(const struct guest *g, const char *after)
{
	director_audit(g->vm, g->page, PAGES);
	test_check(director_live_slots(g->director) == 0, "%llu slots are in use after %s",
		   (unsigned long long)director_live_slots(g->director), after);
}

/** By standard input and output. */
static _Noreturn void read_when_told(const struct guest *g)
{
	char byte;

	if (read(STDIN_FILENO, &byte, 1) != 1)
		_exit(1);
	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_differ(guest_at(g, i), i + 1) >= 0)
			test_damage("page %u reads wrong bytes in a child", i);
	if (write(STDOUT_FILENO, "", 1) != 1)
		_exit(1);
	_exit(0);
}

static void close_descriptors(void)
{
	test_check(syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0) == 0, "close_range");
}

static void go_on_in_a_child(void)
{
	pid_t pid = fork();

	test_check(pid >= 0, "fork");
	if (pid > 0)
		_exit(0);
}

struct reader {
	int pid, in, out;
};

/** A child that is told by @in and tells by @out, which only it has the other ends of. */
static struct reader reader_start(void (*become)(const struct guest *g), const struct guest *g)
{
	struct reader reader;
	int in[2], out[2];

	test_check(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0, "pipe");
	reader = (struct reader){ .pid = fork(), .in = in[1], .out = out[0] };
	test_check(reader.pid >= 0, "fork");
	if (reader.pid == 0) {
		test_check(dup2(in[0], STDIN_FILENO) >= 0 && dup2(out[1], STDOUT_FILENO) >= 0, "dup2");
		close(in[1]);
		close(out[0]);
		close(in[0]);
		close(out[1]);
		become(g);
		_exit(1);
	}
	close(in[0]);
	close(out[1]);
	return reader;
}

/** Also of what goes on in a child of it: nobody has the other end then. */
static void reader_end(const struct reader *reader)
{
	char byte;

	close(reader->in);
	while (read(reader->out, &byte, 1) > 0)
		;
	close(reader->out);
	test_end_child(reader->pid);
}

static void read_without_descriptors(const struct guest *g)
{
	close_descriptors();
	read_when_told(g);
}

static void read_in_a_grandchild(const struct guest *g)
{
	close_descriptors();
	go_on_in_a_child();
	read_when_told(g);
}

static void test_reader(const struct guest *g, void (*become)(const struct guest *g))
{
	struct reader reader;
	char byte;

	share_again(g);
	reader = reader_start(become, g);
	if (become == read_in_a_grandchild)
		waitid(P_PID, (id_t)reader.pid, NULL, WEXITED | WNOWAIT);
	if (write_all(g) < PAGES)
		test_damage("slots are given back that a child reads");
	test_check(write(reader.in, "", 1) == 1, "write to a pipe");
	test_check(read(reader.out, &byte, 1) == 1, "a child has ended; it has said why");
	reader_end(&reader);
	expect_freed(g, "the end of the reader");
}

/** The program that such a child becomes: it waits. */
static int wait_for_the_end(void)
{
	char byte;

	if (write(STDOUT_FILENO, "", 1) != 1)
		return 1;
	return read(STDIN_FILENO, &byte, 1) == 0 ? 0 : 1;
}

static void call_exec(const struct guest *g)
{
	(void)g;
	execl("/proc/self/exe", "children", "wait", NULL);
}

static void test_exec(const struct guest *g)
{
	struct reader reader;
	char byte;

	share_again(g);
	reader = reader_start(call_exec, g);
	test_check(read(reader.out, &byte, 1) == 1, "exec");
	write_all(g);
	expect_freed(g, "exec of the child, which lives");
	reader_end(&reader);
}

static void test_many(const struct guest *g)
{
	static struct reader readers[MANY];

	share_again(g);
	for (unsigned i = 0; i < MANY; i++)
		readers[i] = reader_start(read_without_descriptors, g);
	if (write_all(g) < PAGES)
		test_damage("slots are given back that many children read");
	for (unsigned i = 0; i < MANY; i++) {
		test_check(write(readers[i].in, "", 1) == 1, "write to a pipe");
		reader_end(&readers[i]);
	}
	expect_freed(g, "the end of many children");
}

/** A child lives, and one is born, while the process may not open anything. */
static void test_no_descriptor(const struct guest *g)
{
	struct rlimit before, none;
	struct reader reader;

	share_again(g);
	reader = reader_start(read_without_descriptors, g);
	test_check(getrlimit(RLIMIT_NOFILE, &before) == 0, "getrlimit");
	none = before;
	none.rlim_cur = 3;
	test_check(setrlimit(RLIMIT_NOFILE, &none) == 0, "setrlimit");
	end_child_at_once();
	if (write_all(g) < PAGES)
		test_damage("slots are given back as no descriptor can be had");
	test_check(setrlimit(RLIMIT_NOFILE, &before) == 0, "setrlimit");
	test_check(write(reader.in, "", 1) == 1, "write to a pipe");
	reader_end(&reader);
	expect_freed(g, "a time without descriptors");
}

static atomic_bool stop;

static void *resume_in_a_loop(void *unused)
{
	while (!atomic_load(&stop))
		pagefuse_resume(); /* of what was not paused: does nothing but to take the lock */
	return unused;
}

static void test_locks(void)
{
	pthread_t thread;

	test_check(pthread_create(&thread, NULL, resume_in_a_loop, NULL) == 0, "no thread");
	for (unsigned i = 0; i < FORKS; i++) {
		int pid = test_fork();

		if (pid == 0) {
			pagefuse_pause();
			pagefuse_resume();
			_exit(0);
		}
		test_end_child(pid);
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
	struct guest g;
	void *memory;

	if (argc == 2 && strcmp(argv[1], "wait") == 0)
		return wait_for_the_end();
	test_begin(argc, argv);
	memory = pages_map(PAGES, false);
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill((char *)memory + i * PAGE_BYTES, i + 1);
	guest_begin(&g, memory, PAGES);
	test_check(guest_share(&g, 0, PAGES) == PAGES, "not all pages are shared");
	test_store_is_closed();
	test_descriptors();
	test_locks();
	test_reader(&g, read_without_descriptors);
	test_reader(&g, read_in_a_grandchild);
	test_exec(&g);
	test_many(&g);
	test_no_descriptor(&g);
	test_not_inherited(&g);
	guest_end(&g);
	return 0;
}
