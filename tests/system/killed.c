/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * VMMs and the daemon are killed at random moments while pages are merged all the time. Whoever lives reads what it
 * wrote, by a shadow copy. What the dead referenced goes: at rest the counters and the store are what the page tables
 * of the living say, and that after many restarts of the daemon, too.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "include/pagefuse.h"
#include "tests/daemon/instance.h"
#include "tests/support/pages.h"
#include "tests/support/test.h"
#include "tests/system/fleet.h"

#define VMS 4u
#define PAGES 2048u
#define COMMON_PAGES (PAGES / 2) /* the same in all, from the first one on */
#define ZERO_PAGES 128u          /* behind those */
#define CONTENTS 64u             /* that pages are rewritten with; the same for all */
#define CONTENTS_SLOTS (4 * CONTENTS)
#define STEPS 60u
#define RESTARTS_MIN 10u
#define PAUSE_MSEC_MAX 80

/* What VMMs and the test have in common. */
static struct {
	uint64_t frames[VMS][PAGES]; /* of each page that is the store's; else 0 */
} * common;

static struct instance instance;
static struct fleet fleet;
static unsigned killed, restarts;

/* ---- a VMM ---- */

static char *memory;
static uint64_t shadow[PAGES]; /* content of each page */

static void check_all(void)
{
	for (uint32_t i = 0; i < PAGES; i++) {
		long word = pages_differ(memory + i * PAGE_BYTES, shadow[i]);

		if (word >= 0)
			test_damage("process %d, page %u, word %ld is not what was written last", (int)getpid(), i,
				    word);
	}
}

/** Writes or discards a page of every fourth, or only looks at another one. */
static void touch_one(uint64_t *random)
{
	uint32_t i = (uint32_t)(test_random(random) % PAGES);
	char *page = memory + i * PAGE_BYTES;

	if (pages_differ(page, shadow[i]) >= 0)
		test_damage("process %d, page %u is not what was written last", (int)getpid(), i);
	if (i % 4 != 0)
		return;
	if (test_random(random) % 16 == 0) {
		test_check(pagefuse_discard(page, PAGE_BYTES) == 0, "pagefuse_discard");
		shadow[i] = 0;
		return;
	}
	shadow[i] = 1 + test_random(random) % CONTENTS;
	pages_fill(page, shadow[i]);
}

static void tell_frames(unsigned which)
{
	for (uint32_t i = 0; i < PAGES; i++) {
		const char *page = memory + i * PAGE_BYTES;

		(void)*(const volatile char *)page;
		common->frames[which][i] = pages_is_file(page) ? pages_frame(page) : 0;
	}
}

/** Writes until told otherwise: 'r' rest, 'w' write, 'c' check and tell what is shared, 'e' end. */
static _Noreturn void obey(const struct fleet_vm *vm, unsigned which)
{
	struct pollfd order = { .fd = vm->orders, .events = POLLIN };
	uint64_t random = test_seed(100 + fleet.born);
	bool writing = true;
	char what;

	for (;;) {
		if (poll(&order, 1, writing ? 0 : -1) == 0) {
			touch_one(&random);
			continue;
		}
		if (read(vm->orders, &what, 1) != 1 || what == 'e')
			_exit(0);
		writing = what == 'w';
		if (what == 'c') {
			check_all();
			tell_frames(which);
		}
		test_check(write(vm->answers, &what, 1) == 1, "no answer can be given");
	}
}

static _Noreturn void run_vmm(const struct fleet_vm *vm, unsigned which)
{
	const struct pagefuse_options options = {
		.size = sizeof(options), .name = vm->name, .socket_path = instance.socket
	};
	int r;

	memory = pages_map(PAGES, false);
	for (uint32_t i = 0; i < PAGES; i++) {
		bool zero = i >= COMMON_PAGES && i < COMMON_PAGES + ZERO_PAGES;

		shadow[i] = i < COMMON_PAGES ? 1000 + i : zero ? 0
							       : (uint64_t)(fleet.born + 1) * 100000 + i;
		pages_fill(memory + i * PAGE_BYTES, shadow[i]);
	}
	r = pagefuse_configure(&options);
	if (r == 0)
		r = pagefuse_add_ram(PAGEFUSE_GPA_UNKNOWN, memory, PAGES * PAGE_BYTES);
	test_check(r == 0, "offering memory: %s", strerror(-r));
	obey(vm, which);
}

/* ---- the test ---- */

static int compare_frames(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/** What the page tables say: pages that read the store, and the different frames behind them. */
static void count_frames(long long *ret_shared, long long *ret_common)
{
	static uint64_t all[VMS * PAGES];
	long long different = 0;
	size_t count = 0;

	for (unsigned v = 0; v < VMS; v++)
		for (uint32_t i = 0; i < PAGES; i++)
			if (common->frames[v][i] != 0)
				all[count++] = common->frames[v][i];
	qsort(all, count, sizeof(*all), compare_frames);
	for (size_t i = 0; i < count; i++)
		different += i == 0 || all[i] != all[i - 1];
	*ret_shared = (long long)count;
	*ret_common = different;
}

/** Memory that the store's files take, less the one that holds its identity. */
static long long store_bytes(void)
{
	struct statvfs fs;
	char path[128];

	snprintf(path, sizeof(path), "%s.store/uid-%u/pages", instance.socket, (unsigned)geteuid());
	test_check(statvfs(path, &fs) == 0, "statvfs %s: %s", path, strerror(errno));
	return (long long)((fs.f_blocks - fs.f_bfree) * fs.f_frsize) - (long long)PAGE_BYTES;
}

/** One that has ended by itself, as a control's do when they see damage, does not come back. */
static void await_vm(const struct fleet_vm *vm, const char *field, long long value)
{
	uint64_t last = test_patient_msec() + TEST_PATIENCE_SECONDS * 1000;

	while (instance_vm(&instance, vm->name, field) != value) {
		siginfo_t ended = { 0 };

		waitid(P_PID, (id_t)vm->pid, &ended, WEXITED | WNOHANG | WNOWAIT);
		test_check(ended.si_pid == 0, "VM %s has ended by itself", vm->name);
		test_check(test_patient_msec() < last, "VM %s does not come back", vm->name);
		poll(NULL, 0, 10);
	}
}

/** A VMM tries to connect again every second. */
static void await_all(void)
{
	for (unsigned i = 0; i < VMS; i++) {
		await_vm(&fleet.vms[i], "connected", 1);
		await_vm(&fleet.vms[i], "ram_bytes", PAGES * PAGE_BYTES);
	}
}

/** All VMMs rest: nothing is left of the dead, and everything is what the kernel says. */
static void check_at_rest(void)
{
	uint64_t last = test_patient_msec() + TEST_DEADLINE_SECONDS * 1000;
	long long shared, common_pages, said_shared, said_common, said_store, store;

	fleet_tell_all(&fleet, 'r');
	await_all();
	instance_scan(&instance);
	for (;;) {
		fleet_tell_all(&fleet, 'c');
		count_frames(&shared, &common_pages);
		said_shared = instance_host(&instance, "shared_pages");
		said_common = instance_host(&instance, "common_pages");
		said_store = instance_host(&instance, "store_bytes");
		store = store_bytes();
		if (shared == said_shared && common_pages == said_common &&
		    said_store == common_pages * (long long)PAGE_BYTES && store == said_store)
			break;
		test_check(test_patient_msec() < last,
			   "%lld pages read %lld frames of the store, but status says %lld and %lld; the store has "
			   "%lld bytes, of which status says %lld",
			   shared, common_pages, said_shared, said_common, store, said_store);
		poll(NULL, 0, 50);
	}
	test_check(shared >= (long long)(VMS * COMMON_PAGES / 2), "only %lld pages are shared", shared);
	test_check(common_pages <= (long long)COMMON_PAGES + (long long)CONTENTS_SLOTS, "%lld slots are in use",
		   common_pages);
	fprintf(stderr, "at rest: %lld pages read %lld frames, the store has %lld KiB\n", shared, common_pages,
		store / 1024);
	fleet_tell_all(&fleet, 'w');
}

static void replace_vm(unsigned which)
{
	fleet_kill(&fleet, which);
	fleet_start(&fleet, which);
	killed++;
}

/** Nobody sees it when a VMM dies meanwhile. */
static void restart_daemon(uint64_t *random)
{
	if (test_random(random) % 4 == 0)
		instance_stop(&instance);
	else
		instance_kill(&instance);
	poll(NULL, 0, (int)(test_random(random) % PAUSE_MSEC_MAX));
	if (test_random(random) % 3 == 0)
		replace_vm((unsigned)(test_random(random) % VMS));
	restarts++;
	instance_start(&instance);
	if (test_random(random) % 2)
		await_all();
}

/** Something to be merged all the time. Whoever is not connected yet is not asked. */
static void start_scan(void)
{
	json_decref(instance_ask(&instance, "{\"command\":\"scan\"}"));
}

static void kill_at_random(void)
{
	uint64_t random = test_seed(1);

	for (unsigned step = 1; step <= STEPS || restarts < RESTARTS_MIN; step++) {
		start_scan();
		poll(NULL, 0, (int)(test_random(&random) % PAUSE_MSEC_MAX));
		switch (test_random(&random) % 4) {
		case 0:
			restart_daemon(&random);
			break;
		case 1:
			replace_vm((unsigned)(test_random(&random) % VMS));
			break;
		default:
			break;
		}
		if (step % (STEPS / 3) == 0) {
			test_restart_clock();
			check_at_rest();
		}
	}
	check_at_rest();
	fprintf(stderr, "%u VMMs were killed, and the daemon %u times\n", killed, restarts);
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	test_needs_moves();
	if (geteuid() != 0)
		test_skip("only a store that root can mount survives its daemon");
	common = mmap(NULL, sizeof(*common), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	test_check(common != MAP_FAILED, "mmap: %s", strerror(errno));
	instance_init(&instance);
	instance_settings(&instance, "[scan]\ninterval_seconds = 1\naudit_interval_seconds = 1\n");
	instance_start(&instance);
	if (instance_mounts(&instance) == 0)
		test_skip("this machine does not let root mount a tmpfs");
	fleet = (struct fleet){ .count = VMS, .run = run_vmm };
	for (unsigned i = 0; i < VMS; i++)
		fleet_start(&fleet, i);
	check_at_rest();
	kill_at_random();
	for (unsigned i = 0; i < VMS; i++)
		fleet_kill(&fleet, i);
	instance_await(&instance, NULL, "store_bytes", 0);
	instance_done(&instance);
	return 0;
}
