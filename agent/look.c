/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of Operation
 *
 * Which pages of a file are in memory tells mincore(), of a mapping that has touched none of them. Their page frames
 * tells /proc/self/pagemap, but only of pages that are mapped; mlock() maps them, and keeps them where they are until
 * the host is done. In the moment between, a page may have left memory, and mlock() reads it in then: one page, as the
 * mapping is marked MADV_RANDOM, which also keeps it from counting as used. mlock() fails where the file has become
 * shorter, where an access would be SIGBUS. It is called by number, as sanitizers make of libc's one that does nothing.
 *
 * What has changed since the last look is told by which pages of a file are in memory. Pages that went and came back
 * in between are missed: their frames may be others. They were read from a disk then.
 */
#include "agent/look.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent/pagemap.h"
#include "agent/public.h"
#include "common/page.h"
#include "common/proc.h"

#define FILE_PAGES_MAX (UINT64_C(1) << 24) /* of a file, from its beginning: 64 GiB */
#define CHUNK_PAGES 4096                   /* whose presence is asked for at once */
#define DEPTH_MAX 32                       /* of folders */
#define FILES_PER_TURN 32
#define SIGNATURE_PARTLY 2 /* not all was named; others are odd */
#define KERNEL_KEY 1       /* of the kernel among what has been sent; files have others (sent_mix) */

int look_init(struct look *look, const struct config *config, const struct iomem *iomem, int pagemap,
	      struct hint_sink *sink)
{
	memset(look, 0, sizeof(*look));
	look->config = config;
	look->iomem = iomem;
	look->root = "";
	look->pagemap = pagemap;
	look->sink = sink;
	return sent_init(&look->sent);
}

void look_done(struct look *look)
{
	sent_done(&look->sent);
}

void look_forget(struct look *look)
{
	sent_clear(&look->sent);
}

/* ---- a file ---- */

/* Of which pages are in memory. @return 0, -errno; @ret_present: how many are. */
static int sign(void *mapping, size_t pages, uint32_t *ret_signature, uint64_t *ret_present)
{
	unsigned char present[CHUNK_PAGES];
	uint64_t mixed = pages;

	*ret_present = 0;
	for (size_t at = 0; at < pages; at += CHUNK_PAGES) {
		size_t count = pages - at < CHUNK_PAGES ? pages - at : CHUNK_PAGES;
		uint64_t words[2] = { mixed, 0 };

		if (mincore((char *)mapping + at * PAGE_BYTES, count * PAGE_BYTES, present) < 0)
			return -errno;
		for (size_t i = 0; i < count; i++) {
			words[1] = words[1] << 1 | (present[i] & 1);
			*ret_present += present[i] & 1;
			if (i % 64 == 63 || i == count - 1)
				words[0] = mixed = sent_mix(words, 2);
		}
	}
	*ret_signature = (uint32_t)mixed | 1;
	return 0;
}

/* Maps the pages that are @present, and keeps them in memory. @return how many; @ret_pfns has theirs. */
static unsigned keep(const struct look *look, char *mapping, unsigned pages, const unsigned char *present,
		     uint64_t ret_pfns[HINT_PAGES_MAX])
{
	unsigned kept = 0;

	for (unsigned at = 0, end; at < pages; at = end) {
		for (end = at + 1; end < pages && (present[end] & 1) == (present[at] & 1); end++)
			;
		/* What is not there, or not any more, has no page frame in the end. */
		if (present[at] & 1)
			(void)syscall(SYS_mlock, mapping + at * PAGE_BYTES, (end - at) * PAGE_BYTES);
	}
	if (pagemap_read(look->pagemap, mapping, pages, ret_pfns) < 0)
		return 0;
	for (unsigned i = 0; i < pages; i++) {
		if ((present[i] & 1) == 0) /* mapped by the kernel along with its neighbour, and not locked */
			ret_pfns[i] = 0;
		kept += ret_pfns[i] != 0;
	}
	return kept;
}

/* @return how many of the first @pages pages are in memory; @ret_present: which. */
static unsigned count_present(void *mapping, unsigned pages, unsigned char ret_present[HINT_PAGES_MAX])
{
	unsigned count = 0;

	if (mincore(mapping, pages * PAGE_BYTES, ret_present) < 0)
		return 0;
	for (unsigned i = 0; i < pages; i++)
		count += ret_present[i] & 1;
	return count;
}

/* How many pages from the first on have @count of those that are @present. */
static unsigned pages_with(unsigned count, unsigned pages, const unsigned char *present)
{
	unsigned i = 0;

	while (i < pages && count >= (present[i] & 1U))
		count -= present[i++] & 1;
	return i;
}

/*
 * Hands over the first pages of a mapping that has @pages more, or unmaps them. @ret_done: how many. @missed counts
 * those whose frame could not be told: the kernel was just moving them, for instance.
 */
static int name_window(const struct look *look, uint32_t module, uint64_t place, void *mapping, size_t pages,
		       unsigned *ret_done, uint64_t *missed)
{
	unsigned char present[HINT_PAGES_MAX];
	uint64_t pfns[HINT_PAGES_MAX];
	unsigned window = pages < HINT_PAGES_MAX ? (unsigned)pages : HINT_PAGES_MAX, count, room = 0, kept;
	int r = 0;

	count = count_present(mapping, window, present);
	if (count > 0)
		r = look->sink->room(look->sink, count, &room);
	/* Once more: it may have waited for long. */
	if (count > 0 && r == 0)
		count = count_present(mapping, window, present);
	if (count > 0 && r == 0)
		window = pages_with(room, window, present);
	*ret_done = window;
	kept = count > 0 && r == 0 ? keep(look, mapping, window, present, pfns) : 0;
	*missed += (count < room ? count : room) - kept;
	if (kept > 0)
		return look->sink->take(look->sink,
					&(struct hint){ module, place, window, pfns, mapping, window * PAGE_BYTES });
	munmap(mapping, window * PAGE_BYTES);
	return r;
}

static int name_pages(const struct look *look, uint32_t module, char *mapping, size_t pages, uint64_t *missed)
{
	unsigned done;
	int r = 0;

	for (size_t at = 0; at < pages && r == 0; at += done) {
		r = name_window(look, module, at, mapping + at * PAGE_BYTES, pages - at, &done, missed);
		if (r < 0 && at + done < pages)
			munmap(mapping + (at + done) * PAGE_BYTES, (pages - at - done) * PAGE_BYTES);
	}
	return r;
}

/* Names what is in memory of a file, if that is not what has been named already. Takes over the mapping. */
static int name_mapping(struct look *look, uint64_t key, struct sent_file *file, void *mapping, size_t pages,
			enum agent_kind kind, const char *path)
{
	uint32_t signature = 0, module;
	uint64_t present = 0, missed = 0;
	bool was_partly;
	int r = 0;

	if (sign(mapping, pages, &signature, &present) < 0 || present == 0 || (file && file->signature == signature))
		goto nothing;
	if (file == NULL) {
		file = sent_add(&look->sent, key);
		look->left_out += file == NULL;
	}
	if (file && file->signature == 0) {
		r = look->sink->module(look->sink, kind, path, &module);
		file->module = (uint16_t)module;
	}
	if (file == NULL || r < 0)
		goto nothing;
	was_partly = file->signature == SIGNATURE_PARTLY;
	file->signature = signature;
	r = name_pages(look, file->module, mapping, pages, &missed);
	if (missed > 0 && !was_partly) /* once more, but not for ever */
		file->signature = SIGNATURE_PARTLY;
	return r;
nothing:
	munmap(mapping, pages * PAGE_BYTES);
	return r;
}

static int name_file(struct look *look, int fd, const struct stat *status, enum agent_kind kind, const char *path)
{
	uint64_t words[2] = { status->st_dev, status->st_ino }, key = sent_mix(words, 2);
	uint64_t pages = ((uint64_t)status->st_size - 1) / PAGE_BYTES + 1;
	struct sent_file *file;
	void *mapping;
	bool met;
	int r = 0;

	if (++look->files % FILES_PER_TURN == 0)
		r = look->sink->turn(look->sink);
	if (r < 0)
		return r;
	file = sent_find(&look->sent, key, &met);
	if (met && look->is_walk)
		return 0;
	pages = pages < FILE_PAGES_MAX ? pages : FILE_PAGES_MAX;
	mapping = mmap(NULL, pages * PAGE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	if (mapping == MAP_FAILED)
		return 0;
	(void)madvise(mapping, pages * PAGE_BYTES, MADV_RANDOM);
	return name_mapping(look, key, file, mapping, pages, kind, path);
}

/* ---- the kernel ---- */

static int name_kernel(struct look *look)
{
	const struct iomem *iomem = look->iomem;
	struct utsname name;
	char label[sizeof(name.release) + 8];
	uint64_t pfns[HINT_PAGES_MAX];
	struct sent_file *sent;
	uint32_t module;
	bool met;
	int r;

	sent = sent_find(&look->sent, KERNEL_KEY, &met);
	if (sent == NULL)
		sent = sent_add(&look->sent, KERNEL_KEY);
	if (sent == NULL || sent->signature != 0 || iomem->kernel_count == 0)
		return 0;
	uname(&name);
	snprintf(label, sizeof(label), "kernel %s", name.release);
	r = look->sink->module(look->sink, AGENT_KIND_KERNEL, label, &module);
	for (unsigned i = 0; i < iomem->kernel_count && r == 0; i++) {
		const struct agent_pages *range = &iomem->kernel[i];

		unsigned count = 0;

		for (uint64_t at = 0; at < range->pages && r == 0; at += count) {
			count = range->pages - at < HINT_PAGES_MAX ? (unsigned)(range->pages - at) : HINT_PAGES_MAX;
			r = look->sink->room(look->sink, count, &count);
			for (unsigned j = 0; j < count; j++)
				pfns[j] = range->first + at + j;
			if (r == 0)
				r = look->sink->take(
					look->sink, &(struct hint){ module, range->first - iomem->kernel[0].first + at,
								    count, pfns, NULL, 0 });
		}
	}
	if (r == 0)
		sent->signature = 1;
	return r;
}

/* ---- what processes have mapped ---- */

/* The file in "START-END r-xp OFFSET DEVICE INODE  PATH", or NULL if it is not of a file that is executed. */
static const char *mapped_program(char *line)
{
	char *path = strchr(line, '/'), *permissions = strchr(line, ' ');
	size_t bytes;

	if (path == NULL || permissions == NULL || permissions > path || permissions[3] != 'x')
		return NULL;
	bytes = strcspn(path, "\n");
	path[bytes] = 0;
	if (bytes >= 10 && strcmp(path + bytes - 10, " (deleted)") == 0)
		return NULL;
	return path;
}

/* Notes @path. @return whether this look has met it already. Two that share a place in the table replace each other. */
static bool note_path(struct look *look, const char *path)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325), *place; /* FNV-1a */

	for (const char *c = path; *c != 0; c++)
		hash = (hash ^ (uint8_t)*c) * UINT64_C(0x100000001b3);
	place = &look->recent[hash % LOOK_RECENT];
	if (*place == hash)
		return true;
	*place = hash;
	return false;
}

static int name_file_at(struct look *look, int fd, const struct stat *status, enum agent_kind kind, const char *path)
{
	int r = name_file(look, fd, status, kind, path);

	close(fd);
	return r;
}

static int name_programs_of(struct look *look, FILE *maps)
{
	char *line = NULL;
	size_t size = 0;
	int r = 0;

	while (r == 0 && getline(&line, &size, maps) > 0) {
		const char *path = mapped_program(line);
		struct stat status;
		int fd;

		if (path == NULL || note_path(look, path) || config_has_path(&look->config->excludes, path))
			continue;
		fd = public_open(path, &status);
		if (fd >= 0)
			r = name_file_at(look, fd, &status, AGENT_KIND_PROGRAM, path);
	}
	free(line);
	return r;
}

int look_programs(struct look *look)
{
	DIR *proc;
	pid_t pid;
	int r = look->config->has_kernel ? name_kernel(look) : 0;

	look->files = 0;
	look->is_walk = false;
	if (r < 0 || !look->config->has_programs)
		return r;
	snprintf(look->path, sizeof(look->path), "%s/proc", look->root);
	proc = opendir(look->path);
	if (proc == NULL)
		return 0;
	memset(look->recent, 0, sizeof(look->recent));
	while (r == 0 && (pid = proc_next(proc)) != 0) {
		FILE *maps = proc_open(look->root, pid, "maps");

		if (maps == NULL)
			continue;
		r = name_programs_of(look, maps);
		fclose(maps);
	}
	closedir(proc);
	return r;
}

/* ---- what is cached below the roots ---- */

/* @fd becomes the walk's. look->path has the folder's path, of @bytes bytes. */
static int walk(struct look *look, int fd, size_t bytes, unsigned depth) // NOLINT(misc-no-recursion)
{
	const struct dirent *entry;
	struct stat status;
	DIR *folder;
	int r = 0;

	if (fstat(fd, &status) < 0 || !public_folder(&status) || !public_file_system(fd, &status) ||
	    (folder = fdopendir(fd)) == NULL) {
		close(fd);
		return 0;
	}
	while (r == 0 && (entry = readdir(folder)) != NULL) {
		size_t length = strlen(entry->d_name);

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
		    bytes + 1 + length >= sizeof(look->path))
			continue;
		look->path[bytes] = '/';
		memcpy(look->path + bytes + 1, entry->d_name, length + 1);
		if (config_has_path(&look->config->excludes, look->path))
			continue;
		if (entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN) {
			fd = public_open_at(dirfd(folder), entry->d_name, &status);
			if (fd >= 0)
				r = name_file_at(look, fd, &status, AGENT_KIND_FILE, look->path);
		}
		if ((entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN) && depth < DEPTH_MAX) {
			fd = openat(dirfd(folder), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			if (fd >= 0)
				r = walk(look, fd, bytes + 1 + length, depth + 1);
		}
	}
	closedir(folder);
	return r;
}

/* Whether all folders on the way to @path, which has no links in it, are public. */
static bool is_reachable(const char *path)
{
	char folder[PATH_MAX];
	struct stat status;

	for (const char *end = strchr(path + 1, '/'); end != NULL; end = strchr(end + 1, '/')) {
		snprintf(folder, sizeof(folder), "%.*s", (int)(end - path), path);
		if (stat(folder, &status) < 0 || !public_folder(&status))
			return false;
	}
	return true;
}

int look_files(struct look *look)
{
	int r = 0;

	sent_begin(&look->sent);
	look->files = look->left_out = 0;
	look->is_walk = true;
	for (unsigned i = 0; look->config->has_files && i < look->config->roots.count && r == 0; i++) {
		char *place = realpath(look->config->roots.paths[i], look->path);
		int fd;

		if (place == NULL || !is_reachable(place))
			continue;
		fd = open(place, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0)
			r = walk(look, fd, strcmp(place, "/") == 0 ? 0 : strlen(place), 0);
	}
	return r;
}
