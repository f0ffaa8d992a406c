/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VMM forks, with the library in it and the daemon beside it: children read right while everything is being merged, a
 * child goes on reading right when its parent and all others are gone, and what the parent shares is as before.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
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
	ASK_RAM = 'r',       /* fills its memory and offers it */
	ASK_FORKS = 'f',     /* has many children look at it, while it is written with what it holds */
	ASK_DIVERGE = 'd',   /* writes every other page with what it holds, and has one child look at it */
	ASK_KEEPER = 'k',    /* has a child that answers on a socket of its own */
	ASK_OVERWRITE = 'o', /* writes something else everywhere */
	ASK_CHECK = 'c',
	ASK_SHARED = 's', /* answers NOT_SHARED if it has a page of its own */
	NOT_SHARED = 'n',
};

static char *memory;

static uint64_t content_of(uint32_t index)
{
	return index % COMMON + 1;
}

static void check(const char *who)
{
	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_differ(memory + i * PAGE_BYTES, content_of(i)) >= 0)
			test_damage("page %u reads wrong bytes in %s", i, who);
}

static void fork_and_check(void)
{
	int pid = test_fork(), status;

	if (pid == 0) {
		check("a child");
		_exit(0);
	}
	status = test_wait_child(pid);
	test_check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a child ended with status %d; it has said why",
		   status);
}

static bool is_all_shared(void)
{
	check("the parent"); /* and faults it in */
	for (uint32_t i = 0; i < PAGES; i++)
		if (!pages_is_file(memory + i * PAGE_BYTES))
			return false;
	return true;
}

/* ---- the VMM ---- */

static atomic_bool stop;

/** Writes the bytes that are there already: pages diverge, and are merged again. */
static void *write_same_bytes(void *unused)
{
	uint64_t random = test_seed(3);

	while (!atomic_load(&stop)) {
		uint32_t page = (uint32_t)(test_random(&random) % PAGES);
		uint32_t word = (uint32_t)(test_random(&random) % PAGE_WORDS);

		pages_store((uint64_t *)(memory + page * PAGE_BYTES) + word, pages_word(content_of(page), word));
	}
	return unused;
}

static void fork_many(void)
{
	pthread_t writing;

	test_check(pthread_create(&writing, NULL, write_same_bytes, NULL) == 0, "no thread");
	test_restart_clock();
	while (test_running())
		fork_and_check();
	atomic_store(&stop, true);
	pthread_join(writing, NULL);
	check("the parent");
}

static void fill(uint32_t first, uint32_t step, uint64_t offset)
{
	for (uint32_t i = first; i < PAGES; i += step)
		pages_fill(memory + i * PAGE_BYTES, content_of(i) + offset);
}

static void offer_ram(void)
{
	int r;

	memory = pages_map(PAGES, false);
	fill(0, 1, 0);
	r = pagefuse_add_ram(PAGEFUSE_GPA_UNKNOWN, memory, PAGES * PAGE_BYTES);
	test_check(r == 0, "pagefuse_add_ram: %s", strerror(-r));
}

/** @keeper: the socket on which a child is to answer later. */
static _Noreturn void serve(int socket, int keeper)
{
	char request;

	while (read(socket, &request, 1) == 1) {
		if (request == ASK_RAM)
			offer_ram();
		if (request == ASK_FORKS)
			fork_many();
		if (request == ASK_DIVERGE) {
			fill(0, 2, 0);
			fork_and_check();
		}
		if (request == ASK_KEEPER && fork() == 0) {
			socket = keeper;
			continue;
		}
		if (request == ASK_OVERWRITE)
			fill(0, 1, COMMON);
		if (request == ASK_CHECK)
			check("a child whose parent has written, or ended");
		if (request == ASK_SHARED && !is_all_shared())
			request = NOT_SHARED;
		test_check(write(socket, &request, 1) == 1, "answering: %s", strerror(errno));
	}
	_exit(0);
}

/* ---- the test ---- */

static struct asked vm;

static void await_all_shared(const struct instance *instance)
{
	uint64_t last_msec = test_patient_msec() + TEST_DEADLINE_SECONDS * 1000;

	while (asked_ask(instance, vm.vmm, ASK_SHARED) != ASK_SHARED) {
		test_check(test_patient_msec() < last_msec, "not all pages are shared: %lld",
			   instance_host(instance, "shared_pages"));
		asked_scan(instance);
	}
	instance_await(instance, NULL, "shared_pages", PAGES);
	instance_await(instance, NULL, "common_pages", COMMON);
}

static void check_keeper(const struct instance *instance)
{
	asked_scan(instance);
	asked_ask(instance, vm.keeper, ASK_CHECK);
	test_check(instance_host(instance, "store_bytes") >= (long long)(COMMON * PAGE_BYTES),
		   "slots were freed that a child reads");
}

/**
 * Nobody reads a slot any more. A few may have memory until the daemon looks for that: a write to a private copy that
 * is just being write-protected for a hold can find no page table entry for a moment, and touches the slot of before.
 */
static void await_freed(const struct instance *instance)
{
	uint64_t last_msec = test_patient_msec() + TEST_DEADLINE_SECONDS * 1000;

	instance_await(instance, NULL, "shared_pages", 0);
	while (instance_host(instance, "store_bytes") > (long long)(COMMON / 4 * PAGE_BYTES)) {
		test_check(test_patient_msec() < last_msec, "slots are not freed when the last reader is gone");
		poll(NULL, 0, 10);
	}
}

static void test_keeper(const struct instance *instance)
{
	int status;

	asked_ask(instance, vm.vmm, ASK_KEEPER);
	asked_ask(instance, vm.vmm, ASK_OVERWRITE);
	check_keeper(instance);
	kill(vm.pid, SIGKILL);
	waitpid(vm.pid, &status, 0);
	instance_await_disconnected(instance, "vm");
	check_keeper(instance);
	close(vm.keeper);
	await_freed(instance);
}

int main(int argc, char **argv)
{
	struct instance instance;

	test_begin(argc, argv);
	test_needs_moves();
	if (geteuid() != 0)
		test_skip("sharing is for root, who may read /proc/self/pagemap");
	instance_init(&instance);
	instance_start(&instance);
	asked_start(&vm, &instance, SOCK_CLOEXEC, serve);
	asked_ask(&instance, vm.vmm, ASK_RAM);
	await_all_shared(&instance);
	asked_ask(&instance, vm.vmm, ASK_FORKS);
	await_all_shared(&instance);
	asked_ask(&instance, vm.vmm, ASK_DIVERGE);
	await_all_shared(&instance);
	test_keeper(&instance);
	close(vm.vmm);
	instance_done(&instance);
	return 0;
}
