/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Runs a command in a mount namespace of its own, out of which no mount gets. unshare(1) cannot do that in a chroot
 * whose root is no mount point: what it would make private is then out of sight.
 *
 * usage: own-mounts COMMAND...     ends with 77 without the right to
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#define SKIPPED 77

/** Joining the namespace that one is in makes its own root, which always is a mount point, one's root. */
static int make_private(void)
{
	int root = open("/", O_PATH | O_CLOEXEC), directory = open(".", O_PATH | O_CLOEXEC);
	int namespace = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);

	if (root < 0 || directory < 0 || namespace < 0 || setns(namespace, CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -errno;
	return fchdir(root) < 0 || chroot(".") < 0 || fchdir(directory) < 0 ? -errno : 0;
}

int main(int argc, char **argv)
{
	int r;

	if (argc < 2) {
		fputs("usage: own-mounts COMMAND...\n", stderr);
		return 1;
	}
	r = unshare(CLONE_NEWNS) < 0 ? -errno : make_private();
	if (r < 0) {
		printf("no mount namespace of one's own: %s\n", strerror(-r));
		return SKIPPED;
	}
	execvp(argv[1], argv + 1);
	perror(argv[1]);
	return 1;
}
