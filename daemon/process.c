/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/proc-stat.h"
#include "daemon/session.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

#define PROCESS_EXITING 0x4u /* PF_EXITING of <linux/sched.h> in the kernel */

/* ---- who it is ---- */

static bool is_alive(int pidfd)
{
	struct pollfd poll_fd = { .fd = pidfd, .events = POLLIN };

	return poll(&poll_fd, 1, 0) == 0;
}

/*
 * Whether it is past the point of no return, but not dead yet. The kernel flags a thread that exits some time after the
 * process was told to; until then the exit code shows it, which is also set for a process that is stopped.
 */
static bool is_dying(const struct process *process)
{
	struct proc_stat stat = { 0 };
	int signal;

	if (proc_stat_read(process->pid, &stat) < 0 || stat.start_time != process->start_time)
		return true;
	signal = stat.exit_code & 0x7f;
	if (signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU)
		return false;
	return stat.exit_code != 0 || (stat.flags & PROCESS_EXITING) != 0;
}

static int owner_of(pid_t pid, uid_t *ret)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	if (stat(path, &st) < 0)
		return -errno;
	*ret = st.st_uid;
	return 0;
}

/* Before Linux 6.5. Another process may have got the number by now; if it has another owner, that shows. */
static int open_peer(const struct ucred *peer)
{
	int fd = pidfd_open(peer->pid, 0);
	uid_t uid = 0;

	if (fd < 0)
		return -errno;
	if (owner_of(peer->pid, &uid) == 0 && uid == peer->uid)
		return fd;
	close(fd);
	return -ESRCH;
}

int process_identify(int socket, struct ucred *ret_peer, int *ret_pidfd)
{
	socklen_t size = sizeof(*ret_peer);
	int pidfd = -1;

	if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, ret_peer, &size) < 0)
		return -errno;
	if (ret_peer->pid <= 0)
		return -ESRCH; /* of a pid namespace that cannot be seen from here */
	size = sizeof(pidfd);
	if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) < 0) {
		if (errno != ENOPROTOOPT)
			return errno == EINVAL ? -ESRCH : -errno;
		pidfd = open_peer(ret_peer);
	}
	if (pidfd < 0)
		return pidfd;
	*ret_pidfd = pidfd;
	return 0;
}

/* ---- its end ---- */

void process_free(struct process *process)
{
	sd_event_source_disable_unref(process->death);
	sd_event_source_disable_unref(process->retry);
	if (process->pidfd >= 0)
		close(process->pidfd);
	TAILQ_REMOVE(&process->daemon->processes, process, entries);
	free(process);
}

static void account(struct process *process)
{
	if (process->unaccounted)
		process->daemon->unaccounted--;
	process->unaccounted = false;
}

static void try_release(struct process *process);

static int on_retry(sd_event_source *source, uint64_t usec, void *user)
{
	(void)source;
	(void)usec;
	try_release(user);
	return 0;
}

static const char *name_of(const struct process *process)
{
	return process->name[0] ? process->name : "a VM of an earlier daemon";
}

static void retry_later(struct process *process)
{
	uint64_t usec = process->retry_usec ? process->retry_usec : PROCESS_RETRY_FIRST_USEC;
	int r;

	process->retry = sd_event_source_disable_unref(process->retry);
	r = sd_event_add_time_relative(process->daemon->event, &process->retry, CLOCK_MONOTONIC, usec, 0, on_retry,
				       process);
	if (r < 0)
		log_error("cannot set a timer, what process %d shared stays in the store: %s", (int)process->pid,
			  strerror(-r));
	if (process->dead && usec < PROCESS_RETRY_MOST_USEC && 2 * usec >= PROCESS_RETRY_MOST_USEC)
		log_info("%s (pid %d) is gone, but what it was given is in use: its references stay", name_of(process),
			 (int)process->pid);
	process->retry_usec = 2 * usec < PROCESS_RETRY_MOST_USEC ? 2 * usec : PROCESS_RETRY_MOST_USEC;
}

static void drop_references(struct process *process)
{
	if (process->kept)
		engine_remove_vm(process->daemon->engine, process->kept);
	process->kept = NULL;
	account(process);
}

static void try_release(struct process *process)
{
	struct daemon *daemon = process->daemon;

	if (!process->dead && process->session)
		return; /* it has connected again */
	if (store_view_remove(daemon->store, process->pid, process->start_time, !process->dead) < 0) {
		retry_later(process);
		return;
	}
	if (process->name[0] || process->unaccounted) /* else that has been said when it left */
		log_info("%s (pid %d) %s: its references are dropped", name_of(process), (int)process->pid,
			 process->dead ? "is gone" : "has left, and reads nothing of the store");
	drop_references(process);
	if (process->refused_bytes[WIRE_REASON_SECCOMP] == 0) /* of that one it is to be said why nothing is shared */
		process->name[0] = 0;                         /* no VM any more */
	if (process->dead)
		process_free(process);
	daemon_process_gone(daemon);
}

void process_disconnected(struct process *process)
{
	process->session = NULL;
	process->retry_usec = 0;
	/* A memfd may be under way to it, which nobody sees but who looks for mounts. */
	if (!process->dead && (process->hung_up || store_outlives_daemon(process->daemon->store)))
		retry_later(process);
}

int process_begin_anew(struct process *process)
{
	int r = 0;

	if (process->kept || process->unaccounted)
		r = store_view_remove(process->daemon->store, process->pid, process->start_time, true);
	if (r < 0)
		return r;
	drop_references(process);
	daemon_process_gone(process->daemon);
	return 0;
}

static int on_death(sd_event_source *source, int fd, uint32_t events, void *user)
{
	struct process *process = user;

	(void)fd;
	(void)events;
	sd_event_source_set_enabled(source, SD_EVENT_OFF);
	process->dead = true;
	process->retry_usec = 0;
	if (process->session)
		session_free(process->session);
	try_release(process);
	return 0;
}

/* ---- its beginning ---- */

/* @pidfd: taken over; -1 if the process is known to be dead. */
static int add(struct daemon *daemon, pid_t pid, uint64_t start_time, uid_t uid, int pidfd, struct process **ret)
{
	struct process *process = calloc(1, sizeof(*process));
	int r = 0;

	if (process == NULL) {
		if (pidfd >= 0)
			close(pidfd);
		return -ENOMEM;
	}
	*process = (struct process){
		.daemon = daemon,
		.pid = pid,
		.start_time = start_time,
		.uid = uid,
		.pidfd = pidfd,
		.dead = pidfd < 0,
	};
	TAILQ_INSERT_TAIL(&daemon->processes, process, entries);
	if (pidfd >= 0)
		r = sd_event_add_io(daemon->event, &process->death, pidfd, EPOLLIN, on_death, process);
	if (r < 0) {
		process_free(process);
		return r;
	}
	daemon->had_process = true;
	*ret = process;
	return 0;
}

int process_get(struct daemon *daemon, const struct ucred *peer, int pidfd, struct process **ret)
{
	struct proc_stat stat = { 0 };
	int copy, r;

	r = proc_stat_read(peer->pid, &stat);
	if (r < 0)
		return r;
	/* Alive after the look at /proc: then what was read there was this process's. */
	if (!is_alive(pidfd))
		return -ESRCH;
	TAILQ_FOREACH(*ret, &daemon->processes, entries)
		if ((*ret)->pid == peer->pid && (*ret)->start_time == stat.start_time)
			return 0;
	copy = fcntl(pidfd, F_DUPFD_CLOEXEC, 3);
	if (copy < 0)
		return -errno;
	return add(daemon, peer->pid, stat.start_time, peer->uid, copy, ret);
}

static int adopt(void *context, pid_t pid, uint64_t start_time)
{
	struct daemon *daemon = context;
	struct process *process;
	uid_t uid = 0;
	struct proc_stat stat = { 0 };
	int r, pidfd = pidfd_open(pid, 0);

	if (pidfd >= 0 && (proc_stat_read(pid, &stat) < 0 || stat.start_time != start_time || owner_of(pid, &uid) < 0 ||
			   !is_alive(pidfd))) {
		close(pidfd);
		pidfd = -1;
	}
	r = add(daemon, pid, start_time, uid, pidfd, &process);
	if (r < 0)
		return r;
	process->unaccounted = true;
	daemon->unaccounted++;
	retry_later(process);
	return 0;
}

int process_adopt_all(struct daemon *daemon)
{
	return store_each_view(daemon->store, adopt, daemon);
}

void process_forget_living(struct daemon *daemon)
{
	struct process *process = TAILQ_FIRST(&daemon->processes), *next;

	for (; process; process = next) {
		next = TAILQ_NEXT(process, entries);
		process->retry_usec = 0;
		if (process->dead)
			try_release(process);
		else if (!is_dying(process))
			process_free(process);
	}
}

/* ---- its connections ---- */

static bool name_is_free(const struct process *process, const char *name)
{
	const struct process *other;

	TAILQ_FOREACH(other, &process->daemon->processes, entries)
		if (other != process && strcmp(other->name, name) == 0)
			return false;
	return true;
}

void process_set_name(struct process *process, const char *wanted)
{
	char name[WIRE_NAME_MAX], suffix[16];

	snprintf(name, sizeof(name), "%s", wanted);
	for (unsigned n = 2; !name_is_free(process, name); n++) {
		int length = snprintf(suffix, sizeof(suffix), "-%u", n);

		snprintf(name, sizeof(name), "%.*s%s", WIRE_NAME_MAX - 1 - length, wanted, suffix);
	}
	memcpy(process->name, name, sizeof(name));
}

void process_ready(struct process *process)
{
	drop_references(process);
	daemon_process_gone(process->daemon);
}

struct engine_vm *process_vm(const struct process *process)
{
	if (process->kept && !(process->session && process->session->ready))
		return process->kept;
	return process->session ? process->session->vm : NULL;
}
