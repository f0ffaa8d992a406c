/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernel, or another process, writes guest memory while everything is shared and unshared.
 *
 * --read        read(2) from a pipe
 * --receive     recv from a socket
 * --vm-writev   another process by process_vm_writev
 * --proc-mem    another process through /proc/PID/mem, as a debugger does
 *
 * --stop        all of this while the process is stopped and goes on, again and again, also in the middle of holds
 * --freeze      the same by a control group's freezer
 * --told        the library is told of each read(), as by the preload; then every stop is complete
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "library/transfers.h"
#include "tests/support/guest.h"
#include "tests/support/stops.h"
#include "tests/support/writers.h"

#define PAGES 1024u
#define THREADS 4

/* ---- by a pipe or socket pair: [0] is read, [1] written ---- */

static void *begin_pipe(unsigned which)
{
	int *fds = malloc(2 * sizeof(int));

	(void)which;
	test_check(fds != NULL && pipe2(fds, O_CLOEXEC) == 0, "pipe: %s", strerror(errno));
	return fds;
}

static void *begin_socket(unsigned which)
{
	int *fds = malloc(2 * sizeof(int));

	(void)which;
	test_check(fds != NULL && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0, "socketpair: %s",
		   strerror(errno));
	return fds;
}

static void end_fds(void *context)
{
	int *fds = context;

	close(fds[0]);
	close(fds[1]);
	free(fds);
}

static bool told;

static void write_by_read(void *context, void *to, const void *from, size_t length)
{
	const int *fds = context;

	test_check(write(fds[1], from, length) == (ssize_t)length, "write to a pipe: %s", strerror(errno));
	for (size_t done = 0; done < length;) {
		uint64_t transfer = told ? transfers_begin((char *)to + done, length - done) : 0;
		ssize_t r = read(fds[0], (char *)to + done, length - done);

		transfers_end(transfer);
		test_check(r > 0, "read into guest memory: %s", strerror(errno));
		done += (size_t)r;
	}
}

static void write_by_receive(void *context, void *to, const void *from, size_t length)
{
	const int *fds = context;

	test_check(send(fds[1], from, length, 0) == (ssize_t)length, "send: %s", strerror(errno));
	test_check(recv(fds[0], to, length, MSG_WAITALL) == (ssize_t)length, "recv into guest memory: %s",
		   strerror(errno));
}

/* ---- by another process: it takes jobs from shared memory ---- */

struct job {
	atomic_uint state; /* 0: none, 1: posted, 2: being done */
	void *to;
	size_t length;
	_Alignas(64) char bytes[PAGE_BYTES];
};
static struct job *jobs; /* one per thread */

static void put_by_vm_writev(int pid, int mem, const struct job *job)
{
	struct iovec local = { (void *)job->bytes, job->length }, remote = { job->to, job->length };

	(void)mem;
	test_check(process_vm_writev(pid, &local, 1, &remote, 1, 0) == (ssize_t)job->length, "process_vm_writev: %s",
		   strerror(errno));
}

/** A page that is held cannot be written this way and gives EIO: a debugger tries again. */
static void put_by_proc_mem(int pid, int mem, const struct job *job)
{
	ssize_t r;

	(void)pid;
	do
		r = pwrite(mem, job->bytes, job->length, (off_t)(uintptr_t)job->to);
	while (r < 0 && errno == EIO);
	test_check(r == (ssize_t)job->length, "write to /proc/PID/mem: %zd, %s", r, strerror(errno));
}

static void serve(void (*put)(int pid, int mem, const struct job *job))
{
	int pid = getppid();
	char path[32];
	int mem;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	mem = open(path, O_RDWR | O_CLOEXEC);
	test_check(mem >= 0, "%s: %s", path, strerror(errno));
	for (unsigned i = 0;; i = (i + 1) % THREADS) {
		unsigned posted = 1;

		if (!atomic_compare_exchange_strong_explicit(&jobs[i].state, &posted, 2, memory_order_acquire,
							     memory_order_relaxed)) {
			sched_yield();
			continue;
		}
		put(pid, mem, &jobs[i]);
		atomic_store_explicit(&jobs[i].state, 0, memory_order_release);
	}
}

static void start_helpers(void (*put)(int pid, int mem, const struct job *job))
{
	jobs = mmap(NULL, THREADS * sizeof(*jobs), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	test_check(jobs != MAP_FAILED, "mmap: %s", strerror(errno));
	for (unsigned i = 0; i < 2; i++)
		if (test_fork() == 0)
			serve(put);
}

static void *begin_job(unsigned which)
{
	return &jobs[which];
}

static void write_by_job(void *context, void *to, const void *from, size_t length)
{
	struct job *job = context;

	memcpy(job->bytes, from, length);
	job->to = to;
	job->length = length;
	atomic_store_explicit(&job->state, 1, memory_order_release);
	while (atomic_load_explicit(&job->state, memory_order_acquire) != 0)
		sched_yield();
}

static const struct writer_method by_read = { "read", 512, begin_pipe, write_by_read, end_fds };
static const struct writer_method by_receive = { "receive", 1024, begin_socket, write_by_receive, end_fds };
static const struct writer_method by_job = { "another process", PAGE_BYTES, begin_job, write_by_job, NULL };

static const struct writer_method *choose_method(void)
{
	if (test_wants("--read"))
		return &by_read;
	if (test_wants("--receive"))
		return &by_receive;
	start_helpers(test_wants("--vm-writev") ? put_by_vm_writev : put_by_proc_mem);
	return &by_job;
}

int main(int argc, char **argv)
{
	struct writers_plan plan = { .pages = PAGES, .threads = THREADS };
	struct writers *writers;
	struct guest g;

	test_begin(argc, argv);
	told = test_wants("--told");
	if (test_wants("--stop") || test_wants("--freeze"))
		stops_begin(test_wants("--freeze"), told);
	plan.method = choose_method();
	plan.memory = pages_map(PAGES, false);
	writers = writers_new(&plan);
	guest_begin(&g, plan.memory, PAGES);
	writers_start(writers);
	guest_work(&g, writers);
	guest_finish(&g, writers, writers_stop(writers));
	return 0;
}
