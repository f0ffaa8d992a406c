/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/proc-stat.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/figures.h"
#include "common/proc.h"

/* @n: counted as the manual does. The name in field 2 may contain anything: count from its last ')'. */
static const char *find_field(const char *text, int n)
{
	const char *field = strrchr(text, ')');

	for (int i = 2; field && i < n; i++)
		field = strchr(field + 1, ' ');
	return field ? field : "";
}

int proc_stat_read(pid_t pid, struct proc_stat *ret)
{
	char path[64], text[2048];
	ssize_t size;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	size = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (size <= 0)
		return -ESRCH;
	text[size] = 0;
	if (sscanf(find_field(text, 9), "%u", &ret->flags) != 1 ||
	    sscanf(find_field(text, 22), "%" SCNu64, &ret->start_time) != 1 ||
	    sscanf(find_field(text, 52), "%d", &ret->exit_code) != 1)
		return -EIO;
	return 0;
}

int proc_memory_read(pid_t pid, struct proc_memory *ret)
{
	struct figure figures[] = { { .key = "VmSize" }, { .key = "RssAnon" }, { .key = "VmSwap" } };
	FILE *file = proc_open("", pid, "status");

	if (file == NULL)
		return errno == ENOENT ? -ESRCH : -errno;
	figures_read(file, figures, 3);
	if (figures[0].value == 0)
		return -EIO;
	*ret = (struct proc_memory){
		.mapped_bytes = figures[0].value,
		.resident_bytes = figures[1].value,
		.own_bytes = figures[1].value + figures[2].value,
	};
	return 0;
}
