/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/fork.h"

#include <pthread.h>
#include <stddef.h>

#include "library/children.h"
#include "library/hold.h"
#include "library/orders.h"
#include "library/protections.h"
#include "library/region.h"
#include "library/template.h"
#include "library/view.h"
#include "library/worker.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int watched;

static void watch(void)
{
	watched = -pthread_atfork(fork_prepare, fork_parent, fork_child);
}

int fork_watch(void)
{
	pthread_once(&once, watch);
	return watched;
}

void fork_prepare(void)
{
	if (!PROTECTED(PROTECT_FORK))
		return;
	memory_lock(); /* no hold is under way now, and none begins before the fork is over */
	children_before_fork();
}

void fork_parent(void)
{
	if (!PROTECTED(PROTECT_FORK))
		return;
	children_in_parent();
	memory_unlock();
}

/** What has not been inherited may be other memory of the child's by and by. */
static void forget_unforked(void)
{
	for (unsigned i = 0; i < REGIONS_MAX; i++) {
		struct region *region = region_at(i), gone;

		if (region == NULL || !region->dont_fork)
			continue;
		region_free(region, &gone);
		region_free_tables(&gone);
	}
}

void fork_child(void)
{
	children_in_child();
	forget_unforked();
	hold_forget();
	template_forget();
	view_forget();
	worker_forget();
	orders_forget();
	memory_lock_reset();
}
