/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/write-file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Takes @fd over. */
static int fill(int fd, const char *text, size_t size, mode_t mode)
{
	FILE *file = fdopen(fd, "w");
	int r;

	if (file == NULL) {
		r = -errno;
		close(fd);
		return r;
	}
	r = fchmod(fd, mode) == 0 && fwrite(text, 1, size, file) == size ? 0 : -errno;
	if (fclose(file) != 0 && r == 0)
		r = -errno;
	return r;
}

int write_file(const char *path, const char *text, size_t size, mode_t mode)
{
	char temporary[PATH_MAX];
	int fd, r;

	if (snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path) >= (int)sizeof(temporary))
		return -ENAMETOOLONG;
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = fill(fd, text, size, mode);
	if (r == 0 && rename(temporary, path) < 0)
		r = -errno;
	if (r < 0)
		unlink(temporary);
	return r;
}
