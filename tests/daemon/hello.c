/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How a VMM is received: what WELCOME brings, what a ring allows, and names. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

static void check_ring(int fd)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	test_check(fstat(fd, &st) == 0 && st.st_size == (off_t)RING_BYTES, "the ring has %ld bytes", (long)st.st_size);
	test_check((seals & (F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)) == (F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL),
		   "the ring's seals are 0x%x", seals);
	test_check(ftruncate(fd, 0) < 0 && errno == EPERM, "the ring can be shrunk");
	test_check(ftruncate(fd, 2 * (off_t)RING_BYTES) < 0 && errno == EPERM, "the ring can be grown");
}

static void check_welcome(const struct instance *instance)
{
	struct fake_link first, second;

	test_check(fake_link_open(&first, instance->socket, "one", WIRE_MODE_FULL, 0) == 0, "no welcome");
	test_check(first.welcome.store != 0, "the store has no identity");
	check_ring(first.ring_fd);
	if (access("/dev/userfaultfd", R_OK | W_OK) == 0)
		test_check(first.userfaultfd >= 0, "no userfaultfd came");
	test_check((first.userfaultfd >= 0) == (first.welcome.has_userfaultfd != 0), "has_userfaultfd is wrong");
	fake_link_post(&first, REPORT_REGION_ADD, 1, 1, 16);
	fake_link_post(&first, REPORT_READY, 1, 1, 0);
	instance_await(instance, "one", "ram_bytes", 16 * PAGE_BYTES);
	/* The same process once more: it takes the place of the older connection. */
	test_check(fake_link_open(&second, instance->socket, "one", WIRE_MODE_ZERO, first.welcome.store) == 0,
		   "no second welcome");
	test_check(second.welcome.store == first.welcome.store && second.welcome.seed == first.welcome.seed,
		   "another store, or another seed");
	fake_link_post(&second, REPORT_REGION_ADD, 1, 1, 8);
	fake_link_post(&second, REPORT_READY, 1, 1, 0);
	instance_await(instance, "one", "ram_bytes", 8 * PAGE_BYTES);
	fake_link_close(&first);
	fake_link_close(&second);
	instance_await(instance, "one", "connected", 0);
}

static void check_names(const struct instance *instance)
{
	const struct fake_options options = { .name = "twin", .pages = 4 };
	struct fake_vmm a = fake_start(instance->socket, &options), b = fake_start(instance->socket, &options);

	test_check(instance_vm(instance, "twin", "pid") == a.pid, "the first has not got the name");
	test_check(instance_vm(instance, "twin-2", "pid") == b.pid, "the second has not got the name with a suffix");
	fake_ask(&b, FAKE_DISCONNECT, 0);
	test_check(fake_ask(&b, FAKE_CONNECT, 0).error == 0, "cannot connect again");
	test_check(instance_vm(instance, "twin-2", "pid") == b.pid, "the name was lost by connecting again");
	fake_kill(&a);
	fake_kill(&b);
	instance_await(instance, "twin", "pid", -1);
	instance_await(instance, "twin-2", "pid", -1);
}

int main(int argc, char **argv)
{
	struct instance instance;

	test_begin(argc, argv);
	instance_init(&instance);
	instance_start(&instance);
	check_welcome(&instance);
	check_names(&instance);
	instance_done(&instance);
	return 0;
}
