/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VMM calls exec: what it shared is given back at once, though the process lives, and the program that it has become
 * may share anew; but not before a child of the earlier one is gone, which goes on reading right.
 *
 * usage: exec [memfd]
 *        exec vmm SOCKET KEEPER   (by itself)
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "include/pagefuse.h"
#include "tests/daemon/asked.h"
#include "tests/daemon/instance.h"
#include "tests/support/pages.h"
#include "tests/support/test.h"

#define COMMON 256u
#define PAGES (2 * COMMON) /* the second half is the same as the first */

enum request {
	ASK_RAM = 'r',    /* fills its memory and offers it */
	ASK_EXEC = 'x',   /* becomes this program anew, which answers */
	ASK_KEEPER = 'k', /* has a child that answers on a socket of its own */
	ASK_CHECK = 'c',
	ASK_SHARED = 's', /* answers NOT_SHARED if it has a page of its own */
	NOT_SHARED = 'n',
};

static char *memory;

static void check(void)
{
	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_differ(memory + i * PAGE_BYTES, i % COMMON + 1) >= 0)
			test_damage("page %u reads wrong bytes", i);
}

/* ---- the VMM ---- */

static void offer_ram(void)
{
	int r;

	memory = pages_map(PAGES, false);
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(memory + i * PAGE_BYTES, i % COMMON + 1);
	r = pagefuse_add_ram(PAGEFUSE_GPA_UNKNOWN, memory, PAGES * PAGE_BYTES);
	test_check(r == 0, "pagefuse_add_ram: %s", strerror(-r));
}

static bool is_all_shared(void)
{
	check(); /* and faults it in */
	for (uint32_t i = 0; i < PAGES; i++)
		if (!pages_is_file(memory + i * PAGE_BYTES))
			return false;
	return true;
}

static void exec_again(int socket, int keeper)
{
	char first[16], second[16];

	snprintf(first, sizeof(first), "%d", socket);
	snprintf(second, sizeof(second), "%d", keeper);
	execl("/proc/self/exe", "exec", "vmm", first, second, NULL);
	test_fail("exec: %s", strerror(errno));
}

/** @keeper: the socket on which a child is to answer later. */
static _Noreturn void serve(int socket, int keeper)
{
	char request;

	while (read(socket, &request, 1) == 1) {
		if (request == ASK_RAM)
			offer_ram();
		if (request == ASK_EXEC)
			exec_again(socket, keeper);
		if (request == ASK_KEEPER && fork() == 0) {
			close(socket);
			socket = keeper;
			continue;
		}
		if (request == ASK_CHECK)
			check();
		if (request == ASK_SHARED && !is_all_shared())
			request = NOT_SHARED;
		test_check(write(socket, &request, 1) == 1, "answering: %s", strerror(errno));
	}
	_exit(0);
}

/* ---- the test ---- */

static struct asked vm;

static void share(const struct instance *instance)
{
	uint64_t last_msec = test_patient_msec() + TEST_DEADLINE_SECONDS * 1000;

	while (asked_ask(instance, vm.vmm, ASK_SHARED) != ASK_SHARED)
		test_check(test_patient_msec() < last_msec, "not all pages are shared: %lld",
			   instance_host(instance, "shared_pages"));
	instance_await(instance, NULL, "common_pages", COMMON);
}

static void exec_without_children(const struct instance *instance)
{
	asked_ask(instance, vm.vmm, ASK_RAM);
	share(instance);
	asked_ask(instance, vm.vmm, ASK_EXEC);
	instance_await(instance, NULL, "shared_pages", 0);
	instance_await(instance, NULL, "store_bytes", 0);
	instance_await(instance, "vm", "pid", -1);
	test_check(waitpid(vm.pid, NULL, WNOHANG) == 0, "it has ended");
}

static void exec_with_a_child(const struct instance *instance)
{
	uint64_t last_msec = test_patient_msec() + TEST_DEADLINE_SECONDS * 1000;

	asked_ask(instance, vm.vmm, ASK_RAM);
	share(instance);
	asked_ask(instance, vm.vmm, ASK_KEEPER);
	asked_ask(instance, vm.vmm, ASK_EXEC);
	asked_ask(instance, vm.vmm, ASK_RAM);
	while (!instance_logged(instance, "read by a child of it")) {
		test_check(test_patient_msec() < last_msec, "the new program is not told that it has to wait");
		asked_ask(instance, vm.keeper, ASK_CHECK);
		asked_scan(instance);
	}
	asked_ask(instance, vm.keeper, ASK_CHECK);
	test_check(instance_host(instance, "store_bytes") >= (long long)(COMMON * PAGE_BYTES),
		   "slots were freed that a child reads");
	close(vm.keeper);
	share(instance);
}

int main(int argc, char **argv)
{
	struct instance instance;

	test_begin(argc, argv);
	if (argc == 4 && strcmp(argv[1], "vmm") == 0) {
		test_check(write(atoi(argv[2]), &(char){ ASK_EXEC }, 1) == 1, "answering: %s", strerror(errno));
		serve(atoi(argv[2]), atoi(argv[3]));
	}
	test_needs_moves();
	if (geteuid() != 0)
		test_skip("sharing is for root, who may read /proc/self/pagemap");
	if (test_wants("memfd")) {
		instance_init(&instance);
		instance_settings(&instance, "[store]\nkind = memfd\n");
		instance_start(&instance);
	} else {
		instance_start_mounted(&instance);
	}
	/* The VMM's ends stay open when it calls exec. */
	asked_start(&vm, &instance, 0, serve);
	exec_without_children(&instance);
	exec_with_a_child(&instance);
	kill(vm.pid, SIGKILL);
	waitpid(vm.pid, NULL, 0);
	instance_await(&instance, NULL, "shared_pages", 0);
	close(vm.vmm);
	instance_done(&instance);
	return 0;
}
