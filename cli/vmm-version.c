/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/vmm-version.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int64_t now_msec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/** Starts it in a process group of its own, writing to @output. @return its process ID, or -errno. */
static pid_t start(const char *path, int output)
{
	char option[] = "--version", *const arguments[] = { (char *)path, option, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	pid_t pid = 0;
	int r = posix_spawn_file_actions_init(&actions);

	if (r != 0)
		return -r;
	r = posix_spawnattr_init(&attributes);
	if (r == 0) {
		if ((r = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)) == 0 &&
		    (r = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)) == 0 &&
		    (r = posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0)) == 0 &&
		    (r = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP)) == 0)
			r = posix_spawn(&pid, path, &actions, &attributes, arguments, environ);
		posix_spawnattr_destroy(&attributes);
	}
	posix_spawn_file_actions_destroy(&actions);
	return r == 0 ? pid : -r;
}

/** Reads up to the end, which comes when all that write have ended. @text: the first @size - 1 bytes of it. */
static int read_all(int fd, char *text, size_t size)
{
	int64_t last_msec = now_msec() + VMM_VERSION_SECONDS * INT64_C(1000);
	size_t length = 0;
	ssize_t got = 1;

	while (got != 0) {
		struct pollfd readable = { .fd = fd, .events = POLLIN };
		int64_t left_msec = last_msec - now_msec();
		char more[256];
		int r = left_msec > 0 ? poll(&readable, 1, (int)left_msec) : 0;

		if (r == 0)
			return -ETIMEDOUT;
		got = r < 0 ? -1 : read(fd, more, sizeof(more));
		if (got < 0 && errno != EINTR)
			return -errno;
		for (ssize_t i = 0; i < got && length < size - 1; i++)
			text[length++] = more[i];
	}
	text[length] = '\0';
	return 0;
}

int vmm_version_ask(const char *path, struct vmm_version *ret)
{
	char text[256];
	const char *version;
	int ends[2], r, status;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	pid = start(path, ends[1]);
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		return pid;
	}
	r = read_all(ends[0], text, sizeof(text));
	close(ends[0]);
	kill(-pid, SIGKILL); /* it, and what it has started, may go on */
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (r < 0)
		return r;
	version = strstr(text, "version ");
	return version != NULL && sscanf(version, "version %u.%u", &ret->major, &ret->minor) == 2 ? 0 : -ENODATA;
}
