/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A daemon whose control group has less memory than the host: its store keeps to half of that, says so, and goes on.
 * With a store that may be larger than the group's limit, the kernel kills it: that is the damage.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define LIMIT (UINT64_C(48) << 20)
#define PAGES 16384u /* 64 MiB of contents that two VMs have in common */

static struct instance instance;
static char parent[256], group[320];
static const char *limit_file;

static bool put(const char *directory, const char *file, unsigned long long value)
{
	char path[400], text[32];
	int fd, length = snprintf(text, sizeof(text), "%llu\n", value);
	bool written;

	snprintf(path, sizeof(path), "%s/%s", directory, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	written = fd >= 0 && write(fd, text, (size_t)length) == length;
	if (fd >= 0)
		close(fd);
	return written;
}

/* The control group that limits this process's memory, of either version. */
static bool find_parent(void)
{
	FILE *file = fopen("/proc/self/cgroup", "re");
	char line[256];

	while (file && limit_file == NULL && fgets(line, sizeof(line), file)) {
		char *path = strchr(line, ':') ? strchr(strchr(line, ':') + 1, ':') + 1 : NULL;

		if (path == NULL)
			continue;
		path[strcspn(path, "\n")] = 0;
		if (strstr(line, ":memory:")) {
			limit_file = "memory.limit_in_bytes";
			snprintf(parent, sizeof(parent), "/sys/fs/cgroup/memory%.200s", path);
		} else if (strncmp(line, "0::", 3) == 0 && access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0) {
			limit_file = "memory.max";
			snprintf(parent, sizeof(parent), "/sys/fs/cgroup%.200s", path);
		}
	}
	if (file)
		fclose(file);
	return limit_file != NULL;
}

static void leave(void)
{
	put(parent, "cgroup.procs", (unsigned long long)getpid());
}

/* What is in it dies with who made it: the daemon, as this process's child, ends before. */
static void remove_group(void)
{
	for (unsigned i = 0; i < 200 && rmdir(group) < 0 && errno == EBUSY; i++)
		poll(NULL, 0, 50);
}

/* The daemon inherits the group; VMs and this process do not stay in it. */
static void start_in_group(const char *settings)
{
	instance_settings(&instance, settings);
	test_check(put(group, "cgroup.procs", (unsigned long long)getpid()), "cannot enter %s", group);
	instance_start(&instance);
	leave();
}

static void start_vms(struct fake_vmm vmms[2])
{
	static const struct fake_options options = { .name = "vm", .pages = PAGES, .common = PAGES };

	for (unsigned i = 0; i < 2; i++)
		vmms[i] = fake_start(instance.socket, &options);
}

static void keeps_to_half(void)
{
	struct fake_vmm vmms[2];

	start_in_group("[scan]\ninterval_seconds = 0\n");
	test_check(instance_logged(&instance, "the stores take 24 MiB at most"), "it does not know its limit");
	start_vms(vmms);
	fake_ask(&vmms[0], FAKE_AWAIT, LIMIT / 4 / PAGE_BYTES);
	fake_ask(&vmms[1], FAKE_AWAIT, LIMIT / 4 / PAGE_BYTES);
	instance_scan(&instance);
	test_check(instance_alive(&instance), "the daemon has not outlived its limit");
	test_check(instance_host(&instance, "store_bytes") <= (long long)LIMIT / 2, "the store has more than half");
	test_check(instance_logged(&instance, "the store is full"), "the log does not say so");
	for (unsigned i = 0; i < 2; i++) {
		test_check(fake_ask(&vmms[i], FAKE_CHECK, 0).damaged == 0, "memory is not what it was");
		fake_kill(&vmms[i]);
	}
	instance_stop(&instance);
}

static void control(void)
{
	struct fake_vmm vmms[2];
	siginfo_t info = { 0 };

	test_restart_clock();
	start_in_group("[store]\nsize = 1G\n[scan]\ninterval_seconds = 0\n");
	start_vms(vmms);
	test_check(waitid(P_PID, (id_t)instance.pid, &info, WEXITED | WNOWAIT) == 0, "wait: %s", strerror(errno));
	test_check(info.si_code == CLD_KILLED && info.si_status == SIGKILL, "it was not killed for want of memory");
	instance_kill(&instance);
	for (unsigned i = 0; i < 2; i++)
		fake_kill(&vmms[i]);
	/* The store that it has left is charged to the group until somebody takes it away. */
	instance_settings(&instance, "");
	instance_start(&instance);
	instance_stop(&instance);
}

int main(int argc, char **argv)
{
	int pid, status;

	test_begin(argc, argv);
	if (geteuid() != 0)
		test_skip("only root can make control groups");
	if (!find_parent())
		test_skip("there is no control group for memory");
	snprintf(group, sizeof(group), "%s/pagefuse-test-%d", parent, getpid());
	if (mkdir(group, 0755) < 0)
		test_skip("no control group can be made in %s: %s", parent, strerror(errno));
	test_at_end(remove_group);
	if (!put(group, limit_file, LIMIT) || !put(group, "cgroup.procs", (unsigned long long)getpid())) {
		remove_group();
		test_skip("a control group in %s takes no limit, or no process", parent);
	}
	leave();
	pid = test_fork(); /* which cleans up after the daemon by itself if it fails */
	if (pid == 0) {
		instance_init(&instance);
		keeps_to_half();
		control();
		instance_done(&instance);
		_exit(0);
	}
	status = test_wait_child(pid);
	remove_group();
	test_check(access(group, F_OK) < 0, "the control group stays");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
