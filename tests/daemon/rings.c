/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A user whose VMs have as many rings as they may is refused one more, with a line that says why; those that he has go
 * on, others come and share, and when one of his ends he may have another. Run with a daemon that takes its host to
 * have 1 GiB.
 *
 * control: with no such limit. Then he is let in.
 */
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "protocol/ring.h"
#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define BOB 20001u
#define ALICE 20002u
#define COMMON 16u
#define HOST_BYTES (UINT64_C(1) << 30)
#define MOST ((unsigned)(HOST_BYTES / 100 / RING_BYTES)) /* of 1 percent */

_Static_assert(HOST_BYTES / 100 / RING_BYTES > 1, "a user has VMs that share with each other");

static struct instance instance;

static struct fake_vmm start(uid_t uid)
{
	const struct fake_options options = {
		.name = "vm", .pages = 2 * COMMON, .common = COMMON, .uid = uid, .may_fail = true
	};

	return fake_start(instance.socket, &options);
}

static bool is_served(const struct fake_vmm *vmm)
{
	return fake_ask(vmm, FAKE_STATE, 0).connected;
}

static void await_shared(const struct fake_vmm *vmm)
{
	test_check(fake_ask(vmm, FAKE_AWAIT, COMMON).shared == COMMON, "a VM does not share");
}

static void others_share(void)
{
	struct fake_vmm vms[2];

	for (unsigned i = 0; i < 2; i++) {
		vms[i] = start(ALICE);
		test_check(is_served(&vms[i]), "VM %u of another user is not served", i);
	}
	for (unsigned i = 0; i < 2; i++)
		await_shared(&vms[i]);
	for (unsigned i = 0; i < 2; i++)
		fake_kill(&vms[i]);
}

int main(int argc, char **argv)
{
	struct fake_vmm bobs[MOST], beyond;

	test_begin(argc, argv);
	if (geteuid() != 0)
		test_skip("only root can have VMs of several users");
	instance_init(&instance);
	instance_settings(&instance, test_wants("control") ? "[limits]\nuser_rings_percent = 0\n"
							   : "[limits]\nuser_rings_percent = 1\n");
	instance_start(&instance);
	for (unsigned i = 0; i < MOST; i++) {
		bobs[i] = start(BOB);
		test_check(is_served(&bobs[i]), "VM %u of %u is not served", i + 1, MOST);
	}
	beyond = start(BOB);
	if (is_served(&beyond))
		test_damage("one user has %u VMs, with rings of %zu KiB", MOST + 1, (MOST + 1) * RING_BYTES / 1024);
	test_check(instance_logged(&instance, "have as many rings as [limits] user_rings_percent allows"),
		   "it is not said why");
	others_share();
	for (unsigned i = 0; i < MOST; i++)
		await_shared(&bobs[i]);
	fake_kill(&bobs[0]);
	fake_kill(&beyond);
	for (bool served = false; !served; fake_kill(&beyond)) { /* soon */
		beyond = start(BOB);
		served = is_served(&beyond);
		poll(NULL, 0, served ? 0 : 10);
	}
	for (unsigned i = 1; i < MOST; i++)
		fake_kill(&bobs[i]);
	instance_await(&instance, NULL, "store_bytes", 0);
	instance_stop(&instance);
	instance_done(&instance);
	return 0;
}
