/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a CLI may ask, how wrong questions are answered, and who sees whose VMs. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/engine.h"
#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define NOBODY 65534

static struct instance instance;

static void expect_error(const char *request, const char *code, const char *value)
{
	json_t *reply = instance_ask(&instance, request), *error = json_object_get(reply, "error");
	const char *seen = json_string_value(json_object_get(error, "code"));

	test_check(seen && strcmp(seen, code) == 0, "%s was answered with %s, not with %s", request,
		   seen ? seen : "success", code);
	test_check(json_string_value(json_object_get(error, "message")) != NULL, "%s: no message", request);
	if (value)
		test_check(strcmp(json_string_value(json_object_get(error, "value")), value) == 0, "%s: wrong value",
			   request);
	json_decref(reply);
}

static void check_errors(void)
{
	int fd = instance_connect(&instance);
	json_t *reply;

	expect_error("", "bad-request", NULL);
	expect_error("{", "bad-request", NULL);
	expect_error("[]", "bad-request", NULL);
	expect_error("\"status\"", "bad-request", NULL);
	expect_error("{\"command\":7}", "bad-request", NULL);
	expect_error("{\"command\":\"fly\"}", "unknown-command", "fly");
	expect_error("{\"command\":\"status\",\"command\":\"status\"}", "bad-request", NULL);
	expect_error("{\"command\":\"scan\",\"names\":\"vm\"}", "bad-request", NULL);
	expect_error("{\"command\":\"scan\",\"names\":[3]}", "bad-request", NULL);
	expect_error("{\"command\":\"scan\",\"names\":[\"nobody\"]}", "unknown-vm", "nobody");
	expect_error("{\"command\":\"scan-progress\"}", "bad-request", NULL);
	expect_error("{\"command\":\"scan-progress\",\"tickets\":[\"x\"]}", "bad-request", NULL);
	reply = instance_ask_on(fd, "{\"command\":\"status\xff\"}", 20);
	test_check(json_object_get(reply, "error") != NULL, "text that is not UTF-8 was taken");
	json_decref(reply);
	reply = instance_ask_on(fd, "{\"command\":\"status\"}", 20);
	test_check(json_object_get(reply, "host") != NULL, "no second request on a connection");
	json_decref(reply);
	close(fd);
}

static void check_nesting(void)
{
	static char deep[30000];

	memset(deep, '[', sizeof(deep) - 1);
	expect_error(deep, "bad-request", NULL);
}

/* Each is looked for among all VMs: no more than there can be. */
static void check_many_tickets(void)
{
	static char text[3 * ENGINE_VMS_MAX];
	size_t length;
	json_t *reply;

	length = (size_t)sprintf(text, "{\"command\":\"scan-progress\",\"tickets\":[1");
	for (unsigned i = 1; i < ENGINE_VMS_MAX; i++)
		length += (size_t)sprintf(text + length, ",1");
	strcpy(text + length, "]}");
	reply = instance_ask(&instance, text);
	test_check(json_array_size(json_object_get(reply, "vms")) == ENGINE_VMS_MAX, "not all tickets are answered");
	json_decref(reply);
	strcpy(text + length, ",1]}");
	expect_error(text, "bad-request", "tickets");
}

static void check_scan(void)
{
	const struct fake_options options = { .name = "scanned", .pages = 3000, .common = 10, .zero = 10 };
	struct fake_vmm vmm = fake_start(instance.socket, &options);
	uint64_t last = test_patient_msec() + TEST_DEADLINE_SECONDS * 1000;
	json_t *reply = instance_ask(&instance, "{\"command\":\"scan\",\"names\":[\"scanned\"]}");
	json_t *tickets, *question, *progress, *vm;
	bool finished = false;
	char *request;

	tickets = json_object_get(reply, "tickets");
	test_check(json_array_size(tickets) == 1, "no ticket");
	question = json_pack("{s:s,s:O}", "command", "scan-progress", "tickets", tickets);
	request = json_dumps(question, 0);
	while (!finished) {
		test_check(test_patient_msec() < last, "the pass does not end");
		progress = instance_ask(&instance, request);
		vm = json_array_get(json_object_get(progress, "vms"), 0);
		test_check(!json_is_true(json_object_get(vm, "gone")), "the VM counts as gone");
		finished = json_is_true(json_object_get(vm, "finished"));
		json_decref(progress);
		poll(NULL, 0, 10);
	}
	fake_ask(&vmm, FAKE_AWAIT, 10);
	fake_kill(&vmm);
	instance_await(&instance, "scanned", "pid", -1);
	progress = instance_ask(&instance, request);
	vm = json_array_get(json_object_get(progress, "vms"), 0);
	test_check(json_is_true(json_object_get(vm, "gone")), "a dead VM's pass goes on");
	test_check(strcmp(json_string_value(json_object_get(vm, "name")), "scanned") == 0, "its name was lost");
	json_decref(progress);
	json_decref(reply);
	json_decref(question);
	free(request);
}

/* As another user, in a child. */
static void be_nobody(void)
{
	json_t *status;

	if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
		test_fail("cannot become user %d: %s", NOBODY, strerror(errno));
	status = instance_ask(&instance, "{\"command\":\"status\"}");
	test_check(json_array_size(json_object_get(status, "vms")) == 1, "user %d does not see exactly its own VM",
		   NOBODY);
	json_decref(status);
	expect_error("{\"command\":\"scan\",\"names\":[\"roots\"]}", "not-permitted", "roots");
	status = instance_ask(&instance, "{\"command\":\"scan\",\"names\":[\"nobodys\"]}");
	test_check(json_object_get(status, "error") == NULL, "user %d may not scan its own VM", NOBODY);
	_exit(0);
}

static void check_permissions(void)
{
	const struct fake_options of_root = { .name = "roots", .pages = 4 };
	const struct fake_options of_nobody = { .name = "nobodys", .pages = 4, .uid = NOBODY };
	struct fake_vmm a = fake_start(instance.socket, &of_root), b = fake_start(instance.socket, &of_nobody);
	json_t *status = instance_ask(&instance, "{\"command\":\"status\"}");
	int child;

	test_check(json_array_size(json_object_get(status, "vms")) == 2, "root does not see both VMs");
	test_check(instance_vm(&instance, "nobodys", "uid") == NOBODY, "the VM's user is wrong");
	if (access("/dev/userfaultfd", F_OK) == 0)
		test_check(fake_ask(&b, FAKE_STATE, 0).welcomed_userfaultfd, "user %d was not given userfaultfd",
			   NOBODY);
	child = test_fork();
	if (child == 0)
		be_nobody();
	test_check(test_wait_child(child) == 0, "the other user's view is wrong");
	json_decref(status);
	fake_kill(&a);
	fake_kill(&b);
	instance_await(&instance, "roots", "pid", -1);
}

/* Who asks and goes away, while his reply waits, is made or is sent, is in nobody's way; and takes nothing with him. */
static void check_gone_askers(void)
{
	static const char request[] = "{\"command\":\"status\"}";
	const bool keeps_freed = TEST_ADDRESS_SANITIZER || TEST_THREAD_SANITIZER;
	const long long most = keeps_freed ? LLONG_MAX : instance_host(&instance, "overhead_bytes") + (16 << 20);

	for (unsigned i = 0; i < 500; i++) {
		int fd = instance_connect(&instance);

		instance_send(fd, request, sizeof(request) - 1);
		if (i % 3 == 0)
			(void)test_readable(fd); /* it is being sent */
		close(fd);
	}
	test_check(instance_host(&instance, "overhead_bytes") < most, "replies for nobody are kept");
}

/* More VMs than fit one packet of a reply. */
static void check_chunks(void)
{
	static struct fake_vmm vmms[100];
	struct fake_options options = { .name = "one-of-many-virtual-machines", .pages = 1 };
	json_t *status;

	for (unsigned i = 0; i < 100; i++)
		vmms[i] = fake_start(instance.socket, &options);
	status = instance_ask(&instance, "{\"command\":\"status\"}");
	test_check(json_array_size(json_object_get(status, "vms")) == 100, "VMs are missing");
	json_decref(status);
	check_gone_askers();
	for (unsigned i = 0; i < 100; i++)
		fake_kill(&vmms[i]);
	instance_await(&instance, "one-of-many-virtual-machines-100", "pid", -1);
}

/* Connections of one user beyond what the settings allow are turned away, and others are served still. */
static void check_many_connections(void)
{
	int fds[50], turned_away = 0, child = test_fork();

	if (child == 0) {
		if (geteuid() == 0 && setresuid(NOBODY, NOBODY, NOBODY) < 0)
			_exit(1);
		for (unsigned i = 0; i < 50; i++)
			fds[i] = instance_connect(&instance);
		for (unsigned i = 0; i < 50; i++) {
			struct pollfd poll_fd = { .fd = fds[i], .events = POLLIN };

			turned_away += i < 40 ? poll(&poll_fd, 1, 0) == 1 : test_readable(fds[i]);
		}
		_exit(turned_away >= 10 ? 0 : 1);
	}
	test_check(test_wait_child(child) == 0, "50 connections were taken, though the limit is 40");
	test_check(instance_host(&instance, "saved_pages") >= 0, "no answer afterwards");
}

/* VMs that have left but live on are kept account of, so they count. */
static void check_vms_that_left(void)
{
	const struct fake_options options = { .name = "left", .pages = 1, .uid = NOBODY };
	struct fake_vmm vmms[40];
	int child;

	for (unsigned i = 0; i < 40; i++) {
		vmms[i] = fake_start(instance.socket, &options);
		fake_ask(&vmms[i], FAKE_DISCONNECT, 0);
	}
	child = test_fork();
	if (child == 0) {
		if (setresuid(NOBODY, NOBODY, NOBODY) < 0)
			_exit(1);
		_exit(test_readable(instance_connect(&instance)) ? 0 : 1);
	}
	test_check(test_wait_child(child) == 0, "taken beside 40 VMs that left, though the limit is 40");
	for (unsigned i = 0; i < 40; i++)
		fake_kill(&vmms[i]);
	instance_await(&instance, "left", "pid", -1);
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	instance_init(&instance);
	instance_settings(&instance, "[limits]\nconnections_per_user = 40\n");
	instance_start(&instance);
	check_errors();
	check_nesting();
	check_many_tickets();
	check_scan();
	if (geteuid() == 0) {
		check_permissions();
		check_chunks();
		check_vms_that_left();
	}
	check_many_connections();
	instance_done(&instance);
	return 0;
}
