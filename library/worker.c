/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of Operation. The thread starts with the first region and lives as long as the process, unless a system call
 * filter of the VMM's does not permit that (withdrawal.h). It connects to the daemon, reports the regions, and then
 * carries out orders one by one, in the order in which they come. Every piece of work that touches guest memory is done
 * in a short section under the memory lock; posting and waiting are done outside. If the daemon goes away everything
 * stays as it is, and the thread tries to connect again, for ever.
 *
 * It allocates no memory, so that it can never wait for a lock of the VMM's heap.
 */
#include "library/worker.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "library/again.h"
#include "library/announce.h"
#include "library/children.h"
#include "library/descriptors.h"
#include "library/files.h"
#include "library/guest-memory.h"
#include "library/hold.h"
#include "library/images.h"
#include "library/mappings.h"
#include "library/memory.h"
#include "library/nested.h"
#include "library/noted.h"
#include "library/options.h"
#include "library/orders.h"
#include "library/own.h"
#include "library/pagemap.h"
#include "library/proc.h"
#include "library/protections.h"
#include "library/refusals.h"
#include "library/region.h"
#include "library/session.h"
#include "library/sys.h"
#include "library/template.h"
#include "library/view.h"
#include "library/wake.h"

#define RECONNECT_MS 1000
#define HOUSEKEEPING_MS 1000
#define STACK_BYTES (256 * 1024)

static pthread_mutex_t start_lock = PTHREAD_MUTEX_INITIALIZER;
static bool started;
static bool thread_is_here; /* the thread below exists, and has not been joined */
static pthread_t thread;
static struct descriptor *first_socket; /* connected by the thread that registered the first region */
static _Atomic bool connected;
static _Atomic bool poked; /* since the worker looked last */
static _Atomic uint64_t cpu_nsec;

/* Used by the worker only, from here on. */
static struct session session;
static bool hindered;        /* cannot hold pages, or look at all files, for now: looks again before any order */
static bool unseen;          /* the VMM was found to make calls that we do not see */
static uint64_t known_store; /* identity of the store that pages may be mapped to; 0: none */

/* ---- housekeeping ---- */

static void publish_stats(void)
{
	struct ring_stats *stats = &((struct ring_page *)session.ring)->stats;
	struct timespec cpu;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
	cpu_nsec = (uint64_t)cpu.tv_sec * 1000000000 + (uint64_t)cpu.tv_nsec;
	stats->cpu_nsec = cpu_nsec;
	stats->busy_pages = hold_busy_pages;
	stats->kept_private_pages = hold_kept_private_pages;
	stats->scanned_pages = orders_hashed_pages();
	stats->repaired_moves = hold_repaired_moves;
	noted_stats(&stats->noted_pages, &stats->noted_hashed);
	mappings_stats(&stats->mappings, &stats->mappings_limit);
	hold_times(&stats->holds, &stats->hold_p50_usec, &stats->hold_p99_usec, &stats->hold_max_usec);
}

static uint64_t now_msec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t ram_if(bool condition)
{
	return condition ? region_totals.pages * PAGE_BYTES : 0;
}

/** Opens descriptors that had to be closed, that the VMM has closed, or that were not available before. */
static void open_all(bool *ret_no_userfaultfd, bool *ret_no_pagemap)
{
	memory_lock_worker();
	wake_open();
	*ret_no_userfaultfd = hold_open(NULL) < 0;
	*ret_no_pagemap = pagemap_open() < 0;
	memory_unlock();
}

/** Whether any swap is configured. */
static bool swap_is_there(void)
{
	char text[512];
	const char *first_line_end;

	if (proc_read("/proc/swaps", text, sizeof(text)) < 0)
		return false;
	first_line_end = strchr(text, '\n');
	return first_line_end != NULL && first_line_end[1] != 0;
}

/** Looks for reasons why this process cannot share at all for now: then nothing is hashed either. */
static void look_for_hindrances(void)
{
	bool no_userfaultfd, no_pagemap, swap = swap_is_there(), kvm, nested;

	open_all(&no_userfaultfd, &no_pagemap);
	hindered = files_look(&kvm) < 0 || no_userfaultfd || no_pagemap;
	unseen = memory_unseen();
	nested = kvm && nested_is_unsafe();
	hold_allow_paging_out(swap);
	announce_set_refusal(WIRE_REASON_NO_USERFAULTFD, ram_if(no_userfaultfd));
	announce_set_refusal(WIRE_REASON_NO_PAGEMAP, ram_if(no_pagemap));
	announce_set_refusal(WIRE_REASON_NO_SWAP,
			     files_pins_noted() && !swap ? region_totals.diverged * PAGE_BYTES : 0);
	announce_set_refusal(WIRE_REASON_PLAIN_REFERENCES, ram_if(files_may_reference()));
	announce_set_refusal(WIRE_REASON_NESTED, ram_if(nested));
	announce_set_refusal(WIRE_REASON_UNSEEN_CALLS, ram_if(unseen));
	hold_allow_moving(!hindered && !nested);
	orders_suspend(hindered || nested || unseen);
}

/**
 * Takes a poke. @return whether the worker was poked since the last call. The descriptor is always drained, since a
 * write to it may come late and would keep the worker awake for ever. It is drained before the mark is cleared: the
 * other way round a poke could be drained whose mark stays, and that mark keeps the next poke from being sent.
 */
static bool take_poke(void)
{
	bool drained;

	if (!PROTECTED(PROTECT_POKES)) {
		if (!atomic_exchange(&poked, false))
			return false;
		wake_receive();
		return true;
	}
	drained = wake_receive();
	return atomic_exchange(&poked, false) || drained;
}

/** The VMM's address space may be limited by now, and there may be no merge that would check. */
static void give_back_addresses(void)
{
	memory_lock_worker();
	own_look_at_limits();
	view_rest();
	if (own_addresses_are_limited()) {
		view_begin();
		template_begin();
	}
	memory_unlock();
}

static int housekeeping(void)
{
	static uint64_t last_msec;
	int r = 0;

	if (take_poke())
		r = announce_regions(&session);
	if (r == 0 && (hindered || memory_unseen() != unseen || now_msec() - last_msec >= HOUSEKEEPING_MS)) {
		last_msec = now_msec();
		if (!descriptors_are_there())
			return -EBADF; /* open everything again */
		look_for_hindrances();
		give_back_addresses();
		again_look();
		if (unseen)
			memory_leave_store();   /* again, if memory was lacking before */
		r = announce_regions(&session); /* regions that waited for a child to end */
		if (r == 0)
			r = guest_memory_announce(&session);
	}
	if (mappings_count_is_due())
		mappings_count();
	if (r == 0)
		r = announce_changes(&session);
	publish_stats();
	return r;
}

/* ---- the thread ---- */

/** Pages mapped to the store of a daemon that is gone for good: they stay as they are, and are left alone. */
static void make_foreign(void)
{
	struct region *region;

	for (unsigned i = 0; i < REGIONS_MAX; i++) {
		for (uint64_t at = 0, end; (region = region_piece(i, at, &end)) != NULL; at = end) {
			for (uint64_t p = at; p < end; p++) {
				if (!(region->state[p] & PAGE_IN_STORE))
					continue;
				refusals_exclude(region, p, 1, EXCLUDED_FOREIGN, true);
				page_set_state(region, p, region->state[p] | PAGE_DIVERGED);
			}
			region_piece_end();
		}
	}
}

/** Whether a child may still read slots that only the previous connection knows of. @store: its store, or 0. */
static bool must_wait_for_child(uint64_t store)
{
	bool alive;

	memory_lock_worker();
	alive = store != 0 && children_alive();
	memory_unlock();
	return alive;
}

static int open_session(struct descriptor *socket)
{
	uint64_t store_before = known_store;
	struct descriptor *device = NULL;
	int r = session_open(&session, socket, known_store, &device);

	if (r < 0)
		return r;
	memory_lock_worker();
	(void)hold_open(device); /* a failure is reported below */
	memory_unlock();
	if (known_store != 0 && known_store != session.store)
		make_foreign();
	known_store = session.store;
	announce_forget();
	images_tell_anew();
	look_for_hindrances();
	r = announce_regions(&session);
	/*
	 * At READY the daemon drops slots that are not adopted; a child forked meanwhile reads those mapped at the
	 * fork.
	 */
	if (r == 0 && must_wait_for_child(store_before))
		r = -EAGAIN;
	noted_begin(options.mode);
	if (r == 0)
		r = session_post_value(&session, REPORT_READY, 1, 1, 0);
	return r < 0 ? r : guest_memory_announce(&session);
}

/** Drops what orders need: the next session brings it again, if there is ever one. */
static void end_session(void)
{
	noted_end();
	memory_lock_worker();
	template_drop_all();
	view_remove_all();
	memory_unlock();
	session_close(&session);
}

static void serve(void)
{
	int r = 0;

	while (r >= 0 && !session_is_ending()) {
		struct ring_record order;
		int told = 0;

		r = housekeeping();
		if (r >= 0)
			r = session_receive(&session);
		if (r >= 0)
			r = noted_look(&session); /* before any order: pages that were read come first */
		for (int i = 0; i < 64 && r >= 0 && !session_is_ending(); i++) {
			r = session_next_order(&session, &order);
			if (r <= 0)
				break;
			r = orders_do(&session, &order);
			if (r >= 0)
				r = 1;
		}
		if (r >= 0)
			told = announce_refusals(&session); /* also those that the orders have caused */
		if (r >= 0 && told >= 0)
			told = images_tell(&session);
		r = told < 0 ? told : r;
		if (r == 0)
			r = session_wait(&session, noted_patience_msec(HOUSEKEEPING_MS));
	}
}

/** Sends the last reports before the library falls silent for good. */
static void say_last_words(void)
{
	int r = announce_refusals(&session); /* not by the ring, which may be full */

	if (r == 0)
		r = announce_regions(&session);
	if (r == 0)
		r = announce_changes(&session);
	if (r == 0)
		session_publish(&session);
}

/** Waits until it is time to connect again, or to end. The worker is woken only to end, and so only once. */
static void wait_disconnected(void)
{
	struct pollfd wake;

	wake_receive();
	wake = (struct pollfd){ .fd = wake_number(), .events = POLLIN };
	if (!session_is_ending())
		wake_poll(&wake, 1, RECONNECT_MS);
}

static void *worker_main(void *unused)
{
	struct descriptor *socket = first_socket;

	(void)unused;
	descriptors_note_worker();
	prctl(PR_SET_NAME, "pagefuse");
	while (!session_is_ending()) {
		if (socket == NULL && !must_wait_for_child(known_store))
			(void)session_connect(options.socket_path, &socket);
		if (socket != NULL && open_session(socket) >= 0) {
			atomic_store(&connected, true);
			serve();
			if (session_is_ending())
				say_last_words();
		}
		atomic_store(&connected, false);
		end_session();
		socket = NULL;
		wait_disconnected();
	}
	return NULL;
}

static int start_thread(void)
{
	sigset_t all, before;
	pthread_attr_t attributes;
	int r;

	options_complete();
	memory_lock();
	r = wake_open();
	if (r == 0)
		r = children_watch();
	memory_unlock();
	if (r < 0)
		return r;
	(void)session_connect(options.socket_path, &first_socket);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = -pthread_create(&thread, &attributes, worker_main, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	if (r < 0)
		descriptor_close(&first_socket);
	return r;
}

int worker_start(void)
{
	int r = 0;

	pthread_mutex_lock(&start_lock);
	if (!started) {
		r = start_thread();
		started = thread_is_here = r == 0;
		atomic_store(&connected, started && first_socket != NULL);
	}
	pthread_mutex_unlock(&start_lock);
	return r < 0 ? r : atomic_load(&connected);
}

void worker_wake(void)
{
	if (!atomic_exchange(&poked, true))
		wake_send();
}

void worker_end(void)
{
	pthread_mutex_lock(&start_lock);
	session_end_all();
	orders_end();
	memory_lock_ignore_forks();
	wake_send();
	if (thread_is_here)
		pthread_join(thread, NULL);
	thread_is_here = false;
	started = true; /* there will be no worker again */
	pthread_mutex_unlock(&start_lock);
}

bool worker_is_connected(void)
{
	return atomic_load(&connected);
}

void worker_forget(void)
{
	descriptor_close(&session.socket);
	wake_close();
	session_forget();
	started = true; /* there will be no worker here */
	thread_is_here = false;
	pthread_mutex_init(&start_lock, NULL);
	atomic_store(&connected, false);
	pagemap_close();
}

uint64_t worker_cpu_nsec(void)
{
	return atomic_load(&cpu_nsec);
}
