/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Orders for many VMs at once: to wake each of them takes the daemon longer than the orders do, and counts. So it is
 * done in several turns of the loop, and all have their orders. Run with a daemon that passes on few in a turn.
 *
 * control: with one in which only orders count. It wakes all VMs in one turn.
 */
#include <stdio.h>
#include <unistd.h>

#include "daemon/pump.h"
#include "tests/daemon/crowd.h"
#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define VMS 64u
#define COMMON 16u
#define ROUNDS 3u
#define SCANNED_WHEN_ASKED "[scan]\ninterval_seconds = 0\n"

_Static_assert(VMS *PUMP_PACKET_ORDERS > 2 * PUMP_ORDERS_MOST, "all at once are more than may be");

static struct instance instance;
static struct fake_vmm vms[VMS];

int main(int argc, char **argv)
{
	static const struct fake_options options = { .name = "vm", .pages = 2 * COMMON, .common = COMMON };
	long long most;

	test_begin(argc, argv);
	instance_init(&instance);
	instance_settings(&instance, geteuid() == 0 ? SCANNED_WHEN_ASKED : SCANNED_WHEN_ASKED CROWD_LIMITS);
	instance_start(&instance);
	for (unsigned i = 0; i < VMS; i++)
		vms[i] = fake_start(instance.socket, &options);
	for (uint32_t round = 1; round <= ROUNDS; round++) {
		for (unsigned i = 0; i < VMS; i++)
			fake_ask(&vms[i], FAKE_NEXT_CONTENT, round);
		instance_scan(&instance);
		for (unsigned i = 0; i < VMS; i++)
			test_check(fake_ask(&vms[i], FAKE_AWAIT, COMMON).shared == COMMON, "VM %u does not share", i);
	}
	most = instance_daemon(&instance, "turn_max_orders");
	printf("turn_max_orders: %lld of %u\n", most, PUMP_ORDERS_MOST);
	if (most > PUMP_ORDERS_MOST)
		test_damage("%lld orders, or as much work, in one turn", most);
	for (unsigned i = 0; i < VMS; i++)
		fake_kill(&vms[i]);
	instance_await(&instance, NULL, "store_bytes", 0);
	instance_stop(&instance);
	instance_done(&instance);
	return 0;
}
