/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/cgroup.h"

#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/proc.h"

#define NO_LIMIT (UINT64_C(1) << 62) /* version 1 has a number somewhat below 2^63 for it */

static uint64_t read_limit(const char *root, const char *hierarchy, const char *group, const char *file)
{
	char path[PATH_MAX];
	uint64_t limit = UINT64_MAX;
	FILE *stream = NULL;
	int found = 0;

	if (snprintf(path, sizeof(path), "%s%s%s/%s", root, hierarchy, group, file) < (int)sizeof(path))
		stream = fopen(path, "re");
	if (stream) {
		found = fscanf(stream, "%" SCNu64, &limit); /* "max" is no number */
		fclose(stream);
	}
	return found == 1 && limit < NO_LIMIT ? limit : UINT64_MAX;
}

/* @group: its path, of which nothing is left afterwards. */
static uint64_t least_limit(const char *root, const char *hierarchy, char *group, const char *file)
{
	uint64_t least = UINT64_MAX;

	for (;;) {
		uint64_t limit = read_limit(root, hierarchy, group, file);
		char *slash = strrchr(group, '/');

		least = limit < least ? limit : least;
		if (slash == NULL)
			return least;
		*slash = '\0';
	}
}

/* Whether @controllers, "cpu,memory", has the word. */
static bool has_memory(const char *controllers)
{
	static const char word[] = "memory";

	for (const char *at = controllers; (at = strstr(at, word)) != NULL; at++)
		if ((at == controllers || at[-1] == ',') && strchr(",", at[sizeof(word) - 1]) != NULL)
			return true;
	return false;
}

uint64_t cgroup_memory_limit(const char *root, pid_t pid)
{
	FILE *file = pid > 0 ? proc_open(root, pid, "cgroup") : NULL;
	uint64_t least = UINT64_MAX, limit;
	char *line = NULL;
	size_t room = 0;

	while (file && getline(&line, &room, file) > 0) { /* "4:cpu,memory:/vms", "0::/system.slice" */
		char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;

		if (group == NULL)
			continue;
		controllers++;
		*group++ = '\0';
		group[strcspn(group, "\n")] = '\0';
		limit = UINT64_MAX;
		if (*controllers == '\0')
			limit = least_limit(root, "/sys/fs/cgroup", group, "memory.max");
		else if (has_memory(controllers))
			limit = least_limit(root, "/sys/fs/cgroup/memory", group, "memory.limit_in_bytes");
		least = limit < least ? limit : least;
	}
	free(line);
	if (file)
		fclose(file);
	return least;
}

/* By whole lines, however long: else a user whose groups have long names could have the rest of one taken for one. */
void cgroup_path(const char *root, pid_t pid, char *ret, size_t size)
{
	FILE *file = proc_open(root, pid, "cgroup");
	char *line = NULL;
	size_t room = 0;

	*ret = '\0';
	while (file && getline(&line, &room, file) > 0) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "0::", 3) == 0 && strlen(line + 3) < size)
			strcpy(ret, line + 3);
	}
	free(line);
	if (file)
		fclose(file);
}
