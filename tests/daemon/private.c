/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A private daemon without a mount of its own: memfds that VMMs cannot resize or write through what they are given, the
 * same care for what a child still reads, and an end with the last VM.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define PAGES 200u

static const struct fake_options options = { .name = "vm", .pages = PAGES, .common = PAGES };

static struct fake_vmm start_sharing(const struct instance *instance, struct fake_vmm *ret_other)
{
	struct fake_vmm vmm = fake_start(instance->socket, &options);

	*ret_other = fake_start(instance->socket, &options);
	fake_ask(&vmm, FAKE_AWAIT, PAGES);
	fake_ask(ret_other, FAKE_AWAIT, PAGES);
	instance_await(instance, NULL, "shared_pages", 2 * PAGES);
	instance_await(instance, NULL, "store_bytes", PAGES * PAGE_BYTES);
	if (geteuid() == 0) /* frames are shown to root only */
		test_check(fake_ask(&vmm, FAKE_FRAME, 7).frame == fake_ask(ret_other, FAKE_FRAME, 7).frame,
			   "equal pages are in two frames");
	return vmm;
}

static void check_kind(const struct instance *instance)
{
	json_t *status = instance_ask(instance, "{\"command\":\"status\"}");
	const char *kind = json_string_value(json_object_get(json_object_get(status, "daemon"), "store"));

	test_check(kind && strcmp(kind, "memfd") == 0, "the store is a %s", kind);
	test_check(instance_mounts(instance) == 0, "something was mounted");
	json_decref(status);
}

static void check_descriptor(const struct fake_vmm *vmm)
{
	const int wanted = F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
	int fd = fake_take_segment(vmm);

	test_check((fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY, "a VM was given a descriptor that writes");
	test_check((fcntl(fd, F_GET_SEALS) & wanted) == wanted, "a segment is not sealed");
	test_check(pwrite(fd, "X", 1, 0) < 0 && ftruncate(fd, 0) < 0, "a VM can change a segment");
	close(fd);
}

/* The daemon cannot tell whose child it finds, and so keeps all that the dead shared. */
static void outlive_by_a_child(struct instance *instance, struct fake_vmm *a, struct fake_vmm *b)
{
	pid_t child = fake_ask(a, FAKE_FORK, 0).pid;

	fake_kill(a);
	instance_await_disconnected(instance, "vm");
	test_check(fake_ask(b, FAKE_CHECK, 0).damaged == 0, "memory is not what it was");
	fake_kill(b);
	test_check(instance_alive(instance), "the daemon ended while a child reads what it keeps");
	test_check(instance_host(instance, "store_bytes") == PAGES * PAGE_BYTES, "slots were freed under a child");
	kill(child, SIGKILL); /* not ours to wait for; init does */
}

int main(int argc, char **argv)
{
	struct instance instance;
	struct fake_vmm a, b;

	test_begin(argc, argv);
	instance_init(&instance);
	instance_settings(&instance, "[store]\nkind = memfd\n");
	instance.private = true;
	instance_start(&instance);
	a = start_sharing(&instance, &b);
	check_kind(&instance);
	check_descriptor(&a);
	fake_kill(&b);
	instance_await(&instance, NULL, "shared_pages", PAGES);
	test_check(fake_ask(&a, FAKE_CHECK, 0).damaged == 0, "memory is not what it was");
	b = fake_start(instance.socket, &options);
	fake_ask(&b, FAKE_AWAIT, PAGES);
	outlive_by_a_child(&instance, &a, &b);
	instance_await_end(&instance);
	test_check(instance_logged(&instance, "the last VM is gone"), "the daemon does not say why it ends");

	/* Killed: VMs go on with what they map, and share anew with the next daemon. */
	instance_start(&instance);
	a = start_sharing(&instance, &b);
	instance_kill(&instance);
	instance_start(&instance);
	test_check(fake_ask(&a, FAKE_CHECK, 0).damaged == 0, "memory is not what it was");
	test_check(fake_ask(&a, FAKE_CONNECT, 0).error == 0 && fake_ask(&b, FAKE_CONNECT, 0).error == 0,
		   "cannot connect again");
	instance_await(&instance, NULL, "shared_pages", 2 * PAGES);
	test_check(fake_ask(&a, FAKE_CHECK, 0).damaged == 0, "memory is not what it was");
	fake_kill(&a);
	fake_kill(&b);
	instance_await_end(&instance);
	instance_done(&instance);
	return 0;
}
