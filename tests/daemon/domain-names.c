/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Domains that the settings name: VMs of several users share in one of them if its rules let both in, and who is not
 * let in shares nothing there, whatever he asks for. Root may choose. A VM that maps pages of one domain is let into no
 * other one, though rules say so by now and it denies that it maps any.
 *
 * control: with a daemon that does not look. Then it is.
 */
#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define ALICE 20001u
#define BOB 20002u
#define MALLORY 20003u
#define COMMON 60u

static struct instance instance;

static struct fake_vmm start(const char *name, uid_t uid, const char *domain)
{
	const struct fake_options options = {
		.name = name, .pages = 128, .common = COMMON, .uid = uid, .domain = domain, .may_fail = true
	};

	return fake_start(instance.socket, &options);
}

/* @domain: NULL if the VM must not be there. */
static void check_domain(const char *name, const char *domain)
{
	json_t *status = instance_ask(&instance, "{\"command\":\"status\"}"), *vm;
	const char *found = NULL;
	size_t i;

	json_array_foreach(json_object_get(status, "vms"), i, vm)
		if (strcmp(json_string_value(json_object_get(vm, "name")), name) == 0)
			found = json_string_value(json_object_get(vm, "domain"));
	test_check(domain ? found && strcmp(found, domain) == 0 : found == NULL, "VM %s is in domain %s, not %s", name,
		   found ? found : "(none)", domain ? domain : "(none)");
	json_decref(status);
}

static void check_refused(const char *name, uid_t uid, const char *domain)
{
	struct fake_vmm vmm = start(name, uid, domain);

	test_check(!fake_ask(&vmm, FAKE_STATE, 0).connected, "%s of user %u was let into %s", name, (unsigned)uid,
		   domain);
	check_domain(name, NULL);
	fake_kill(&vmm);
}

static void check_taken(const char *name, uid_t uid, const char *domain, const char *expected)
{
	struct fake_vmm vmm = start(name, uid, domain);

	test_check(fake_ask(&vmm, FAKE_STATE, 0).connected, "%s of user %u was not let in", name, (unsigned)uid);
	check_domain(name, expected);
	fake_kill(&vmm);
}

/* @return 0 in a child of user @uid; else 1, when that has ended well. */
static int fork_as(uid_t uid)
{
	pid_t pid = test_fork();
	int status;

	if (pid == 0) {
		test_check(setgroups(0, NULL) == 0 && setresgid(uid, uid, uid) == 0 && setresuid(uid, uid, uid) == 0,
			   "become user %u: %s", (unsigned)uid, strerror(errno));
		return 0;
	}
	status = test_wait_child(pid);
	test_check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "user %u: status 0x%x", (unsigned)uid, status);
	return 1;
}

static void users_share_by_rule(void)
{
	struct fake_vmm alice = start("alice", ALICE, "team"), bob = start("bob", BOB, NULL);
	struct fake_vmm mallory = start("mallory", MALLORY, NULL);

	check_domain("alice", "team");
	check_domain("bob", "team"); /* the first whose rules it fits */
	check_domain("mallory", "uid-20003");
	fake_ask(&alice, FAKE_AWAIT, COMMON);
	fake_ask(&bob, FAKE_AWAIT, COMMON);
	instance_scan(&instance);
	instance_scan(&instance);
	test_check(fake_ask(&mallory, FAKE_STATE, 0).shared == 0, "a VM that is in no rule shares");
	test_check(fake_ask(&alice, FAKE_STATE, 0).store == fake_ask(&bob, FAKE_STATE, 0).store, "two stores");
	test_check(fake_ask(&bob, FAKE_CHECK, 0).damaged == 0, "memory is not what it was");
	fake_kill(&alice);
	fake_kill(&bob);
	fake_kill(&mallory);
}

/* What `pagefuse run` asks before it becomes the VMM is answered as the VMM will be. */
static void asked_before(void)
{
	json_t *reply = instance_ask(&instance, "{\"command\":\"admit\",\"name\":\"a\",\"domain\":\"team\"}");

	test_check(strcmp(json_string_value(json_object_get(reply, "domain")), "team") == 0, "root may not choose");
	json_decref(reply);
	if (fork_as(MALLORY) == 0) {
		reply = instance_ask(&instance, "{\"command\":\"admit\",\"name\":\"a\",\"domain\":\"team\"}");
		test_check(json_object_get(json_object_get(reply, "error"), "message") != NULL, "it would be let in");
		json_decref(reply);
		reply = instance_ask(&instance, "{\"command\":\"admit\",\"name\":\"a\"}");
		test_check(strcmp(json_string_value(json_object_get(reply, "domain")), "uid-20003") == 0,
			   "it would be in another domain than its user's");
		_exit(0);
	}
}

/* New rules hold for who comes; who is in stays in, also when it connects anew. */
static void rules_change(void)
{
	struct fake_vmm alice = start("alice", ALICE, "team"), bob = start("bob", BOB, NULL);
	uint64_t last = test_patient_msec() + TEST_PATIENCE_SECONDS * 1000;

	fake_ask(&alice, FAKE_AWAIT, COMMON);
	fake_ask(&bob, FAKE_AWAIT, COMMON);
	instance_settings(&instance, "[domain team]\nuser = 20003\n");
	test_check(kill(instance.pid, SIGHUP) == 0, "kill: %s", strerror(errno));
	while (!instance_logged(&instance, "[domain] patterns is 1 in all from now on")) {
		test_check(test_patient_msec() < last, "the daemon does not say that the rules are others");
		poll(NULL, 0, 5);
	}
	check_taken("mallory", MALLORY, NULL, "team");
	check_refused("alice-2", ALICE, "team");
	fake_ask(&alice, FAKE_DISCONNECT, 0);
	test_check(fake_ask(&alice, FAKE_CONNECT, 0).error == 0, "who is in is not let in again");
	check_domain("alice", "team");
	instance_await(&instance, "alice", "shared_pages", COMMON);
	fake_ask(&bob, FAKE_DISCONNECT, 0);
	if (fake_ask(&bob, FAKE_CONNECT, 1).error == 0) /* that it knows no store: it would be in its user's domain */
		test_damage("a VM that maps pages of a domain is let into another one");
	test_check(instance_logged(&instance, "has to be given back first"), "it is not said why bob is refused");
	test_check(fake_ask(&bob, FAKE_CONNECT, 0).error == 0, "who is in is not let in again");
	check_domain("bob", "team");
	instance_await(&instance, "bob", "shared_pages", COMMON);
	test_check(fake_ask(&bob, FAKE_CHECK, 0).damaged == 0, "memory is not what it was");
	fake_kill(&alice);
	fake_kill(&bob);
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	if (geteuid() != 0)
		test_skip("only root can run VMs of other users");
	instance_init(&instance);
	instance_settings(&instance, "[domain team]\nuser = 20001 20002\n"
				     "[domain vips]\nuser = 20001\nname = vip-*\n");
	instance_start(&instance);
	users_share_by_rule();
	check_refused("mallory", MALLORY, "team");
	check_refused("alice", ALICE, "vips");
	check_refused("alice", ALICE, "uid-20002");
	check_refused("alice", ALICE, "uid-0");
	check_refused("alice", ALICE, "no-rule");
	check_taken("vip-1", ALICE, "vips", "vips");
	check_taken("alice", ALICE, "uid-20001", "uid-20001");
	check_taken("root", 0, "uid-20002", "uid-20002");
	check_taken("root", 0, NULL, "uid-0");
	asked_before();
	rules_change();
	instance_done(&instance);
	return 0;
}
