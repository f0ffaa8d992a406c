/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/lock.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>

#include "library/fork.h"
#include "library/protections.h"
#include "library/sys.h"

#define YIELDS 8
#define SIGNAL_BIT(number) (UINT64_C(1) << ((number)-1))
/* In the kernel's format, including the signals that libc reserves. */
#define ALL_BUT_FAULTS \
	(~(SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGBUS) | SIGNAL_BIT(SIGILL) | SIGNAL_BIT(SIGFPE) | SIGNAL_BIT(SIGTRAP) | \
	   SIGNAL_BIT(SIGSYS)))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t forks_over = PTHREAD_COND_INITIALIZER;
static _Atomic unsigned vmm_threads_waiting;

/* Guarded by the lock. */
static bool held;
static unsigned forks;      /* under way, in all threads */
static bool forks_ignored;  /* by the worker */
static bool owner_has_mask; /* the owner is a VMM thread, whose signals have to be unblocked */
static uint64_t mask_of_owner;

static __thread volatile bool mine;
static __thread bool is_worker;
static __thread unsigned own_forks; /* of this thread: more than one if a handler forks */

static void set_signals(int how, uint64_t mask, uint64_t *ret_before)
{
	sys_raw(SYS_rt_sigprocmask, how, (long)&mask, (long)ret_before, sizeof(mask), 0, 0);
}

#ifdef PAGEFUSE_TEST_CONTROLS
_Atomic uint64_t memory_locks;
#define COUNT_LOCK() atomic_fetch_add_explicit(&memory_locks, 1, memory_order_relaxed)
#else
#define COUNT_LOCK() ((void)0)
#endif

static void taken(bool has_mask, uint64_t mask)
{
	COUNT_LOCK();
	mine = held = true;
	owner_has_mask = has_mask;
	mask_of_owner = mask;
}

void memory_lock(void)
{
	bool mask = PROTECTED(PROTECT_SIGNALS);
	uint64_t before = 0;

	fork_notice();
	if (mask)
		set_signals(SIG_BLOCK, ALL_BUT_FAULTS, &before);
	atomic_fetch_add_explicit(&vmm_threads_waiting, 1, memory_order_relaxed);
	pthread_mutex_lock(&lock);
	atomic_fetch_sub_explicit(&vmm_threads_waiting, 1, memory_order_relaxed);
	taken(mask, before);
}

bool memory_trylock(void)
{
	bool mask = PROTECTED(PROTECT_SIGNALS);
	uint64_t before = 0;

	if (mine)
		return false;
	fork_notice();
	if (mask)
		set_signals(SIG_BLOCK, ALL_BUT_FAULTS, &before);
	if (pthread_mutex_trylock(&lock) == 0) {
		taken(mask, before);
		return true;
	}
	if (mask)
		set_signals(SIG_SETMASK, before, NULL);
	return false;
}

void memory_lock_worker(void)
{
	/*
	 * A mutex goes to the thread that is running; without this the worker would take it again and again. But an
	 * endless stream of VMM threads must not keep the worker off for ever either.
	 */
	for (int i = 0; i < YIELDS && atomic_load_explicit(&vmm_threads_waiting, memory_order_relaxed) != 0; i++)
		sched_yield();
	is_worker = true;
	pthread_mutex_lock(&lock);
	while (forks != 0 && !forks_ignored)
		pthread_cond_wait(&forks_over, &lock);
	taken(false, 0);
}

void memory_lock_any(void)
{
	if (is_worker)
		memory_lock_worker();
	else
		memory_lock();
}

void memory_unlock(void)
{
	bool has_mask = owner_has_mask;
	uint64_t mask = mask_of_owner;

	mine = held = false;
	pthread_mutex_unlock(&lock);
	if (has_mask)
		set_signals(SIG_SETMASK, mask, NULL);
}

bool memory_lock_is_mine(void)
{
	return mine;
}

void memory_lock_before_fork(void)
{
	bool had = mine;

	if (!had)
		memory_lock();
	forks++;
	own_forks++;
	if (!had && PROTECTED(PROTECT_OPEN_FORK))
		memory_unlock();
}

void memory_lock_after_fork(void)
{
	bool had = mine;

	if (own_forks == 0) /* the fork had begun before the handlers were registered */
		return;
	own_forks--;
	if (!had)
		memory_lock();
	if (--forks == 0)
		pthread_cond_signal(&forks_over);
	if (PROTECTED(PROTECT_OPEN_FORK) ? !had : own_forks == 0)
		memory_unlock();
}

bool memory_lock_has_fork(void)
{
	return forks != 0;
}

void memory_lock_ignore_forks(void)
{
	memory_lock();
	forks_ignored = true;
	pthread_cond_signal(&forks_over);
	memory_unlock();
}

bool memory_lock_in_child(void)
{
	bool other = held && !mine;

	pthread_mutex_init(&lock, NULL);
	pthread_cond_init(&forks_over, NULL);
	atomic_store(&vmm_threads_waiting, 0);
	is_worker = false;
	forks = own_forks;
	held = mine;
	if (mine)
		pthread_mutex_lock(&lock);
	return other;
}
