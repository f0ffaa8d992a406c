/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A VMM that gets no userfaultfd says so, with its bytes, and spends no time on hashing what can never be merged. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "include/pagefuse.h"
#include "tests/support/guest.h"

#define PAGES 256u
#define FIELD(field) ((unsigned)offsetof(struct seccomp_data, field))

#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW 0xaa00
#endif

/** Neither the system call nor the device gives one from here on. */
static void refuse_userfaultfd(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FIELD(nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FIELD(args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, USERFAULTFD_IOC_NEW, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = sizeof(filter) / sizeof(*filter), .filter = filter };

	test_check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs: %s", strerror(errno));
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		test_skip("no seccomp filter to be had: %s", strerror(errno));
}

static bool is_refused(const struct director_vm *vm, void *context)
{
	(void)context;
	return vm->refused[WIRE_REASON_NO_USERFAULTFD] == PAGES * PAGE_BYTES;
}

int main(int argc, char **argv)
{
	struct director *director;
	struct director_vm *vm;
	char *memory;

	test_begin(argc, argv);
	test_needs_moves(); /* while the kernel can still be asked */
	refuse_userfaultfd();
	director = director_new();
	memory = pages_map(PAGES, false);
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(memory + i * PAGE_BYTES, i);
	test_check(pagefuse_add_ram(PAGEFUSE_GPA_UNKNOWN, memory, PAGES * PAGE_BYTES) == 0, "add RAM");
	vm = director_accept(director);
	test_check(director_wait_until(vm, is_refused, NULL) == 0, "the library has hung up");
	for (unsigned i = 0; i < 3; i++)
		test_check(director_scan(vm, vm->regions[0].page, PAGES) > 0, "nothing is present");
	test_check(vm->reports[REPORT_HASH] == 0 && vm->reports[REPORT_ZERO] == 0, "%llu pages hashed in vain",
		   (unsigned long long)vm->reports[REPORT_HASH]);
	director_free(director);
	return 0;
}
