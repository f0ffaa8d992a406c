/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * VMs that get no CPU for moments, and once for so long that nobody waits for them, that lack mappings for a while, and
 * whose guests start from the beginning meanwhile, again and again: all memory is dropped or not, and written anew.
 * Once they are well everything that is equal is shared again, by slow passes alone, as the page tables say.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "include/pagefuse.h"
#include "tests/daemon/instance.h"
#include "tests/support/limit.h"
#include "tests/support/pages.h"
#include "tests/support/test.h"
#include "tests/system/fleet.h"

#define VMS 3u
#define PAGES 1024u
#define COMMON_PAGES 640u /* the same in all, from the first one on */
#define ZERO_PAGES 128u   /* behind those; the rest nobody else has */
#define RESETS 20u
#define SCARCE_FROM 6u /* resets with a limit of SCARCE_LIMIT mappings */
#define SCARCE_TO 10u
#define SCARCE_LIMIT 20
#define SILENT_AT 14u /* the reset at which one VM gets no CPU until nobody waits for it */
#define PAUSE_MSEC_MAX 60

static uint64_t (*frames)[PAGES]; /* of each page, as the VMMs tell the test */

static struct instance instance;
static struct fleet fleet;
static char *memory;

/* ---- a VMM ---- */

static uint64_t content_of(unsigned which, uint32_t page)
{
	if (page < COMMON_PAGES)
		return 1000 + page;
	return page < COMMON_PAGES + ZERO_PAGES ? 0 : (uint64_t)(which + 1) * 100000 + page;
}

static void check(unsigned which, bool zeros_too)
{
	for (uint32_t i = 0; i < PAGES; i++)
		if ((zeros_too || content_of(which, i) != 0) &&
		    pages_differ(memory + i * PAGE_BYTES, content_of(which, i)) >= 0)
			test_damage("VM %u, page %u is not what was written last", which, i);
}

/** As a guest that starts anew: with a balloon's worth of memory given back first, or all of it overwritten. */
static void reset(unsigned which, uint64_t *random)
{
	bool drop = test_random(random) % 2;

	check(which, true);
	for (uint32_t i = 0; i < PAGES; i++) {
		if (drop && i % 128 == 0)
			test_check(pagefuse_discard(memory + i * PAGE_BYTES, 128 * PAGE_BYTES) == 0, "no discard");
		pages_fill(memory + i * PAGE_BYTES, content_of(which, i));
	}
}

static void tell_frames(unsigned which)
{
	check(which, false); /* what was merged is not there before it is read; zeros may take memory when they are */
	for (uint32_t i = 0; i < PAGES; i++)
		frames[which][i] = pages_frame_of_content(memory + i * PAGE_BYTES);
}

/** Does what it is told: 'f', start anew; 'c', check memory and tell the frames. */
static _Noreturn void run_vmm(const struct fleet_vm *vm, unsigned which)
{
	const struct pagefuse_options options = {
		.size = sizeof(options), .name = vm->name, .socket_path = instance.socket
	};
	uint64_t random = test_seed(100 + which);
	char what;
	int r;

	memory = pages_map(PAGES, false);
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(memory + i * PAGE_BYTES, content_of(which, i));
	r = pagefuse_configure(&options);
	if (r == 0)
		r = pagefuse_add_ram(PAGEFUSE_GPA_UNKNOWN, memory, PAGES * PAGE_BYTES);
	test_check(r == 0, "offering memory: %s", strerror(-r));
	while (read(vm->orders, &what, 1) == 1) {
		if (what == 'f')
			reset(which, &random);
		if (what == 'c')
			tell_frames(which);
		test_check(write(vm->answers, &what, 1) == 1, "no answer can be given");
	}
	_exit(0);
}

/* ---- the test ---- */

/** Whether all that is equal is shared: each common page is the same frame in all, and zeros take no memory. */
static bool is_all_shared(uint32_t *ret_alone)
{
	uint32_t alone = 0;

	fleet_tell_all(&fleet, 'c');
	for (unsigned v = 0; v < VMS; v++) {
		const uint64_t *ours = frames[v], *others = frames[(v + 1) % VMS];

		for (uint32_t i = 0; i < COMMON_PAGES + ZERO_PAGES; i++)
			alone += i < COMMON_PAGES ? ours[i] != others[i] : ours[i] != 0;
	}
	*ret_alone = alone;
	return alone == 0;
}

/** Nobody asks for a pass. */
static void await_all_shared(const char *when)
{
	uint64_t last = test_patient_msec() + TEST_PATIENCE_SECONDS * 1000;
	uint32_t private;

	test_restart_clock();
	while (!is_all_shared(&private)) {
		test_check(test_patient_msec() < last, "%s: %u pages stay private that are equal", when, private);
		poll(NULL, 0, 100);
	}
	fprintf(stderr, "%s: all is shared\n", when);
}

static void await_limit(long long limit)
{
	for (unsigned i = 0; i < VMS; i++)
		instance_await(&instance, fleet.vms[i].name, "mappings_limit", limit);
}

/** One VM at a time loses the CPU for a moment, while all of them start anew. */
static void reset_all(uint64_t *random)
{
	for (unsigned i = 0; i < VMS; i++)
		fleet_order(&fleet, i, 'f');
	for (unsigned i = 0; i < 4; i++) {
		pid_t pid = fleet.vms[test_random(random) % VMS].pid;

		kill(pid, SIGSTOP);
		poll(NULL, 0, (int)(test_random(random) % PAUSE_MSEC_MAX));
		kill(pid, SIGCONT);
		poll(NULL, 0, (int)(test_random(random) % PAUSE_MSEC_MAX));
	}
	for (unsigned i = 0; i < VMS; i++)
		fleet_await(&fleet, i, 'f');
}

/** One VM stops answering in the middle, and the pass that all the others wait for is over without it. */
static void silence_one(uint64_t *random)
{
	pid_t pid = fleet.vms[test_random(random) % VMS].pid;

	json_decref(instance_ask(&instance, "{\"command\":\"scan\"}"));
	kill(pid, SIGSTOP);
	test_restart_clock();
	instance_scan(&instance);
	kill(pid, SIGCONT);
}

int main(int argc, char **argv)
{
	uint64_t random, limit;

	test_begin(argc, argv);
	test_needs_moves();
	if (geteuid() != 0)
		test_skip("only root is told which frame a page is");
	random = test_seed(1);
	limit = limit_read();
	limit_own();
	frames = mmap(NULL, VMS * sizeof(*frames), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	test_check(frames != MAP_FAILED, "mmap: %s", strerror(errno));
	instance_init(&instance);
	instance_settings(&instance, "[scan]\ninterval_seconds = 1\naudit_interval_seconds = 1\ncpu_percent = 100\n");
	instance_start(&instance);
	fleet = (struct fleet){ .count = VMS, .run = run_vmm };
	for (unsigned i = 0; i < VMS; i++)
		fleet_start(&fleet, i);
	await_all_shared("at first");
	for (unsigned n = 0; n < RESETS; n++) {
		if (n == SCARCE_FROM || n == SCARCE_TO)
			limit_write(n == SCARCE_FROM ? SCARCE_LIMIT : limit);
		reset_all(&random);
		if (n == SCARCE_FROM)
			await_limit(SCARCE_LIMIT);
		if (n == SILENT_AT)
			silence_one(&random);
	}
	await_all_shared("after all");
	for (unsigned i = 0; i < VMS; i++)
		fleet_kill(&fleet, i);
	instance_await(&instance, NULL, "store_bytes", 0);
	instance_done(&instance);
	return 0;
}
