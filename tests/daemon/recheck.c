/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A slot that is dead and punched gets memory again if a VMM reads it, which it may. The daemon sees that more is in
 * use than is live, and punches again; what is live stays. Run with a daemon that looks every second.
 */
#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define PAGES 64u
#define DEAD 32u

static const struct fake_options options = { .name = "vm", .pages = PAGES, .common = PAGES };

int main(int argc, char **argv)
{
	struct instance instance;
	struct fake_vmm a, b;
	uint32_t slots[DEAD];

	test_begin(argc, argv);
	instance_init(&instance);
	instance_start(&instance);
	a = fake_start(instance.socket, &options);
	b = fake_start(instance.socket, &options);
	fake_ask(&a, FAKE_AWAIT, PAGES);
	fake_ask(&b, FAKE_AWAIT, PAGES);
	instance_await(&instance, NULL, "store_bytes", PAGES * PAGE_BYTES);
	for (uint32_t i = 0; i < DEAD; i++) {
		slots[i] = fake_ask(&a, FAKE_FRAME, 2 * i + 1).slot;
		fake_ask(&a, FAKE_WRITE, 2 * i + 1);
		fake_ask(&b, FAKE_WRITE, 2 * i + 1);
	}
	instance_await(&instance, NULL, "store_bytes", (PAGES - DEAD) * PAGE_BYTES);

	/* Several times, since the daemon may look just in between. */
	for (unsigned times = 1; instance_host(&instance, "store_bytes") != PAGES * PAGE_BYTES; times++) {
		test_check(times < 100, "reading punched slots does not give them memory: nothing to see here");
		for (uint32_t i = 0; i < DEAD; i++)
			test_check(fake_ask(&a, FAKE_TOUCH_SLOT, slots[i]).error == 0, "cannot read a dead slot");
	}
	instance_await(&instance, NULL, "store_bytes", (PAGES - DEAD) * PAGE_BYTES);
	test_check(fake_ask(&a, FAKE_CHECK, 0).damaged == 0 && fake_ask(&b, FAKE_CHECK, 0).damaged == 0,
		   "a slot that is read was punched");
	instance_await(&instance, NULL, "shared_pages", 2 * (PAGES - DEAD));
	fake_kill(&a);
	fake_kill(&b);
	instance_await(&instance, NULL, "store_bytes", 0);
	instance_done(&instance);
	return 0;
}
