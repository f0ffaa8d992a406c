/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What modifyvm says of a VM is kept: for the VM that runs, for the next one that has its UUID or name, and beyond the
 * daemon, also one that was killed. It is the user's own VMs that it counts for. A VM that came by the preload alone
 * has the mode of the settings. A file that cannot be used is left as it is.
 *
 * control: with a daemon that goes by the names that VMs have got. Then who takes a VM's name first undoes what is
 * kept for it.
 */
#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define COMMON 100u
#define NOBODY 65534
#define ALICE 20001u
#define BOB 20002u
#define MANY 40 /* more than are written at once */
#define UUID_A "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
#define UUID_B "6ba7b811-9dad-11d1-80b4-00c04fd430c8"

static struct instance instance;
static char file[128];

static json_t *modify(const char *name, const char *member)
{
	char request[160];

	snprintf(request, sizeof(request), "{\"command\":\"modify\",\"name\":\"%s\",%s}", name, member);
	return instance_ask(&instance, request);
}

static bool flag(const json_t *object, const char *name)
{
	return json_is_true(json_object_get(object, name));
}

static const char *text(const json_t *object, const char *name)
{
	const char *value = json_string_value(json_object_get(object, name));

	return value ? value : "(none)";
}

/* Says @member of @name, which is granted and kept. */
static void keep(const char *name, const char *member, bool running)
{
	json_t *reply = modify(name, member);

	test_check(json_object_get(reply, "error") == NULL, "%s: %s is refused: %s", name, member,
		   text(json_object_get(reply, "error"), "message"));
	test_check(flag(reply, "running") == running, "%s does%s run", name, running ? " not" : "");
	test_check(*text(reply, "problem") == 0, "%s: %s is not kept: %s", name, member, text(reply, "problem"));
	json_decref(reply);
}

static void expect_error(const char *name, const char *member, const char *code)
{
	json_t *reply = modify(name, member);
	const char *got = text(json_object_get(reply, "error"), "code");

	test_check(strcmp(got, code) == 0, "%s of %s: %s, not %s", member, name, got, code);
	json_decref(reply);
}

static bool has_mode(const char *name, const char *mode)
{
	json_t *status = instance_ask(&instance, "{\"command\":\"status\"}");
	const json_t *vm;
	bool has = false;
	size_t i;

	json_array_foreach(json_object_get(status, "vms"), i, vm)
		has = has || (strcmp(text(vm, "name"), name) == 0 && strcmp(text(vm, "mode"), mode) == 0);
	json_decref(status);
	return has;
}

/* @unsaid: as of a VM for which nobody has said any: what is not kept is of the settings. */
static void expect_mode(const char *name, const char *mode, bool kept, bool unsaid)
{
	json_t *status = instance_ask(&instance, "{\"command\":\"status\"}"), *vm;
	bool found = false;
	size_t i;

	json_array_foreach(json_object_get(status, "vms"), i, vm) {
		if (strcmp(text(vm, "name"), name) != 0)
			continue;
		found = true;
		test_check(strcmp(text(vm, "mode"), mode) == 0, "%s has mode %s, not %s", name, text(vm, "mode"), mode);
		test_check(flag(vm, "mode_kept") == kept, "that of %s is%s kept", name, kept ? " not" : "");
		test_check(flag(vm, "mode_by_settings") == (unsaid && !kept), "that of %s is%s of the settings", name,
			   unsaid && !kept ? " not" : "");
	}
	test_check(found, "there is no VM %s", name);
	json_decref(status);
}

static struct fake_vmm start(const char *name, const char *uuid, bool unsaid)
{
	const struct fake_options options = {
		.name = name, .pages = COMMON, .common = COMMON, .uuid = uuid, .mode_unsaid = unsaid
	};

	return fake_start(instance.socket, &options);
}

/* Starts a VM, sees which mode it gets, and ends it. */
static void expect_starts(const char *name, const char *uuid, bool unsaid, const char *mode, bool kept)
{
	struct fake_vmm vmm = start(name, uuid, unsaid);

	expect_mode(name, mode, kept, unsaid);
	fake_kill(&vmm);
	while (instance_vm(&instance, name, "ram_bytes") >= 0) /* or the next one is called name-2 */
		poll(NULL, 0, 1);
}

static void restart(bool kill)
{
	if (kill)
		instance_kill(&instance);
	else
		instance_stop(&instance);
	instance_start(&instance);
}

/* A VM that runs: it counts at once, when the VM connects to another daemon, and for the next one. */
static void check_running(void)
{
	struct fake_vmm a = start("run", NULL, false), b = start("other", NULL, false);

	instance_await(&instance, "run", "shared_pages", COMMON);
	keep("run", "\"mode\":\"off\"", true);
	instance_await(&instance, "run", "shared_pages", 0);
	restart(true);
	test_check(fake_ask(&a, FAKE_CONNECT, 0).error == 0, "cannot connect again");
	test_check(fake_ask(&b, FAKE_CONNECT, 0).error == 0, "cannot connect again");
	expect_mode("run", "off", true, false);
	expect_mode("other", "full", false, false);
	instance_scan(&instance);
	test_check(instance_vm(&instance, "run", "shared_pages") == 0, "off is forgotten: it shares");
	fake_kill(&a);
	fake_kill(&b);
	instance_await(&instance, NULL, "store_bytes", 0);
	restart(false);
	expect_starts("run", NULL, false, "off", true);
	keep("run", "\"forget\":true", false);
	expect_starts("run", NULL, false, "full", false);
	expect_error("run", "\"forget\":true", "unknown-vm");
}

/* A UUID is the VM, whatever it is called; a name without is another VM. */
static void check_uuid(void)
{
	struct fake_vmm vmm = start("db", UUID_A, false);

	keep("db", "\"mode\":\"hints\"", true);
	fake_kill(&vmm);
	instance_await(&instance, NULL, "store_bytes", 0);
	restart(true);
	expect_starts("renamed", UUID_A, false, "hints", true);
	expect_starts("db", UUID_B, false, "full", false);
	expect_starts("db", NULL, false, "full", false);
	keep("db", "\"mode\":\"zero\"", false); /* by the name that it had */
	expect_starts("renamed", UUID_A, false, "zero", true);
	keep("db", "\"forget\":true", false);
	expect_starts("renamed", UUID_A, false, "full", false);
}

/* Said before it runs, and by the preload alone. */
static void check_later(void)
{
	keep("later", "\"mode\":\"zero\"", false);
	expect_starts("later", NULL, false, "zero", true);
	expect_starts("later", UUID_A, true, "zero", true);
	expect_starts("bare", NULL, true, "off", false);
	keep("bare", "\"mode\":\"full\"", false);
	expect_starts("bare", NULL, true, "full", true);
	expect_error("la ter", "\"mode\":\"zero\"", "bad-request");
	expect_error("later", "\"mode\":\"half\"", "bad-request");
}

static unsigned count_kept(void)
{
	json_t *reply = instance_ask(&instance, "{\"command\":\"kept\"}");
	unsigned count = (unsigned)json_array_size(json_object_get(reply, "vms"));

	json_decref(reply);
	return count;
}

/* As another user: what he keeps is of his own VMs, and he sees no other. */
static void check_other_user(void)
{
	unsigned root_sees = count_kept();
	pid_t pid;

	if (geteuid() != 0)
		return;
	pid = test_fork();
	if (pid == 0) {
		char name[32];

		if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
		    setresuid(NOBODY, NOBODY, NOBODY) < 0)
			_exit(1);
		test_check(count_kept() == 0, "another user sees what is kept of root's VMs");
		keep("later", "\"mode\":\"off\"", false);
		expect_error("bare", "\"forget\":true", "unknown-vm");
		for (unsigned i = 1; i < MANY; i++) {
			snprintf(name, sizeof(name), "many-%u", i);
			keep(name, "\"mode\":\"off\"", false);
		}
		keep("later", "\"mode\":\"hints\"", false);
		test_check(count_kept() == MANY, "not all are kept");
		_exit(0);
	}
	test_wait_child(pid);
	expect_starts("later", NULL, false, "zero", true); /* root's is what it was */
	expect_starts("many-7", NULL, false, "full", false);
	test_check(count_kept() == root_sees + MANY, "root does not see all");
	restart(false);
	test_check(count_kept() == root_sees + MANY, "not all are kept beyond the daemon");
	keep("many-7", "\"forget\":true", false);
	keep("root-has-no-limit", "\"mode\":\"off\"", false);
}

static void keep_as(uid_t uid, const char *name, const char *member, bool running)
{
	pid_t pid = test_fork();

	if (pid == 0) {
		fake_become(uid, uid);
		keep(name, member, running);
		_exit(0);
	}
	test_check(test_wait_child(pid) == 0, "user %u cannot say %s of %s", (unsigned)uid, member, name);
}

static struct fake_vmm start_as(uid_t uid, const char *name)
{
	const struct fake_options options = { .name = name, .pages = COMMON, .common = COMMON, .uid = uid };

	return fake_start(instance.socket, &options);
}

static void end(struct fake_vmm *vmm, const char *name)
{
	fake_kill(vmm);
	while (instance_vm(&instance, name, "ram_bytes") >= 0)
		poll(NULL, 0, 1);
}

/* A name that another user's VM has taken before: what is kept is kept by the name that was asked for. */
static void check_taken_name(void)
{
	struct fake_vmm taker, first, second;

	if (geteuid() != 0)
		return;
	keep_as(ALICE, "web", "\"mode\":\"off\"", false);
	taker = start_as(BOB, "web");
	expect_mode("web", "full", false, false);
	first = start_as(ALICE, "web");
	if (!has_mode("web-2", "off"))
		test_damage("what is kept for a VM was undone by another user's that took its name");
	expect_mode("web-2", "off", true, false);
	second = start_as(ALICE, "web"); /* of the same user: it is another VM */
	expect_mode("web-3", "full", false, false);
	keep_as(ALICE, "web-2", "\"mode\":\"hints\"", true); /* both are names of the first one */
	expect_mode("web-2", "hints", true, false);
	keep_as(ALICE, "web", "\"mode\":\"zero\"", true);
	expect_mode("web-2", "zero", true, false);
	expect_mode("web", "full", false, false);
	end(&second, "web-3");
	end(&first, "web-2");
	end(&taker, "web");
	first = start_as(ALICE, "web");
	expect_mode("web", "zero", true, false);
	keep_as(ALICE, "web", "\"forget\":true", true);
	expect_mode("web", "full", false, false);
	end(&first, "web");
}

static void write_text(const char *content)
{
	FILE *stream = fopen(file, "w");

	test_check(stream && fputs(content, stream) >= 0 && fclose(stream) == 0, "%s: %s", file, strerror(errno));
}

static bool file_has(const char *content)
{
	char bytes[4096] = "";
	FILE *stream = fopen(file, "r");
	size_t length;

	test_check(stream != NULL, "%s: %s", file, strerror(errno));
	length = fread(bytes, 1, sizeof(bytes) - 1, stream);
	fclose(stream);
	bytes[length] = 0;
	return strstr(bytes, content) != NULL;
}

static void hang_up(const char *expected)
{
	uint64_t last = test_patient_msec() + TEST_DEADLINE_SECONDS * 1000;

	test_check(kill(instance.pid, SIGHUP) == 0, "kill: %s", strerror(errno));
	while (!instance_logged(&instance, expected)) {
		test_check(test_patient_msec() < last, "the daemon does not say: %s", expected);
		poll(NULL, 0, 10);
	}
}

/* Damaged: said, left as it is, and changes count while the daemon lives. Mended: all of it counts. */
static void check_damaged(void)
{
	json_t *reply;

	instance_stop(&instance);
	write_text("{\"format\": 1, \"vms\": [{\"name\": \"mine\", \"mode\": \"of\"}]}");
	instance_start(&instance);
	test_check(instance_logged(&instance, "VM 1 of the list: \"mode\" has to be"),
		   "the log does not say what is wrong");
	expect_starts("mine", NULL, false, "full", false);
	reply = modify("new", "\"mode\":\"zero\"");
	test_check(strstr(text(reply, "problem"), file) != NULL && !flag(reply, "kept"), "it is not said: %s",
		   text(reply, "problem"));
	json_decref(reply);
	expect_starts("new", NULL, false, "zero", true);
	test_check(file_has("\"of\""), "a file that could not be read was written over");
	write_text("{\"format\": 1, \"vms\": [{\"name\": \"mine\", \"mode\": \"off\"}]}");
	hang_up("they are what they were");
	expect_starts("mine", NULL, false, "off", true);
	expect_starts("new", NULL, false, "zero", true);
	while (!file_has("\"new\""))
		poll(NULL, 0, 10);
	test_check(file_has("\"mine\""), "what was in the file is lost");
}

/* Edited while the daemon runs: not written over, and it counts at SIGHUP, for VMs that run as well. */
static void check_edited(void)
{
	struct fake_vmm vmm = start("mine", NULL, false);
	json_t *reply;

	write_text("{\"format\": 1, \"vms\": [{\"name\": \"mine\", \"mode\": \"hints\"}]}");
	reply = modify("new", "\"mode\":\"off\"");
	test_check(strstr(text(reply, "problem"), "somebody else has changed it") != NULL, "it is not said");
	json_decref(reply);
	test_check(file_has("\"hints\""), "what somebody wrote was written over");
	hang_up("VM mine (pid");
	expect_mode("mine", "hints", true, false);
	keep("new", "\"mode\":\"off\"", false);
	fake_kill(&vmm);
}

/* Nothing can be written: said, and it counts. Root can write everywhere but into a file's place. */
static void check_unwritable(void)
{
	json_t *reply;

	instance_stop(&instance);
	test_check(unlink(file) == 0 && mkdir(file, 0700) == 0, "%s: %s", file, strerror(errno));
	instance_start(&instance);
	reply = modify("new", "\"mode\":\"off\"");
	test_check(strstr(text(reply, "problem"), "it has to be a file") != NULL, "it is not said: %s",
		   text(reply, "problem"));
	json_decref(reply);
	expect_starts("new", NULL, false, "off", true);
	test_check(rmdir(file) == 0, "%s: %s", file, strerror(errno));
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	instance_init(&instance);
	snprintf(file, sizeof(file), "%s.vms.json", instance.socket);
	instance_start(&instance);
	if (test_wants("control")) {
		if (geteuid() != 0)
			test_skip("only root can have VMs of several users");
		check_taken_name();
		instance_done(&instance);
		return 0;
	}
	check_running();
	check_uuid();
	check_later();
	check_other_user();
	check_taken_name();
	check_damaged();
	check_edited();
	check_unwritable();
	instance_settings(&instance, "[vms]\npreload_mode = hints\n");
	restart(false);
	expect_starts("bare", NULL, true, "hints", false);
	expect_starts("said", NULL, false, "full", false);
	instance_done(&instance);
	return 0;
}
