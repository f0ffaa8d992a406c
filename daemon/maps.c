/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/maps.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/proc.h"
#include "daemon/proc-stat.h"

/* A process that is older than this one was not forked by a VMM that has memfds of ours. */
static bool is_younger(pid_t pid)
{
	struct proc_stat own, other;

	return proc_stat_read(getpid(), &own) < 0 || proc_stat_read(pid, &other) < 0 ||
	       other.start_time >= own.start_time;
}

static bool has(pid_t pid, const char *name)
{
	char path[64];
	struct stat st;
	FILE *file;
	bool found;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	if (stat(path, &st) < 0 || (geteuid() != 0 && st.st_uid != geteuid()))
		return false;
	file = proc_open("", pid, "maps");
	if (file == NULL)
		return (errno == EACCES || errno == EPERM) && is_younger(pid);
	found = proc_find(file, "", name);
	fclose(file);
	return found;
}

static bool has_open(pid_t pid, const char *name)
{
	char path[64], target[256];
	const struct dirent *entry;
	bool found = false;
	DIR *directory;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	directory = opendir(path);
	if (directory == NULL)
		return true;
	while (!found && (entry = readdir(directory)) != NULL) {
		ssize_t length = readlinkat(dirfd(directory), entry->d_name, target, sizeof(target) - 1);

		target[length > 0 ? length : 0] = 0;
		found = strstr(target, name) != NULL;
	}
	closedir(directory);
	return found;
}

bool maps_one_has(pid_t pid, const char *name)
{
	FILE *file = proc_open("", pid, "maps");
	bool found;

	if (file == NULL)
		return true;
	found = proc_find(file, "", name);
	fclose(file);
	return found || has_open(pid, name);
}

bool maps_someone_has(const char *name, bool (*skip)(void *context, pid_t pid), void *context)
{
	DIR *proc = opendir("/proc");
	bool found = false;
	pid_t pid;

	if (proc == NULL)
		return true;
	while (!found && (pid = proc_next(proc)) > 0)
		found = !skip(context, pid) && has(pid, name);
	closedir(proc);
	return found;
}
