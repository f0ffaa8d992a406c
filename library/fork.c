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
#include "library/visits.h"
#include "library/whole.h"
#include "library/withdrawal.h"
#include "library/worker.h"

static int registered = -ENOSYS;
static _Atomic int page_error = -ENOSYS;
static _Atomic(_Atomic bool *) parent_page; /* wiped in a child */

/* glibc allocates memory here, which the library does nowhere else; no VMM thread waits for it. */
__attribute__((constructor)) static void register_handlers(void)
{
	registered = -pthread_atfork(fork_prepare, fork_parent, fork_child);
}

static int parent_page_new(void)
{
	long page = sys_mmap(0, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int r = sys_is_error(page) ? (int)page : sys_madvise((uint64_t)page, PAGE_BYTES, MADV_WIPEONFORK);
	_Atomic bool *is_parent = (_Atomic bool *)page, *none = NULL;

	if (r < 0)
		return r;
	atomic_store(is_parent, true);
	if (!atomic_compare_exchange_strong(&parent_page, &none, is_parent))
		sys_munmap((uint64_t)page, PAGE_BYTES); /* another thread was faster */
	return 0;
}

void fork_watch(void)
{
	page_error = atomic_load(&parent_page) != NULL ? 0 : parent_page_new();
}

int fork_watched(void)
{
	return registered < 0 ? registered : page_error;
}

/** A thread that forks in the handler of a fault may hold the lock already. */
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
	if (!PROTECTED(PROTECT_FORK) || !visit_begin())
		return;
	memory_lock_before_fork();
	note_fork();
	visit_end();
}

void fork_parent(void)
{
	if (!PROTECTED(PROTECT_FORK) || !visit_begin())
		return;
	note_fork(); /* once more: the mappings that a child inherits may have changed while the VMM's handlers ran */
	memory_lock_after_fork();
	visit_end();
}

/** At addresses that were not inherited, the child may map other memory sooner or later. */
static void forget_unforked(void)
{
	for (unsigned i = 0; i < REGIONS_MAX; i++) {
		struct region *region = region_at(i), gone;

		if (region == NULL || !region->dont_fork)
			continue;
		region_free(region, &gone);
		if (!visits_are_over())
			region_free_tables(&gone);
	}
}

static void become_child(void)
{
	bool cut = memory_lock_in_child();

	visits_in_child();
	memory_forget();
	withdrawal_forget();
	if (!memory_in_use()) /* a process of its own, which may become a VMM: it has inherited nothing of ours */
		return;
	memory_after_fork(cut);
	forget_unforked();
	children_in_child();
	hold_forget();
	template_forget();
	view_forget();
	worker_forget();
	orders_forget();
	whole_forget();
	descriptors_in_child();
}

void fork_notice(void)
{
	_Atomic bool *is_parent = atomic_load_explicit(&parent_page, memory_order_acquire);
	int saved = errno;

	if (is_parent != NULL && !atomic_load_explicit(is_parent, memory_order_relaxed) &&
	    !atomic_exchange(is_parent, true))
		become_child();
	errno = saved;
}

void fork_child(void)
{
	fork_notice();
	if (!visit_begin())
		return;
	memory_lock_after_fork();
	visit_end();
}
