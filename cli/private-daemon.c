/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of Operation. The VMM that this process becomes by exec must have no child that it did not make itself, so
 * there is a process in between, the starter: it makes the session, starts the daemon as its child, waits for its
 * readiness or its end, and leaves. The daemon then belongs to init.
 *
 *   pagefuse run --fork--> starter (setsid) --fork--> pagefused
 *        | waitpid            | notify socket, pidfd, deadline   (READY=1)
 *        v                    v
 *   exec COMMAND            exit 0: ready, else an errno
 */
#include "cli/private-daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/socket-path.h"

#define LOG_BYTES_MAX (1 << 20)

/** Makes a socket for sd_notify() messages, at an abstract address that the kernel chooses; @ret_name names it. */
static int open_notify_socket(char *ret_name, size_t size)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	socklen_t length = sizeof(address);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &length) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	snprintf(ret_name, size, "@%.*s", (int)(length - offsetof(struct sockaddr_un, sun_path) - 1),
		 address.sun_path + 1);
	return fd;
}

/** Whether one of the messages waiting says READY=1 and comes from our session, so from the daemon. */
static bool said_ready(int notify)
{
	char text[1024];
	union {
		char bytes[CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control;

	for (;;) {
		struct iovec iov = { .iov_base = text, .iov_len = sizeof(text) - 1 };
		struct msghdr msg = { .msg_iov = &iov,
				      .msg_iovlen = 1,
				      .msg_control = control.bytes,
				      .msg_controllen = sizeof(control.bytes) };
		ssize_t length = recvmsg(notify, &msg, MSG_CMSG_CLOEXEC);
		struct cmsghdr *first = length < 0 ? NULL : CMSG_FIRSTHDR(&msg);
		struct ucred sender;

		if (length < 0)
			return false;
		if (first == NULL || first->cmsg_level != SOL_SOCKET || first->cmsg_type != SCM_CREDENTIALS)
			continue;
		memcpy(&sender, CMSG_DATA(first), sizeof(sender));
		text[length] = '\0';
		if (getsid(sender.pid) == getsid(0) &&
		    (strncmp(text, "READY=1", 7) == 0 || strstr(text, "\nREADY=1") != NULL))
			return true;
	}
}

/** @return 0 once @pid is ready, -ECHILD if it ended, -ETIMEDOUT. */
static int wait_until_ready(int notify, pid_t pid)
{
	struct timespec start, now;
	struct pollfd fds[2] = { { .fd = notify, .events = POLLIN }, { .events = POLLIN } };
	int r = -ETIMEDOUT;

	fds[1].fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fds[1].fd < 0)
		return -errno;
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (;;) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		long left = PRIVATE_DAEMON_DEADLINE_SECONDS - (now.tv_sec - start.tv_sec);

		if (left <= 0 || poll(fds, 2, (int)left * 1000) == 0)
			break;
		if (said_ready(notify)) {
			r = 0;
			break;
		}
		if (fds[1].revents != 0) {
			r = -ECHILD;
			break;
		}
	}
	close(fds[1].fd);
	return r;
}

static void reset_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int signal_number = 1; signal_number < SIGRTMIN; signal_number++)
		signal(signal_number, SIG_DFL); /* fails for the two that cannot be changed */
}

/** What the caller's own children get is none of the daemon's business: descriptors, preloads, directory, signals. */
static _Noreturn void become_daemon(const char *daemon, const char *socket_path, const char *notify_name, int log)
{
	char *const arguments[] = { (char *)daemon, (char *)"--private", (char *)"--socket", (char *)socket_path,
				    NULL };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(log, STDOUT_FILENO) < 0 || dup2(log, STDERR_FILENO) < 0 ||
	    syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC) < 0 || chdir("/") < 0 ||
	    setenv("NOTIFY_SOCKET", notify_name, 1) < 0)
		_exit(1);
	unsetenv("LD_PRELOAD");
	unsetenv("WATCHDOG_USEC");
	unsetenv("LISTEN_FDS");
	reset_signals();
	execv(daemon, arguments);
	fprintf(stderr, "%s: %s\n", daemon, strerror(errno));
	_exit(1);
}

static int start_and_wait(const char *daemon, const char *socket_path, int log)
{
	char notify_name[sizeof(struct sockaddr_un)];
	int notify, r;
	pid_t pid;

	setsid();
	signal(SIGCHLD, SIG_DFL);
	notify = open_notify_socket(notify_name, sizeof(notify_name));
	if (notify < 0)
		return notify;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		become_daemon(daemon, socket_path, notify_name, log);
	r = wait_until_ready(notify, pid);
	if (r < 0) {
		kill(pid, SIGKILL); /* our own child, not waited for yet */
		waitpid(pid, NULL, 0);
	}
	return r;
}

static int open_log(const char *socket_path, char ret_log[PATH_MAX])
{
	struct stat st;
	int fd;

	snprintf(ret_log, PATH_MAX, "%s.log", socket_path);
	fd = open(ret_log, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (st.st_size > LOG_BYTES_MAX && ftruncate(fd, 0) < 0)) {
		close(fd);
		return -EINVAL;
	}
	return fd;
}

static int wait_for_starter(pid_t starter)
{
	int status;

	while (waitpid(starter, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -ECHILD;
}

int private_daemon_start(const char *daemon, const char *socket_path, char ret_log[PATH_MAX])
{
	pid_t starter;
	int log, r;

	snprintf(ret_log, PATH_MAX, "%s.log", socket_path);
	r = socket_path_make_directory(socket_path);
	if (r < 0)
		return r;
	log = open_log(socket_path, ret_log);
	if (log < 0)
		return log;
	fflush(stdout);
	starter = fork();
	if (starter == 0)
		_exit(-start_and_wait(daemon, socket_path, log)); /* an errno fits an exit status */
	r = starter < 0 ? -errno : wait_for_starter(starter);
	close(log);
	return r;
}
