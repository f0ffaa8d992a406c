/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/support/stops.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/test.h"

#define RUN_MSEC_MAX 8
/* A stop that is not complete by then waits for a hold whose worker is stopped, too: it is taken back. */
#define STOP_MSEC_MAX 20
/*
 * Or is looked at: if the process takes so much CPU time before it stops, a thread is in such a hold, which it tries
 * again. For ever, so it need not be little: what others take of a machine's CPUs may count as the process's.
 */
#define STUCK_MSEC 3000
/* Of that, what one look adds at most: a machine that was paused counts the pause as CPU time. */
#define LOOK_MSEC_MAX 20

static const char *const way_names[STOPS_WAYS] = { "stopped", "frozen", "attached to" };

static pid_t child;
static bool insists;      /* every stop has to come to be complete */
static char group[128];   /* empty: none */
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

static bool group_make(void)
{
	snprintf(group, sizeof(group), "/sys/fs/cgroup/freezer/pagefuse-test-%d", getpid());
	first_layout = mkdir(group, 0755) == 0;
	if (first_layout)
		return true;
	snprintf(group, sizeof(group), "/sys/fs/cgroup/pagefuse-test-%d", getpid());
	if (mkdir(group, 0755) == 0 && group_write("cgroup.freeze", "0"))
		return true;
	rmdir(group);
	group[0] = 0;
	return false;
}

/** Its processes may be about to end. */
static void group_remove(void)
{
	int r = -1;

	for (int i = 0; group[0] != 0 && i < TEST_PATIENCE_SECONDS && r < 0; i++) {
		r = rmdir(group);
		if (r < 0 && errno == EBUSY)
			poll(NULL, 0, 100);
	}
	if (group[0] != 0 && r < 0)
		fprintf(stderr, "rmdir %s: %s\n", group, strerror(errno));
}

static void set_stopped(pid_t pid, enum stops_way way, bool stopped)
{
	if (way == STOPS_SIGNAL)
		kill(pid, stopped ? SIGSTOP : SIGCONT);
	else if (first_layout)
		group_write("freezer.state", stopped ? "FROZEN" : "THAWED");
	else
		group_write("cgroup.freeze", stopped ? "1" : "0");
}

/** Whether a thread is in one of these states, of which the kernel's words begin with a letter. It may have ended. */
static bool thread_has_state(pid_t pid, const char *thread, const char *states)
{
	char path[64], text[256];
	const char *state = NULL;
	FILE *stat;

	snprintf(path, sizeof(path), "/proc/%d/task/%.16s/stat", pid, thread);
	stat = fopen(path, "re");
	if (stat == NULL)
		return true;
	if (fgets(text, sizeof(text), stat) != NULL)
		state = strrchr(text, ')');
	fclose(stat);
	return state == NULL || (state[1] != 0 && strchr(states, state[2]) != NULL);
}

static bool has_state(pid_t pid, const char *states)
{
	const struct dirent *entry;
	bool all = true;
	char path[64];
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	tasks = opendir(path);
	while (tasks != NULL && all && (entry = readdir(tasks)) != NULL)
		all = entry->d_name[0] == '.' || thread_has_state(pid, entry->d_name, states);
	if (tasks != NULL)
		closedir(tasks);
	return tasks != NULL && all;
}

static bool is_stopped(pid_t pid, enum stops_way way)
{
	if (way == STOPS_FREEZER)
		return first_layout ? group_says("freezer.state", "FROZEN") : group_says("cgroup.events", "frozen 1");
	return has_state(pid, "TtZX");
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

/** What the kernel says of a thread of the child, on standard error. */
static void tell(const char *thread, const char *name)
{
	char path[64], text[2048];
	ssize_t size = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%.16s/%.16s", child, thread, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		size = read(fd, text, sizeof(text));
		close(fd);
	}
	fprintf(stderr, "%s: %.*s", path, size > 0 ? (int)size : 1, size > 0 ? text : "\n");
}

/** Says of each thread that is not stopped where it is. */
static void tell_running(void)
{
	const struct dirent *entry;
	char path[64];
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", child);
	tasks = opendir(path);
	while (tasks != NULL && (entry = readdir(tasks)) != NULL) {
		if (entry->d_name[0] == '.' || thread_has_state(child, entry->d_name, "TtZX"))
			continue;
		tell(entry->d_name, "stat");
		tell(entry->d_name, "syscall");
		tell(entry->d_name, "stack");
	}
	if (tasks != NULL)
		closedir(tasks);
}

/** Waits until the stop is complete, or the child has ended. Without CPU time a thread may come to it late. */
static void insist(enum stops_way way, struct pollfd *ended)
{
	uint64_t last = cpu_msec(), taken = 0;

	while (!is_stopped(child, way) && poll(ended, 1, 1) <= 0) {
		uint64_t now = cpu_msec(), more = now - last;

		taken += more < LOOK_MSEC_MAX ? more : LOOK_MSEC_MAX;
		last = now;
		if (taken < STUCK_MSEC)
			continue;
		tell_running();
		set_stopped(child, way, false);
		kill(child, SIGTERM); /* it cleans up */
		test_wait_child(child);
		group_remove();
		test_damage("its threads took %d ms of CPU time and were not stopped", STUCK_MSEC);
	}
}

/** @return whether it came to be stopped before that was taken back. */
static bool stop_once(pid_t pid, enum stops_way way, struct pollfd *ended)
{
	bool stopped = false;

	set_stopped(pid, way, true);
	for (int i = 0; i < STOP_MSEC_MAX && !stopped && poll(ended, 1, 1) <= 0; i++)
		stopped = is_stopped(pid, way);
	if (!stopped && insists)
		insist(way, ended);
	set_stopped(pid, way, false);
	return stopped;
}

/** Threads that are not there any more are not traced. */
static void seize_all(pid_t pid)
{
	const struct dirent *entry;
	char path[64];
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	tasks = opendir(path);
	while (tasks != NULL && (entry = readdir(tasks)) != NULL) {
		int tid = atoi(entry->d_name);

		if (tid > 0 && ptrace(PTRACE_SEIZE, tid, NULL, NULL) == 0)
			ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
	}
	if (tasks != NULL)
		closedir(tasks);
}

/** As a debugger does, which takes an attach that does not come to its end back by ending. */
static bool trace_once(pid_t pid)
{
	bool stopped = false;
	int tracer = test_fork(), status;

	if (tracer == 0) {
		seize_all(pid);
		for (int i = 0; i < STOP_MSEC_MAX && !stopped; i++) {
			poll(NULL, 0, 1);
			stopped = has_state(pid, "tZX");
		}
		_exit(stopped ? 0 : 1);
	}
	test_check(waitpid(tracer, &status, 0) == tracer, "waitpid: %s", strerror(errno));
	return status == 0;
}

static pid_t choose_child(uint64_t *random, enum stops_way *ret_way)
{
	(void)random;
	*ret_way = group[0] != 0 ? STOPS_FREEZER : STOPS_SIGNAL;
	return child;
}

static pid_t (*choose)(uint64_t *random, enum stops_way *ret_way) = choose_child;
static unsigned stops[STOPS_WAYS], complete[STOPS_WAYS];

static void freeze_with(pid_t pid)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", pid);
	group_write("cgroup.procs", text);
}

/** @return how the child ended. */
static int stop_until_end(void)
{
	struct pollfd ended = { .fd = (int)syscall(SYS_pidfd_open, child, 0), .events = POLLIN };
	uint64_t random = test_seed(77);
	int status;

	test_check(ended.fd >= 0, "pidfd_open: %s", strerror(errno));
	while (poll(&ended, 1, (int)(test_random(&random) % RUN_MSEC_MAX)) <= 0) {
		enum stops_way way;
		pid_t pid = choose(&random, &way);

		if (pid == 0)
			continue;
		if (way == STOPS_FREEZER && pid != child)
			freeze_with(pid);
		stops[way]++;
		complete[way] += way == STOPS_TRACE ? trace_once(pid) : stop_once(pid, way, &ended);
	}
	test_check(waitpid(child, &status, 0) == child, "waitpid: %s", strerror(errno));
	for (unsigned way = 0; way < STOPS_WAYS; way++)
		if (stops[way] > 0)
			fprintf(stderr, "%s %u times, %u of them within %d ms\n", way_names[way], stops[way],
				complete[way], STOP_MSEC_MAX);
	return status;
}

static _Noreturn void watch(void)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
	unsigned all = 0;
	int status;

	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		signal(signals[i], pass_on);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	alarm(0); /* the child has a watchdog of its own */
	status = stop_until_end();
	group_remove();
	for (unsigned way = 0; way < STOPS_WAYS; way++)
		all += complete[way];
	test_check(!WIFEXITED(status) || WEXITSTATUS(status) != 0 || all > 0, "it never was stopped");
	test_end_as(status);
}

void stops_begin(bool freezer, bool all_complete)
{
	insists = all_complete;
	if (freezer && !group_make())
		test_skip("no control group with a freezer can be made here");
	child = test_fork();
	if (child > 0)
		watch();
	test_check(!freezer || group_write("cgroup.procs", "0"), "entering %s: %s", group, strerror(errno));
}

bool stops_have_freezer(void)
{
	return group[0] != 0 || group_make();
}

void stops_begin_others(pid_t (*which)(uint64_t *random, enum stops_way *ret_way))
{
	choose = which;
	child = test_fork();
	if (child > 0)
		watch();
}
