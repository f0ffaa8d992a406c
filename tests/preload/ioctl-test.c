/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ioctl(): what KVM is told, userfaultfd of the VMM's own, memory mapped for devices. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "library/kernel.h"
#include "preload/next.h"
#include "tests/preload/calls.h"

#ifndef KVM_SET_USER_MEMORY_REGION2
#define KVM_SET_USER_MEMORY_REGION2 _IOW(KVMIO, 0x49, char[160])
#endif
#ifndef IOMMU_IOAS_MAP
#define IOMMU_IOAS_MAP _IO(';', 0x85)
#endif

static int call_ioctl(int fd, unsigned long request, void *argument)
{
	return by_number ? (int)syscall(SYS_ioctl, (long)fd, request, argument) : ioctl(fd, request, argument);
}

static int ioctl_result;
static unsigned long ioctl_request;

static int ioctl_of_a_device(int fd, unsigned long request, ...)
{
	(void)fd;
	ioctl_request = request;
	if (ioctl_result < 0)
		errno = ENOTTY;
	return ioctl_result;
}

static long syscall_of_a_device(long number, ...)
{
	va_list arguments;
	unsigned long request;
	int fd;

	va_start(arguments, number);
	fd = va_arg(arguments, int);
	request = va_arg(arguments, unsigned long);
	va_end(arguments);
	if (number != SYS_ioctl)
		abort();
	return ioctl_of_a_device(fd, request);
}

/* An ioctl on hardware that is not there, answered with @result. */
static int device_ioctl(int result, unsigned long request, void *argument)
{
	struct next before = next;
	int answer;

	ioctl_result = result;
	next.ioctl = ioctl_of_a_device;
	next.syscall = syscall_of_a_device;
	answer = call_ioctl(7, request, argument);
	next = before;
	assert_true(ioctl_request == request);
	return answer;
}

static void kvm_slots_are_noted(void **state)
{
	struct {
		struct kvm_userspace_memory_region slot;
		char rest[128];
	} region = { .slot = { .slot = 0x10003, .guest_phys_addr = 0x100000000, .memory_size = BYTES } };
	static const unsigned long requests[] = { KVM_SET_USER_MEMORY_REGION, KVM_SET_USER_MEMORY_REGION2 };

	(void)state;
	region.slot.userspace_addr = (uintptr_t)ram;
	for (int i = 0; i < 2; i++) {
		expect_success(device_ioctl(0, requests[i], &region));
		assert_int_equal(records_count, 1);
		assert_int_equal(records[0].kind, RECORDED_NOTE);
		assert_int_equal(records[0].slot, 0x10003);
		assert_true(records[0].gpa == 0x100000000);
		assert_ptr_equal(records[0].address, ram);
		assert_int_equal(records[0].length, BYTES);
		records_count = 0;
		expect_failure(device_ioctl(-1, requests[i], &region), ENOTTY);
		expect_nothing();
	}
}

static void expect_vcpu(struct kvm_cpuid2 *cpuid, int result, bool nests)
{
	if (result < 0) {
		expect_failure(device_ioctl(result, KVM_SET_CPUID2, cpuid), ENOTTY);
		expect_nothing();
		return;
	}
	expect_success(device_ioctl(result, KVM_SET_CPUID2, cpuid));
	assert_int_equal(records_count, 1);
	assert_int_equal(records[0].kind, RECORDED_VCPU);
	assert_int_equal(records[0].detail, nests);
	records_count = 0;
}

static void features_of_vcpus_are_noted(void **state)
{
	enum { ENTRIES = 3 };
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + ENTRIES * sizeof(cpuid->entries[0]));

	(void)state;
	assert_non_null(cpuid);
	cpuid->nent = ENTRIES;
	cpuid->entries[0] = (struct kvm_cpuid_entry2){ .function = 7, .ecx = ~0u };
	cpuid->entries[1] = (struct kvm_cpuid_entry2){ .function = 1, .ecx = ~(1u << 5) };
	cpuid->entries[2] = (struct kvm_cpuid_entry2){ .function = 0x80000001, .ecx = ~(1u << 2) };
	expect_vcpu(cpuid, 0, false);
	cpuid->entries[2].ecx = 1u << 2;
	expect_vcpu(cpuid, 0, true);
	expect_vcpu(cpuid, -1, true);
	cpuid->nent = 2;
	expect_vcpu(cpuid, 0, false);
	cpuid->entries[1].ecx = 1u << 5;
	expect_vcpu(cpuid, 0, true);
	cpuid->nent = 0;
	expect_vcpu(cpuid, 0, false);
	free(cpuid);
}

static void userfaultfd_of_the_vmm(void **state)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .range = { (uintptr_t)ram, BYTES }, .mode = UFFDIO_REGISTER_MODE_MISSING };
	int fd = (int)syscall(SYS_userfaultfd, (long)(O_CLOEXEC | UFFD_USER_MODE_ONLY));

	(void)state;
	if (fd < 0)
		skip();
	errno = ERRNO_BEFORE;
	expect_success(call_ioctl(fd, UFFDIO_API, &api));
	expect_nothing();
	expect_success(call_ioctl(fd, UFFDIO_REGISTER, &range));
	expect_bracket(CHANGE_USERFAULTFD, ram, BYTES, UFFDIO_REGISTER_MODE_MISSING, true);
	expect_success(call_ioctl(fd, UFFDIO_UNREGISTER, &range.range));
	expect_bracket(CHANGE_USERFAULTFD_END, ram, BYTES, 0, true);
	/* as by a caller that keeps the number in an int */
	expect_success(call_ioctl(fd, (unsigned long)(long)(int)UFFDIO_REGISTER, &range));
	expect_bracket(CHANGE_USERFAULTFD, ram, BYTES, UFFDIO_REGISTER_MODE_MISSING, true);
	expect_failure(call_ioctl(-1, UFFDIO_REGISTER, &range), EBADF);
	expect_bracket(CHANGE_USERFAULTFD, ram, BYTES, UFFDIO_REGISTER_MODE_MISSING, false);
	/* wild pointers are the kernel's to refuse */
	expect_failure(call_ioctl(fd, UFFDIO_REGISTER, (void *)8), EFAULT);
	expect_failure(call_ioctl(fd, UFFDIO_REGISTER, (void *)-8), EFAULT);
	expect_nothing();
	close(fd);
}

/** Pages are taken from @ram, and the answer is that of begin, if it fails. */
static void userfaultfd_takes_pages(void **state)
{
	struct uffdio_move move = { .dst = (uintptr_t)other, .src = (uintptr_t)ram, .len = BYTES };

	(void)state;
	expect_success(device_ioctl(0, UFFDIO_MOVE, &move));
	expect_bracket(CHANGE_TAKE, ram, BYTES, 0, true);
	expect_failure(device_ioctl(-1, UFFDIO_MOVE, &move), ENOTTY);
	expect_bracket(CHANGE_TAKE, ram, BYTES, 0, false);
	assert_int_equal(move.move, 0);
	recorder_begin_result = -EBUSY;
	expect_failure(call_ioctl(-1, UFFDIO_MOVE, &move), EBUSY);
	assert_int_equal(records_count, 1);
	assert_int_equal(move.move, -EBUSY);
	recorder_reset(ram, BYTES);
	errno = ERRNO_BEFORE;
	expect_failure(call_ioctl(-1, UFFDIO_MOVE, (void *)8), EBADF);
	move.src = (uintptr_t)other;
	expect_success(device_ioctl(0, UFFDIO_MOVE, &move));
	expect_nothing();
}

/** Pages of @ram, each a mapping of its own, under a userfaultfd but for one, and how many of them were filled. */
static uintptr_t not_registered;
static unsigned pages_filled;

static int fill_error(const struct uffdio_copy *copy)
{
	if (copy->len != PAGE_BYTES || copy->dst == not_registered)
		return ENOENT;
	if (copy->src - (uintptr_t)other >= BYTES)
		return EFAULT;
	return 0;
}

static int fill_one_page(int fd, unsigned long request, ...)
{
	struct uffdio_copy *copy;
	va_list arguments;
	int error;

	(void)fd;
	assert_int_equal(request, UFFDIO_COPY);
	va_start(arguments, request);
	copy = va_arg(arguments, struct uffdio_copy *);
	va_end(arguments);
	error = fill_error(copy);
	copy->copy = error == 0 ? (int64_t)copy->len : -error;
	pages_filled += error == 0;
	errno = error == 0 ? errno : error;
	return error == 0 ? 0 : -1;
}

static void userfaultfd_fills_part_by_part(void **state)
{
	struct uffdio_copy copy = { .dst = (uintptr_t)ram, .src = (uintptr_t)other, .len = BYTES };
	struct next before = next;

	(void)state;
	if (by_number)
		return;
	next.ioctl = fill_one_page;
	expect_success(ioctl(7, UFFDIO_COPY, &copy));
	assert_int_equal(copy.copy, BYTES);
	assert_int_equal(pages_filled, PAGES);
	not_registered = (uintptr_t)ram + BYTES - PAGE_BYTES;
	expect_failure(ioctl(7, UFFDIO_COPY, &copy), ENOENT);
	assert_int_equal(copy.copy, -ENOENT);
	copy.dst = (uintptr_t)other; /* which is not ours */
	copy.src = (uintptr_t)ram;
	expect_failure(ioctl(7, UFFDIO_COPY, &copy), ENOENT);
	assert_int_equal(pages_filled, PAGES);
	next = before;
	expect_nothing();
}

static void device_maps_memory(void **state)
{
	struct vfio_iommu_type1_dma_map vfio = { .argsz = sizeof(vfio), .vaddr = (uintptr_t)ram, .size = BYTES };
	struct {
		__u32 size, flags, ioas_id, reserved;
		__u64 user_va, length, iova;
	} ioas = { .size = sizeof(ioas), .user_va = (uintptr_t)ram, .length = BYTES };
	struct kvm_enc_region encrypted = { .addr = (uintptr_t)ram, .size = BYTES };
	const struct {
		unsigned long request;
		void *argument;
	} maps[] = {
		{ VFIO_IOMMU_MAP_DMA, &vfio },
		{ IOMMU_IOAS_MAP, &ioas },
		{ KVM_MEMORY_ENCRYPT_REG_REGION, &encrypted },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(maps) / sizeof(*maps); i++) {
		expect_success(device_ioctl(0, maps[i].request, maps[i].argument));
		expect_bracket(CHANGE_DEVICE, ram, BYTES, 0, true);
		expect_failure(device_ioctl(-1, maps[i].request, maps[i].argument), ENOTTY);
		expect_bracket(CHANGE_DEVICE, ram, BYTES, 0, false);
	}
	vfio.vaddr = (uintptr_t)other;
	expect_success(device_ioctl(0, VFIO_IOMMU_MAP_DMA, &vfio));
	expect_nothing();
}

/* The kernel writes the error into the argument, and returns EFAULT if it cannot. */
static void error_is_written_where_possible(void **state)
{
	struct uffdio_move *move = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_ptr_not_equal(move, MAP_FAILED);
	*move = (struct uffdio_move){ .dst = (uintptr_t)other, .src = (uintptr_t)ram, .len = BYTES, .move = 7 };
	recorder_begin_result = -ENOMEM;
	expect_failure(call_ioctl(-1, UFFDIO_MOVE, move), ENOMEM);
	assert_int_equal(move->move, -ENOMEM);
	assert_int_equal(mprotect(move, PAGE_BYTES, PROT_READ), 0);
	expect_failure(call_ioctl(-1, UFFDIO_MOVE, move), EFAULT);
	assert_int_equal(move->move, -ENOMEM);
	recorder_reset(ram, BYTES);
	munmap(move, PAGE_BYTES);
}

/* A userfaultfd that was not asked for its API yet refuses everything, and looks at no argument. So we must not. */
static void refused_argument_is_not_looked_at(void **state)
{
	int fd = (int)syscall(SYS_userfaultfd, (long)(O_CLOEXEC | UFFD_USER_MODE_ONLY));

	(void)state;
	if (fd < 0)
		skip();
	errno = ERRNO_BEFORE;
	expect_failure(call_ioctl(fd, UFFDIO_MOVE, (void *)8), EINVAL);
	expect_failure(call_ioctl(fd, UFFDIO_MOVE, (void *)-8), EINVAL);
	expect_failure(call_ioctl(fd, UFFDIO_MOVE, NULL), EINVAL);
	expect_nothing();
	close(fd);
}

static void other_ioctls(void **state)
{
	int pipes[2], queued = -1;

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(write(pipes[1], "abc", 3), 3);
	expect_success(call_ioctl(pipes[0], FIONREAD, &queued));
	assert_int_equal(queued, 3);
	expect_nothing();
	close(pipes[0]);
	close(pipes[1]);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CALL_TEST(kvm_slots_are_noted),
		CALL_TEST(features_of_vcpus_are_noted),
		CALL_TEST(userfaultfd_of_the_vmm),
		CALL_TEST(userfaultfd_takes_pages),
		CALL_TEST(userfaultfd_fills_part_by_part),
		CALL_TEST(device_maps_memory),
		CALL_TEST(error_is_written_where_possible),
		CALL_TEST(refused_argument_is_not_looked_at),
		CALL_TEST(other_ioctls),
	};

	return calls_run(tests);
}
