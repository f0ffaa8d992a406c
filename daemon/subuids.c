/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/subuids.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void subuids_init(struct subuids *subuids, const char *path)
{
	*subuids = (struct subuids){ .path = path };
}

void subuids_done(struct subuids *subuids)
{
	free(subuids->ranges);
	subuids->ranges = NULL;
	subuids->count = 0;
	subuids->seen = (struct stat){ 0 };
}

/* Parses "name:first:count". The name does not matter here: newuidmap checks who may use the range. */
static bool parse(const char *line, struct subuid_range *ret)
{
	const char *numbers = strchr(line, ':');
	uint64_t first, count;
	char end = 0;

	if (line[0] == '#' || numbers == NULL ||
	    sscanf(numbers, ":%" SCNu64 ":%" SCNu64 "%c", &first, &count, &end) < 2 || (end != 0 && end != '\n'))
		return false;
	/* Ignores a range with 0 in it: its users would count as root, which has no limits. */
	if (first == 0 || first >= (uid_t)-1 || count == 0 || count > (uid_t)-1 - first)
		return false;
	*ret = (struct subuid_range){ (uid_t)first, (unsigned)count };
	return true;
}

/* @return the ranges, to be freed, or NULL without memory. */
static struct subuid_range *read_ranges(FILE *file, size_t *ret_count)
{
	struct subuid_range *ranges = malloc(sizeof(*ranges)), range;
	size_t count = 0, room = 1, size = 0;
	char *line = NULL;

	while (ranges && getline(&line, &size, file) > 0) {
		if (!parse(line, &range))
			continue;
		if (count == room) {
			struct subuid_range *more = reallocarray(ranges, room *= 2, sizeof(*ranges));

			if (more == NULL)
				free(ranges);
			ranges = more;
		}
		if (ranges)
			ranges[count++] = range;
	}
	free(line);
	*ret_count = count;
	return ranges;
}

static int compare(const void *a, const void *b)
{
	const struct subuid_range *one = a, *other = b;

	return (one->first > other->first) - (one->first < other->first);
}

/* Sorts the ranges and merges those that overlap. @return how many are left. */
static size_t unite(struct subuid_range *ranges, size_t count)
{
	size_t united = 0;

	qsort(ranges, count, sizeof(*ranges), compare);
	for (size_t i = 0; i < count; i++) {
		struct subuid_range *last = united > 0 ? &ranges[united - 1] : NULL;
		uid_t end = ranges[i].first + ranges[i].count;

		if (last == NULL || !subuid_range_has(last, ranges[i].first))
			ranges[united++] = ranges[i];
		else if (end > last->first + last->count)
			last->count = end - last->first;
	}
	return united;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static void look(struct subuids *subuids)
{
	struct subuid_range *ranges;
	struct stat now;
	FILE *file;
	size_t count;

	if (stat(subuids->path, &now) == 0 && is_same(&now, &subuids->seen))
		return;
	file = fopen(subuids->path, "re");
	if (file == NULL) {
		if (errno == ENOENT)
			subuids_done(subuids);
		return;
	}
	ranges = fstat(fileno(file), &now) == 0 ? read_ranges(file, &count) : NULL;
	fclose(file);
	if (ranges == NULL)
		return;
	free(subuids->ranges);
	subuids->ranges = ranges;
	subuids->count = unite(ranges, count);
	subuids->seen = now;
}

struct subuid_range subuids_range(struct subuids *subuids, uid_t uid)
{
	look(subuids);
	for (size_t i = 0; i < subuids->count; i++)
		if (subuid_range_has(&subuids->ranges[i], uid))
			return subuids->ranges[i];
	return (struct subuid_range){ uid, 1 };
}

uid_t subuids_account(struct subuids *subuids, uid_t uid)
{
	return subuids_range(subuids, uid).first;
}
