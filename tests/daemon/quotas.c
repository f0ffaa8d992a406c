/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Peers that take what they do not have: room in the store, RAM, memory of the daemon's, its time. Each is held to what
 * its process has and its user may have, the status and one line in the log say so, and VMs of another user share
 * meanwhile as if nobody else were there. Each time the quota is switched off afterwards, and the damage has to be
 * seen.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/quota.h"
#include "engine/space.h"
#include "tests/daemon/attackers.h"
#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define LIAR 20003u
#define BOB 20002u
#define COMMON 200u

static struct instance instance;

static struct attacker start_liar(struct attacker_options liar)
{
	liar.name = "liar";
	liar.uid = LIAR;
	liar.once = true;
	return attacker_start(instance.socket, &liar);
}

/* ---- what is seen of it ---- */

static long long refused_bytes(const char *name, const char *reason)
{
	json_t *status = instance_ask(&instance, "{\"command\":\"status\"}"), *vm, *refused;
	long long bytes = 0;
	size_t i, j;

	json_array_foreach(json_object_get(status, "vms"), i, vm)
		json_array_foreach(json_object_get(vm, "refused"), j, refused)
			if (strcmp(json_string_value(json_object_get(vm, "name")), name) == 0 &&
			    strcmp(json_string_value(json_object_get(refused, "reason")), reason) == 0)
				bytes = json_integer_value(json_object_get(refused, "bytes"));
	json_decref(status);
	return bytes;
}

static void await_refused_of(const char *name, const char *reason)
{
	uint64_t last = test_patient_msec() + TEST_PATIENCE_SECONDS * 1000;

	while (refused_bytes(name, reason) == 0)
		test_check(test_patient_msec() < last, "the status does not say that a quota is reached (%s)", reason);
}

static void await_refused(const char *reason)
{
	await_refused_of("liar", reason);
}

/* A figure of the host that grows with what is taken. */
static void await_at_least(const char *field, long long value)
{
	uint64_t last = test_patient_msec() + TEST_PATIENCE_SECONDS * 1000;
	long long seen, most = 0;

	while ((seen = instance_host(&instance, field)) < value) {
		test_check(test_patient_msec() < last, "without a quota, %s is %lld only", field, seen);
		if (seen > most) { /* slow as the host may be, it goes on */
			most = seen;
			last = test_patient_msec() + TEST_PATIENCE_SECONDS * 1000;
			test_progress();
		}
	}
}

static void share(uid_t uid)
{
	const struct fake_options options = { .name = "bob", .pages = 256, .common = COMMON, .uid = uid };
	struct fake_vmm a = fake_start(instance.socket, &options), b = fake_start(instance.socket, &options);

	fake_ask(&a, FAKE_AWAIT, COMMON);
	fake_ask(&b, FAKE_AWAIT, COMMON);
	test_check(refused_bytes("bob", "quota") == 0 && refused_bytes("bob", "ram-limit") == 0,
		   "an honest VM is held to a quota");
	test_check(fake_ask(&a, FAKE_CHECK, 0).damaged == 0 && fake_ask(&b, FAKE_CHECK, 0).damaged == 0,
		   "memory is not what it was");
	fake_kill(&a);
	fake_kill(&b);
}

/* VMs of another user share as ever. */
static void others_share(void)
{
	share(BOB);
}

static void start(const char *settings)
{
	test_restart_clock();
	instance_settings(&instance, settings);
	instance_start(&instance);
}

/* ---- each kind ---- */

#define MADE_UP (2 * 3 * QUOTA_IN_ANY_CASE_PAGES) /* pages; half as many contents, thrice what it may bring in */

static void room_in_the_store(void)
{
	static const struct attacker_options liar = { .attack = ATTACK_CONTENTS, .pages = MADE_UP, .has_mapped = true };
	const long long may = 2 * QUOTA_IN_ANY_CASE_PAGES * PAGE_BYTES; /* with what its process needs to run */
	struct attacker attacker;

	start("[scan]\ninterval_seconds = 0\n");
	attacker = start_liar(liar);
	await_refused("quota");
	others_share();
	test_check(instance_host(&instance, "store_bytes") <= may, "it has filled the store by %lld MiB",
		   instance_host(&instance, "store_bytes") >> 20);
	test_check(instance_logged(&instance, "its quota is reached"), "the log does not say so");
	attacker_stop(&attacker);
	instance_stop(&instance);

	start("[scan]\ninterval_seconds = 0\n[limits]\nclaims = believed\n");
	attacker = start_liar(liar);
	await_at_least("store_bytes", may + 1);
	attacker_stop(&attacker);
	instance_stop(&instance);
}

static void memory_of_the_daemon(void)
{
	static const struct attacker_options liar = { .attack = ATTACK_HASHES, .pages = 1 << 20, .has_mapped = true };
	const long long may = 8 << 20; /* half of it is for a kernel that gives the daemon's heap 2 MiB pages */
	long long before;
	struct attacker attacker;

	start("[scan]\ninterval_seconds = 0\n");
	before = instance_host(&instance, "overhead_bytes");
	attacker = start_liar(liar);
	await_refused("quota");
	others_share();
	test_check(instance_host(&instance, "overhead_bytes") <= before + may, "it has grown the daemon by %lld KiB",
		   (instance_host(&instance, "overhead_bytes") - before) >> 10);
	attacker_stop(&attacker);
	instance_stop(&instance);

	start("[scan]\ninterval_seconds = 0\n[limits]\nclaims = believed\nuser_reports_per_second = 0\n");
	before = instance_host(&instance, "overhead_bytes");
	attacker = start_liar(liar);
	await_at_least("overhead_bytes", before + may + 1);
	attacker_stop(&attacker);
	instance_stop(&instance);
}

static void memory_that_is_not_mapped(void)
{
	static const struct attacker_options liar = { .attack = ATTACK_CLAIMS, .pages = UINT64_C(1) << 28 };
	const long long bytes = (long long)liar.pages * (long long)PAGE_BYTES;
	struct attacker attacker;

	start("");
	attacker = start_liar(liar);
	await_refused("ram-limit");
	others_share();
	test_check(instance_vm(&instance, "liar", "ram_bytes") < bytes / 1024, "it has registered what it has not");
	attacker_stop(&attacker);
	instance_stop(&instance);

	start("[limits]\nclaims = believed\nuser_ram_percent = 0\n");
	attacker = start_liar(liar);
	instance_await(&instance, "liar", "ram_bytes", bytes);
	attacker_stop(&attacker);
	instance_stop(&instance);
}

static void memory_that_the_host_has_not(void)
{
	const long long ram = sysconf(_SC_PHYS_PAGES) * (long long)PAGE_BYTES;
	const uint64_t pages = (uint64_t)ram / PAGE_BYTES * 3 / 2;
	struct attacker_options liar = { .attack = ATTACK_CLAIMS, .pages = pages, .has_mapped = true };
	struct attacker attacker;

	start("[limits]\nuser_ram_percent = 100\n");
	attacker = start_liar(liar);
	await_refused("ram-limit");
	others_share();
	test_check(instance_vm(&instance, "liar", "ram_bytes") <= ram, "it has registered more than the host has");
	attacker_stop(&attacker);
	instance_stop(&instance);

	start("[limits]\nuser_ram_percent = 0\n");
	attacker = start_liar(liar);
	instance_await(&instance, "liar", "ram_bytes", (long long)liar.pages * (long long)PAGE_BYTES);
	attacker_stop(&attacker);
	instance_stop(&instance);
}

#define DOMAIN_OF_BOTH "[domain both]\nuser = 20002 20003\n"
#define NUMBERS (UINT64_C(1) << 31) /* of pages, in a domain */

/* Those of a domain: all but what is no whole region is taken by two VMs, and that by a third. */
static void start_takers(struct attacker takers[3])
{
	static const uint64_t pages[] = { NUMBERS / 2, NUMBERS / 2, ATTACKER_REGION_PAGES - SPACE_CHUNK_PAGES };

	for (unsigned i = 0; i < 3; i++) {
		takers[i] = start_liar((struct attacker_options){ .attack = ATTACK_CLAIMS, .pages = pages[i] });
		while (attacker_deeds(&takers[i]) == 0) /* all that it has told is taken in */
			poll(NULL, 0, 1);
	}
}

static void stop_takers(struct attacker takers[3])
{
	for (unsigned i = 0; i < 3; i++)
		attacker_stop(&takers[i]);
	instance_stop(&instance);
}

static void page_numbers_of_a_domain(void)
{
	static const struct fake_options options = { .name = "bob", .pages = 256, .common = COMMON, .uid = BOB };
	struct attacker takers[3];
	struct fake_vmm vmm;

	start(DOMAIN_OF_BOTH "[limits]\nclaims = believed\nuser_ram_percent = 0\n");
	start_takers(takers);
	await_refused_of("liar-2", "ram-limit");
	others_share();
	stop_takers(takers);

	start(DOMAIN_OF_BOTH "[limits]\nclaims = believed\nuser_ram_percent = 0\nuser_numbers_factor = 0\n");
	start_takers(takers);
	vmm = fake_start(instance.socket, &options);
	await_refused_of("bob", "ram-limit");
	test_check(fake_ask(&vmm, FAKE_STATE, 0).shared == 0, "without a quota, there are numbers left");
	fake_kill(&vmm);
	stop_takers(takers);
}

/* Its memory is real, and it shares all of it: a hog, and no liar. */
static void share_of_a_user(void)
{
	static const struct fake_options hog = { .name = "hog", .pages = 6000, .common = 6000, .uid = LIAR };
	static const struct fake_options options = { .name = "bob", .pages = 256, .common = COMMON, .uid = BOB };
	struct fake_vmm a, b, c;

	start("[store]\nsize = 16M\n[limits]\nuser_store_factor = 1\n");
	a = fake_start(instance.socket, &hog);
	b = fake_start(instance.socket, &hog);
	fake_ask(&b, FAKE_AWAIT, 2000);
	instance_scan(&instance);
	others_share();
	test_check(instance_host(&instance, "common_pages") <= 2048 + COMMON, "it has more than its share: %lld pages",
		   instance_host(&instance, "common_pages"));
	test_check(instance_logged(&instance, "has its share of the store"), "the log does not say so");
	fake_kill(&a);
	fake_kill(&b);
	instance_stop(&instance);

	start("[store]\nsize = 16M\n[limits]\nuser_store_factor = 0\n");
	a = fake_start(instance.socket, &hog);
	b = fake_start(instance.socket, &hog);
	fake_ask(&b, FAKE_AWAIT, 4000);
	instance_scan(&instance);
	c = fake_start(instance.socket, &options);
	fake_ask(&c, FAKE_STATE, 0);
	instance_scan(&instance);
	test_check(fake_ask(&c, FAKE_STATE, 0).shared < COMMON, "without a quota, there is room left");
	fake_kill(&a);
	fake_kill(&b);
	fake_kill(&c);
	instance_stop(&instance);
}

/* Who reports faster than he may waits, and everything that he has to say is heard. */
static void reports_wait(void)
{
	start("[limits]\nuser_reports_per_second = 2000\n");
	others_share();
	instance_stop(&instance);
}

/* What a VMM tells of its memory is told as fast as it may report: the rest waits in its socket. */
static void maps_wait(void)
{
	static const uint64_t fit = 8; /* in the socket, and what was taken before */
	static const struct attacker_options options = { .attack = ATTACK_MAPS, .uid = LIAR };
	struct attacker attacker;

	start("[limits]\nuser_reports_per_second = 1\n");
	attacker = attacker_start(instance.socket, &options);
	instance_await(&instance, "maps", "connected", 1);
	share(0); /* who has no such limit */
	test_check(attacker_deeds(&attacker) <= fit, "%llu maps were taken in",
		   (unsigned long long)attacker_deeds(&attacker));
	attacker_stop(&attacker);
	instance_stop(&instance);

	start("[limits]\nuser_reports_per_second = 0\n");
	attacker = attacker_start(instance.socket, &options);
	while (attacker_deeds(&attacker) <= fit)
		poll(NULL, 0, 1);
	attacker_stop(&attacker);
	instance_stop(&instance);
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	if (TEST_ADDRESS_SANITIZER || TEST_THREAD_SANITIZER)
		test_skip("a sanitizer has terabytes of its own mapped, and quotas go by what is mapped");
	if (geteuid() != 0)
		test_skip("only root can have VMs of several users");
	instance_init(&instance);
	memory_that_is_not_mapped();
	memory_that_the_host_has_not();
	page_numbers_of_a_domain();
	room_in_the_store();
	memory_of_the_daemon();
	share_of_a_user();
	reports_wait();
	maps_wait();
	instance_done(&instance);
	return 0;
}
