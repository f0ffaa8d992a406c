/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A disk as slow as a test wants, for a daemon that is linked with this: fsync() of a file waits until somebody opens
 * the FIFO that is named by $PAGEFUSE_TEST_FIFO and says how it ends, one byte: 0, or the error. Without it, or where
 * there is no such FIFO, it is as it is.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int fsync(int fd)
{
	const char *path = getenv("PAGEFUSE_TEST_FIFO");
	unsigned char error = 0;
	struct stat st;
	int fifo;

	if (path && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		fifo = open(path, O_RDONLY | O_CLOEXEC);
		if (fifo >= 0 && read(fifo, &error, 1) < 0)
			error = EIO;
		if (fifo >= 0)
			close(fifo);
	}
	if (error != 0) {
		errno = error;
		return -1;
	}
	return (int)syscall(SYS_fsync, fd);
}
