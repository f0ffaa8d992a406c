/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The daemon is killed or ended at any moment and started again: VMs keep what they read, the store does not grow, and
 * nothing is left at the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define COMMON 200u
#define ZERO 50u
#define RESTARTS 10

static const struct fake_options options = { .name = "vm", .pages = 512, .common = COMMON, .zero = ZERO };

static void check_intact(const struct fake_vmm *vmm)
{
	test_check(fake_ask(vmm, FAKE_CHECK, 0).damaged == 0, "memory is not what it was");
}

static void reconnect(const struct fake_vmm *vmm)
{
	test_check(fake_ask(vmm, FAKE_CONNECT, 0).error == 0, "cannot connect again");
}

static void restart(struct instance *instance, bool kill)
{
	if (kill)
		instance_kill(instance);
	else
		instance_stop(instance);
	instance_start(instance);
}

static void ten_times(struct instance *instance, const struct fake_vmm *a, const struct fake_vmm *b)
{
	uint64_t store = fake_ask(a, FAKE_STATE, 0).store;

	for (unsigned i = 0; i < RESTARTS; i++) {
		restart(instance, i % 2 == 0);
		check_intact(a);
		reconnect(a);
		check_intact(b);
		/* b has not said yet what it maps: nothing may be freed. */
		test_check(instance_host(instance, "store_bytes") >= (long long)(COMMON * PAGE_BYTES),
			   "freed too early");
		reconnect(b);
		instance_await(instance, NULL, "shared_pages", 2 * COMMON);
		instance_await(instance, NULL, "common_pages", COMMON);
		instance_await(instance, NULL, "zero_pages", 2 * ZERO);
		instance_await(instance, NULL, "store_bytes", COMMON * PAGE_BYTES);
		test_check(fake_ask(a, FAKE_STATE, 0).store == store, "the store has another identity");
		check_intact(a);
		check_intact(b);
	}
}

/* While nobody looks, one VM dies and the other writes: what that frees is found afterwards. */
static void change_meanwhile(struct instance *instance, struct fake_vmm *a, const struct fake_vmm *b)
{
	instance_kill(instance);
	fake_kill(a);
	for (uint32_t page = 1; page <= 20; page++)
		fake_ask(b, FAKE_WRITE, page);
	instance_start(instance);
	reconnect(b);
	instance_await(instance, NULL, "shared_pages", COMMON - 20);
	instance_await(instance, NULL, "store_bytes", (COMMON - 20) * PAGE_BYTES);
	check_intact(b);
}

static void share_again(const struct instance *instance, const struct fake_vmm *b)
{
	struct fake_vmm c = fake_start(instance->socket, &options);

	fake_ask(&c, FAKE_AWAIT, COMMON - 20 + ZERO);
	check_intact(&c);
	check_intact(b);
	fake_kill(&c);
	instance_await(instance, NULL, "shared_pages", COMMON - 20);
}

/* The daemon was killed when it had just made a segment's file: that nobody has, and the others are used on. */
static void segment_cut_short(struct instance *instance, const struct fake_vmm *b)
{
	uint64_t store = fake_ask(b, FAKE_STATE, 0).store;
	char pages[128], file[160];
	int fd;

	instance_kill(instance);
	snprintf(pages, sizeof(pages), "%s.store/uid-%u/pages", instance->socket, (unsigned)geteuid());
	snprintf(file, sizeof(file), "%s/seg-00007", pages);
	test_check(mount(NULL, pages, NULL, MS_REMOUNT | MS_BIND, NULL) == 0, "remount: %s", strerror(errno));
	fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	test_check(fd >= 0, "make %s: %s", file, strerror(errno));
	close(fd);
	test_check(mount(NULL, pages, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) == 0, "remount: %s",
		   strerror(errno));
	instance_start(instance);
	reconnect(b);
	test_check(fake_ask(b, FAKE_STATE, 0).store == store, "the old store was given up");
	instance_await(instance, NULL, "shared_pages", COMMON - 20);
	check_intact(b);
}

static void child_only(struct instance *instance, struct fake_vmm *b)
{
	pid_t child = fake_ask(b, FAKE_FORK, 0).pid;

	instance_kill(instance);
	fake_kill(b);
	instance_start(instance);
	test_check(instance_host(instance, "store_bytes") >= (long long)((COMMON - 20) * PAGE_BYTES),
		   "freed under a child");
	kill(child, SIGKILL);
	instance_await(instance, NULL, "store_bytes", 0);
}

/* A process that copies all mounts and keeps them. *ret_pages: where it has those of the store. */
static pid_t keep_mounts(const struct instance *instance, char *ret_pages, size_t size)
{
	int ready[2];
	char byte;
	pid_t pid;

	test_check(pipe2(ready, O_CLOEXEC) == 0, "pipe2: %s", strerror(errno));
	pid = test_fork();
	if (pid == 0) {
		byte = syscall(SYS_unshare, CLONE_NEWNS) == 0;
		(void)write(ready[1], &byte, 1);
		for (;;)
			pause();
	}
	test_check(read(ready[0], &byte, 1) == 1 && byte, "the mounts cannot be copied");
	close(ready[0]);
	close(ready[1]);
	snprintf(ret_pages, size, "/proc/%d/root%s.store/uid-%u/pages", (int)pid, instance->socket,
		 (unsigned)geteuid());
	return pid;
}

static uint64_t bytes_used(const char *path)
{
	struct statvfs fs;

	test_check(statvfs(path, &fs) == 0, "statvfs %s: %s", path, strerror(errno));
	return (fs.f_blocks - fs.f_bfree) * fs.f_frsize;
}

/* A store that nobody reads any more goes, its memory too, though another mount namespace has it mounted. */
static void copied_mounts(struct instance *instance)
{
	struct fake_vmm vmms[2] = { fake_start(instance->socket, &options), fake_start(instance->socket, &options) };
	char pages[160];
	pid_t keeper;

	for (unsigned i = 0; i < 2; i++)
		fake_ask(&vmms[i], FAKE_AWAIT, COMMON + ZERO);
	keeper = keep_mounts(instance, pages, sizeof(pages));
	test_check(bytes_used(pages) >= COMMON * PAGE_BYTES, "the copied mount is not that of the store");
	instance_kill(instance);
	for (unsigned i = 0; i < 2; i++)
		fake_kill(&vmms[i]);
	instance_start(instance);
	test_check(bytes_used(pages) < COMMON * PAGE_BYTES, "the old store keeps %llu bytes",
		   (unsigned long long)bytes_used(pages));
	kill(keeper, SIGKILL);
	test_wait_child(keeper);
}

int main(int argc, char **argv)
{
	struct instance instance;
	struct fake_vmm a, b;

	test_begin(argc, argv);
	instance_start_mounted(&instance);
	a = fake_start(instance.socket, &options);
	b = fake_start(instance.socket, &options);
	fake_ask(&a, FAKE_AWAIT, COMMON + ZERO);
	fake_ask(&b, FAKE_AWAIT, COMMON + ZERO);
	instance_await(&instance, NULL, "shared_pages", 2 * COMMON);
	test_restart_clock();
	ten_times(&instance, &a, &b);
	test_restart_clock();
	change_meanwhile(&instance, &a, &b);
	share_again(&instance, &b);
	segment_cut_short(&instance, &b);
	child_only(&instance, &b);
	copied_mounts(&instance);
	instance_done(&instance);
	return 0;
}
