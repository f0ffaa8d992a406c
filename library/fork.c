/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/fork.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "library/children.h"
#include "library/descriptors.h"
#include "library/hold.h"
#include "library/memory.h"
#include "library/orders.h"
#include "library/protections.h"
#include "library/region.h"
#include "library/sys.h"
#include "library/template.h"
#include "library/view.h"
#include "library/worker.h"

static int watched = -ENOSYS;
static _Atomic bool *is_parent; /* wiped in a child */

static int parent_page_new(void)
{
	long page = sys_mmap(0, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int r = sys_is_error(page) ? (int)page : sys_madvise((uint64_t)page, PAGE_BYTES, MADV_WIPEONFORK);

	if (r < 0)
		return r;
	is_parent = (_Atomic bool *)page;
	atomic_store(is_parent, true);
	return 0;
}

/* glibc asks for memory here, which the library does nowhere else; no VMM thread waits for it. */
__attribute__((constructor)) static void watch(void)
{
	watched = parent_page_new();
	if (watched == 0)
		watched = -pthread_atfork(fork_prepare, fork_parent, fork_child);
}

int fork_watched(void)
{
	return watched;
}

/** A thread that forks with the lock held, in the handler of a fault, has it already. */
static void note_fork(void)
{
	bool mine = memory_lock_is_mine();

	if (!mine)
		memory_lock();
	children_note_fork();
	if (!mine)
		memory_unlock();
}

void fork_prepare(void)
{
	if (!PROTECTED(PROTECT_FORK))
		return;
	memory_lock_before_fork();
	note_fork();
}

void fork_parent(void)
{
	if (!PROTECTED(PROTECT_FORK))
		return;
	note_fork(); /* once more: what could be inherited may have changed while the VMM's handlers ran */
	memory_lock_after_fork();
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

static void become_child(void)
{
	bool cut = memory_lock_in_child();

	if (!memory_in_use()) /* a process of its own, which may become a VMM: there is nothing that it has of us */
		return;
	memory_after_fork(cut);
	forget_unforked();
	children_in_child();
	hold_forget();
	template_forget();
	view_forget();
	worker_forget();
	orders_forget();
	descriptors_in_child();
}

void fork_notice(void)
{
	int saved = errno;

	if (watched == 0 && !atomic_load_explicit(is_parent, memory_order_relaxed) && !atomic_exchange(is_parent, true))
		become_child();
	errno = saved;
}

void fork_child(void)
{
	fork_notice();
	memory_lock_after_fork();
}
