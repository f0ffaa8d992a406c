/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Peers that take what they do not have: room in the store, RAM, memory of the daemon's, its time. Each is held to what
 * its process has and its user may have, the status and one line in the log say so, and VMs of another user share
 * meanwhile as if nobody else were there. Each time the quota is switched off afterwards, and the damage has to be
 * seen.
 */
#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/hash.h"
#include "daemon/quota.h"
#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define LIAR 20003u
#define BOB 20002u
#define COMMON 200u

static struct instance instance;

/* ---- a VMM that makes contents up, and has no memory of its own for them ---- */

enum lie {
	LIE_CONTENTS, /* each content twice, so that it is brought into the store */
	LIE_HASHES,   /* each once */
	LIE_RAM,      /* none: only regions */
};

struct liar {
	enum lie lie;
	uint64_t pages;  /* that it registers */
	bool has_mapped; /* so many, without touching them */
};

#define REGION_PAGES (UINT64_C(1) << 20)

static struct fake_link to_daemon;
static uint32_t staged;

static void make_up(void *content, uint64_t number)
{
	memset(content, 0, PAGE_BYTES);
	memcpy(content, &(uint64_t){ number | UINT64_C(1) << 60 }, sizeof(number));
}

static uint64_t hash_of(uint64_t number)
{
	unsigned char content[PAGE_BYTES];

	make_up(content, number);
	return page_hash(content, to_daemon.welcome.seed);
}

static void answer(const struct ring_record *order)
{
	struct ring_record report = { .op = REPORT_MERGED, .count = order->count, .page = order->page };
	uint32_t index;

	if (order->op == ORDER_FETCH) {
		index = staged++ % RING_STAGING_PAGES;
		while (index == 0 && staged > 1 && ring_room(&to_daemon.up) != (int)RING_UP_RECORDS)
			poll(NULL, 0, 1);
		make_up(ring_staging(to_daemon.ring, index), order->page / 2);
		fake_link_post(&to_daemon, REPORT_FETCHED, order->page, 1, index);
	} else if (order->op == ORDER_MERGE) {
		report.slot = order->slot;
		fake_link_post(&to_daemon, REPORT_MERGED, order->page, order->count, report.value);
	} else if (order->op == ORDER_SCAN || order->op == ORDER_AUDIT) {
		fake_link_post(&to_daemon, REPORT_SCANNED, order->page, order->count, order->count);
	}
}

static void obey(void)
{
	struct ring_record order;
	char message[WIRE_MESSAGE_MAX];

	while (ring_get(&to_daemon.down, &order) == 1) {
		if (ring_release(&to_daemon.down))
			fake_link_ring(&to_daemon);
		answer(&order);
	}
	while (recv(to_daemon.socket, message, sizeof(message), MSG_DONTWAIT) > 0)
		;
}

static void tell(const struct liar *liar)
{
	for (uint32_t i = 2; liar->lie != LIE_RAM && i < liar->pages; i++) {
		fake_link_post(&to_daemon, REPORT_HASH, i, 1, hash_of(liar->lie == LIE_CONTENTS ? i / 2 : i));
		obey();
	}
}

/*
 * Again and again, as passes do: for some of what is told there is no room in the queues if the daemon gets a CPU while
 * this process does not.
 */
static void lie(const struct liar *liar)
{
	uint32_t page = 2; /* so that both pages of a content are in one region */

	for (uint64_t left = liar->pages; left > 0;) {
		uint64_t pages = left < REGION_PAGES ? left : REGION_PAGES;

		fake_link_post(&to_daemon, REPORT_REGION_ADD, page, 1, pages);
		page += (uint32_t)pages;
		left -= pages;
	}
	fake_link_post(&to_daemon, REPORT_READY, 1, 1, 0);
	for (;;) {
		tell(liar);
		for (unsigned i = 0; i < 100; i++) {
			obey();
			poll(NULL, 0, 1);
		}
	}
}

/* It goes when it is killed. */
static pid_t start_liar(const struct liar *liar)
{
	pid_t pid = test_fork();

	if (pid != 0)
		return pid;
	test_check(setgroups(0, NULL) == 0 && setresgid(LIAR, LIAR, LIAR) == 0 && setresuid(LIAR, LIAR, LIAR) == 0,
		   "become another user: %s", strerror(errno));
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (liar->has_mapped)
		test_check(mmap(NULL, liar->pages * PAGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
				-1, 0) != MAP_FAILED,
			   "map %llu pages: %s", (unsigned long long)liar->pages, strerror(errno));
	test_check(fake_link_open(&to_daemon, instance.socket, "liar", WIRE_MODE_FULL, 0) == 0, "no welcome");
	lie(liar);
	_exit(0);
}

static void stop_liar(pid_t pid)
{
	kill(pid, SIGKILL);
	test_wait_child(pid);
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

static void await_refused(const char *reason)
{
	uint64_t last = test_now_msec() + TEST_PATIENCE_SECONDS * 1000;

	while (refused_bytes("liar", reason) == 0)
		test_check(test_now_msec() < last, "the status does not say that a quota is reached (%s)", reason);
}

/* A figure of the host that grows with what is taken. */
static void await_at_least(const char *field, long long value)
{
	uint64_t last = test_now_msec() + TEST_PATIENCE_SECONDS * 1000;

	while (instance_host(&instance, field) < value)
		test_check(test_now_msec() < last, "without a quota, %s is %lld only", field,
			   instance_host(&instance, field));
}

/* VMs of another user share as ever. */
static void others_share(void)
{
	static const struct fake_options options = { .name = "bob", .pages = 256, .common = COMMON, .uid = BOB };
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
	static const struct liar liar = { .lie = LIE_CONTENTS, .pages = MADE_UP, .has_mapped = true };
	const long long may = 2 * QUOTA_IN_ANY_CASE_PAGES * PAGE_BYTES; /* with what its process needs to run */
	pid_t pid;

	start("[scan]\ninterval_seconds = 0\n");
	pid = start_liar(&liar);
	await_refused("quota");
	others_share();
	test_check(instance_host(&instance, "store_bytes") <= may, "it has filled the store by %lld MiB",
		   instance_host(&instance, "store_bytes") >> 20);
	test_check(instance_logged(&instance, "its quota is reached"), "the log does not say so");
	stop_liar(pid);
	instance_stop(&instance);

	start("[scan]\ninterval_seconds = 0\n[limits]\nclaims = believed\n");
	pid = start_liar(&liar);
	await_at_least("store_bytes", may + 1);
	stop_liar(pid);
	instance_stop(&instance);
}

static void memory_of_the_daemon(void)
{
	static const struct liar liar = { .lie = LIE_HASHES, .pages = 1 << 20, .has_mapped = true };
	const long long may = 4 << 20;
	long long before;
	pid_t pid;

	start("[scan]\ninterval_seconds = 0\n");
	before = instance_host(&instance, "overhead_bytes");
	pid = start_liar(&liar);
	await_refused("quota");
	others_share();
	test_check(instance_host(&instance, "overhead_bytes") <= before + may, "it has grown the daemon by %lld KiB",
		   (instance_host(&instance, "overhead_bytes") - before) >> 10);
	stop_liar(pid);
	instance_stop(&instance);

	start("[scan]\ninterval_seconds = 0\n[limits]\nclaims = believed\nuser_reports_per_second = 0\n");
	before = instance_host(&instance, "overhead_bytes");
	pid = start_liar(&liar);
	await_at_least("overhead_bytes", before + may + 1);
	stop_liar(pid);
	instance_stop(&instance);
}

static void memory_that_is_not_mapped(void)
{
	static const struct liar liar = { .lie = LIE_RAM, .pages = UINT64_C(1) << 28 };
	const long long bytes = (long long)liar.pages * (long long)PAGE_BYTES;
	pid_t pid;

	start("");
	pid = start_liar(&liar);
	await_refused("ram-limit");
	others_share();
	test_check(instance_vm(&instance, "liar", "ram_bytes") < bytes / 1024, "it has registered what it has not");
	stop_liar(pid);
	instance_stop(&instance);

	start("[limits]\nclaims = believed\nuser_ram_percent = 0\n");
	pid = start_liar(&liar);
	instance_await(&instance, "liar", "ram_bytes", bytes);
	stop_liar(pid);
	instance_stop(&instance);
}

static void memory_that_the_host_has_not(void)
{
	const long long ram = sysconf(_SC_PHYS_PAGES) * (long long)PAGE_BYTES;
	struct liar liar = { .lie = LIE_RAM, .pages = (uint64_t)ram / PAGE_BYTES * 3 / 2, .has_mapped = true };
	pid_t pid;

	start("[limits]\nuser_ram_percent = 100\n");
	pid = start_liar(&liar);
	await_refused("ram-limit");
	others_share();
	test_check(instance_vm(&instance, "liar", "ram_bytes") <= ram, "it has registered more than the host has");
	stop_liar(pid);
	instance_stop(&instance);

	start("[limits]\nuser_ram_percent = 0\n");
	pid = start_liar(&liar);
	instance_await(&instance, "liar", "ram_bytes", (long long)liar.pages * (long long)PAGE_BYTES);
	stop_liar(pid);
	instance_stop(&instance);
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
	room_in_the_store();
	memory_of_the_daemon();
	share_of_a_user();
	reports_wait();
	instance_done(&instance);
	return 0;
}
