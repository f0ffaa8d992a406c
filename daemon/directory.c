/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/log.h"

/* A daemon that ends may have removed the directory between open and lock: then it is made again. */
static int lock(const char *path)
{
	struct stat st;
	int fd, r;

	for (;;) {
		if (mkdir(path, 0700) < 0 && errno != EEXIST)
			return -errno;
		fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0 && errno != ENOENT)
			return -errno;
		if (fd < 0)
			continue;
		if (fstat(fd, &st) < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
			break;
		if (st.st_uid != geteuid()) {
			errno = EPERM;
			break;
		}
		if (fstat(fd, &st) == 0 && st.st_nlink > 0)
			return fd;
		close(fd);
	}
	r = errno == EWOULDBLOCK ? -EBUSY : -errno;
	close(fd);
	return r;
}

int directory_lock(const char *path)
{
	int r = lock(path);

	if (r < 0)
		log_error("cannot use %s for the store: %s; name another place with --socket", path,
			  r == -EBUSY ? "another pagefused does" : strerror(-r));
	return r;
}
