/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A KVM vCPU writes guest memory while it is shared and unshared. The guest is a few instructions in real mode: it goes
 * from page to page, counts up in each for a while and compares every count with what it must be. That is in the end
 * the same as other threads do, but the writes come through the second level of page tables, that KVM keeps in step.
 * With --whole they are in a 2 MiB page, which is split and given back all the time.
 *
 * --hold is no test: it has a machine, and does nothing until it is killed, see tests/kernels.d/inside.sh.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/madvise.h"
#include "library/memory.h"
#include "tests/support/guest.h"

#define PAGES 16u /* one segment of 64 KiB */
#define BLOCK ((uint32_t)(HUGE_BYTES / PAGE_BYTES))
#define CODE_GPA 0x1000u
#define DATA_GPA 0x10000u
#define LOST_MSEC 30000u /* an emulated CPU that runs for so long without a pass makes none any more */
#define PORT_WRONG 0x10
#define PORT_PASS 0x11

/*
 *   start:  xor  dx, dx          count that each page has reached
 *   pass:   xor  di, di          page
 *   page:   mov  bx, dx
 *           mov  cx, 20
 *   count:  cmp  [di], bx
 *           jne  wrong
 *           inc  word [di]
 *           inc  bx
 *           loop count
 *           add  di, 1000h
 *           jnc  page
 *           add  dx, 20
 *           out  PORT_PASS, al
 *           jmp  pass
 *   wrong:  out  PORT_WRONG, al
 */
static const uint8_t code[] = {
	0x31, 0xd2,             /* xor dx, dx */
	0x31, 0xff,             /* pass: xor di, di */
	0x89, 0xd3,             /* page: mov bx, dx */
	0xb9, 0x14, 0x00,       /* mov cx, 20 */
	0x39, 0x1d,             /* count: cmp [di], bx */
	0x75, 0x14,             /* jne wrong */
	0xff, 0x05,             /* inc word [di] */
	0x43,                   /* inc bx */
	0xe2, 0xf7,             /* loop count */
	0x81, 0xc7, 0x00, 0x10, /* add di, 1000h */
	0x73, 0xec,             /* jnc page */
	0x81, 0xc2, 0x14, 0x00, /* add dx, 20 */
	0xe6, PORT_PASS,        /* out PORT_PASS, al */
	0xeb, 0xe2,             /* jmp pass */
	0xe6, PORT_WRONG,       /* wrong: out PORT_WRONG, al */
	0xf4,                   /* hlt */
};

static struct kvm_run *run;
static int vcpu = -1;
static pthread_t vcpu_thread;
static atomic_int vcpu_tid;
static atomic_bool stop;
static atomic_uint passes;

static int open_kvm(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm < 0)
		test_skip("/dev/kvm: %s", strerror(errno));
	if (ioctl(kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		test_skip("/dev/kvm speaks another version");
	return kvm;
}

static void add_memory(int vm, uint32_t slot, uint64_t gpa, void *memory, uint64_t bytes)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = bytes,
		.userspace_addr = (uintptr_t)memory,
	};

	test_check(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) == 0, "KVM_SET_USER_MEMORY_REGION: %s",
		   strerror(errno));
}

static void set_registers(void)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs = { .rip = CODE_GPA, .rflags = 2 };

	test_check(ioctl(vcpu, KVM_GET_SREGS, &sregs) == 0, "KVM_GET_SREGS: %s", strerror(errno));
	sregs.cs.base = sregs.cs.selector = 0;
	sregs.ds.base = DATA_GPA;
	sregs.ds.selector = DATA_GPA >> 4;
	test_check(ioctl(vcpu, KVM_SET_SREGS, &sregs) == 0 && ioctl(vcpu, KVM_SET_REGS, &regs) == 0, "KVM_SET_REGS: %s",
		   strerror(errno));
}

/** Without features it cannot run guests of its own, for which some kernels are not good enough. */
static void set_features(void)
{
	struct kvm_cpuid2 none = { .nent = 0 };

	test_check(ioctl(vcpu, KVM_SET_CPUID2, &none) == 0, "KVM_SET_CPUID2: %s", strerror(errno));
	memory_note_vcpu(false); /* as the preload does, which sees that call */
}

static void make_machine(void *data)
{
	int kvm = open_kvm(), vm = ioctl(kvm, KVM_CREATE_VM, 0), size;
	void *low = pages_map(1, false);

	if (vm < 0)
		test_skip("KVM_CREATE_VM: %s", strerror(errno));
	memcpy(low, code, sizeof(code));
	add_memory(vm, 0, CODE_GPA, low, PAGE_BYTES);
	add_memory(vm, 1, DATA_GPA, data, PAGES * PAGE_BYTES);
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (vcpu < 0 || size < (int)sizeof(*run))
		test_skip("KVM_CREATE_VCPU: %s", strerror(errno));
	run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	test_check(run != MAP_FAILED, "mapping the vCPU: %s", strerror(errno));
	set_features();
	set_registers();
}

/** Runs until the guest is wrong or the test is over. @return false if KVM cannot run it. */
static bool run_guest(void)
{
	while (!atomic_load(&stop)) {
		if (ioctl(vcpu, KVM_RUN, 0) < 0) {
			if (errno != EINTR)
				return false;
			continue;
		}
		if (run->exit_reason != KVM_EXIT_IO)
			return false;
		if (run->io.port == PORT_WRONG)
			test_damage("the vCPU has read other bytes than it wrote, after %u passes",
				    atomic_load(&passes));
		atomic_fetch_add(&passes, 1);
	}
	return true;
}

/** Whether this machine's CPU is QEMU's own, as with tests/kernels. */
static bool cpu_is_emulated(void)
{
	char line[256];
	bool found = false;
	FILE *file = fopen("/proc/cpuinfo", "re");

	while (file != NULL && !found && fgets(line, sizeof(line), file) != NULL)
		found = strncmp(line, "model name", 10) == 0 && strstr(line, "QEMU TCG") != NULL;
	if (file != NULL)
		fclose(file);
	return found;
}

/** With an emulated CPU under it KVM gives up now and then, once in some tens of runs; with a real one it must not. */
static void judge_internal_error(void)
{
	fprintf(stderr, "KVM_RUN: internal error %u, after %u passes:", run->internal.suberror, atomic_load(&passes));
	for (unsigned i = 0; i < run->internal.ndata && i < 16; i++)
		fprintf(stderr, " %llx", (unsigned long long)run->internal.data[i]);
	fputc('\n', stderr);
	if (cpu_is_emulated())
		test_skip("KVM has given up on an emulated CPU: internal error %u", run->internal.suberror);
}

static void on_kick(int number)
{
	(void)number;
	run->immediate_exit = 1; /* it may not have been in KVM_RUN yet */
}

/** Out of KVM_RUN, whatever its guest does; for when it is to stop. */
static void kick_vcpu(void)
{
	pthread_kill(vcpu_thread, SIGUSR1);
}

static void *vcpu_main(void *argument)
{
	bool ran;

	(void)argument;
	if (test_is_control())
		test_pin(1);
	atomic_store(&vcpu_tid, gettid());
	ran = run_guest();
	if (!ran && run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
		judge_internal_error();
	if (!ran && atomic_load(&passes) == 0)
		test_skip("KVM does not run a guest in real mode here: exit reason %u, %s", run->exit_reason,
			  strerror(errno));
	else if (!atomic_load(&stop))
		test_fail("KVM_RUN: exit reason %u, %s", run->exit_reason, strerror(errno));
	return NULL;
}

/** Where the vCPU was when it left KVM_RUN; 0: it does not say. */
static uint64_t vcpu_rip(void)
{
	struct kvm_regs regs = { 0 };

	ioctl(vcpu, KVM_GET_REGS, &regs);
	fprintf(stderr, "exit reason %u, rip %llx, rcx %llx, rdi %llx, rflags %llx\n", run->exit_reason,
		(unsigned long long)regs.rip, (unsigned long long)regs.rcx, (unsigned long long)regs.rdi,
		(unsigned long long)regs.rflags);
	return regs.rip;
}

/**
 * The vCPU makes no more passes: it sleeps, or it runs and comes to nothing, which only an emulated CPU does that has
 * lost its way.
 */
static void judge_standstill(unsigned seen, bool sleeps)
{
	uint64_t rip = 0;

	fprintf(stderr, "the vCPU stands still after %u passes, it %s\n", seen, sleeps ? "sleeps" : "runs");
	if (!sleeps) {
		atomic_store(&stop, true);
		kick_vcpu();
		rip = test_join(vcpu_thread) ? vcpu_rip() : 0;
		if (cpu_is_emulated())
			test_skip("KVM runs an emulated CPU that comes to nothing, at %llx, after %u passes",
				  (unsigned long long)rip, seen);
	}
	test_damage("the vCPU stands still after %u passes", seen);
}

/** A vCPU that nobody wakes makes no more passes. */
static void check_progress(void)
{
	static uint64_t since_msec;
	static unsigned seen;
	uint64_t still_msec;
	bool sleeps;

	if (since_msec == 0 || atomic_load(&passes) != seen) {
		since_msec = test_patient_msec();
		seen = atomic_load(&passes);
	}
	/* The next hold of the same page would wake it after all, if that comes to nothing: so a control has none. */
	while (test_is_control() && atomic_load(&passes) == seen &&
	       test_patient_msec() - since_msec <= (uint64_t)TEST_DEADLINE_SECONDS * 1000)
		poll(NULL, 0, 1);
	still_msec = test_patient_msec() - since_msec;
	if (still_msec <= LOST_MSEC && still_msec <= (uint64_t)TEST_DEADLINE_SECONDS * 1000)
		return; /* the control's deadline is the shorter one */
	sleeps = test_thread_sleeps(vcpu_tid);
	if (still_msec > (uint64_t)TEST_DEADLINE_SECONDS * 1000 || (!sleeps && cpu_is_emulated()))
		judge_standstill(seen, sleeps);
}

/** Only after one more pass, as a vCPU that sleeps would otherwise not be noticed. */
static void end_vcpu(void)
{
	unsigned seen = atomic_load(&passes);

	while (atomic_load(&passes) == seen) {
		check_progress();
		poll(NULL, 0, 1);
	}
	atomic_store(&stop, true);
	kick_vcpu();
	test_check(test_join(vcpu_thread), "the vCPU does not leave KVM_RUN");
}

/** The pages that it writes, and what is with them in one 2 MiB page. */
static void *map_data(uint32_t pages)
{
	char *memory = pages_map(pages, pages == BLOCK);

	for (uint32_t i = 0; i < pages; i++)
		pages_fill(memory + i * PAGE_BYTES, i < PAGES ? 0 : i);
	if (pages == BLOCK && madvise(memory, HUGE_BYTES, MADV_COLLAPSE) < 0)
		test_skip("no 2 MiB page to be had: %s", strerror(errno));
	return memory;
}

/** All at once, whatever is shared in it. @return whether. */
static bool give_back(const struct guest *g)
{
	director_scan(g->vm, g->page, BLOCK);
	return guest_whole(g, 0, BLOCK, BLOCK, true) == WHOLE_IS;
}

static void hold_machine(void)
{
	make_machine(pages_map(PAGES, false));
	alarm(0);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	uint32_t pages;
	uint64_t random;
	struct guest g;
	bool given_back;
	void *memory;

	test_begin(argc, argv);
	setenv("PAGEFUSE_NESTED", "never", 1); /* kernels before 6.13 want to know */
	if (test_wants("--hold"))
		hold_machine();
	random = test_seed(1);
	pages = test_wants("--whole") ? BLOCK : PAGES;
	memory = map_data(pages);
	make_machine(memory);
	if (test_is_control())
		test_pin(0); /* and the worker: on one CPU with the vCPU it would never meet it */
	guest_begin(&g, memory, pages);
	signal(SIGUSR1, on_kick);
	test_check(pthread_create(&vcpu_thread, NULL, vcpu_main, NULL) == 0, "no thread");
	given_back = pages != BLOCK;
	while (test_running() || g.vm->reports[REPORT_MERGED] == 0 || !given_back) { /* the watchdog ends it */
		guest_churn(&g, &random);
		check_progress();
		if (pages == BLOCK && give_back(&g))
			given_back = true;
		check_progress();
	}
	end_vcpu();
	guest_report(&g);
	fprintf(stderr, "%u passes of the guest over its memory\n", atomic_load(&passes));
	test_check(atomic_load(&passes) > 0 && g.vm->reports[REPORT_MERGED] > 0,
		   "nothing was written, or nothing shared");
	guest_end(&g);
	return 0;
}
