/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VM's mode is changed while it runs: off gives every page memory of its own, whatever it shared, and nobody else's;
 * it holds when the VM connects again; and it is the VM's owner who may say so.
 */
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define COMMON 300u
#define ZERO 100u
#define NOBODY 65534

static struct instance instance;

static const struct fake_options options = { .name = "vm", .pages = COMMON + ZERO, .common = COMMON, .zero = ZERO };

static json_t *modify(const char *name, const char *mode)
{
	char request[128];

	snprintf(request, sizeof(request), "{\"command\":\"modify\",\"name\":\"%s\",\"mode\":\"%s\"}", name, mode);
	return instance_ask(&instance, request);
}

static void set_mode(const char *mode)
{
	json_t *reply = modify("vm", mode);

	test_check(strcmp(json_string_value(json_object_get(reply, "mode")), mode) == 0, "the mode is not %s", mode);
	json_decref(reply);
}

static void expect_error(const char *name, const char *mode, const char *code)
{
	json_t *reply = modify(name, mode), *error = json_object_get(reply, "error");
	const char *answer = json_string_value(json_object_get(error, "code"));

	test_check(answer && strcmp(answer, code) == 0, "%s of %s is answered %s, not %s", mode, name,
		   answer ? answer : "with no error", code);
	json_decref(reply);
}

static void expect_later(const char *name, const char *mode)
{
	json_t *reply = modify(name, mode);

	test_check(json_is_false(json_object_get(reply, "running")), "%s counts for a VM of another user", mode);
	json_decref(reply);
}

static void await(long long shared, long long zero)
{
	instance_await(&instance, "vm", "shared_pages", shared);
	instance_await(&instance, "vm", "zero_pages", zero);
	instance_await(&instance, "vm", "unsharing_pages", 0);
}

static void check_intact(const struct fake_vmm *a, const struct fake_vmm *b)
{
	test_check(fake_ask(a, FAKE_CHECK, 0).damaged == 0 && fake_ask(b, FAKE_CHECK, 0).damaged == 0,
		   "memory is not what it was");
}

/* Each page has a frame, and nobody else has the same. */
static void check_own_frames(const struct fake_vmm *a, const struct fake_vmm *b)
{
	static uint64_t seen[COMMON + ZERO + 1];

	for (uint32_t page = 1; page <= COMMON + ZERO; page++) {
		uint64_t frame = fake_ask(a, FAKE_FRAME, page).frame;

		test_check(frame != 0, "page %u has no memory of its own", page);
		test_check(frame != fake_ask(b, FAKE_FRAME, page).frame, "page %u is still shared", page);
		for (uint32_t other = 1; other < page; other++)
			test_check(seen[other] != frame, "pages %u and %u are one", other, page);
		seen[page] = frame;
	}
}

static void check_errors(void)
{
	expect_error("vm", "half", "bad-request");
	expect_error("vm", "", "bad-request");
}

/* Another user, in a child. */
static void check_other_user(void)
{
	pid_t pid;

	if (geteuid() != 0)
		return;
	pid = test_fork();
	if (pid == 0) {
		if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
		    setresuid(NOBODY, NOBODY, NOBODY) < 0)
			_exit(1);
		expect_later("vm", "off"); /* of his own, when that comes */
		_exit(0);
	}
	test_wait_child(pid);
	test_check(instance_vm(&instance, "vm", "shared_pages") == COMMON, "somebody else has changed it");
}

int main(int argc, char **argv)
{
	struct fake_vmm a, b;
	bool as_root;

	test_begin(argc, argv);
	instance_init(&instance);
	instance_start(&instance);
	a = fake_start(instance.socket, &options);
	b = fake_start(instance.socket, &options);
	await(COMMON, ZERO);
	instance_await(&instance, "vm-2", "shared_pages", COMMON);
	as_root = instance_mounts(&instance) > 0;
	check_errors();
	check_other_user();

	set_mode("off");
	await(0, 0);
	check_intact(&a, &b);
	if (as_root)
		check_own_frames(&a, &b);
	test_check(instance_vm(&instance, "vm-2", "shared_pages") == COMMON, "the other VM shares less now");
	instance_scan(&instance);
	await(0, 0);
	fake_ask(&a, FAKE_DISCONNECT, 0);
	test_check(fake_ask(&a, FAKE_CONNECT, 0).error == 0, "cannot connect again");
	instance_scan(&instance);
	await(0, 0);

	set_mode("full");
	fake_ask(&a, FAKE_AWAIT, COMMON + ZERO);
	await(COMMON, ZERO);
	check_intact(&a, &b); /* and every page is there */
	if (as_root)
		test_check(fake_ask(&a, FAKE_FRAME, 7).frame == fake_ask(&b, FAKE_FRAME, 7).frame,
			   "it does not share again");
	set_mode("zero");
	await(0, ZERO);
	set_mode("hints");
	await(0, ZERO);
	check_intact(&a, &b);
	fake_kill(&a);
	fake_kill(&b);
	instance_await(&instance, NULL, "store_bytes", 0);
	instance_done(&instance);
	return 0;
}
