/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Domains: VMs of one user share, those of two do not, and nothing that one domain has leads to another: no page, no
 * store, no seed, no slot that is claimed, no page number that is taken. Each comes with its first VM and goes with its
 * last one; a daemon that is started again finds all of them.
 *
 * control: with the liar in the domain of the other users, by the settings. Then it gets at their pages.
 */
#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define ALICE 20001u
#define BOB 20002u
#define LIAR 20003u
#define COMMON 100u
#define ZERO 20u

static struct instance instance;

static const struct fake_options of_alice = {
	.name = "alice", .pages = 256, .common = COMMON, .zero = ZERO, .uid = ALICE
};
static const struct fake_options of_bob = {
	.name = "bob", .pages = 256, .common = COMMON, .zero = ZERO, .uid = BOB
};

static bool store_is_there(uid_t uid)
{
	char path[160];

	snprintf(path, sizeof(path), "%s.store/uid-%u", instance.socket, (unsigned)uid);
	return access(path, F_OK) == 0;
}

static void await_no_store(uid_t uid)
{
	uint64_t last = test_patient_msec() + TEST_PATIENCE_SECONDS * 1000;

	while (store_is_there(uid)) {
		test_check(test_patient_msec() < last, "the store of user %u stays, though it has no VM",
			   (unsigned)uid);
		json_decref(instance_ask(&instance, "{\"command\":\"status\"}"));
	}
}

static void check_intact(const struct fake_vmm *vmm)
{
	test_check(fake_ask(vmm, FAKE_CHECK, 0).damaged == 0, "memory is not what it was");
}

/* Of the segment that it was given: each store is one. */
static dev_t file_system_of(const struct fake_vmm *vmm)
{
	struct stat st;
	int fd = fake_take_segment(vmm);

	test_check(fstat(fd, &st) == 0, "fstat: %s", strerror(errno));
	close(fd);
	return st.st_dev;
}

static void become(uid_t uid)
{
	test_check(setgroups(0, NULL) == 0 && setresgid(uid, uid, uid) == 0 && setresuid(uid, uid, uid) == 0,
		   "become user %u: %s", (unsigned)uid, strerror(errno));
}

/* @alice has a twin to share with, @bob has none but VMs of other users. */
static void users_do_not_share(const struct fake_vmm *alice, const struct fake_vmm *twin, const struct fake_vmm *bob)
{
	fake_ask(alice, FAKE_AWAIT, COMMON + ZERO);
	fake_ask(twin, FAKE_AWAIT, COMMON + ZERO);
	fake_ask(bob, FAKE_AWAIT, ZERO);
	instance_scan(&instance);
	instance_scan(&instance); /* pages that were new in the first one are candidates in the second */
	test_check(fake_ask(bob, FAKE_STATE, 0).shared == 0, "pages of two users were merged");
	instance_await(&instance, NULL, "shared_pages", 2 * COMMON);
	test_check(file_system_of(alice) == file_system_of(twin), "one user's VMs are given two stores");
}

/* The domains' figures add up to the host's; and who is not root sees his own only, also in the sums. */
static void status_adds_up(void)
{
	static const char *const fields[] = { "shared_pages", "common_pages", "zero_pages", "saved_pages",
					      "store_bytes" };
	json_t *status = instance_ask(&instance, "{\"command\":\"status\"}"), *domain;
	json_int_t sums[5] = { 0 };
	size_t i;

	test_check(json_array_size(json_object_get(status, "domains")) == 3, "there are not three domains");
	json_array_foreach(json_object_get(status, "domains"), i, domain)
		for (unsigned f = 0; f < 5; f++)
			sums[f] += json_integer_value(json_object_get(domain, fields[f]));
	for (unsigned f = 0; f < 5; f++)
		test_check(sums[f] == json_integer_value(json_object_get(json_object_get(status, "host"), fields[f])),
			   "%s of the domains are %lld in all, not the host's", fields[f], (long long)sums[f]);
	json_decref(status);
}

static void others_see_nothing(void)
{
	pid_t pid = test_fork();
	int status;

	if (pid == 0) {
		become(ALICE);
		test_check(instance_host(&instance, "shared_pages") == 2 * COMMON, "Alice sees sums of others");
		test_check(instance_vm(&instance, "bob", "pid") < 0, "Alice sees a VM of Bob's");
		_exit(0);
	}
	status = test_wait_child(pid);
	test_check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a user sees what is another's: 0x%x", status);
}

static void users_have_stores(const struct fake_vmm *alice, const struct fake_vmm *bob)
{
	struct fake_vmm twin = fake_start(instance.socket, &of_bob);
	struct fake_answer a, b;

	fake_ask(bob, FAKE_AWAIT, COMMON + ZERO);
	fake_ask(&twin, FAKE_AWAIT, COMMON + ZERO);
	instance_await(&instance, NULL, "shared_pages", 4 * COMMON);
	instance_await(&instance, NULL, "common_pages", 2 * COMMON);
	a = fake_ask(alice, FAKE_STATE, 0);
	b = fake_ask(bob, FAKE_STATE, 0);
	test_check(a.store != b.store && a.seed != b.seed, "two users have one store or one seed");
	test_check(file_system_of(alice) != file_system_of(bob), "two users are given segments of one store");
	test_check(store_is_there(ALICE) && store_is_there(BOB), "two users' stores are not in two directories");
	check_intact(bob);
	status_adds_up();
	others_see_nothing();
	fake_kill(&twin);
}

/* Asks for a segment, and says that it maps slots of another domain's store, whose identity it has learned somehow. */
static void claims_are_refused(const struct fake_vmm *victim)
{
	uint64_t store = fake_ask(victim, FAKE_STATE, 0).store;
	pid_t pid = test_fork();
	int status;

	if (pid == 0) {
		static _Alignas(8) char message[WIRE_MESSAGE_MAX];
		const struct wire_header *header = (const void *)message;
		struct fake_link link;

		become(LIAR);
		test_check(fake_link_open(&link, instance.socket, "claims", WIRE_MODE_FULL, store) == 0, "no welcome");
		if (link.welcome.store == store)
			test_damage("it was given the store that it named");
		fake_link_post(&link, REPORT_REGION_ADD, 1, 1, 16);
		test_check(fake_link_want(&link, 0) == 0, "cannot ask for a segment");
		fake_link_post(&link, REPORT_ADOPT, 1, 1, 0);
		while (recv(link.socket, message, sizeof(message), 0) > 0)
			test_check(header->type != WIRE_SEGMENT, "it was given a segment that no order of its named");
		_exit(0); /* the connection was ended */
	}
	status = test_wait_child(pid);
	test_check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the claim was not refused: 0x%x", status);
	check_intact(victim);
}

#define REGION_PAGES (UINT32_C(1) << 20)
#define REGIONS 1024u /* 4 TiB */

/* Takes all page numbers that one VM may have. It goes when it is killed. */
static pid_t start_liar(const char *name)
{
	pid_t pid = test_fork();
	struct fake_link link;

	if (pid != 0)
		return pid;
	become(LIAR);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* becoming another user has cleared it */
	test_check(fake_link_open(&link, instance.socket, name, WIRE_MODE_FULL, 0) == 0, "no welcome");
	for (uint32_t i = 0; i < REGIONS; i++)
		fake_link_post(&link, REPORT_REGION_ADD, 1 + i * REGION_PAGES, 1, REGION_PAGES);
	fake_link_post(&link, REPORT_READY, 1, 1, 0);
	for (;;)
		pause();
}

/* Else they would have none to claim them with; see quotas.c. */
static void believe_claims(void)
{
	uint64_t last = test_now_msec() + TEST_PATIENCE_SECONDS * 1000;

	instance_settings(&instance, "[limits]\nclaims = believed\nuser_ram_percent = 0\nuser_numbers_factor = 0\n");
	kill(instance.pid, SIGHUP);
	while (!instance_logged(&instance, "[limits] user_numbers_factor is 0 from now on")) {
		test_check(test_now_msec() < last, "the settings were not read anew");
		json_decref(instance_ask(&instance, "{\"command\":\"status\"}"));
	}
}

static void numbers_are_not_taken(void)
{
	static const char *const names[] = { "liar-a", "liar-b", "liar-c" };
	const long long bytes = (long long)(REGIONS * REGION_PAGES * PAGE_BYTES);
	struct fake_vmm alice;
	pid_t pids[3];

	believe_claims();
	for (unsigned i = 0; i < 2; i++) {
		pids[i] = start_liar(names[i]);
		instance_await(&instance, names[i], "ram_bytes", i == 0 ? bytes : bytes - bytes / REGIONS);
	}
	pids[2] = start_liar(names[2]);
	instance_await(&instance, names[2], "connected", 1);
	alice = fake_start(instance.socket, &of_alice);
	fake_ask(&alice, FAKE_AWAIT, COMMON + ZERO);
	/* In the liars' own domain there are none left. */
	test_check(instance_vm(&instance, names[2], "ram_bytes") < bytes / 2, "the liars have not taken all numbers");
	for (unsigned i = 0; i < 3; i++) {
		kill(pids[i], SIGKILL);
		test_wait_child(pids[i]);
	}
	fake_kill(&alice);
}

static void restart(const struct fake_vmm *vmms[], unsigned count)
{
	uint64_t stores[8];

	for (unsigned i = 0; i < count; i++)
		stores[i] = fake_ask(vmms[i], FAKE_STATE, 0).store;
	instance_kill(&instance);
	instance_start(&instance);
	for (unsigned i = 0; i < count; i++) {
		test_check(fake_ask(vmms[i], FAKE_CONNECT, 0).error == 0, "cannot connect again");
		test_check(fake_ask(vmms[i], FAKE_STATE, 0).store == stores[i], "its store is another one");
	}
	instance_await(&instance, NULL, "shared_pages", (2 + 1) * COMMON);
	instance_await(&instance, NULL, "common_pages", 2 * COMMON);
	for (unsigned i = 0; i < count; i++)
		check_intact(vmms[i]);
}

static void all_in_one_domain(void)
{
	struct fake_vmm alice, twin;

	if (geteuid() != 0)
		test_skip("only root can have VMs of several users");
	instance_init(&instance);
	instance_settings(&instance, "[domain all]\nuser = 20001 20002 20003\n");
	instance_start(&instance);
	alice = fake_start(instance.socket, &of_alice);
	twin = fake_start(instance.socket, &of_alice);
	fake_ask(&alice, FAKE_AWAIT, COMMON + ZERO);
	claims_are_refused(&alice);
	fake_kill(&alice);
	fake_kill(&twin);
	instance_done(&instance);
}

int main(int argc, char **argv)
{
	struct fake_vmm alice, twin, bob;

	test_begin(argc, argv);
	if (test_wants("control")) {
		all_in_one_domain();
		return 0;
	}
	instance_start_mounted(&instance);
	alice = fake_start(instance.socket, &of_alice);
	twin = fake_start(instance.socket, &of_alice);
	bob = fake_start(instance.socket, &of_bob);
	users_do_not_share(&alice, &twin, &bob);
	users_have_stores(&alice, &bob);
	claims_are_refused(&alice);
	test_restart_clock();
	numbers_are_not_taken();
	await_no_store(LIAR);
	test_restart_clock();
	restart((const struct fake_vmm *[]){ &alice, &twin, &bob }, 3);
	fake_kill(&bob);
	await_no_store(BOB);
	check_intact(&alice);
	fake_kill(&alice);
	fake_kill(&twin);
	await_no_store(ALICE);
	instance_done(&instance);
	return 0;
}
