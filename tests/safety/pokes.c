/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * VMM threads poke the worker when there is something new to tell the daemon of. Here the worker and two of them go on
 * step by step, so that they meet in every order: each change is told before the worker comes to rest, and it does come
 * to rest.
 *
 *   a VMM thread   offers memory, or takes it back | sends, unless somebody else has
 *   the worker     waits | takes what was sent | looks what there is, tells it | waits
 *
 * They stop at each bar. Time stands still for the worker, so that it looks at nothing just because a second is over.
 * The functions that it waits, reads and sees the time by are taken over by the linker (--wrap).
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "include/pagefuse.h"
#include "library/memory.h"
#include "library/region.h"
#include "library/wake.h"
#include "tests/support/guest.h"

#define POKERS 2
#define WORKER_STEPS 6                /* two rounds */
#define LOOK_LOCKS (REGIONS_MAX + 1u) /* of announce_regions(), up to where it has seen all that have left */

enum place {
	RUNNING,
	RESTS,    /* a VMM thread: before a change */
	UNLOCKED, /* has let the memory lock go; where this is wanted */
	WRITES,   /* is about to send */
	WAITS,    /* the worker: is about to wait */
	READS,    /* is about to take what was sent */
	HAS_READ,
	LOOKED, /* has seen all regions that have left; where this is wanted */
};

struct actor {
	enum place place;
	bool go;
};

struct poker {
	struct actor actor;
	pthread_t thread;
	void (*act)(struct poker *poker);
	char *memory;
	uint32_t pages; /* by which the two are told apart */
	bool offered;
};

static struct guest g;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of what follows */
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static struct actor worker;
static struct poker pokers[POKERS];

static __thread struct actor *self;
static atomic_bool stepping; /* the worker stops; VMM threads of this test always do */
static atomic_bool at_locks; /* stop at UNLOCKED and LOOKED, too */
static atomic_bool ending;
static atomic_int wake_fd = -1;
static unsigned worker_locks; /* since it has read */

int __real_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
bool __real_wake_receive(void);
bool __wrap_wake_receive(void);
void __real_wake_send(void);
void __wrap_wake_send(void);
int __real_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);
int __real_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __real_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);

/* ---- steps ---- */

/** Called by an actor: waits until it may go on. */
static void stop(enum place place)
{
	__real_pthread_mutex_lock(&lock);
	self->place = place;
	pthread_cond_broadcast(&moved);
	while (!self->go)
		pthread_cond_wait(&moved, &lock);
	self->go = false;
	__real_pthread_mutex_unlock(&lock);
}

/** Waits until an actor has stopped. */
static void await(struct actor *actor)
{
	__real_pthread_mutex_lock(&lock);
	while (actor->place == RUNNING)
		pthread_cond_wait(&moved, &lock);
	__real_pthread_mutex_unlock(&lock);
}

static void let_go(struct actor *actor)
{
	__real_pthread_mutex_lock(&lock);
	actor->go = true;
	actor->place = RUNNING;
	pthread_cond_broadcast(&moved);
	__real_pthread_mutex_unlock(&lock);
}

static void step(struct actor *actor)
{
	let_go(actor);
	await(actor);
}

/**
 * The worker's wait has two descriptors: the socket, and that of pokes. Step by step it ends also with neither
 * ready.
 */
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	if (count != 2 || fds[1].fd < 0)
		return __real_poll(fds, count, timeout_ms);
	self = &worker;
	atomic_store(&wake_fd, fds[1].fd);
	if (!atomic_load(&stepping))
		return __real_poll(fds, count, timeout_ms);
	stop(WAITS);
	return __real_poll(fds, count, 0);
}

bool __wrap_wake_receive(void)
{
	bool stops = self == &worker && atomic_load(&stepping);
	bool any;

	if (stops)
		stop(READS);
	any = __real_wake_receive();
	if (stops) {
		worker_locks = 0;
		stop(HAS_READ);
	}
	return any;
}

void __wrap_wake_send(void)
{
	if (self != NULL && self != &worker && atomic_load(&stepping))
		stop(WRITES);
	__real_wake_send();
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
	static struct timespec still;
	int r = __real_clock_gettime(clock, ret);

	if (r < 0 || clock != CLOCK_MONOTONIC || self != &worker || !atomic_load(&stepping))
		return r;
	if (still.tv_sec == 0)
		still = *ret;
	*ret = still;
	return 0;
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
	if (self == &worker && atomic_load(&at_locks) && ++worker_locks == LOOK_LOCKS)
		stop(LOOKED);
	return __real_pthread_mutex_lock(mutex);
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex)
{
	int r = __real_pthread_mutex_unlock(mutex);

	if (self != NULL && self != &worker && atomic_load(&at_locks))
		stop(UNLOCKED);
	return r;
}

/* ---- VMM threads ---- */

/** Offers the thread's memory, or takes it back. */
static void change(struct poker *poker)
{
	size_t length = poker->pages * PAGE_BYTES;
	int r = poker->offered ? pagefuse_remove_ram(poker->memory, length)
			       : pagefuse_add_ram(PAGEFUSE_GPA_UNKNOWN, poker->memory, length);

	test_check(r == 0, "%s %u pages: %s", poker->offered ? "taking back" : "offering", poker->pages, strerror(-r));
	poker->offered = !poker->offered;
}

static void *poke(void *argument)
{
	struct poker *poker = argument;

	self = &poker->actor;
	for (;;) {
		stop(RESTS);
		if (atomic_load(&ending))
			return NULL;
		poker->act(poker);
	}
}

static void start(void)
{
	for (uint32_t i = 0; i < POKERS; i++) {
		pokers[i] = (struct poker){ .act = change, .memory = pages_map(i + 1, false), .pages = i + 1 };
		test_check(pthread_create(&pokers[i].thread, NULL, poke, &pokers[i]) == 0, "no thread");
		await(&pokers[i].actor);
	}
	atomic_store(&stepping, true);
	await(&worker);
}

static void end(void)
{
	atomic_store(&stepping, false);
	let_go(&worker);
	atomic_store(&ending, true);
	for (uint32_t i = 0; i < POKERS; i++) {
		let_go(&pokers[i].actor);
		pthread_join(pokers[i].thread, NULL);
	}
}

/** To the end of its change; or just to the next stop. */
static void finish(struct poker *poker)
{
	while (poker->actor.place != RESTS)
		step(&poker->actor);
}

/* ---- what is to hold ---- */

static bool is_awake(void)
{
	struct pollfd wake = { .fd = atomic_load(&wake_fd), .events = POLLIN };

	return worker.place != WAITS || __real_poll(&wake, 1, 0) > 0;
}

/** It ends the round that it is in, and has one more if it has been poked since it read. */
static void let_rest(const char *order)
{
	unsigned rounds = 0;

	while (is_awake()) {
		step(&worker);
		if (worker.place == WAITS && ++rounds > 2)
			test_damage("order %s: nobody pokes the worker, and it does not rest", order);
	}
}

static bool take_in(const struct director_vm *vm, void *context)
{
	(void)vm;
	(void)context;
	return true;
}

static bool is_told(const struct poker *poker)
{
	bool told = false;

	for (unsigned i = 1; i < g.vm->region_count; i++)
		told |= g.vm->regions[i].pages == poker->pages && !g.vm->regions[i].gone;
	return told;
}

/** The worker rests, so all has been told that ever will be. */
static void check_told(const char *order)
{
	test_check(director_wait_until(g.vm, take_in, NULL) == 0, "the library has hung up");
	for (unsigned i = 0; i < POKERS; i++)
		if (is_told(&pokers[i]) != pokers[i].offered)
			test_damage("order %s: nobody is told that thread %u has %s", order, i + 1,
				    pokers[i].offered ? "offered memory" : "taken memory back");
	if (!pokers[0].offered && !pokers[1].offered)
		g.vm->region_count = 1; /* the director's table need not keep all that have gone */
}

/**
 * Each digit is a step of that VMM thread, from its change on; a w is one of the worker. Then the threads end their
 * changes, and the worker comes to rest.
 */
static void run(const char *order)
{
	bool begun[POKERS] = { false };

	for (const char *at = order; *at != 0; at++) {
		unsigned i = (unsigned)(*at - '1');

		if (*at == 'w') {
			step(&worker);
		} else if (!begun[i] || pokers[i].actor.place != RESTS) {
			begun[i] = true;
			step(&pokers[i].actor);
		}
	}
	for (unsigned i = 0; i < POKERS; i++)
		finish(&pokers[i]);
	let_rest(order);
	check_told(order);
}

/* ---- orders ---- */

/** The mark of a poke is seen, and looked after, before its write comes. */
static void late(void)
{
	run("1www1");
	run("1www1");
}

/** A poke comes between looking at the mark and reading, in either order; the next one has to come through. */
static void between(void)
{
	static const char *orders[] = { "11w22ww", "11ww22w" };

	for (unsigned i = 0; i < 2; i++) {
		run(orders[i]);
		run("11");
		run("22");
	}
}

/** Memory is taken back when the worker has just looked at regions, but not yet at pages. */
static void leaving(void)
{
	run("1");
	step(&pokers[1].actor);
	finish(&pokers[1]);
	atomic_store(&at_locks, true);
	for (unsigned i = 0; i < 3; i++)
		step(&worker);
	test_check(worker.place == LOOKED, "the worker does not look at regions");
	run("11w"); /* after the second step it has let the lock go for the last time */
	atomic_store(&at_locks, false);
	run("2");
}

/** Fills @order from @length on with what is left of each, in every order. Thread 2 does not begin before thread 1. */
static unsigned all_orders(char *order, unsigned length, unsigned first, unsigned second, unsigned rest)
{
	unsigned count = 0;

	order[length] = 0;
	if (first + second + rest == 0) {
		run(order);
		run(order);
		test_progress();
		return 1;
	}
	order[length] = '1';
	if (first > 0)
		count += all_orders(order, length + 1, first - 1, second, rest);
	order[length] = '2';
	if (second > 0 && first < 2)
		count += all_orders(order, length + 1, first, second - 1, rest);
	order[length] = 'w';
	if (rest > 0)
		count += all_orders(order, length + 1, first, second, rest - 1);
	return count;
}

static void all(void)
{
	char order[2 * POKERS + WORKER_STEPS + 1];

	fprintf(stderr, "%u orders\n", all_orders(order, 0, 2, 2, WORKER_STEPS));
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	guest_begin(&g, pages_map(16, false), 16);
	start();
	if (test_wants("--late"))
		late();
	else if (test_wants("--between"))
		between();
	else if (test_wants("--leaving"))
		leaving();
	else
		all();
	end();
	guest_end(&g);
	return 0;
}
