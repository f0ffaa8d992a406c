/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * VMs of one user that say for ever that they map what another user's VMs have brought in: these are not charged for it
 * once they map it no longer, so they go on bringing in what is new, round by round. Run with a daemon that looks often
 * who maps what is charged.
 *
 * control: with one that never does. Then they are stuck at a limit of slots.
 */
#include <stdio.h>

#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define BOB 20002u
#define LIAR 20003u
#define PAGES 200u
#define ROUNDS 5u /* more slots than both VMs together may have brought in */
#define SETTINGS "[domain both]\nuser = 20002 20003\n[limits]\nvm_store_size = 1M\n[scan]\ninterval_seconds = 0\n"
#define STUCK_SCANS 10u

static struct instance instance;

static struct fake_vmm start(const char *name, uid_t uid, uint32_t content)
{
	const struct fake_options options = { .name = name, .pages = PAGES, .common = PAGES, .uid = uid };
	struct fake_vmm vmm = fake_start(instance.socket, &options);

	fake_ask(&vmm, FAKE_NEXT_CONTENT, content);
	return vmm;
}

/* Scans until each of @count VMs shares all that it has. @return whether that came to be. */
static bool share(const struct fake_vmm *vms, unsigned count)
{
	uint64_t last = test_patient_msec() + TEST_PATIENCE_SECONDS * 1000;
	unsigned scans = 0, done = 0;

	while (done < count && test_patient_msec() < last && !(test_wants("control") && scans++ == STUCK_SCANS)) {
		instance_scan(&instance);
		for (done = 0; done < count && fake_ask(&vms[done], FAKE_STATE, 0).shared == PAGES;)
			done++;
	}
	return done == count;
}

int main(int argc, char **argv)
{
	struct fake_vmm bobs[2], liars[ROUNDS];
	unsigned round, count = 0;

	test_begin(argc, argv);
	instance_init(&instance);
	instance_settings(&instance, SETTINGS);
	instance_start(&instance);
	for (unsigned i = 0; i < 2; i++)
		bobs[i] = start("bob", BOB, 0);
	for (round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < 2 && round > 0; i++)
			fake_ask(&bobs[i], FAKE_NEXT_CONTENT, round);
		if (!share(bobs, 2))
			break;
		liars[count] = start("liar", LIAR, round);
		test_check(share(&liars[count++], 1), "what is shared already is not shared by one more");
		test_progress();
	}
	if (test_wants("control"))
		test_check(round < ROUNDS, "who maps it no longer is not charged: nothing to see here");
	else
		test_check(round == ROUNDS, "in round %u bob's VMs may bring in nothing new", round);
	for (unsigned i = 0; i < 2; i++)
		fake_kill(&bobs[i]);
	for (unsigned i = 0; i < count; i++)
		fake_kill(&liars[i]);
	instance_await(&instance, NULL, "store_bytes", 0);
	instance_stop(&instance);
	instance_done(&instance);
	return 0;
}
