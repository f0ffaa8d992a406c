/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of Operation.
 *
 *   DIRECTORY/                    on the host's file system; locked by the daemon that uses it
 *     pages/                      a tmpfs, mounted read-only and private
 *       identity                  of the store, and its hash seed
 *       seg-00000 ...             segments
 *       vm-PID-START/             a read-only clone of the same tmpfs per VMM process: its view
 *
 * What is attached is read-only; the daemon writes through a clone that has no path (`tree`). A descriptor opened
 * through a view stays bound to that mount, so every way to reopen or change the file fails with EROFS, whoever tries;
 * and the mount cannot be taken away while such a descriptor or a mapping made with it exists anywhere, in the VMM, in
 * a child or in a message not yet received. umount's EBUSY is thus the kernel's own answer to "can anybody still read
 * this?", for one process and its descendants, and it outlives the daemon.
 *
 * Without the right to mount, segments are memfds. Nothing outlives the daemon then, and who may still read is found by
 * looking for the memfds' name in /proc/PID/maps.
 */
#include "daemon/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/directory.h"
#include "daemon/log.h"
#include "daemon/mounts.h"
#include "daemon/store-internal.h"

#define IDENTITY_FORMAT "pagefuse-store 1 %016" PRIx64 " %016" PRIx64 "\n"
#define IDENTITY_SCAN "pagefuse-store 1 %16" SCNx64 " %16" SCNx64

/* ---- opening and closing ---- */

static int new_identity(struct store *store)
{
	uint64_t random[2];

	do
		if (getrandom(random, sizeof(random), 0) != sizeof(random))
			return -EIO;
	while (random[0] == 0); /* 0 is "no store" in HELLO */
	store->identity = random[0];
	store->seed = random[1];
	return 0;
}

static int write_identity(const struct store *store)
{
	int fd = openat(store->tree, "identity", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), r = 0;

	if (fd < 0)
		return -errno;
	if (dprintf(fd, IDENTITY_FORMAT, store->identity, store->seed) < 0)
		r = -errno;
	close(fd);
	return r;
}

static int read_identity(struct store *store)
{
	char text[128];
	ssize_t size;
	int fd = openat(store->tree, "identity", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	size = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (size < 0)
		return -errno;
	text[size] = 0;
	if (sscanf(text, IDENTITY_SCAN, &store->identity, &store->seed) != 2 || store->identity == 0)
		return -EINVAL;
	return 0;
}

static int take_old_segments(struct store *store)
{
	char name[STORE_NAME_SIZE];
	struct stat st;
	int fd, r;

	for (uint32_t segment = 0; segment < ENGINE_SEGMENTS_MAX; segment++) {
		store_segment_name(name, segment);
		/* O_NONBLOCK: a reader's lease must not hold us up. */
		fd = openat(store->tree, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT)
			continue;
		if (fd < 0)
			return -errno;
		r = fstat(fd, &st) < 0 ? -errno : 0;
		if (r == 0 && st.st_size == 0) { /* the daemon was killed just when it made this one: nobody has it */
			close(fd);
			unlinkat(store->tree, name, 0);
			continue;
		}
		if (r < 0 || st.st_size != (off_t)SEGMENT_BYTES) {
			close(fd);
			return r < 0 ? r : -EINVAL;
		}
		r = segments_add(&store->segments, segment, fd, true);
		if (r < 0)
			return r;
	}
	return 0;
}

static int note_use(void *context, pid_t pid, uint64_t start_time)
{
	bool *found = context;

	(void)pid;
	(void)start_time;
	*found = true;
	return 0;
}

static void forget_tree(struct store *store)
{
	segments_done(&store->segments);
	if (store->tree >= 0)
		close(store->tree);
	store->tree = -1;
}

/*
 * Unlinks all files. Their memory is freed with the last process that has them open or mapped, even if a copy of this
 * mount stays in another mount namespace.
 */
static void give_up_files(const struct store *store)
{
	int fd = store->tree >= 0 ? openat(store->tree, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	DIR *files = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *entry;

	if (files == NULL) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((entry = readdir(files)) != NULL)
		if (entry->d_type == DT_REG)
			unlinkat(store->tree, entry->d_name, 0);
	closedir(files);
}

/* Takes over a tmpfs that is mounted already. @return 1 if it is to be used, 0 if it is out of the way, -errno. */
static int adopt_tmpfs(struct store *store)
{
	bool used = false;
	int r;

	store->tree = mounts_open_writable(store->pages);
	if (store->tree < 0)
		return store->tree;
	r = store_each_view(store, note_use, &used);
	if (r < 0)
		return r;
	if (!used) {
		give_up_files(store);
		forget_tree(store);
		r = mounts_remove(store->pages);
		return r == -EBUSY ? mounts_abandon(store->pages) : r;
	}
	r = read_identity(store);
	if (r == 0)
		r = take_old_segments(store);
	if (r == 0) {
		store->old = true;
		return 1;
	}
	log_warning("the old store in %s cannot be used (%s); VMs that map it keep it until they end", store->directory,
		    strerror(-r));
	give_up_files(store);
	forget_tree(store);
	return mounts_abandon(store->pages);
}

static int create_tmpfs(struct store *store, const char *size)
{
	int r;

	if (mkdir(store->pages, 0700) < 0 && errno != EEXIST)
		return -errno;
	r = mounts_create(store->pages, size);
	if (r < 0)
		goto no_mount;
	store->tree = mounts_open_writable(store->pages);
	r = store->tree < 0 ? store->tree : new_identity(store);
	if (r == 0)
		r = write_identity(store);
	if (r == 0)
		return 0;
	forget_tree(store);
	(void)mounts_remove(store->pages);
no_mount:
	rmdir(store->pages);
	return r;
}

static int open_tmpfs(struct store *store, const char *size)
{
	int r = mounts_is_mounted(store->pages) ? adopt_tmpfs(store) : 0;

	if (r == 0)
		r = create_tmpfs(store, size);
	store->kind = STORE_TMPFS;
	return r < 0 ? r : 0;
}

static int open_memfd(struct store *store)
{
	int r = new_identity(store);

	store->kind = STORE_MEMFD;
	return r;
}

static int open_kind(struct store *store, const struct store_settings *settings)
{
	int r;

	if (settings->kind == STORE_MEMFD)
		return open_memfd(store);
	r = open_tmpfs(store, settings->size);
	if (r == 0)
		return 0;
	if (settings->kind == STORE_TMPFS || r == -EINVAL) {
		log_error("cannot mount the store's tmpfs (size %s) in %s: %s; as root of the host it works, and "
			  "\"kind = memfd\" in the settings does without",
			  settings->size, store->directory, strerror(-r));
		return r;
	}
	log_warning(
		"no right to mount a tmpfs in %s (%s): pages are kept in memfds, which a VMM of the same user could be "
		"made to write; run pagefused as root for the full guarantee",
		store->directory, strerror(-r));
	return open_memfd(store);
}

int store_open(const char *directory, const struct store_settings *settings, struct store **ret)
{
	struct store *store = calloc(1, sizeof(*store));
	int r;

	if (store == NULL)
		return -ENOMEM;
	store->tree = -1;
	snprintf(store->directory, sizeof(store->directory), "%.*s", STORE_DIRECTORY_MAX, directory);
	snprintf(store->pages, sizeof(store->pages), "%.*s/pages", STORE_DIRECTORY_MAX, directory);
	store->lock = strlen(directory) > STORE_DIRECTORY_MAX ? -ENAMETOOLONG : directory_lock(directory);
	if (store->lock < 0) {
		r = store->lock;
		free(store);
		return r;
	}
	r = open_kind(store, settings);
	room_open(&store->room, r < 0 ? -1 : store->tree, store->segments.live_slots);
	if (r < 0) {
		forget_tree(store);
		rmdir(directory);
		close(store->lock);
		free(store);
		return r;
	}
	*ret = store;
	return 0;
}

static bool remove_tmpfs(struct store *store)
{
	bool used = false;
	int r = store_each_view(store, note_use, &used);

	if (r == 0 && !used)
		give_up_files(store);
	forget_tree(store);
	if (r < 0 || used)
		return false;
	if (mounts_remove(store->pages) < 0)
		return false;
	return rmdir(store->pages) == 0;
}

bool store_close(struct store *store)
{
	bool removed = true;

	if (store->kind == STORE_TMPFS)
		removed = remove_tmpfs(store);
	else
		forget_tree(store);
	if (removed)
		rmdir(store->directory);
	close(store->lock);
	views_done(store);
	free(store);
	return !removed;
}

uint64_t store_identity(const struct store *store)
{
	return store->identity;
}

uint64_t store_seed(const struct store *store)
{
	return store->seed;
}

bool store_outlives_daemon(const struct store *store)
{
	return store->kind == STORE_TMPFS;
}

const char *store_kind_name(const struct store *store)
{
	return store->kind == STORE_TMPFS ? "tmpfs" : "memfd";
}

/* ---- segments ---- */

static int create_memfd(const struct store *store)
{
	char name[STORE_NAME_SIZE];
	int fd;

	store_memfd_name(name, store);
	fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	/* Only the daemon's own descriptor is open for writing; 0400 keeps honest programs from making another one. */
	if (fd >= 0 && fchmod(fd, 0400) < 0) {
		close(fd);
		return -EIO;
	}
	return fd < 0 ? -errno : fd;
}

static int create_file(const struct store *store, const char *name)
{
	int fd = openat(store->tree, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : fd;
}

int store_add_segment(struct store *store, uint32_t segment)
{
	char name[STORE_NAME_SIZE];
	int fd, r;

	store_segment_name(name, segment);
	fd = store->kind == STORE_TMPFS ? create_file(store, name) : create_memfd(store);
	if (fd < 0)
		return fd;
	if (ftruncate(fd, (off_t)SEGMENT_BYTES) < 0)
		r = -errno;
	else if (store->kind == STORE_MEMFD && fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		r = -errno;
	else
		return segments_add(&store->segments, segment, fd, false);
	close(fd);
	if (store->kind == STORE_TMPFS)
		unlinkat(store->tree, name, 0);
	return r;
}

void store_remove_segment(struct store *store, uint32_t segment)
{
	char name[STORE_NAME_SIZE];

	segments_remove(&store->segments, segment);
	store_segment_name(name, segment);
	if (store->kind == STORE_TMPFS && unlinkat(store->tree, name, 0) < 0)
		log_warning("cannot remove segment %s of the store: %s", name, strerror(errno));
}

int store_write(struct store *store, uint32_t slot, const void *content)
{
	unsigned attempts = 0;
	int r;

	room_fit(&store->room, store->segments.live_slots + 1);
	do
		r = segments_write(&store->segments, slot, content);
	while (r == -ENOSPC && room_press(&store->room, store->segments.live_slots, attempts++));
	return r;
}

bool store_is_pressed(const struct store *store)
{
	return store->room.pressed;
}

int store_read(struct store *store, uint32_t slot, void *ret_content)
{
	return segments_read(&store->segments, slot, ret_content);
}

void store_punch(struct store *store, uint32_t slot, uint32_t count)
{
	segments_punch(&store->segments, slot, count);
	room_fit(&store->room, store->segments.live_slots);
}

bool store_recheck(struct store *store)
{
	uint64_t pages = segments_recheck(&store->segments, &store->recheck);
	bool more = store->recheck.segment < ENGINE_SEGMENTS_MAX;

	if (pages > 0)
		log_debug("freed %" PRIu64 " pages of the store that stray faults had allocated", pages);
	if (!more) {
		store->recheck = (struct segments_cursor){ 0 };
		room_relax(&store->room, store->segments.live_slots);
	}
	return more;
}

uint64_t store_used_bytes(const struct store *store)
{
	return segments_used_bytes(&store->segments);
}

bool store_next_segment(const struct store *store, uint32_t *cursor, uint32_t *ret_segment)
{
	while (store->old && *cursor < ENGINE_SEGMENTS_MAX) {
		*ret_segment = (*cursor)++;
		if (segments_has(&store->segments, *ret_segment))
			return true;
	}
	return false;
}
