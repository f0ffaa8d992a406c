/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Many users hold as many connections as they get, and say nothing on them. Others come all the same, and share, and
 * root is answered. This daemon has 64 for all of them, which is fewer than each of them wants.
 *
 * control: with one where who comes first may have them all. Then there are none for others.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define HOARDERS 4u
#define FIRST_HOARDER 20010u
#define WANTED 100u
#define ALL 64u /* SESSIONS_MAX */
#define HONEST 20001u
#define COMMON 16u
#define SETTLED_MSEC 500

static struct instance instance;

/** @return a socket on which nothing is said. */
static int hoard(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	strncpy(address.sun_path, instance.socket, sizeof(address.sun_path) - 1);
	test_check(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0, "connect: %s",
		   strerror(errno));
	return fd;
}

static unsigned count_open(const int fds[WANTED])
{
	unsigned count = 0;

	for (unsigned i = 0; i < WANTED; i++) {
		struct pollfd poll_fd = { .fd = fds[i], .events = POLLIN | POLLRDHUP };

		count += poll(&poll_fd, 1, 0) == 0; /* else it was refused */
	}
	return count;
}

/** Tells how many it has got, and holds them. */
static void be_a_hoarder(int told, uid_t uid)
{
	unsigned count, before = 0;
	int fds[WANTED];

	fake_become(uid, uid);
	for (unsigned i = 0; i < WANTED; i++)
		fds[i] = hoard();
	while ((count = count_open(fds)) != before) { /* until the daemon has come to the last of them */
		before = count;
		poll(NULL, 0, SETTLED_MSEC);
	}
	test_check(write(told, &count, sizeof(count)) == sizeof(count), "the test is gone");
	for (;;)
		pause();
}

static unsigned start_hoarder(uid_t uid)
{
	unsigned count;
	int pipe_fds[2];

	test_check(pipe(pipe_fds) == 0, "pipe: %s", strerror(errno));
	if (test_fork() == 0)
		be_a_hoarder(pipe_fds[1], uid);
	close(pipe_fds[1]);
	test_check(read(pipe_fds[0], &count, sizeof(count)) == sizeof(count), "a hoarder has ended");
	close(pipe_fds[0]);
	printf("user %u holds %u connections\n", (unsigned)uid, count);
	return count;
}

static struct fake_vmm start_honest(void)
{
	const struct fake_options options = {
		.name = "honest", .pages = 64, .common = COMMON, .uid = HONEST, .gid = HONEST, .may_fail = true
	};

	return fake_start(instance.socket, &options);
}

int main(int argc, char **argv)
{
	unsigned held = 0;
	struct fake_vmm vms[2];

	test_begin(argc, argv);
	if (geteuid() != 0)
		test_skip("only root can have VMs of several users");
	instance_init(&instance);
	instance_settings(&instance, "[scan]\ninterval_seconds = 1\n");
	instance_start(&instance);
	for (unsigned i = 0; i < HOARDERS; i++)
		held += start_hoarder(FIRST_HOARDER + i);
	test_check(held > ALL / 2, "all hoarders together have %u of %u connections", held, ALL);
	for (unsigned i = 0; i < 2; i++) {
		vms[i] = start_honest();
		if (!fake_ask(&vms[i], FAKE_STATE, 0).connected)
			test_damage("VM %u of another user is not served", i);
	}
	for (unsigned i = 0; i < 2; i++)
		test_check(fake_ask(&vms[i], FAKE_AWAIT, COMMON).shared == COMMON,
			   "VM %u of another user does not share", i);
	for (unsigned i = 0; i < ALL; i++) /* more than are left, one after the other and all at once */
		test_check(instance_connect(&instance) >= 0, "root is not let in");
	for (unsigned i = 0; i < 2; i++)
		fake_kill(&vms[i]);
	instance_await(&instance, NULL, "store_bytes", 0);
	instance_stop(&instance);
	instance_done(&instance);
	return 0;
}
