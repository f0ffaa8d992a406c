/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How fast VMs of one user share while all attackers of the tests are at work, of other users and at all sockets, and
 * how fast when nobody else is there. The VMs are VMMs of the tests, which speak the protocol without the library.
 *
 *   besieged DAEMON [ROUNDS]
 *
 * In each round they write new contents, the same in all of them, and a pass is asked for; what counts is the time from
 * there until each has all of its pages shared. It is taken without the attackers, then with them at another daemon,
 * then with them at this one, and so on by turns: the second is what it costs that they and a daemon want the CPUs, so
 * the third in times of it is what they do to those whom this daemon serves. Attackers leave the CPUs to others (nice
 * 19) as far as the kernel has them do so. Printed are medians, name and value.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/daemon/siege.h"
#include "tests/support/test.h"

#define VMS 3u
#define PAGES 4096u
#define ROUNDS 5u
#define ROUNDS_MAX 99u
#define ATTACKER_NICE 19

#define SETTINGS \
	SIEGE_ACCESS \
	"[scan]\ninterval_seconds = 0\n" \
	"[store]\nsize = 256M\n" \
	"[limits]\nconnections_per_user = 48\n"

static struct instance instance, other;
static struct siege siege = { .nice = ATTACKER_NICE };
static struct fake_vmm vms[VMS];

static const struct fake_options honest = {
	.name = "honest", .pages = PAGES, .common = PAGES, .uid = SIEGE_HONEST, .gid = SIEGE_GROUP
};

static double now_msec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static double share_msec(void)
{
	static const char scan[] = "{\"command\":\"scan\",\"names\":[\"honest\",\"honest-2\",\"honest-3\"]}";
	static uint32_t content;
	double began;

	content++;
	for (unsigned i = 0; i < VMS; i++)
		fake_ask(&vms[i], FAKE_NEXT_CONTENT, content);
	began = now_msec();
	json_decref(instance_ask(&instance, scan));
	for (unsigned i = 0; i < VMS; i++)
		test_check(fake_ask(&vms[i], FAKE_AWAIT, PAGES).shared == PAGES, "honest VM %u is not served any more",
			   i);
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
		vms[i] = fake_start(instance.socket, &honest);
	for (unsigned i = 0; i < VMS; i++)
		fake_ask(&vms[i], FAKE_AWAIT, PAGES);
	measure((unsigned)rounds);
	for (unsigned i = 0; i < VMS; i++)
		fake_kill(&vms[i]);
	instance_done(&other);
	instance_done(&instance);
	return 0;
}
