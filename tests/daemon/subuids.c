/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whoever has many user numbers, of a range for user namespaces, is one user where something may run out: domains here,
 * of which this daemon has 8, one of them its own. Others get theirs.
 *
 * subuids control   the file has no such range: they do not
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define FIRST 200000u
#define NUMBERS 8u
#define BOB 20002u
#define RANGE "someone:200000:65536\n" /* in the file that this daemon reads, in its working directory */

static struct instance instance;

static struct fake_vmm start(uid_t uid)
{
	const struct fake_options options = {
		.name = "vm", .pages = 64, .common = 16, .zero = 16, .uid = uid, .may_fail = true
	};

	return fake_start(instance.socket, &options);
}

static bool is_served(const struct fake_vmm *vmm)
{
	return fake_ask(vmm, FAKE_STATE, 0).connected;
}

static void write_file(const char *text)
{
	int fd = open("subuid", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	test_check(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "subuid: %s", strerror(errno));
	close(fd);
}

/** A VM of each of the numbers. @return how many are served. */
static unsigned start_all(struct fake_vmm vms[NUMBERS])
{
	unsigned count = 0;

	for (unsigned i = 0; i < NUMBERS; i++) {
		vms[i] = start(FIRST + i);
		count += is_served(&vms[i]);
	}
	return count;
}

/* One is the daemon's own. */
static void await_domains(size_t wanted)
{
	uint64_t last = test_patient_msec() + TEST_PATIENCE_SECONDS * 1000;
	size_t count = 0;

	while (count != wanted) {
		json_t *status = instance_ask(&instance, "{\"command\":\"status\"}");

		test_check(test_patient_msec() < last, "there are %zu domains, not %zu", count, wanted);
		count = json_array_size(json_object_get(status, "domains"));
		json_decref(status);
	}
}

/** @left: domains that are left then. */
static void stop_all(struct fake_vmm vms[NUMBERS], size_t left)
{
	for (unsigned i = 0; i < NUMBERS; i++)
		fake_kill(&vms[i]);
	await_domains(left);
}

static void test_domains(void)
{
	struct fake_vmm vms[NUMBERS], bob, more;

	test_check(start_all(vms) == 4, "it is not half of the domains, and one, that one user gets");
	bob = start(BOB);
	test_check(is_served(&bob), "another user is not served");
	more = start(FIRST + NUMBERS);
	test_check(!is_served(&more), "the first one gets more domains");
	fake_kill(&more);
	stop_all(vms, 2);
	test_check(start_all(vms) > 0, "domains that have ended count still");
	fake_kill(&bob);
	stop_all(vms, 1);
}

static void check_control(void)
{
	struct fake_vmm vms[NUMBERS], bob;

	test_check(start_all(vms) == 7, "one user does not get all domains");
	bob = start(BOB);
	test_check(!is_served(&bob), "another user is served");
	fake_kill(&bob);
	stop_all(vms, 1);
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	if (geteuid() != 0)
		test_skip("needs root, to be other users");
	instance_init(&instance);
	test_check(chdir(instance.directory) == 0, "chdir: %s", strerror(errno));
	write_file("# none yet\n");
	instance_start(&instance);
	if (test_wants("control")) {
		check_control();
	} else {
		write_file(RANGE); /* seen while it runs */
		test_domains();
	}
	unlink("subuid");
	test_check(chdir("/") == 0, "chdir: %s", strerror(errno));
	instance_done(&instance);
	return 0;
}
