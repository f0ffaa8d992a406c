/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * References die with the process and its children, not with the connection: whoever still maps a slot reads what it
 * read before, whatever happens around it.
 */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define COMMON 200u

static const struct fake_options options = { .name = "vm", .pages = COMMON, .common = COMMON };

static void share(const struct fake_vmm *a, const struct fake_vmm *b)
{
	fake_ask(a, FAKE_AWAIT, COMMON);
	fake_ask(b, FAKE_AWAIT, COMMON);
}

int main(int argc, char **argv)
{
	struct fake_answer answer;
	struct instance instance;
	struct fake_vmm a, b;
	pid_t child;

	test_begin(argc, argv);
	instance_init(&instance);
	instance_start(&instance);
	a = fake_start(instance.socket, &options);
	b = fake_start(instance.socket, &options);
	share(&a, &b);
	instance_await(&instance, NULL, "shared_pages", 2 * COMMON);

	fake_ask(&a, FAKE_DISCONNECT, 0);
	instance_await_disconnected(&instance, "vm");
	fake_kill(&b);
	instance_await(&instance, "vm-2", "pid", -1);
	instance_await(&instance, NULL, "shared_pages", COMMON); /* not less: it is the connection only that went */
	test_check(fake_ask(&a, FAKE_CHECK, 0).damaged == 0, "a slot was freed under a reader without connection");

	test_check(fake_ask(&a, FAKE_CONNECT, 0).error == 0, "cannot connect again");
	instance_await(&instance, "vm", "connected", 1);
	instance_await(&instance, NULL, "shared_pages", COMMON);
	instance_await(&instance, NULL, "common_pages", COMMON);
	b = fake_start(instance.socket, &options);
	share(&a, &b);
	instance_await(&instance, NULL, "common_pages", COMMON);

	answer = fake_ask(&a, FAKE_FORK, 0);
	child = answer.pid;
	fake_kill(&a);
	fake_kill(&b);
	instance_await_disconnected(&instance, "vm");
	if (instance_mounts(&instance) > 0) /* with memfds, whose child it is cannot be told */
		instance_await(&instance, "vm-2", "pid", -1);
	test_check(instance_host(&instance, "shared_pages") >= COMMON, "references went while a child maps the slots");
	test_check(instance_host(&instance, "store_bytes") == COMMON * PAGE_BYTES, "slots were freed under a child");
	kill(child, SIGKILL); /* not ours to wait for; init does */
	instance_await(&instance, NULL, "shared_pages", 0);
	instance_await(&instance, NULL, "store_bytes", 0);
	instance_done(&instance);
	return 0;
}
