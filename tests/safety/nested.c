/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VM of KVM whose guest could run guests is left alone, by name, on kernels whose KVM would write to memory unseen
 * then; and only such a VM. The kernel and its settings are those of a /proc and /sys of the test's own.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "library/memory.h"
#include "library/nested.h"
#include "tests/support/guest.h"

#define PAGES 16u
#define RELEASE "/proc/sys/kernel/osrelease"
#define INTEL "/sys/module/kvm_intel/parameters/nested"
#define AMD "/sys/module/kvm_amd/parameters/nested"

static const char *const files[] = { RELEASE, INTEL, AMD };
static char root[64];

/* Makes, or with @make false removes, the folders that @path below the root lies in. */
static void folders(const char *path, bool make)
{
	char full[128];

	snprintf(full, sizeof(full), "%s%s", root, path);
	if (make) {
		for (char *c = full + strlen(root) + 1; (c = strchr(c, '/')) != NULL; *c++ = '/') {
			*c = 0;
			mkdir(full, 0755);
		}
		return;
	}
	for (char *c; strlen(full) > strlen(root) && (c = strrchr(full, '/')) != NULL;) {
		*c = 0;
		rmdir(full);
	}
}

static void put(const char *path, const char *text)
{
	char full[128];
	FILE *file;

	snprintf(full, sizeof(full), "%s%s", root, path);
	unlink(full);
	if (text == NULL)
		return;
	file = fopen(full, "we");
	test_check(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0, "writing %s: %s", full,
		   strerror(errno));
}

static void clean_up(void)
{
	const char *socket = getenv("PAGEFUSE_SOCKET");

	if (socket != NULL)
		unlink(socket); /* the director's, whose own cleaning up this replaces */
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		put(files[i], NULL);
		folders(files[i], false);
	}
	rmdir(root);
}

static void make_root(void)
{
	snprintf(root, sizeof(root), "%s/pagefuse-nested-XXXXXX", test_folder());
	test_check(mkdtemp(root) != NULL, "mkdtemp: %s", strerror(errno));
	nested_root = root;
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
		folders(files[i], true);
	put(RELEASE, "6.12.63-amd64\n");
	put(INTEL, "Y\n");
}

static int open_vm(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm;

	if (kvm < 0)
		test_skip("/dev/kvm: %s", strerror(errno));
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		test_skip("KVM_CREATE_VM: %s", strerror(errno));
	close(kvm);
	return vm;
}

static bool is_refused(const struct director_vm *vm, void *context)
{
	(void)context;
	return vm->refused[WIRE_REASON_NESTED] == PAGES * PAGE_BYTES;
}

static bool is_taken(const struct director_vm *vm, void *context)
{
	(void)context;
	return vm->refused[WIRE_REASON_NESTED] == 0;
}

/* Waits until the worker has seen what changed, and then tries to share. */
static void expect_refusal(const struct guest *guest, const char *when)
{
	test_check(director_wait_until(guest->vm, is_refused, NULL) == 0, "the library is gone");
	test_check(director_share(guest->vm, guest->page, PAGES) == 0, "memory is shared %s", when);
}

static void expect_sharing(const struct guest *guest, const char *when)
{
	test_check(director_wait_until(guest->vm, is_taken, NULL) == 0, "the library is gone");
	test_check(guest_share(guest, 0, PAGES) == PAGES, "memory is not shared %s", when);
	director_unshare(guest->vm, guest->page, PAGES);
}

/* One after the other, each undone. The order matters: what a vCPU can do is never forgotten. */
static void go_through(const struct guest *guest)
{
	int vm;

	expect_sharing(guest, "without KVM");
	vm = open_vm();
	expect_refusal(guest, "though nothing is known of the vCPUs");
	put(INTEL, "N\n");
	expect_sharing(guest, "though nested virtualization is off");
	put(AMD, "1\n");
	expect_refusal(guest, "though AMD's module nests");
	put(RELEASE, "6.13.0-rc1\n");
	expect_sharing(guest, "though the kernel is a good one");
	put(RELEASE, "6.8.0\n");
	memory_note_vcpu(false);
	expect_sharing(guest, "though no vCPU can nest");
	memory_note_vcpu(true);
	memory_note_vcpu(false);
	expect_refusal(guest, "though one vCPU can nest");
	put(AMD, NULL);
	put(INTEL, NULL);
	test_check(nested_is_unsafe(), "unknown settings are taken for good ones");
	close(vm);
	expect_sharing(guest, "though the VM of KVM is gone");
}

int main(int argc, char **argv)
{
	struct guest guest;

	test_begin(argc, argv);
	close(open_vm()); /* skips where there is none */
	make_root();
	guest_begin(&guest, pages_map(PAGES, false), PAGES);
	test_at_end(clean_up);
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(guest_at(&guest, i), i + 1);
	go_through(&guest);
	guest_end(&guest);
	clean_up();
	return 0;
}
