/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How fast VMs of one user share while all attackers of the tests are at work, of other users and at all sockets, and
 * how fast when nobody else is there. The VMs are processes on the C API.
 *
 *   besieged DAEMON [ROUNDS]
 *
 * In each round they write new contents, the same in all of them, and a pass is asked for; what counts is the time from
 * there until each maps all of its pages from the store. It is taken without the attackers, then with them at another
 * daemon, then with them at this one, and so on by turns: the second is what it costs that they and a daemon want the
 * CPUs, so the third in times of it is what they do to those whom this daemon serves. Attackers leave the CPUs to
 * others (nice 19) as far as the kernel has them do so. Printed are medians, name and value.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "include/pagefuse.h"
#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/daemon/siege.h"
#include "tests/support/pages.h"
#include "tests/support/test.h"
#include "tests/system/fleet.h"

#define VMS 3u
#define PAGES 8192u
#define ROUNDS 5u
#define ROUNDS_MAX 99u
#define ATTACKER_NICE 19

#define SETTINGS \
	SIEGE_ACCESS \
	"[scan]\ninterval_seconds = 0\n" \
	"[store]\nsize = 256M\n" \
	"[limits]\nconnections_per_user = 48\n"

/* In /proc/self/pagemap. What is mapped anew is not present before somebody reads it. */
#define PRESENT (UINT64_C(1) << 63)
#define FILE_MAPPED (UINT64_C(1) << 61)
#define LOOK_NSEC 1000000

static struct instance instance, other;
static struct siege siege = { .nice = ATTACKER_NICE };

/* ---- a VM ---- */

static bool is_shared(int pagemap, const char *memory)
{
	uint64_t entries[PAGES];
	const off_t at = (off_t)((uintptr_t)memory / PAGE_BYTES * sizeof(*entries));

	test_check(pread(pagemap, entries, sizeof(entries), at) == sizeof(entries), "/proc/self/pagemap: %s",
		   strerror(errno));
	for (unsigned i = 0; i < PAGES; i++)
		if ((entries[i] & PRESENT) != 0 && (entries[i] & FILE_MAPPED) == 0)
			return false;
	return true;
}

/* 'w': writes what no VM had before, the same in all; 's': waits until all of it is shared. */
static void be_honest(const struct fleet_vm *vm, unsigned which)
{
	const struct pagefuse_options options = { .size = sizeof(options),
						  .name = vm->name,
						  .socket_path = instance.socket };
	const struct timespec nap = { .tv_nsec = LOOK_NSEC };
	char *memory = pages_map(PAGES, false), order;
	uint64_t content = 1;
	int pagemap;

	(void)which;
	fake_become(SIEGE_HONEST, SIEGE_GROUP);
	prctl(PR_SET_DUMPABLE, 1); /* its own /proc is its own again */
	pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	test_check(pagemap >= 0, "/proc/self/pagemap: %s", strerror(errno));
	test_check(pagefuse_configure(&options) == 0 &&
			   pagefuse_add_ram(PAGEFUSE_GPA_UNKNOWN, memory, PAGES * PAGE_BYTES) == 0,
		   "pagefuse_add_ram");
	while (read(vm->orders, &order, 1) == 1) {
		for (uint32_t i = 0; order == 'w' && i < PAGES; i++)
			pages_fill(memory + i * PAGE_BYTES, content++);
		while (order == 's' && !is_shared(pagemap, memory))
			nanosleep(&nap, NULL);
		test_check(write(vm->answers, &order, 1) == 1, "the benchmark is gone");
	}
	_exit(0);
}

static struct fleet vms = { .count = VMS, .run = be_honest };

/* ---- how long it takes ---- */

static double now_msec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static double share_msec(void)
{
	static const char scan[] = "{\"command\":\"scan\",\"names\":[\"vm0\",\"vm1\",\"vm2\"]}";
	double began;

	fleet_tell_all(&vms, 'w');
	began = now_msec();
	json_decref(instance_ask(&instance, scan));
	fleet_tell_all(&vms, 's');
	test_progress();
	return now_msec() - began;
}

/* Ends the siege, and waits until @of has its own VMs only. */
static void await_peace(struct instance *of, size_t vms_of_its_own)
{
	size_t count = SIZE_MAX;

	siege_end(&siege);
	while (count != vms_of_its_own) {
		json_t *status = instance_ask(of, "{\"command\":\"status\"}");

		count = json_array_size(json_object_get(status, "vms"));
		json_decref(status);
		poll(NULL, 0, 10);
	}
}

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double median(double *values, unsigned count)
{
	qsort(values, count, sizeof(*values), compare);
	return values[(count - 1) / 2];
}

static void report(const char *name, double msec)
{
	printf("%s_msec %.1f\n%s_pages_per_sec %.0f\n", name, msec, name, VMS * PAGES / msec * 1e3);
}

static double share_with_siege_at(struct instance *of, size_t vms_of_its_own, unsigned *ret_attackers)
{
	double msec;

	siege_start(&siege, of->socket);
	siege_await(&siege, 1);
	*ret_attackers = siege.count;
	msec = share_msec();
	await_peace(of, vms_of_its_own);
	return msec;
}

static void measure(unsigned rounds)
{
	double quiet[ROUNDS_MAX] = { 0 }, elsewhere[ROUNDS_MAX] = { 0 }, besieged[ROUNDS_MAX] = { 0 };
	double ratio[ROUNDS_MAX] = { 0 }, to_elsewhere[ROUNDS_MAX] = { 0 };
	unsigned attackers = 0;

	for (unsigned i = 0; i < rounds; i++) {
		quiet[i] = share_msec();
		elsewhere[i] = share_with_siege_at(&other, 0, &attackers);
		besieged[i] = share_with_siege_at(&instance, VMS, &attackers);
		ratio[i] = besieged[i] / quiet[i];
		to_elsewhere[i] = besieged[i] / elsewhere[i];
		fprintf(stderr, "round %u: %.1f ms, another daemon besieged %.1f ms, this one %.1f ms\n", i + 1,
			quiet[i], elsewhere[i], besieged[i]);
	}
	printf("attackers %u\n", attackers);
	report("quiet", median(quiet, rounds));
	report("elsewhere", median(elsewhere, rounds));
	report("besieged", median(besieged, rounds));
	printf("ratio %.2f\nratio_to_elsewhere %.2f\n", median(ratio, rounds), median(to_elsewhere, rounds));
}

static void start_daemon(struct instance *of)
{
	instance_init(of);
	instance_settings(of, SETTINGS);
	instance_start(of);
}

int main(int argc, char **argv)
{
	unsigned long rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : ROUNDS;

	if (argc < 2 || argc > 3 || rounds == 0 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "usage: besieged DAEMON [ROUNDS]\n");
		return 2;
	}
	if (geteuid() != 0) {
		fprintf(stderr, "besieged: needs root, for VMs of several users\n");
		return 1;
	}
	test_begin(argc, argv);
	test_check(setenv("PAGEFUSED", argv[1], 1) == 0, "no memory");
	start_daemon(&instance);
	start_daemon(&other);
	for (unsigned i = 0; i < VMS; i++)
		fleet_start(&vms, i);
	for (unsigned i = 0; i < VMS; i++)
		instance_await(&instance, vms.vms[i].name, "ram_bytes", PAGES * PAGE_BYTES);
	share_msec(); /* contents that were there before */
	measure((unsigned)rounds);
	for (unsigned i = 0; i < VMS; i++)
		fleet_kill(&vms, i);
	instance_done(&other);
	instance_done(&instance);
	return 0;
}
