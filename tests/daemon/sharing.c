/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Two processes, one store: what is equal ends up in the same page frames; what is written, discarded or gone gives
 * its references back, and the memory with the last of them.
 */
#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define COMMON 300u
#define ZERO 100u
#define UNIQUE 200u

static const struct fake_options options = {
	.name = "vm", .pages = COMMON + ZERO + UNIQUE, .common = COMMON, .zero = ZERO
};

/* Keeps no descriptor of the store for longer than an order takes. */
static const struct fake_options forgetful = {
	.name = "vm", .pages = COMMON + ZERO + UNIQUE, .common = COMMON, .zero = ZERO, .forgetful = 1
};

static void check_intact(const struct fake_vmm *vmm)
{
	test_check(fake_ask(vmm, FAKE_CHECK, 0).damaged == 0, "memory is not what it was");
}

static void check_counters(const struct instance *instance, long long shared, long long common, long long zero)
{
	instance_await(instance, NULL, "shared_pages", shared);
	instance_await(instance, NULL, "common_pages", common);
	instance_await(instance, NULL, "zero_pages", zero);
	test_check(instance_host(instance, "saved_pages") == shared - common + zero,
		   "saved is not shared - common + zero");
}

static void check_frames(const struct fake_vmm *a, const struct fake_vmm *b)
{
	for (uint32_t page = 1; page <= COMMON; page += 37)
		test_check(fake_ask(a, FAKE_FRAME, page).frame == fake_ask(b, FAKE_FRAME, page).frame,
			   "page %u is not in one frame", page);
	test_check(fake_ask(a, FAKE_FRAME, options.pages).frame != fake_ask(b, FAKE_FRAME, options.pages).frame,
		   "pages that differ are in one frame");
}

int main(int argc, char **argv)
{
	struct instance instance;
	struct fake_vmm a, b;

	test_begin(argc, argv);
	instance_init(&instance);
	instance_start(&instance);
	a = fake_start(instance.socket, &options);
	b = fake_start(instance.socket, &forgetful);
	fake_ask(&a, FAKE_AWAIT, COMMON + ZERO);
	fake_ask(&b, FAKE_AWAIT, COMMON + ZERO);
	check_counters(&instance, 2 * COMMON, COMMON, 2 * ZERO);
	test_check(instance_vm(&instance, "vm", "saved_pages") + instance_vm(&instance, "vm-2", "saved_pages") ==
			   instance_host(&instance, "saved_pages"),
		   "the VMs' saved pages do not add up to the host's");
	check_intact(&a);
	check_intact(&b);
	if (instance_mounts(&instance) > 0) /* that is: as root */
		check_frames(&a, &b);
	instance_await(&instance, NULL, "store_bytes", COMMON * PAGE_BYTES);

	fake_ask(&a, FAKE_WRITE, 1);
	check_counters(&instance, 2 * COMMON - 1, COMMON, 2 * ZERO);
	fake_ask(&b, FAKE_WRITE, 1);
	check_counters(&instance, 2 * COMMON - 2, COMMON - 1, 2 * ZERO);
	instance_await(&instance, NULL, "store_bytes", (COMMON - 1) * PAGE_BYTES);
	fake_ask(&a, FAKE_WRITE, COMMON + 1);
	check_counters(&instance, 2 * COMMON - 2, COMMON - 1, 2 * ZERO - 1);
	check_intact(&a);
	check_intact(&b);

	fake_kill(&a);
	check_counters(&instance, COMMON - 1, COMMON - 1, ZERO);
	check_intact(&b);
	fake_kill(&b);
	check_counters(&instance, 0, 0, 0);
	instance_await(&instance, NULL, "store_bytes", 0);
	instance_done(&instance);
	return 0;
}
