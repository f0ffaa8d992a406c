/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/system/fleet.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/test.h"

void fleet_start(struct fleet *fleet, unsigned which)
{
	struct fleet_vm *vm = &fleet->vms[which];
	int orders[2], answers[2];

	test_check(pipe2(orders, O_CLOEXEC) == 0 && pipe2(answers, O_CLOEXEC) == 0, "pipe2: %s", strerror(errno));
	snprintf(vm->name, sizeof(vm->name), "vm%u", fleet->born);
	vm->pid = test_fork();
	if (vm->pid == 0) {
		for (unsigned i = 0; i < fleet->count; i++) {
			if (i != which && fleet->vms[i].pid > 0) {
				close(fleet->vms[i].orders);
				close(fleet->vms[i].answers);
			}
		}
		close(orders[1]);
		close(answers[0]);
		vm->orders = orders[0];
		vm->answers = answers[1];
		signal(SIGALRM, SIG_DFL);
		alarm(0); /* as long as the test that it ends with */
		fleet->run(vm, which);
		_exit(1);
	}
	fleet->born++;
	close(orders[0]);
	close(answers[1]);
	vm->orders = orders[1];
	vm->answers = answers[0];
}

void fleet_kill(struct fleet *fleet, unsigned which)
{
	struct fleet_vm *vm = &fleet->vms[which];
	int status;

	test_check(waitpid(vm->pid, &status, WNOHANG) == 0, "%s ended by itself", vm->name);
	kill(vm->pid, SIGKILL);
	waitpid(vm->pid, &status, 0);
	close(vm->orders);
	close(vm->answers);
	vm->pid = 0;
}

void fleet_order(const struct fleet *fleet, unsigned which, char what)
{
	test_check(write(fleet->vms[which].orders, &what, 1) == 1, "%s is gone", fleet->vms[which].name);
}

void fleet_await(const struct fleet *fleet, unsigned which, char what)
{
	const struct fleet_vm *vm = &fleet->vms[which];
	char echo;

	if (!test_readable(vm->answers))
		test_damage("%s sleeps", vm->name);
	test_check(read(vm->answers, &echo, 1) == 1 && echo == what, "%s has ended", vm->name);
}

void fleet_tell_all(const struct fleet *fleet, char what)
{
	for (unsigned i = 0; i < fleet->count; i++)
		fleet_order(fleet, i, what);
	for (unsigned i = 0; i < fleet->count; i++)
		fleet_await(fleet, i, what);
}
