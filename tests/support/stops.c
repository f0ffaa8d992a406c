/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/support/stops.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/test.h"

#define RUN_MSEC_MAX 8
/* A stop that is not complete by then waits for a hold whose worker is stopped, too: it is taken back. */
#define STOP_MSEC_MAX 20
/* Or is looked at: a thread that takes so much CPU time before it stops is in such a hold, which it tries again. */
#define STUCK_MSEC 300

static pid_t child;
static char group[128];   /* empty: by signals */
static bool first_layout; /* of control groups, with a freezer of their own */

static bool group_write(const char *name, const char *text)
{
	char path[256];
	bool written;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", group, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	if (fd >= 0)
		close(fd);
	return written;
}

static bool group_says(const char *name, const char *word)
{
	char path[256], text[256] = "";
	int fd;

	snprintf(path, sizeof(path), "%s/%s", group, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		text[0] = 0;
	if (fd >= 0)
		close(fd);
	return strstr(text, word) != NULL;
}

static void group_make(void)
{
	snprintf(group, sizeof(group), "/sys/fs/cgroup/freezer/pagefuse-test-%d", getpid());
	first_layout = mkdir(group, 0755) == 0;
	if (first_layout)
		return;
	snprintf(group, sizeof(group), "/sys/fs/cgroup/pagefuse-test-%d", getpid());
	if (mkdir(group, 0755) == 0 && group_write("cgroup.freeze", "0"))
		return;
	rmdir(group);
	test_skip("no control group with a freezer can be made here");
}

static void set_stopped(bool stopped)
{
	if (group[0] == 0)
		kill(child, stopped ? SIGSTOP : SIGCONT);
	else if (first_layout)
		group_write("freezer.state", stopped ? "FROZEN" : "THAWED");
	else
		group_write("cgroup.freeze", stopped ? "1" : "0");
}

static bool is_stopped(void)
{
	siginfo_t info = { 0 };

	if (group[0] != 0)
		return first_layout ? group_says("freezer.state", "FROZEN") : group_says("cgroup.events", "frozen 1");
	return waitid(P_PID, (id_t)child, &info, WSTOPPED | WNOHANG) == 0 && info.si_pid == child;
}

static void pass_on(int number)
{
	kill(child, number);
}

/** CPU time of all threads of the child. */
static uint64_t cpu_msec(void)
{
	char path[64], text[512];
	unsigned long user = 0, system = 0;
	const char *fields;
	FILE *stat;

	snprintf(path, sizeof(path), "/proc/%d/stat", child);
	stat = fopen(path, "re");
	if (stat == NULL)
		return 0;
	if (fgets(text, sizeof(text), stat) != NULL && (fields = strrchr(text, ')')) != NULL)
		sscanf(fields, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
	fclose(stat);
	return (user + system) * 1000 / (uint64_t)sysconf(_SC_CLK_TCK);
}

/** Waits until the stop is complete, or the child has ended. Without CPU time a thread may come to it late. */
static void insist(const struct pollfd *ended)
{
	struct pollfd end = *ended;
	uint64_t before = cpu_msec();

	while (!is_stopped() && poll(&end, 1, 1) <= 0) {
		if (cpu_msec() - before < STUCK_MSEC)
			continue;
		set_stopped(false);
		kill(child, SIGTERM); /* it cleans up */
		test_wait_child(child);
		test_damage("a thread took %d ms of CPU time and was not stopped", STUCK_MSEC);
	}
}

/** @return how the child ended. */
static int stop_until_end(bool all_complete)
{
	struct pollfd ended = { .fd = (int)syscall(SYS_pidfd_open, child, 0), .events = POLLIN };
	uint64_t random = test_seed(77);
	unsigned stops = 0, complete = 0;
	int status;

	test_check(ended.fd >= 0, "pidfd_open: %s", strerror(errno));
	while (poll(&ended, 1, (int)(test_random(&random) % RUN_MSEC_MAX)) <= 0) {
		bool stopped = false;

		set_stopped(true);
		for (int i = 0; i < STOP_MSEC_MAX && !stopped && poll(&ended, 1, 1) <= 0; i++)
			stopped = is_stopped();
		if (!stopped && all_complete)
			insist(&ended);
		set_stopped(false);
		stops++;
		complete += stopped;
	}
	test_check(waitpid(child, &status, 0) == child, "waitpid: %s", strerror(errno));
	fprintf(stderr, "stopped %u times, %u of them within %d ms\n", stops, complete, STOP_MSEC_MAX);
	test_check(!WIFEXITED(status) || WEXITSTATUS(status) != 0 || complete > 0, "it never was stopped");
	return status;
}

void stops_begin(bool freezer, bool all_complete)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
	int status;

	if (freezer)
		group_make();
	child = test_fork();
	if (child == 0) {
		test_check(!freezer || group_write("cgroup.procs", "0"), "entering %s: %s", group, strerror(errno));
		return;
	}
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		signal(signals[i], pass_on);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	alarm(0); /* the child has a watchdog of its own */
	status = stop_until_end(all_complete);
	if (freezer && rmdir(group) < 0)
		fprintf(stderr, "rmdir %s: %s\n", group, strerror(errno));
	test_end_as(status);
}
