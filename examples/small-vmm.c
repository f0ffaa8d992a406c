/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A small virtual machine monitor that takes part in page sharing through the C API. Its guest, 16-bit code under KVM,
 * counts in the first bytes of 128 pages for ever and asks for a check now and then; the rest of its RAM holds an
 * "image", the same in every instance, which pagefuse shares between them.
 *
 *   pagefused & small-vmm one 10 & small-vmm two 10 & pagefuse status --watch 1
 *
 * usage: small-vmm [NAME [SECONDS]]
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <pagefuse.h>

#define RAM_BYTES (UINT64_C(64) << 20)
#define IMAGE_OFFSET (UINT64_C(1) << 20)
#define COUNTERS_OFFSET UINT64_C(0x10000)
#define COUNTER_PAGES 128
#define PAGE UINT64_C(4096)
#define CODE_OFFSET UINT64_C(0x1000)
#define CHECK_PORT 0x10

struct vm {
	int kvm, machine, vcpu;
	uint8_t *ram;
	struct kvm_run *run;
};

/*
 *     mov ax, 0x1000        segment of the counters
 * each_round:
 *     mov ds, ax / mov cx, 128
 * each_page:
 *     inc dword [0]         one counter per page
 *     mov bx, ds / add bx, 0x100 / mov ds, bx      next page
 *     loop each_page
 *     out CHECK_PORT, al    the VMM compares all counters
 *     jmp each_round
 */
static const uint8_t guest_code[] = {
	0xb8, 0x00, 0x10,             /* mov ax, 0x1000 */
	0x8e, 0xd8,                   /* mov ds, ax */
	0xb9, COUNTER_PAGES, 0x00,    /* mov cx, 128 */
	0x66, 0xff, 0x06, 0x00, 0x00, /* inc dword [0] */
	0x8c, 0xdb,                   /* mov bx, ds */
	0x81, 0xc3, 0x00, 0x01,       /* add bx, 0x100 */
	0x8e, 0xdb,                   /* mov ds, bx */
	0xe2, 0xf1,                   /* loop -15 */
	0xe6, CHECK_PORT,             /* out */
	0xeb, 0xe6,                   /* jmp -26 */
};

static int fail(const char *what)
{
	fprintf(stderr, "small-vmm: %s: %s\n", what, strerror(errno));
	return -1;
}

static int vm_open(struct vm *vm)
{
	struct kvm_userspace_memory_region memory = { .memory_size = RAM_BYTES };
	int size;

	vm->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->kvm < 0)
		return fail("/dev/kvm");
	vm->machine = ioctl(vm->kvm, KVM_CREATE_VM, 0UL);
	if (vm->machine < 0)
		return fail("creating a VM");
	vm->ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (vm->ram == MAP_FAILED)
		return fail("guest RAM");
	memory.userspace_addr = (uint64_t)vm->ram;
	if (ioctl(vm->machine, KVM_SET_USER_MEMORY_REGION, &memory) < 0)
		return fail("giving RAM to the guest");
	vm->vcpu = ioctl(vm->machine, KVM_CREATE_VCPU, 0UL);
	size = ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0UL);
	if (vm->vcpu < 0 || size < 0)
		return fail("creating a vCPU");
	vm->run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vm->vcpu, 0);
	return vm->run == MAP_FAILED ? fail("mapping the vCPU") : 0;
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/** Fills RAM from IMAGE_OFFSET on with bytes that are the same in every instance. */
static void load_image(struct vm *vm)
{
	uint64_t state = 88172645463325252u;

	for (uint64_t at = IMAGE_OFFSET; at < RAM_BYTES; at += sizeof(uint64_t))
		*(uint64_t *)(vm->ram + at) = next_random(&state);
}

static uint64_t image_errors(const struct vm *vm)
{
	uint64_t state = 88172645463325252u, errors = 0;

	for (uint64_t at = IMAGE_OFFSET; at < RAM_BYTES; at += sizeof(uint64_t))
		errors += *(const uint64_t *)(vm->ram + at) != next_random(&state);
	return errors;
}

static int start_in_real_mode(struct vm *vm)
{
	struct kvm_regs regs = { .rip = CODE_OFFSET, .rflags = 2 };
	struct kvm_sregs sregs;

	memcpy(vm->ram + CODE_OFFSET, guest_code, sizeof(guest_code));
	if (ioctl(vm->vcpu, KVM_GET_SREGS, &sregs) < 0)
		return fail("reading registers");
	sregs.cs.base = sregs.cs.selector = 0;
	if (ioctl(vm->vcpu, KVM_SET_SREGS, &sregs) < 0 || ioctl(vm->vcpu, KVM_SET_REGS, &regs) < 0)
		return fail("setting registers");
	return 0;
}

static uint64_t counter_errors(const struct vm *vm, uint32_t rounds)
{
	uint64_t errors = 0;

	for (uint64_t i = 0; i < COUNTER_PAGES; i++)
		errors += *(const volatile uint32_t *)(vm->ram + COUNTERS_OFFSET + i * PAGE) != rounds;
	return errors;
}

/** Runs the guest until @deadline. @return wrong counters seen, or -1. */
static int64_t run_until(struct vm *vm, time_t deadline, uint32_t *ret_rounds)
{
	int64_t errors = 0;
	uint32_t rounds = 0;

	while (time(NULL) < deadline) {
		if (ioctl(vm->vcpu, KVM_RUN, 0UL) < 0) {
			if (errno == EINTR)
				continue;
			return fail("running the guest");
		}
		if (vm->run->exit_reason != KVM_EXIT_IO || vm->run->io.port != CHECK_PORT) {
			fprintf(stderr, "small-vmm: the guest stopped with exit reason %u\n", vm->run->exit_reason);
			return -1;
		}
		rounds++;
		if (rounds % 64 == 0)
			errors += (int64_t)counter_errors(vm, rounds);
	}
	*ret_rounds = rounds;
	return errors;
}

int main(int argc, char **argv)
{
	struct pagefuse_options options = { .size = sizeof(options), .name = argc > 1 ? argv[1] : "small-vmm" };
	unsigned long seconds = argc > 2 ? strtoul(argv[2], NULL, 10) : 10;
	struct pagefuse_stats stats = { .size = sizeof(stats) };
	struct vm vm = { 0 };
	uint32_t rounds = 0;
	int64_t errors;
	int r;

	if (vm_open(&vm) < 0)
		return 77; /* no KVM here */
	load_image(&vm);
	r = pagefuse_configure(&options);
	if (r == 0)
		r = pagefuse_add_ram(0, vm.ram, RAM_BYTES);
	if (r < 0) {
		fprintf(stderr, "small-vmm: offering RAM for sharing: %s\n", strerror(-r));
		return 1;
	}
	if (start_in_real_mode(&vm) < 0)
		return 1;
	errors = run_until(&vm, time(NULL) + (time_t)seconds, &rounds);
	pagefuse_get_stats(&stats);
	printf("%s: %u rounds, %lu of %lu pages shared, %ld wrong counters, %lu wrong words in the image\n",
	       options.name, rounds, (unsigned long)stats.shared_pages, (unsigned long)stats.ram_pages, (long)errors,
	       (unsigned long)image_errors(&vm));
	return errors != 0 || image_errors(&vm) != 0;
}
