/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/children.h"

#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>

#include "library/region.h"
#include "library/sys.h"

#define CHILDREN_MAX 64

static int children[CHILDREN_MAX]; /* read ends of the pipes */
static unsigned child_count;
static bool lost_track; /* too many, or no pipe: take it that a child is alive for ever */
static _Atomic bool is_child;
static int lease[2] = { -1, -1 };
static bool prepared;

static void fd_close(int fd)
{
	if (fd >= 0)
		sys_raw(SYS_close, fd, 0, 0, 0, 0, 0);
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

void children_before_fork(void)
{
	prepared = !is_child && child_would_share();
	if (prepared && sys_raw(SYS_pipe2, (long)lease, O_CLOEXEC, 0, 0, 0, 0) < 0) {
		lease[0] = lease[1] = -1;
		lost_track = true;
	}
}

/** Forgets the children that are gone. */
static void drop_dead(void)
{
	struct timespec zero = { 0 };

	for (unsigned i = 0; i < child_count;) {
		struct pollfd poll = { .fd = children[i], .events = POLLIN };

		sys_raw(SYS_ppoll, (long)&poll, 1, (long)&zero, 0, 0, 0);
		if (poll.revents & (POLLHUP | POLLERR | POLLNVAL)) {
			fd_close(children[i]);
			children[i] = children[--child_count];
		} else {
			i++;
		}
	}
}

void children_in_parent(void)
{
	if (prepared && lease[0] >= 0) {
		fd_close(lease[1]);
		drop_dead();
		if (child_count < CHILDREN_MAX) {
			children[child_count++] = lease[0];
		} else {
			fd_close(lease[0]);
			lost_track = true;
		}
	}
	lease[0] = lease[1] = -1;
}

void children_in_child(void)
{
	atomic_store(&is_child, true);
	fd_close(lease[0]);
	lease[0] = lease[1] = -1; /* the write end stays open on purpose: its end of life is the message */
}

bool children_alive(void)
{
	drop_dead();
	return lost_track || child_count > 0;
}

bool children_is_one(void)
{
	return atomic_load_explicit(&is_child, memory_order_relaxed);
}
