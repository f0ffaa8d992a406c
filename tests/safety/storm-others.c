/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What other processes do to the VMMs of the storm: they write their memory, and stop them. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/safety/storm.h"
#include "tests/support/stops.h"
#include "tests/support/test.h"

/* ---- writes ---- */

static ssize_t write_memory(const struct storm_job *job)
{
	struct iovec local = { (void *)job->bytes, job->length }, remote = { job->to, job->length };
	char path[32];
	ssize_t r;
	int fd;

	if (job->kind == STORM_VM_WRITEV)
		return process_vm_writev(job->pid, &local, 1, &remote, 1, 0);
	snprintf(path, sizeof(path), "/proc/%d/mem", job->pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	test_check(fd >= 0, "%s: %s", path, strerror(errno));
	for (size_t done = 0; done<job->length; done += r> 0 ? (size_t)r : 0) {
		/* A page that is held cannot be written this way and gives EIO: a debugger tries again. */
		r = pwrite(fd, job->bytes + done, job->length - done, (off_t)(uintptr_t)job->to + (off_t)done);
		test_check(r > 0 || errno == EIO, "%s: %s", path, strerror(errno));
	}
	close(fd);
	return (ssize_t)job->length;
}

static bool do_job(struct storm_job *job)
{
	unsigned posted = 1;
	ssize_t r;

	if (!atomic_compare_exchange_strong_explicit(&job->state, &posted, 2, memory_order_acquire,
						     memory_order_relaxed))
		return false;
	r = write_memory(job);
	test_check(r == (ssize_t)job->length, "a write of %zu bytes by another process gave %zd: %s", job->length, r,
		   strerror(errno));
	atomic_store_explicit(&job->state, 0, memory_order_release);
	return true;
}

_Noreturn void storm_remote(void)
{
	for (;;) {
		bool any = false;

		for (unsigned i = 0; i < STORM_VMS; i++)
			for (unsigned k = 0; k < STORM_THREADS; k++)
				any |= do_job(&storm->lives[i].jobs[k]);
		if (!any)
			poll(NULL, 0, 1);
	}
}

/* ---- stops ---- */

static pid_t choose_vmm(uint64_t *random, enum stops_way *ret_way)
{
	static const enum storm_kind kinds[STOPS_WAYS] = { STORM_STOP, STORM_FREEZE, STORM_TRACE };
	pid_t pid = atomic_load(&storm->lives[test_random(random) % STORM_VMS].pid);
	enum stops_way way = (enum stops_way)(test_random(random) % STOPS_WAYS);

	if (storm->skipped[kinds[way]] != NULL)
		way = STOPS_SIGNAL;
	if (pid != 0)
		storm_count(kinds[way]);
	*ret_way = way;
	return pid;
}

void storm_stop_begin(void)
{
	if (!stops_have_freezer())
		storm->skipped[STORM_FREEZE] = "no control group with a freezer can be made here";
	stops_begin_others(choose_vmm);
}
