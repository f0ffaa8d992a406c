/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of Operation. Whoever may read the store has its mappings, and these go with the process's memory, at exec or
 * at the end; so does a lease, a mapping of a file of ours that every child inherits, its children too. The kernel
 * says whether anybody has it: a file that is mapped writable and shared cannot be sealed against writing (EBUSY).
 *
 * This process must not have it itself then. So there are two: `current`, which is mapped here and goes to every child,
 * and `older`, which is not mapped here any more. When it is to be known whether children live, and `older` is over
 * (sealed and closed), `current` becomes `older` and a new one is mapped. However many children there are, there are at
 * most two descriptors here and none in a child. A fork needs nothing to be had; where a new lease cannot be had, the
 * old one goes on being inherited, and the question is asked again later.
 */
#include "library/children.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "library/region.h"
#include "library/sys.h"

#ifndef MFD_NOEXEC_SEAL /* Linux 6.3 */
#define MFD_NOEXEC_SEAL 0x0008U
#endif

struct lease {
	int fd; /* -1: none */
	dev_t device;
	ino_t inode;
	uint64_t address; /* where it is mapped here; 0: it is not */
};

static struct lease current = { .fd = -1 }, older = { .fd = -1 };
static bool forked; /* since `current` was mapped */
static _Atomic bool is_child;

static int file_new(void)
{
	const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	long fd = sys_call(SYS_memfd_create, (long)"pagefuse-lease", flags | MFD_NOEXEC_SEAL, 0, 0, 0, 0);

	if (fd == -EINVAL)
		fd = sys_call(SYS_memfd_create, (long)"pagefuse-lease", flags, 0, 0, 0, 0);
	return (int)fd;
}

static long file_stat(int fd, struct stat *ret)
{
	return sys_raw(SYS_fstat, fd, (long)ret, 0, 0, 0, 0);
}

/** Nothing is ever written to it, so it costs no memory. */
static int lease_new(struct lease *ret)
{
	struct stat st = { 0 };
	int fd = file_new();
	long r;

	if (fd < 0)
		return fd;
	r = file_stat(fd, &st);
	if (r == 0)
		r = sys_call(SYS_ftruncate, fd, PAGE_BYTES, 0, 0, 0, 0);
	if (r == 0)
		r = sys_mmap(0, PAGE_BYTES, PROT_NONE, MAP_SHARED, fd, 0);
	if (sys_is_error(r)) {
		sys_raw(SYS_close, fd, 0, 0, 0, 0, 0);
		return (int)r;
	}
	*ret = (struct lease){ .fd = fd, .device = st.st_dev, .inode = st.st_ino, .address = (uint64_t)r };
	return 0;
}

/** A VMM that closes descriptors which it does not know may have another file by that number. */
static bool lease_has_file(const struct lease *lease)
{
	struct stat st = { 0 };

	return lease->fd >= 0 && file_stat(lease->fd, &st) == 0 && st.st_dev == lease->device &&
	       st.st_ino == lease->inode;
}

static void lease_close(struct lease *lease)
{
	if (lease_has_file(lease))
		sys_raw(SYS_close, lease->fd, 0, 0, 0, 0, 0);
	lease->fd = -1;
}

/** Whether nobody has it any more, this process left out; it is closed then. */
static bool lease_is_over(struct lease *lease)
{
	if (lease->address != 0 && sys_munmap(lease->address, PAGE_BYTES) == 0)
		lease->address = 0;
	if (!lease_has_file(lease))
		return false; /* nobody can tell any more */
	if (sys_raw(SYS_fcntl, lease->fd, F_ADD_SEALS, F_SEAL_WRITE, 0, 0, 0) < 0)
		return false;
	lease_close(lease);
	return true;
}

/** Whether a child would get any mapping of the store. */
static bool child_would_share(void)
{
	for (unsigned i = 0; i < REGIONS_MAX; i++) {
		const struct region *region = region_at(i);

		if (region != NULL && !region->dont_fork)
			return true;
	}
	return false;
}

int children_watch(void)
{
	return current.fd >= 0 ? 0 : lease_new(&current);
}

void children_note_fork(void)
{
	if (!is_child && child_would_share())
		forked = true;
}

void children_in_child(void)
{
	atomic_store(&is_child, true);
	lease_close(&current);
	lease_close(&older);
}

bool children_alive(void)
{
	struct lease next;

	if (older.fd >= 0 && !lease_is_over(&older))
		return true;
	if (!forked)
		return false;
	if (lease_new(&next) < 0)
		return true;
	older = current;
	current = next;
	forked = false;
	return !lease_is_over(&older);
}

bool children_is_one(void)
{
	return atomic_load_explicit(&is_child, memory_order_relaxed);
}
