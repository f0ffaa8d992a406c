/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/proc.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

FILE *proc_open(const char *root, pid_t pid, const char *file)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/proc/%d/%s", root, (int)pid, file) >= (int)sizeof(path)) {
		errno = ENAMETOOLONG;
		return NULL;
	}
	return fopen(path, "re");
}

bool proc_find(FILE *file, const char *start, const char *text)
{
	char *line = NULL;
	size_t size = 0;
	bool found = false;

	while (!found && getline(&line, &size, file) > 0)
		found = strncmp(line, start, strlen(start)) == 0 && strstr(line, text) != NULL;
	free(line);
	return found;
}

pid_t proc_next(DIR *proc)
{
	const struct dirent *entry;

	while ((entry = readdir(proc)) != NULL) {
		char *end;
		long pid = strtol(entry->d_name, &end, 10);

		if (*end == '\0' && pid > 0 && pid <= INT_MAX)
			return (pid_t)pid;
	}
	return 0;
}
