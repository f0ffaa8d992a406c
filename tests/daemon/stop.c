/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SIGTERM just when a VM dies: the daemon sees to it that nothing of the store stays mounted, unless somebody goes on
 * mapping it; that is left to the next daemon.
 */
#include <signal.h>
#include <unistd.h>

#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define PAGES 200u

static const struct fake_options options = { .name = "vm", .pages = PAGES, .common = PAGES };
/* Takes the kernel a while to tear down. */
static const struct fake_options large = { .name = "large", .pages = 65536, .common = PAGES };

static struct fake_vmm share(const struct instance *instance, const struct fake_options *wanted)
{
	struct fake_vmm a = fake_start(instance->socket, &options), b = fake_start(instance->socket, wanted);

	fake_ask(&a, FAKE_AWAIT, PAGES);
	fake_ask(&b, FAKE_AWAIT, PAGES);
	fake_kill(&a);
	instance_await(instance, "vm", "pid", -1);
	return b;
}

static void check_all_gone(const struct instance *instance)
{
	test_check(instance_mounts(instance) == 0, "the store stays mounted though nobody maps it");
	test_check(!instance_logged(instance, "still map the store"), "the daemon says that somebody maps the store");
}

/* Killed, but not dead yet. */
static void while_it_dies(struct instance *instance)
{
	struct fake_vmm vmm;

	vmm = share(instance, &large);
	kill(vmm.pid, SIGKILL);
	instance_stop(instance);
	check_all_gone(instance);
	fake_kill(&vmm);
}

/* A VM that has just died and left a child, which still maps what the VM was given. */
static pid_t leave_a_child(const struct instance *instance)
{
	struct fake_vmm vmm = share(instance, &options);
	pid_t child = fake_ask(&vmm, FAKE_FORK, 0).pid;

	fake_kill(&vmm);
	return child;
}

/* Dead, but its mappings live on for a moment: here in a child, else in whoever looks into its memory just then. */
static void while_it_is_torn_down(struct instance *instance)
{
	pid_t child = leave_a_child(instance);

	instance_begin_stop(instance);
	kill(child, SIGKILL);
	instance_await_end(instance);
	check_all_gone(instance);
}

/* One that runs on keeps its view, and the daemon does not wait for it. */
static void while_one_lives(struct instance *instance)
{
	struct fake_vmm vmm;

	vmm = share(instance, &options);
	instance_stop(instance);
	test_check(instance_mounts(instance) == 2, "a VM that runs has lost its view");
	test_check(!instance_logged(instance, "waiting for what"), "the daemon has waited for a VM that runs on");
	test_check(fake_ask(&vmm, FAKE_CHECK, 0).damaged == 0, "a VM that runs reads something else");
	fake_kill(&vmm);
	instance_start(instance);
	instance_stop(instance);
	test_check(instance_mounts(instance) == 0, "the next daemon has not cleaned up");
}

/* A child that does not end: a second signal ends the waiting, as the deadline would. */
static void while_a_child_lives(struct instance *instance)
{
	pid_t child = leave_a_child(instance);

	instance_begin_stop(instance);
	kill(instance->pid, SIGTERM);
	instance_await_end(instance);
	test_check(instance_mounts(instance) == 2, "the store went while a child maps it");
	test_check(instance_logged(instance, "still map the store"), "the daemon does not say what it leaves");
	kill(child, SIGKILL);
	instance_start(instance);
	instance_await(instance, NULL, "store_bytes", 0);
	instance_stop(instance);
	test_check(instance_mounts(instance) == 0, "the next daemon has not cleaned up");
}

static void run(void (*test)(struct instance *))
{
	struct instance instance;

	test_restart_clock();
	instance_start_mounted(&instance);
	test(&instance);
	instance_done(&instance);
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	run(while_it_dies);
	run(while_it_is_torn_down);
	run(while_one_lives);
	run(while_a_child_lives);
	return 0;
}
