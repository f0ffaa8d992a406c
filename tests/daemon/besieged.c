/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hostile peers of every kind at once, of several users each, and honest VMs of another user meanwhile: these share all
 * that they should, in the same page frames, time and again, and their bytes are right; and what the attackers can make
 * the daemon use stays within what the documents say. Afterwards one protection is switched off at a time, and either
 * the honest VMs lose, or that bound is broken.
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/control.h"
#include "daemon/pump.h"
#include "daemon/quota.h"
#include "daemon/session.h"
#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/daemon/siege.h"
#include "tests/support/test.h"

#define CONNECTIONS 48u
#define HONEST_VMS 3u
#define COMMON 192u
#define ZERO 32u
#define ROUNDS 2u
#define DEEDS 1u /* of each attacker between two rounds */

#define SETTINGS \
	SIEGE_ACCESS \
	"[scan]\ninterval_seconds = 1\n" \
	"[store]\nsize = 128M\n" \
	"[limits]\n"

static struct instance instance;
static struct siege siege;

static const struct fake_options honest = {
	.name = "honest", .pages = 512, .common = COMMON, .zero = ZERO, .uid = SIEGE_HONEST, .gid = SIEGE_GROUP
};

/* ---- what the daemon uses, as the kernel says ---- */

static long long status_bytes(const char *field)
{
	char path[64], line[256];
	long long kib = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)instance.pid);
	file = fopen(path, "re");
	test_check(file != NULL, "%s: %s", path, strerror(errno));
	while (kib < 0 && fgets(line, sizeof(line), file))
		if (strncmp(line, field, strlen(field)) == 0)
			(void)sscanf(line + strlen(field), "%lld", &kib);
	fclose(file);
	test_check(kib >= 0, "%s has no %s", path, field);
	return kib * 1024;
}

static long long memory_bytes(void)
{
	return status_bytes("RssAnon:") + status_bytes("VmSwap:");
}

static long long descriptors(void)
{
	const struct dirent *entry;
	char path[64];
	long long count = 0;
	DIR *folder;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)instance.pid);
	folder = opendir(path);
	test_check(folder != NULL, "%s: %s", path, strerror(errno));
	while ((entry = readdir(folder)) != NULL)
		count += entry->d_name[0] != '.';
	closedir(folder);
	return count;
}

/* ---- the honest ones ---- */

/* Nothing of theirs is left alone for whatever reason. */
static void check_refused(void)
{
	json_t *status = instance_ask(&instance, "{\"command\":\"status\"}"), *vm;
	size_t i;

	json_array_foreach(json_object_get(status, "vms"), i, vm) {
		const json_t *refused = json_array_get(json_object_get(vm, "refused"), 0);

		test_check(json_integer_value(json_object_get(vm, "uid")) != SIEGE_HONEST || refused == NULL,
			   "memory of %s is left alone: %s", json_string_value(json_object_get(vm, "name")),
			   json_string_value(json_object_get(refused, "text")));
	}
	json_decref(status);
}

/* Physically: one frame for all. */
static void check_shared(const struct fake_vmm vms[HONEST_VMS])
{
	for (unsigned i = 0; i < HONEST_VMS; i++) {
		struct fake_answer answer = fake_ask(&vms[i], FAKE_AWAIT, COMMON + ZERO);

		test_check(answer.connected, "honest VM %u is not served any more", i);
		test_check(answer.shared == COMMON && answer.zeroed == ZERO, "honest VM %u shares %u and %u pages", i,
			   answer.shared, answer.zeroed);
	}
	for (uint32_t page = 1; page <= COMMON; page++) {
		uint64_t frame = fake_frame(&vms[0], page);

		test_check(frame != 0, "page %u is not there", page);
		for (unsigned i = 1; i < HONEST_VMS; i++)
			test_check(fake_frame(&vms[i], page) == frame, "page %u of honest VM %u is not shared", page,
				   i);
	}
	for (unsigned i = 0; i < HONEST_VMS; i++)
		test_check(fake_ask(&vms[i], FAKE_CHECK, 0).damaged == 0, "memory of honest VM %u was changed", i);
	check_refused();
}

static void start_honest(struct fake_vmm vms[HONEST_VMS])
{
	for (unsigned i = 0; i < HONEST_VMS; i++)
		vms[i] = fake_start(instance.socket, &honest);
}

static void stop_honest(struct fake_vmm vms[HONEST_VMS])
{
	for (unsigned i = 0; i < HONEST_VMS; i++)
		fake_kill(&vms[i]);
}

/* ---- bounds ---- */

/* Of a connection: its socket and who is at the other end; of a VM its rings and its agent's connection besides. */
#define DESCRIPTORS_TO_ASK 2
#define DESCRIPTORS_EACH 5
/* Of a domain: its store, with mounts, lock and segments, and its userfaultfd. */
#define DESCRIPTORS_PER_DOMAIN 24

/* What [limits] connections_per_user, and SESSION_OUTSIDERS_MAX for those who may only ask, come to. */
static long long most_descriptors(long long before)
{
	const long long users = SIEGE_USERS + SIEGE_HOARDERS + 1;

	return before + users * (CONNECTIONS * DESCRIPTORS_EACH + DESCRIPTORS_PER_DOMAIN) +
	       SESSION_OUTSIDERS_MAX * DESCRIPTORS_TO_ASK;
}

/*
 * Of a VM, as docs/design/engine.md and daemon.md have it: of each page that may be known, which are four times what
 * its process has and 64 MiB, its word, its entry and its slot's; orders and FETCHes; the map of its memory, and the
 * one that is coming in; and some for regions, and for its connection.
 */
#define OWN_PAGES 1024
#define KNOWN_PAGES (QUOTA_IN_ANY_CASE_PAGES + QUOTA_TIMES_OWN * OWN_PAGES)
#define MAP_BYTES (2 * WIRE_RANGES_MAX * (24 + 16))
#define BYTES_PER_VM (KNOWN_PAGES * (4 + 12 + 16 + 2) + 8192 * (16 + 24) + MAP_BYTES + (256 << 10))
/* Of a user who reads no reply: what is kept for each of the connections that may ask. */
#define REPLY_BYTES_PER_VM 4096

static long long most_memory(long long before)
{
	const long long askers = SIEGE_USERS + SIEGE_HOARDERS, reply = REPLY_BYTES_PER_VM * (long long)siege.count;

	return before + siege.count * (long long)BYTES_PER_VM + askers * SESSION_CONTROL_PER_USER * reply;
}

static long long turn(const json_t *status, const char *name)
{
	return (long long)json_integer_value(json_object_get(json_object_get(status, "daemon"), name));
}

static void check_turn(const json_t *status, const char *name, long long most)
{
	printf("%s: %lld of %lld\n", name, turn(status, name), most);
	test_check(turn(status, name) <= most, "%s is %lld, and at most %lld should be", name, turn(status, name),
		   most);
}

/* Of a turn in which regions of terabytes come: each number of a page is given once. */
#define MOST_STEPS (ENGINE_STEPS_MAX + (RING_UP_RECORDS + 2 * PUMP_REPORTS_PER_TURN) / PUMP_REGION_REPORTS * 1024)

/* However much all of them want, it is a bounded piece of work after which others have their turn. */
static void check_turns(void)
{
	json_t *status = instance_ask(&instance, "{\"command\":\"status\"}");

	check_turn(status, "turn_max_items", CONTROL_ITEMS_PER_TURN);
	check_turn(status, "turn_max_packets", SESSION_PACKETS_PER_TURN);
	check_turn(status, "turn_max_orders", PUMP_ORDERS_MOST);
	/* Who leaves has the rest of his ring looked at. */
	check_turn(status, "turn_max_reports", RING_UP_RECORDS + 2 * PUMP_REPORTS_PER_TURN);
	check_turn(status, "turn_max_steps", MOST_STEPS);
	printf("longest turn: %lld us, of CPU time %lld us\n", turn(status, "turn_max_usec"),
	       turn(status, "turn_max_cpu_usec"));
	json_decref(status);
}

struct used {
	long long memory, descriptors;
};

static void check_used(const struct used *before)
{
	printf("memory: %lld KiB of %lld; descriptors: %lld of %lld\n", memory_bytes() >> 10,
	       most_memory(before->memory) >> 10, descriptors(), most_descriptors(before->descriptors));
	test_check(memory_bytes() <= most_memory(before->memory), "the daemon has grown by %lld KiB",
		   (memory_bytes() - before->memory) >> 10);
	test_check(descriptors() <= most_descriptors(before->descriptors), "the daemon has %lld descriptors more",
		   descriptors() - before->descriptors);
	test_check(instance_host(&instance, "store_bytes") <= 128 << 20, "the store is larger than it may be");
}

/* ---- everything at once ---- */

static struct used start(const char *limits)
{
	char settings[512];

	test_restart_clock();
	snprintf(settings, sizeof(settings), SETTINGS "%s", limits);
	instance_settings(&instance, settings);
	instance_start(&instance);
	return (struct used){ memory_bytes(), descriptors() };
}

static void besiege(void)
{
	struct fake_vmm vms[HONEST_VMS], late[HONEST_VMS];
	struct used before = start("connections_per_user = 48\n");

	start_honest(vms);
	siege_start(&siege, instance.socket);
	for (uint32_t round = 1; round <= ROUNDS; round++) {
		siege_await(&siege, DEEDS);
		for (unsigned i = 0; i < HONEST_VMS; i++)
			fake_ask(&vms[i], FAKE_NEXT_CONTENT, round);
		check_shared(vms);
		check_used(&before);
	}
	start_honest(late); /* and who comes now is served as well */
	check_shared(late);
	siege_await(&siege, DEEDS);
	check_used(&before);
	check_turns();
	siege_print(&siege);
	test_check(instance_alive(&instance), "the daemon has died");
	stop_honest(late);
	siege_end(&siege);
	check_shared(vms);
	instance_await(&instance, NULL, "shared_pages", HONEST_VMS * COMMON); /* nothing is left of the others */
	stop_honest(vms);
	instance_await(&instance, NULL, "store_bytes", 0);
	instance_stop(&instance);
}

/* ---- without one of the protections ---- */

static bool has_grown(long long (*used)(void), long long most)
{
	uint64_t last = test_patient_msec() + TEST_PATIENCE_SECONDS * 1000;

	while (used() <= most) {
		if (test_patient_msec() > last)
			return false;
		poll(NULL, 0, 10);
	}
	return true;
}

static void without_checked_claims(void)
{
	struct used before = start("claims = believed\nuser_reports_per_second = 0\n");

	for (unsigned i = 0; i < SIEGE_USERS; i++)
		siege_add(&siege, instance.socket, ATTACK_HASHES, SIEGE_ATTACKERS + i, SIEGE_GROUP);
	test_check(has_grown(memory_bytes, most_memory(before.memory)), "believing claims costs %lld KiB only",
		   (memory_bytes() - before.memory) >> 10);
	siege_end(&siege);
	instance_stop(&instance);
}

static void without_limit_of_connections(void)
{
	struct used before = start("connections_per_user = 65536\n");

	for (unsigned i = 0; i < 16; i++)
		siege_add(&siege, instance.socket, ATTACK_HALF, SIEGE_ATTACKERS + i % SIEGE_USERS, SIEGE_GROUP);
	test_check(has_grown(descriptors, most_descriptors(before.descriptors)),
		   "without a limit there are %lld descriptors only", descriptors());
	siege_end(&siege);
	instance_stop(&instance);
}

/* The honest ones lose: who takes all slots leaves none. */
static void without_share_of_the_store(void)
{
	struct fake_vmm vms[HONEST_VMS];
	uint64_t last;

	start("claims = believed\nuser_store_factor = 0\n");
	for (unsigned i = 0; i < SIEGE_USERS; i++)
		siege_add(&siege, instance.socket, ATTACK_CONTENTS, SIEGE_ATTACKERS + i, SIEGE_GROUP);
	last = test_patient_msec() + TEST_PATIENCE_SECONDS * 1000;
	while (!instance_logged(&instance, "the store is full"))
		test_check(test_patient_msec() < last, "the store does not get full");
	start_honest(vms);
	siege_await(&siege, 1000);
	for (unsigned i = 0; i < HONEST_VMS; i++)
		test_check(fake_ask(&vms[i], FAKE_STATE, 0).shared < COMMON, "honest VM %u shares all the same", i);
	stop_honest(vms);
	siege_end(&siege);
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
	besiege();
	without_checked_claims();
	without_limit_of_connections();
	without_share_of_the_store();
	instance_done(&instance);
	return 0;
}
