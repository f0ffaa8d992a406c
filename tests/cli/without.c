/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Runs a command as on a kernel that lacks something, by a seccomp filter.
 *
 * usage: without userfaultfd|pagemap-scan COMMAND...
 *
 * userfaultfd: there is no such call. pagemap-scan: the pagemap cannot be scanned. Ends with 77 if there can be no
 * filter.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGEMAP_SCAN_NUMBER _IOC(_IOC_READ | _IOC_WRITE, 'f', 16, 96)

/** The call @number, with @argument as its second one unless that is 0, fails with @error. */
static int install(unsigned number, unsigned argument, unsigned error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, argument != 0 ? UINT32_MAX : 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, argument, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
	};
	struct sock_fprog program = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0 ? -errno : 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";
	int r = -EINVAL;

	if (strcmp(what, "userfaultfd") == 0)
		r = install(SYS_userfaultfd, 0, ENOSYS);
	else if (strcmp(what, "pagemap-scan") == 0)
		r = install(SYS_ioctl, PAGEMAP_SCAN_NUMBER, ENOTTY);
	if (r < 0) {
		printf("no seccomp filter: %s\n", strerror(-r));
		return 77;
	}
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 1;
}
