/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which processes are given the store, and whether any of them can still read it. See the Theory of Operation in
 * store.c.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/maps.h"
#include "daemon/mounts.h"
#include "daemon/store-internal.h"

static void view_name(char ret[STORE_NAME_SIZE], pid_t pid, uint64_t start_time)
{
	snprintf(ret, STORE_NAME_SIZE, "vm-%d-%" PRIu64, (int)pid, start_time);
}

/* Longest: "DIRECTORY/pages/vm-PID-START/seg-NNNNN"; store_open() has left room for it. */
static void path_in_pages(char ret[STORE_PATH_SIZE], const struct store *store, const char *name, const char *file)
{
	snprintf(ret, STORE_PATH_SIZE, "%.160s/%.63s%s%s", store->pages, name, file ? "/" : "", file ? file : "");
}

static int create_mounted_view(struct store *store, pid_t pid, uint64_t start_time)
{
	char name[STORE_NAME_SIZE], path[STORE_PATH_SIZE];
	int r;

	view_name(name, pid, start_time);
	path_in_pages(path, store, name, NULL);
	if (mounts_is_mounted(path))
		return 0;
	if (mkdirat(store->tree, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	r = mounts_clone(store->pages, path);
	if (r < 0)
		unlinkat(store->tree, name, AT_REMOVEDIR);
	return r;
}

static int add_reader(struct store *store, pid_t pid)
{
	struct reader *reader;

	for (reader = store->readers; reader; reader = reader->next)
		if (reader->pid == pid)
			return 0;
	reader = malloc(sizeof(*reader));
	if (reader == NULL)
		return -ENOMEM;
	*reader = (struct reader){ .next = store->readers, .pid = pid };
	store->readers = reader;
	return 0;
}

int store_view_create(struct store *store, pid_t pid, uint64_t start_time)
{
	return store->kind == STORE_TMPFS ? create_mounted_view(store, pid, start_time) : add_reader(store, pid);
}

int store_view_open(struct store *store, pid_t pid, uint64_t start_time, uint32_t segment)
{
	char view[STORE_NAME_SIZE], file[STORE_NAME_SIZE], path[STORE_PATH_SIZE];
	int fd;

	if (!segments_has(&store->segments, segment))
		return -ENOENT;
	if (store->kind == STORE_TMPFS) {
		view_name(view, pid, start_time);
		store_segment_name(file, segment);
		path_in_pages(path, store, view, file);
	} else {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", segments_fd(&store->segments, segment));
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | (store->kind == STORE_TMPFS ? O_NOFOLLOW : 0));
	return fd < 0 ? -errno : fd;
}

static int remove_mounted_view(struct store *store, const char *name)
{
	char path[STORE_PATH_SIZE];
	int r;

	path_in_pages(path, store, name, NULL);
	r = mounts_remove(path);
	if (r < 0 && r != -EINVAL && r != -ENOENT) /* these two: there is no such mount (any more) */
		return r;
	if (unlinkat(store->tree, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		log_warning("cannot remove the view %s of the store: %s", name, strerror(errno));
	return 0;
}

static bool is_reader(void *context, pid_t pid)
{
	const struct store *store = context;

	for (const struct reader *reader = store->readers; reader; reader = reader->next)
		if (reader->pid == pid)
			return true;
	return pid == getpid();
}

static int remove_reader(struct store *store, pid_t pid, bool alive)
{
	char name[STORE_NAME_SIZE];

	store_memfd_name(name, store);
	if (alive && maps_one_has(pid, name))
		return -EBUSY;
	/* Removed from the list first, since by the next attempt its pid may belong to another process. */
	for (struct reader **place = &store->readers; *place; place = &(*place)->next)
		if ((*place)->pid == pid) {
			struct reader *reader = *place;

			*place = reader->next;
			free(reader);
			break;
		}
	return maps_someone_has(name, is_reader, store) ? -EBUSY : 0;
}

int store_view_remove(struct store *store, pid_t pid, uint64_t start_time, bool alive)
{
	char name[STORE_NAME_SIZE];

	if (store->kind == STORE_MEMFD)
		return remove_reader(store, pid, alive);
	view_name(name, pid, start_time);
	return remove_mounted_view(store, name);
}

int store_each_view(struct store *store, int (*found)(void *context, pid_t pid, uint64_t start_time), void *context)
{
	struct dirent *entry;
	uint64_t start_time;
	DIR *directory;
	int pid, r = 0;

	if (store->kind == STORE_MEMFD)
		return 0;
	directory = opendir(store->pages);
	if (directory == NULL)
		return -errno;
	while (r == 0 && (entry = readdir(directory)) != NULL) {
		if (sscanf(entry->d_name, "vm-%d-%" SCNu64, &pid, &start_time) != 2)
			continue;
		r = remove_mounted_view(store, entry->d_name);
		if (r == -EBUSY)
			r = found(context, pid, start_time);
	}
	closedir(directory);
	return r;
}

void views_done(struct store *store)
{
	while (store->readers) {
		struct reader *reader = store->readers;

		store->readers = reader->next;
		free(reader);
	}
}
