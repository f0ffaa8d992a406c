/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A program that takes part in sharing as an unmodified VMM does: it marks memory with madvise(MADV_MERGEABLE) and
 * knows nothing of pagefuse. Part of the memory is the same in all of its kind.
 *
 *   usage: vmm NAME      obeys lines on standard input, and answers each by one line
 *
 *   userfaultfd   "yes", or why this process cannot have one of its own
 *   check         "right", or "wrong" if any byte is not what was written last
 *   end
 *   write         every eighth page of what is the same gets bytes of its own; "written"
 *   rewrite       all that is the same gets other bytes, which are again the same in all; "written"
 *   withdraw      MADV_UNMERGEABLE; "withdrawn"
 *   offer         MADV_MERGEABLE once more; "offered"
 *   confine       a filter that ends it at any system call that it does not make itself; "confined"
 *
 * With $VMM_CONFINED it confines itself before it has memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096u
#define SAME_PAGES 4096u
#define OWN_PAGES 256u
#define PAGES (SAME_PAGES + OWN_PAGES)

static uint64_t *ram;
static uint64_t own, generation = 1;
static bool written;

static uint64_t word_of(size_t page, size_t word)
{
	bool same = page < SAME_PAGES && !(written && page % 8 == 0);

	return ((same ? generation << 40 : own) + page) * UINT64_C(0x9e3779b97f4a7c15) ^ word;
}

static void fill(size_t step)
{
	for (size_t page = 0; page < PAGES; page += step)
		for (size_t word = 0; word < PAGE / sizeof(*ram); word++)
			ram[page * PAGE / sizeof(*ram) + word] = word_of(page, word);
}

static bool is_right(void)
{
	for (size_t page = 0; page < PAGES; page++)
		for (size_t word = 0; word < PAGE / sizeof(*ram); word++)
			if (ram[page * PAGE / sizeof(*ram) + word] != word_of(page, word))
				return false;
	return true;
}

/** By the system call or the device, in either case one that sees faults of the kernel, too. */
static const char *try_userfaultfd(void)
{
	int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	long fd = syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0 && device >= 0)
		fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC);
	if (device >= 0)
		close(device);
	if (fd < 0)
		return strerror(errno);
	close((int)fd);
	return "yes";
}

static const char *advise(int advice, const char *done)
{
	return madvise(ram, (size_t)PAGES * PAGE, advice) == 0 ? done : strerror(errno);
}

static const char *confine(void)
{
	static const int calls[] = { SYS_read, SYS_write, SYS_fstat, SYS_newfstatat, SYS_lseek, SYS_madvise,
				     SYS_mmap, SYS_munmap, SYS_brk, SYS_futex, SYS_exit_group };
	struct sock_filter code[2 * sizeof(calls) / sizeof(*calls) + 2];
	struct sock_fprog program = { sizeof(code) / sizeof(*code), code };
	unsigned at = 0;

	code[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (unsigned i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		code[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[i], 0, 1);
		code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	}
	code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		return strerror(errno);
	return "confined";
}

static const char *obey(const char *command)
{
	if (strcmp(command, "userfaultfd") == 0)
		return try_userfaultfd();
	if (strcmp(command, "check") == 0)
		return is_right() ? "right" : "wrong";
	if (strcmp(command, "withdraw") == 0)
		return advise(MADV_UNMERGEABLE, "withdrawn");
	if (strcmp(command, "offer") == 0)
		return advise(MADV_MERGEABLE, "offered");
	if (strcmp(command, "confine") == 0)
		return confine();
	if (strcmp(command, "write") == 0) {
		written = true;
		fill(8);
		return "written";
	}
	if (strcmp(command, "rewrite") == 0) {
		written = false;
		generation++;
		fill(1);
		return "written";
	}
	return "unknown";
}

int main(int argc, char **argv)
{
	char line[64];

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (const char *c = argc > 1 ? argv[1] : "vmm"; *c != 0; c++)
		own = own * 257 + (unsigned char)*c;
	own <<= 20;
	if (getenv("VMM_CONFINED") != NULL)
		confine();
	ram = mmap(NULL, (size_t)PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ram == MAP_FAILED)
		return 1;
	fill(1);
	if (madvise(ram, (size_t)PAGES * PAGE, MADV_MERGEABLE) < 0 && errno != EINVAL) /* EINVAL: no KSM, no preload */
		return 1;
	puts("ready");
	while (fgets(line, sizeof(line), stdin) != NULL) {
		line[strcspn(line, "\n")] = 0;
		if (strcmp(line, "end") == 0)
			break;
		puts(obey(line));
	}
	return is_right() ? 0 : 1;
}
