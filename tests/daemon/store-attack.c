/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a VMM can do with the descriptor of a store segment that it was given: read. As root, who is the daemon's user,
 * and as two others, each way to write or change the file has to fail and leave the slot's bytes alone.
 *
 * Positive control: `store-attack control` attacks a file of a tmpfs that was opened O_RDONLY without a read-only clone
 * of its mount, and must get through.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/falloc.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/pages.h"
#include "tests/support/test.h"

#define NOBODY 65534

static unsigned breaches; /* attacks that the kernel let through */

static void expect_refused(bool refused, const char *what)
{
	if (refused)
		return;
	fprintf(stderr, "got through: %s\n", what);
	breaches++;
}

static void by_writing(int fd, const char *how)
{
	char text[128];

	snprintf(text, sizeof(text), "write(2) %s", how);
	expect_refused(write(fd, "X", 1) < 0, text);
	snprintf(text, sizeof(text), "pwrite(2) %s", how);
	expect_refused(pwrite(fd, "X", 1, 0) < 0, text);
	snprintf(text, sizeof(text), "ftruncate(2) %s", how);
	expect_refused(ftruncate(fd, 4096) < 0, text);
	snprintf(text, sizeof(text), "fallocate(2) punching %s", how);
	expect_refused(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) < 0, text);
	snprintf(text, sizeof(text), "fallocate(2) growing %s", how);
	expect_refused(fallocate(fd, 0, 1L << 30, 4096) < 0, text); /* behind its end */
}

static void by_mapping(int fd)
{
	char *map = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	int memory;

	expect_refused(map == MAP_FAILED, "a writable shared mapping");
	map = mmap(NULL, PAGE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	test_check(map != MAP_FAILED, "cannot even read: %s", strerror(errno));
	expect_refused(mprotect(map, PAGE_BYTES, PROT_READ | PROT_WRITE) < 0, "mprotect of a shared mapping");
	expect_refused(madvise(map, PAGE_BYTES, MADV_REMOVE) < 0, "MADV_REMOVE");
	expect_refused(madvise(map, PAGE_BYTES, MADV_POPULATE_WRITE) < 0, "MADV_POPULATE_WRITE");
	memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	if (memory >= 0) {
		expect_refused(pwrite(memory, "X", 1, (off_t)(uintptr_t)map) < 0, "/proc/self/mem");
		close(memory);
	}
	munmap(map, PAGE_BYTES);
}

static int open_userfaultfd(int device)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = device >= 0 ? ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC) : (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd >= 0 && ioctl(fd, UFFDIO_API, &api) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void by_userfaultfd(int fd, int device)
{
	int uffd = open_userfaultfd(device);
	char *map = mmap(NULL, PAGE_BYTES, PROT_READ, MAP_SHARED, fd, (off_t)(1000 * PAGE_BYTES));
	char *source = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_register reg = { .range = { (uintptr_t)map, PAGE_BYTES }, .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_copy copy = { .dst = (uintptr_t)map, .src = (uintptr_t)source, .len = PAGE_BYTES };

	if (uffd < 0)
		return;
	memset(source, 'X', PAGE_BYTES);
	expect_refused(ioctl(uffd, UFFDIO_REGISTER, &reg) < 0, "UFFDIO_REGISTER of a shared mapping");
	expect_refused(ioctl(uffd, UFFDIO_COPY, &copy) < 0, "UFFDIO_COPY into a shared mapping");
	close(uffd);
	munmap(map, PAGE_BYTES);
	munmap(source, PAGE_BYTES);
}

static void by_reopening(int fd)
{
	static const int modes[] = { O_RDWR, O_WRONLY, O_RDWR | O_TRUNC, O_RDONLY | O_TRUNC };
	char path[64], target[256];
	ssize_t size;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	for (unsigned i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		int other = open(path, modes[i] | O_CLOEXEC);

		expect_refused(other < 0, "reopening through /proc/self/fd");
		if (other >= 0) {
			by_writing(other, "after reopening");
			close(other);
		}
	}
	size = readlink(path, target, sizeof(target) - 1);
	if (size > 0 && target[0] == '/') {
		int other;

		target[size] = 0;
		other = open(target, O_RDWR | O_CLOEXEC);
		expect_refused(other < 0, "opening the path that /proc/self/fd shows");
		if (other >= 0)
			close(other);
	}
	expect_refused(truncate(path, 0) < 0, "truncate(2) through /proc/self/fd");
	expect_refused(fcntl(fd, F_SETFL, O_RDWR) < 0 || (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY, "F_SETFL");
}

static void by_metadata(int fd)
{
	static const struct timeval times[2];
	char path[64];

	expect_refused(fchmod(fd, 0666) < 0, "fchmod");
	expect_refused(fchown(fd, geteuid(), getegid()) < 0, "fchown");
	expect_refused(futimes(fd, times) < 0, "futimes");
	expect_refused(fsetxattr(fd, "user.x", "y", 1, 0) < 0, "fsetxattr");
	expect_refused(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) < 0, "F_ADD_SEALS");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	expect_refused(chmod(path, 0666) < 0, "chmod through /proc/self/fd");
	expect_refused(linkat(AT_FDCWD, path, AT_FDCWD, "/dev/shm/pagefuse-test-link", AT_SYMLINK_FOLLOW) < 0,
		       "linkat");
	expect_refused(linkat(fd, "", AT_FDCWD, "/dev/shm/pagefuse-test-link", AT_EMPTY_PATH) < 0,
		       "linkat with AT_EMPTY_PATH");
}

static void by_handle(int fd)
{
	union {
		struct file_handle handle;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} name = { .handle.handle_bytes = MAX_HANDLE_SZ };
	int mount, other;

	if (name_to_handle_at(fd, "", &name.handle, &mount, AT_EMPTY_PATH) < 0)
		return;
	other = open_by_handle_at(fd, &name.handle, O_RDWR | O_CLOEXEC);
	expect_refused(other < 0, "open_by_handle_at");
	if (other >= 0)
		close(other);
}

static void by_copying(int fd)
{
	int source = memfd_create("source", MFD_CLOEXEC);
	loff_t in = 0, out = 0;

	test_check(source >= 0 && write(source, "XXXX", 4) == 4, "memfd: %s", strerror(errno));
	expect_refused(copy_file_range(source, &in, fd, &out, 4, 0) < 0, "copy_file_range");
	lseek(source, 0, SEEK_SET);
	expect_refused(syscall(SYS_sendfile, fd, source, NULL, 4) < 0, "sendfile");
	close(source);
}

static void attack(int fd, int device)
{
	by_writing(fd, "to the descriptor as it came");
	by_mapping(fd);
	by_userfaultfd(fd, device);
	by_reopening(fd);
	by_metadata(fd);
	by_reopening(fd); /* if a change of the mode has helped */
	by_handle(fd);
	by_copying(fd);
}

/* Attacks in a child that is @uid. @return whether anything got through. */
static bool attack_as(uid_t uid, int fd, int device)
{
	int status, pid = test_fork();

	if (pid == 0) {
		if (uid != geteuid() &&
		    (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0))
			_exit(2);
		attack(fd, device);
		_exit(breaches > 0 ? 1 : 0);
	}
	status = test_wait_child(pid);
	test_check(WIFEXITED(status) && WEXITSTATUS(status) <= 1, "the attacker ended with status 0x%x", status);
	return WEXITSTATUS(status) == 1;
}

static int control(void)
{
	char path[] = "/dev/shm/pagefuse-test-XXXXXX";
	int writable = mkostemp(path, O_CLOEXEC), fd = open(path, O_RDONLY | O_CLOEXEC);

	test_check(writable >= 0 && fd >= 0 && ftruncate(writable, 1 << 22) == 0, "prepare %s: %s", path,
		   strerror(errno));
	unlink(path);
	attack(fd, -1);
	unlink("/dev/shm/pagefuse-test-link");
	test_check(breaches > 0, "nothing got through to a file that is not protected: these attacks prove nothing");
	return 0;
}

int main(int argc, char **argv)
{
	const struct fake_options options = { .name = "vm", .pages = 64, .common = 64, .uid = NOBODY };
	int fd, device, left = test_begin(argc, argv);
	struct instance instance;
	struct fake_vmm a, b;

	if (left > 1)
		return control();
	instance_start_mounted(&instance);
	a = fake_start(instance.socket, &options);
	b = fake_start(instance.socket, &options);
	fake_ask(&a, FAKE_AWAIT, 64);
	fake_ask(&b, FAKE_AWAIT, 64);
	fd = fake_take_segment(&a);
	device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	test_check(!attack_as(NOBODY, fd, device), "another user gets through");
	test_check(!attack_as(NOBODY - 1, fd, device), "a third user gets through");
	test_check(!attack_as(0, fd, device), "root, the daemon's own user, gets through");
	test_check(fake_ask(&a, FAKE_CHECK, 0).damaged == 0 && fake_ask(&b, FAKE_CHECK, 0).damaged == 0,
		   "slots were changed");
	instance_await(&instance, NULL, "shared_pages", 128);
	close(fd);
	if (device >= 0)
		close(device);
	fake_kill(&a);
	fake_kill(&b);
	instance_await(&instance, NULL, "store_bytes", 0);
	instance_done(&instance);
	return 0;
}
