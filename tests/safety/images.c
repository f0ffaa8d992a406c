/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which disk image a descriptor leads to: the same file is the same image, by whatever descriptor and however often it
 * was opened; another one is another; what is no file is none; and there are not more than are tracked.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "library/images.h"
#include "protocol/ring.h"
#include "tests/support/test.h"

static int open_file(const char *folder, unsigned number)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/image-%u", folder, number);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	test_check(fd >= 0, "%s: %s", path, strerror(errno));
	return fd;
}

static void expect(int fd, unsigned number)
{
	unsigned is = images_of(fd);

	test_check(is == number, "descriptor %d is of image %u, not %u", fd, is, number);
}

static void test_files(const char *folder)
{
	int first = open_file(folder, 0), second = open_file(folder, 1), again = open_file(folder, 0);

	expect(first, 1);
	expect(second, 2);
	expect(again, 1);
	expect(first, 1);
	test_check(dup2(second, again) == again, "dup2: %s", strerror(errno));
	expect(again, 1); /* nobody has told of it */
	images_forget((unsigned)again, (unsigned)again);
	expect(again, 2);
	images_forget(0, ~0u);
	expect(first, 1);
	close(first);
	close(second);
	close(again);
	images_forget(0, ~0u);
	expect(first, 0); /* nothing is open there */
	images_forget(0, ~0u);
}

static void test_others(void)
{
	int sockets[2], null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	test_check(null >= 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0, "%s",
		   strerror(errno));
	expect(null, 0);
	expect(sockets[0], 0);
	expect(-1, 0);
	expect(INT32_MAX, 0);
	close(null);
	close(sockets[0]);
	close(sockets[1]);
	images_forget(0, ~0u);
}

static void test_many(const char *folder)
{
	for (unsigned i = 0; i < RING_IMAGES_MAX + 2; i++) {
		int fd = open_file(folder, i);

		expect(fd, i < RING_IMAGES_MAX ? i + 1 : 0);
		images_forget((unsigned)fd, (unsigned)fd);
		close(fd);
	}
	for (unsigned i = 0; i < RING_IMAGES_MAX + 2; i++) {
		char path[128];

		snprintf(path, sizeof(path), "%s/image-%u", folder, i);
		unlink(path);
	}
}

int main(int argc, char **argv)
{
	char folder[] = "pagefuse-images-XXXXXX";

	test_begin(argc, argv);
	test_check(mkdtemp(folder) != NULL, "%s: %s", folder, strerror(errno));
	test_files(folder);
	test_others();
	test_many(folder);
	rmdir(folder);
	return 0;
}
