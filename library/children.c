/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of Operation. A process that can read the store has its mappings, which go away with the process's memory, at
 * exec or exit. So does a lease, a mapping of a file of ours that every child inherits, as do its own children. The
 * kernel can tell whether any process still has a lease: a file that is mapped writable and shared cannot be sealed
 * against writing (EBUSY).
 *
 * For this the process must not have the file mapped itself. So there are two leases: `current`, which is mapped here
 * and inherited by every child, and `older`, which is no longer mapped here. To find out whether children are alive
 * once `older` has ended (sealed and closed), `current` becomes `older` and a new lease is mapped. However many
 * children there are, there are at most two descriptors here and none in a child. A fork allocates nothing; if a new
 * lease cannot be made, children go on inheriting the old one, and the check is repeated later.
 */
#include "library/children.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "library/descriptors.h"
#include "library/lock.h"
#include "library/region.h"
#include "library/sys.h"

#ifndef MFD_NOEXEC_SEAL /* Linux 6.3 */
#define MFD_NOEXEC_SEAL 0x0008U
#endif

struct lease {
	struct descriptor *file; /* NULL: none */
	uint64_t address;        /* where it is mapped here; 0: not mapped */
};

static struct lease current, older;
static bool lost;   /* the VMM has closed a lease that a child may have: children can no longer be tracked */
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

/** Nothing is ever written to it, so it costs no memory. */
static int lease_new(struct lease *ret)
{
	struct descriptor *file = NULL;
	bool had = descriptors_open();
	long r = descriptor_add(file_new(), &file);

	if (r == 0)
		r = sys_call(SYS_ftruncate, descriptor_number(file), PAGE_BYTES, 0, 0, 0, 0);
	if (r == 0)
		r = sys_mmap(0, PAGE_BYTES, PROT_NONE, MAP_SHARED, descriptor_number(file), 0);
	if (sys_is_error(r))
		descriptor_close(&file);
	descriptors_opened(had);
	if (sys_is_error(r))
		return (int)r;
	*ret = (struct lease){ .file = file, .address = (uint64_t)r };
	return 0;
}

/** Closes the lease if no other process has it any more. @return whether it was closed. */
static bool lease_try_end(struct lease *lease)
{
	if (lease->address != 0 && sys_munmap(lease->address, PAGE_BYTES) == 0)
		lease->address = 0;
	if (!descriptor_is_there(lease->file)) {
		lost = true;
		descriptor_close(&lease->file);
		return false;
	}
	if (sys_raw(SYS_fcntl, descriptor_number(lease->file), F_ADD_SEALS, F_SEAL_WRITE, 0, 0, 0) < 0)
		return false;
	descriptor_close(&lease->file);
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
	if (descriptor_is_there(current.file))
		return 0;
	lost = lost || forked;
	if (current.address != 0)
		sys_munmap(current.address, PAGE_BYTES);
	descriptor_close(&current.file);
	current.address = 0;
	return lease_new(&current);
}

void children_note_fork(void)
{
	if (!is_child && child_would_share())
		forked = true;
}

void children_end(void)
{
	descriptor_close(&current.file);
	descriptor_close(&older.file);
}

void children_in_child(void)
{
	atomic_store(&is_child, true);
	children_end();
}

bool children_alive(void)
{
	struct lease next;

	if (memory_lock_has_fork()) /* the worker no longer waits for forks, see lock.h */
		return true;
	children_watch();
	if (lost)
		return true;
	if (older.file != NULL && !lease_try_end(&older))
		return true;
	if (!forked)
		return false;
	if (lease_new(&next) < 0)
		return true;
	older = current;
	current = next;
	forked = false;
	return !lease_try_end(&older);
}

bool children_is_one(void)
{
	return atomic_load_explicit(&is_child, memory_order_relaxed);
}
