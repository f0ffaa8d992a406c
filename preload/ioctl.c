/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ioctl(). The request numbers alone identify the call: each names its driver and, mostly, its argument's size. If the
 * descriptor belongs to another driver, the call fails, and the failure is reported to the library.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <linux/vfio.h>
#include <linux/vhost.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "library/guest-memory.h"
#include "library/kernel.h"
#include "library/visits.h"
#include "preload/calls.h"
#include "preload/next.h"

#ifndef KVM_SET_USER_MEMORY_REGION2 /* Linux 6.8; it begins like its predecessor */
#define KVM_SET_USER_MEMORY_REGION2 _IOW(KVMIO, 0x49, char[160])
#endif

#ifndef IOMMU_IOAS_MAP /* linux/iommufd.h, Linux 6.2 */
#define IOMMU_IOAS_MAP _IO(';', 0x85)
struct iommu_ioas_map {
	__u32 size;
	__u32 flags;
	__u32 ioas_id;
	__u32 reserved;
	__aligned_u64 user_va;
	__aligned_u64 length;
	__aligned_u64 iova;
};
#endif

#define CPUID_1_ECX_VMX (1u << 5)
#define CPUID_80000001_ECX_SVM (1u << 2)

/* The argument has an address at @address_at and a length at @length_at: describes the change @what of that range. */
static struct change change_by(enum memory_change what, const void *argument, size_t size, size_t address_at,
			       size_t length_at)
{
	uint64_t address, length;

	if (!forward_may_tell() || !memory_in_use() || !(visits_are_over() || readable(argument, size)))
		return change_none();
	memcpy(&address, (const char *)argument + address_at, sizeof(address));
	memcpy(&length, (const char *)argument + length_at, sizeof(length));
	return change_of(what, (void *)(uintptr_t)address, length, 0);
}

#define CHANGE_BY(what, argument, type, address, length) \
	change_by(what, argument, sizeof(type), offsetof(type, address), offsetof(type, length))

/** Whether the kernel looks at the memory at all. */
static bool can_take(const struct uffdio_move *move)
{
	const uint64_t modes = UFFDIO_MOVE_MODE_DONTWAKE | UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES;

	return ((move->dst | move->len) & (PAGE_BYTES - 1)) == 0 && (move->mode & ~modes) == 0;
}

static struct change ioctl_change(unsigned long request, const void *argument)
{
	struct change change;

	/* Callers that keep the number in an int have extended its sign. */
	switch ((uint32_t)request) {
	case UFFDIO_REGISTER:
		change = CHANGE_BY(CHANGE_USERFAULTFD, argument, struct uffdio_register, range.start, range.len);
		if (change.tell)
			change.detail = (int)((const struct uffdio_register *)argument)->mode;
		return change;
	case UFFDIO_UNREGISTER:
		return CHANGE_BY(CHANGE_USERFAULTFD_END, argument, struct uffdio_range, start, len);
	case UFFDIO_MOVE: /* the destination is under that userfaultfd already */
		change = CHANGE_BY(CHANGE_TAKE, argument, struct uffdio_move, src, len);
		return change.tell && !can_take(argument) ? change_none() : change;
	case VFIO_IOMMU_MAP_DMA:
		return CHANGE_BY(CHANGE_DEVICE, argument, struct vfio_iommu_type1_dma_map, vaddr, size);
	case IOMMU_IOAS_MAP:
		return CHANGE_BY(CHANGE_DEVICE, argument, struct iommu_ioas_map, user_va, length);
	case KVM_MEMORY_ENCRYPT_REG_REGION: /* pinned for the secure processor, and ciphertext is never equal */
		return CHANGE_BY(CHANGE_DEVICE, argument, struct kvm_enc_region, addr, size);
	default:
		return change_none();
	}
}

#ifdef KVM_SET_CPUID2 /* x86 */
/* Intel's VMX and AMD's SVM: a guest without them cannot run guests. The kernel has just read these entries. */
static bool can_nest(const struct kvm_cpuid2 *cpuid)
{
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		const struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];

		if ((entry->function == 1 && (entry->ecx & CPUID_1_ECX_VMX) != 0) ||
		    (entry->function == 0x80000001 && (entry->ecx & CPUID_80000001_ECX_SVM) != 0))
			return true;
	}
	return false;
}
#endif

/** Notes facts about the guest that the VMM has given to the kernel. */
static void ioctl_succeeded(unsigned long request, const void *argument)
{
	const struct kvm_userspace_memory_region *slot = argument;
	int saved = errno;

	if (!forward_may_tell())
		return;
	switch ((uint32_t)request) {
	case KVM_SET_USER_MEMORY_REGION:
	case KVM_SET_USER_MEMORY_REGION2:
		guest_memory_note_slot(slot->slot, slot->guest_phys_addr, (void *)(uintptr_t)slot->userspace_addr,
				       slot->memory_size);
		break;
#ifdef KVM_SET_CPUID2
	case KVM_SET_CPUID2:
		memory_note_vcpu(can_nest(argument));
		break;
#endif
	default:
		break;
	}
	errno = saved;
}

/** Notes requests that make unseen I/O possible. */
static void ioctl_before(unsigned long request)
{
	if ((uint32_t)request != VHOST_SCSI_SET_ENDPOINT || !forward_may_tell())
		return;
	memory_note_references();
}

int ioctl_real(const struct ioctl_call *call, void *argument)
{
	if (!call->by_number)
		return next.ioctl(call->fd, call->request, argument);
	return (int)next.syscall(SYS_ioctl, (long)call->fd, call->request, argument, call->rest[0], call->rest[1],
				 call->rest[2]);
}

/** As the kernel: the error is in the argument, too, and if it cannot be written there, that is the error. */
static void take_failed(struct uffdio_move *argument)
{
	if (word_writable(&argument->move))
		argument->move = -errno;
	else if (!visits_are_over())
		errno = EFAULT;
}

int ioctl_forward(const struct ioctl_call *call)
{
	struct change change;
	int result;

	ioctl_before(call->request);
	change = ioctl_change(call->request, call->argument);
	if (change_begin(&change) != 0) {
		if (change.what == CHANGE_TAKE)
			take_failed(call->argument);
		return -1;
	}
	result = userfaultfd_forward(call);
	change_end(&change, result >= 0);
	if (result >= 0)
		ioctl_succeeded(call->request, call->argument);
	return result;
}

INTERPOSED int ioctl(int fd, unsigned long request, ...)
{
	struct ioctl_call call = { .fd = fd, .request = request };
	va_list arguments;

	va_start(arguments, request);
	call.argument = va_arg(arguments, void *);
	va_end(arguments);
	return ioctl_forward(&call);
}
