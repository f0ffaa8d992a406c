/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/fork.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>

#include "library/hold.h"
#include "library/memory.h"
#include "library/orders.h"
#include "library/protections.h"
#include "library/region.h"
#include "library/sys.h"
#include "library/worker.h"

#define CHILDREN_MAX 64

static int children[CHILDREN_MAX]; /* read ends of the pipes, 0 terminated by child_count */
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

int fork_watch(void)
{
	static bool watched;
	int r = watched ? 0 : -pthread_atfork(memory_fork_prepare, memory_fork_parent, memory_fork_child);

	watched |= r == 0;
	return r;
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

void memory_fork_prepare(void)
{
	if (!PROTECTED(PROTECT_FORK))
		return;
	memory_lock(); /* no hold is under way now, and none begins before the fork is over */
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

void memory_fork_parent(void)
{
	if (!PROTECTED(PROTECT_FORK))
		return;
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
	memory_unlock();
}

/** What has not been inherited may be other memory of the child's by and by. */
static void forget_unforked(void)
{
	for (unsigned i = 0; i < REGIONS_MAX; i++) {
		struct region *region = region_at(i);

		if (region != NULL && region->dont_fork)
			region_free(region);
	}
}

void memory_fork_child(void)
{
	atomic_store(&is_child, true);
	fd_close(lease[0]);
	lease[0] = lease[1] = -1; /* the write end stays open on purpose: its end of life is the message */
	forget_unforked();
	hold_forget();
	worker_forget();
	orders_forget();
	memory_lock_reset();
}

bool fork_child_alive(void)
{
	drop_dead();
	return lost_track || child_count > 0;
}

bool fork_is_child(void)
{
	return atomic_load_explicit(&is_child, memory_order_relaxed);
}
