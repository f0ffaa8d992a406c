/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/daemon/crowd.h"

#include "tests/daemon/fake-vmm.h"

static struct fake_vmm vms[CROWD_VMS];

void crowd_start(const struct instance *instance)
{
	static const struct fake_options options = { .name = "vm",
						     .pages = CROWD_COMMON + CROWD_ZERO + CROWD_UNIQUE,
						     .common = CROWD_COMMON,
						     .zero = CROWD_ZERO };

	for (unsigned i = 0; i < CROWD_VMS; i++)
		vms[i] = fake_start(instance->socket, &options);
}

void crowd_await_shared(void)
{
	for (unsigned i = 0; i < CROWD_VMS; i++)
		fake_ask(&vms[i], FAKE_AWAIT, CROWD_COMMON + CROWD_ZERO);
}

void crowd_stop(void)
{
	for (unsigned i = 0; i < CROWD_VMS; i++)
		fake_kill(&vms[i]);
}
