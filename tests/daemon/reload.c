/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SIGHUP has the settings read anew. What can change counts for the next connection; a file that is wrong, or cannot be
 * read, changes nothing; what cannot change is said. The limit of connections is seen at work as another user.
 */
#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "protocol/wire.h"
#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define NOBODY 65534

static struct instance instance;

static void await_logged(const char *text)
{
	uint64_t last = test_patient_msec() + TEST_DEADLINE_SECONDS * 1000;

	while (!instance_logged(&instance, text)) {
		test_check(instance_alive(&instance), "SIGHUP has ended the daemon");
		test_check(test_patient_msec() < last, "the daemon does not say: %s", text);
		poll(NULL, 0, 10);
	}
}

static void reload(const char *expected)
{
	test_check(kill(instance.pid, SIGHUP) == 0, "kill: %s", strerror(errno));
	await_logged(expected);
}

/* How many connections the daemon serves at once, of @tried. */
static unsigned count_served(unsigned tried)
{
	static const char request[] = "{\"command\":\"fly\"}";
	struct {
		struct wire_header header;
		char text[WIRE_MESSAGE_MAX - sizeof(struct wire_header)];
	} packet;
	unsigned served = 0;

	for (unsigned i = 0; i < tried; i++) { /* they stay open until this process ends */
		size_t size = sizeof(packet.header) + sizeof(request) - 1;
		int fd = instance_connect(&instance);

		wire_header_init(&packet.header, WIRE_REQUEST, size);
		memcpy(packet.text, request, sizeof(request) - 1);
		(void)send(fd, &packet, size, MSG_NOSIGNAL);
		if (recv(fd, &packet, sizeof(packet), 0) >= (ssize_t)sizeof(packet.header))
			served += packet.header.type == WIRE_REPLY;
	}
	return served;
}

/* The limit is @limit, as a user sees for whom there is one. */
static void check_limit(unsigned limit)
{
	int status;
	pid_t pid;

	if (geteuid() != 0) /* its own connection, by which it asks, would count */
		return;
	pid = fork();
	test_check(pid >= 0, "fork: %s", strerror(errno));
	if (pid == 0) {
		if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
		    setresuid(NOBODY, NOBODY, NOBODY) < 0)
			_exit(100);
		_exit((int)count_served(limit + 2));
	}
	test_check(waitpid(pid, &status, 0) == pid && WIFEXITED(status), "the other user is gone");
	test_check(WEXITSTATUS(status) == (int)limit, "%d connections are served, not %u", WEXITSTATUS(status), limit);
}

/* Nobody looks for equal pages unless told to, and then a slow pass finds them. */
static void check_engine(void)
{
	static const struct fake_options options = { .name = "vm", .pages = 64, .common = 64 };
	struct fake_vmm a, b;

	instance_settings(&instance, "[scan]\ninterval_seconds = 0\naudit_interval_seconds = 0\n");
	instance_start(&instance);
	a = fake_start(instance.socket, &options);
	b = fake_start(instance.socket, &options);
	fake_ask(&a, FAKE_AWAIT, 64); /* by their first passes */
	fake_ask(&b, FAKE_AWAIT, 64);
	fake_ask(&a, FAKE_NEXT_CONTENT, 1);
	fake_ask(&b, FAKE_NEXT_CONTENT, 1);
	instance_await(&instance, NULL, "shared_pages", 0);
	instance_settings(&instance, "[scan]\ninterval_seconds = 1\naudit_interval_seconds = 0\n");
	reload("[scan] interval_seconds is 1 from now on, it was 0");
	fake_ask(&a, FAKE_AWAIT, 64);
	fake_ask(&b, FAKE_AWAIT, 64);
	instance_await(&instance, NULL, "shared_pages", 128);

	/* A limit is of what comes from then on. */
	instance_settings(&instance, "[scan]\ninterval_seconds = 1\n[limits]\nvm_ram_size = 64K\n");
	reload("[limits] vm_ram_size is 64K from now on, it was 4T");
	fake_kill(&b);
	instance_await(&instance, "vm-2", "pid", -1);
	test_check(instance_vm(&instance, "vm", "ram_bytes") == 64 * PAGE_BYTES, "RAM that was there is gone");
	b = fake_start(instance.socket, &options);
	instance_await(&instance, "vm-2", "ram_bytes", 0);
	fake_kill(&a);
	fake_kill(&b);
	instance_stop(&instance);
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	instance_init(&instance);
	instance_settings(&instance, "[limits]\nconnections_per_user = 2\n");
	instance_start(&instance);
	check_limit(2);

	reload("the settings were read anew: they are what they were");
	instance_settings(&instance, "[limits]\nconnections_per_user = 4\n");
	reload("[limits] connections_per_user is 4 from now on, it was 2");
	check_limit(4);

	/* All or nothing: the first line is right. */
	instance_settings(&instance, "[limits]\nconnections_per_user = 5\nvm_ram_size = 3Q\n");
	reload("config:3: vm_ram_size = \"3Q\": should be a size of at least 4K");
	await_logged("the settings stay as they were");
	check_limit(4);
	test_check(unlink(instance.config) == 0, "unlink: %s", strerror(errno));
	reload("config: No such file or directory; the settings stay as they were");
	check_limit(4);

	instance_settings(&instance, "[scan]\ncpu_percent = 20\n[store]\nsize = 64M\n"
				     "[limits]\nconnections_per_user = 3\n");
	reload("[limits] connections_per_user is 3 from now on, it was 4");
	await_logged("[scan] cpu_percent is 20 from now on, it was 10");
	await_logged("[store] size stays 50%: that it is to be 64M counts");
	check_limit(3);
	instance_stop(&instance);
	check_engine();
	instance_done(&instance);
	return 0;
}
