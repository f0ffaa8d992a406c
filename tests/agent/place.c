/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/agent/place.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "tests/support/pages.h"
#include "tests/support/test.h"

#define RAMFS 0x858458f6
#define TMPFS 0x01021994
#define OVERLAY 0x794c7630

static char folder[PATH_MAX];
static pid_t maker;

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *at)
{
	(void)status;
	(void)kind;
	(void)at;
	return remove(path);
}

static void remove_all(void)
{
	if (folder[0] != 0 && maker == getpid())
		nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	folder[0] = 0;
}

static bool everybody_reaches(const char *path)
{
	char part[PATH_MAX];
	struct stat status;

	for (const char *end = path + 1; end != NULL && *end != 0;) {
		end = strchr(end + 1, '/');
		snprintf(part, sizeof(part), "%.*s", end ? (int)(end - path) : PATH_MAX - 1, path);
		if (stat(part, &status) < 0 || (status.st_mode & S_IXOTH) == 0)
			return false;
	}
	return true;
}

static bool is_disk(const char *path)
{
	struct statfs status;

	return statfs(path, &status) == 0 && status.f_type != RAMFS && status.f_type != TMPFS &&
	       status.f_type != OVERLAY;
}

void place_make(void)
{
	const char *const bases[] = { test_folder(), "/tmp", "/var/tmp" };

	if (geteuid() != 0)
		test_skip("page frames are shown to root only");
	for (size_t i = 0; i < sizeof(bases) / sizeof(*bases); i++) {
		char *base = realpath(bases[i], NULL);

		if (base != NULL && everybody_reaches(base) && is_disk(base)) {
			snprintf(folder, sizeof(folder), "%s/pagefuse-agent.XXXXXX", base);
			test_check(mkdtemp(folder) != NULL, "%s: %s", folder, strerror(errno));
			test_check(chmod(folder, 0755) == 0, "%s: %s", folder, strerror(errno));
			free(base);
			maker = getpid();
			test_at_end(remove_all);
			atexit(remove_all);
			return;
		}
		free(base);
	}
	test_skip("none of %s, /tmp and /var/tmp is on a disk and reached by everybody", test_folder());
}

const char *place_path(const char *name)
{
	static char paths[4][PATH_MAX + NAME_MAX + 2];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s%s%s", folder, *name ? "/" : "", name);
	return path;
}

static int open_file(const char *name, int flags)
{
	int fd = open(place_path(name), flags | O_CLOEXEC, 0644);

	test_check(fd >= 0, "%s: %s", place_path(name), strerror(errno));
	return fd;
}

static void lock_file(const char *name);

void place_file(const char *name, unsigned pages)
{
	static uint64_t content;
	static char page[PAGE_BYTES];
	int fd = open_file(name, O_WRONLY | O_CREAT | O_TRUNC);

	for (unsigned i = 0; i < pages; i++) {
		pages_fill(page, ++content);
		test_check(write(fd, page, sizeof(page)) == sizeof(page), "%s: %s", name, strerror(errno));
	}
	test_check(fsync(fd) == 0, "%s: %s", name, strerror(errno));
	close(fd);
	lock_file(name);
}

void place_text(const char *name, const char *format, ...)
{
	va_list arguments;
	FILE *file = fopen(place_path(name), "we");

	test_check(file != NULL, "%s: %s", name, strerror(errno));
	va_start(arguments, format);
	vfprintf(file, format, arguments); // NOLINT(clang-analyzer-valist.Uninitialized): it is initialized
	va_end(arguments);
	test_check(fclose(file) == 0, "%s: %s", name, strerror(errno));
}

/* Locked in memory, as the host's other work may want it at any time: by name. */
static struct {
	char name[64];
	void *mapping;
	size_t bytes;
} locked[16];

static void *map_file(const char *name, size_t *ret_pages);

static void lock_file(const char *name)
{
	for (size_t i = 0; i < sizeof(locked) / sizeof(*locked); i++) {
		size_t pages;

		if (locked[i].mapping != NULL)
			continue;
		snprintf(locked[i].name, sizeof(locked[i].name), "%s", name);
		locked[i].mapping = map_file(name, &pages);
		locked[i].bytes = pages * PAGE_BYTES;
		test_check(mlock(locked[i].mapping, locked[i].bytes) == 0, "mlock %s: %s", name, strerror(errno));
		return;
	}
	test_fail("more files than can be locked");
}

static void unlock_file(const char *name)
{
	for (size_t i = 0; i < sizeof(locked) / sizeof(*locked); i++)
		if (locked[i].mapping != NULL && strcmp(locked[i].name, name) == 0) {
			munmap(locked[i].mapping, locked[i].bytes);
			locked[i].mapping = NULL;
		}
}

/* Maps it without touching it. */
static void *map_file(const char *name, size_t *ret_pages)
{
	int fd = open_file(name, O_RDONLY);
	struct stat status;
	void *mapping;

	test_check(fstat(fd, &status) == 0, "%s: %s", name, strerror(errno));
	*ret_pages = ((size_t)status.st_size + PAGE_BYTES - 1) / PAGE_BYTES;
	mapping = mmap(NULL, *ret_pages * PAGE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	test_check(mapping != MAP_FAILED, "%s: %s", name, strerror(errno));
	close(fd);
	return mapping;
}

unsigned place_cached(const char *name)
{
	size_t pages;
	void *mapping = map_file(name, &pages);
	unsigned char *present = malloc(pages);
	unsigned count = 0;

	test_check(present != NULL && mincore(mapping, pages * PAGE_BYTES, present) == 0, "%s: %s", name,
		   strerror(errno));
	for (size_t i = 0; i < pages; i++)
		count += present[i] & 1;
	free(present);
	munmap(mapping, pages * PAGE_BYTES);
	return count;
}

void place_evict(const char *name)
{
	int fd = open_file(name, O_RDONLY), r;

	unlock_file(name);
	r = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);

	close(fd);
	if (r != 0 || place_cached(name) > 0)
		test_skip("this file system keeps pages cached that it is told to drop");
}

uint64_t place_frame(const char *name, uint64_t page)
{
	size_t pages;
	char *mapping = map_file(name, &pages);
	uint64_t frame;

	test_check(page < pages, "%s has no page %" PRIu64, name, page);
	(void)*(volatile char *)(mapping + page * PAGE_BYTES);
	frame = pages_frame(mapping + page * PAGE_BYTES);
	munmap(mapping, pages * PAGE_BYTES);
	return frame;
}
