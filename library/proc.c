/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/proc.h"

#include <fcntl.h>

#include "library/sys.h"

long proc_read(const char *path, char *text, size_t size)
{
	long fd = sys_raw(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC, 0, 0, 0);
	long length;

	if (fd < 0)
		return fd;
	length = sys_raw(SYS_read, fd, (long)text, (long)size - 1, 0, 0, 0);
	sys_raw(SYS_close, fd, 0, 0, 0, 0, 0);
	if (length >= 0)
		text[length] = 0;
	return length;
}
