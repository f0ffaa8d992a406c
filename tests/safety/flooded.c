/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A daemon that sends doorbells without end, and does not read what it is told: a VMM that wants the library to be
 * silent, since it is about to confine itself, is not kept waiting. What was shared is plain memory by then.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "include/pagefuse.h"
#include "library/visits.h"
#include "library/withdrawal.h"
#include "tests/support/guest.h"
#include "tests/support/puppet.h"

#define PAGES (RING_UP_RECORDS + 2000u) /* more hashes than the ring has room for */

static atomic_bool stop;

static void *flood(void *socket)
{
	struct pollfd writable = { .fd = *(int *)socket, .events = POLLOUT };
	struct wire_header doorbell;

	wire_header_init(&doorbell, WIRE_DOORBELL, sizeof(doorbell));
	while (!stop)
		if (wire_send(writable.fd, &doorbell, sizeof(doorbell), NULL, 0) == -EAGAIN)
			poll(&writable, 1, 10);
	return NULL;
}

PUPPET static long offer(long memory, long pages, long unused)
{
	(void)unused;
	return pagefuse_add_ram(PAGEFUSE_GPA_UNKNOWN, (void *)memory, (size_t)pages * PAGE_BYTES);
}

PUPPET static long fall_silent(long a, long b, long c)
{
	(void)a;
	(void)b;
	(void)c;
	return withdrawal_before_filter(NULL) || !visits_are_over();
}

PUPPET static long wrong_bytes(long memory, long pages, long unused)
{
	(void)unused;
	for (long i = 0; i < pages; i++)
		if (pages_differ((char *)memory + (size_t)i * PAGE_BYTES, (uint64_t)i + 1) >= 0)
			return i + 1;
	return 0;
}

/** @orders: of scans, which fill the ring. */
static void withdraw(unsigned orders)
{
	char *memory = pages_map(PAGES, false);
	struct director *director = director_new();
	struct director_vm *vm;
	pthread_t thread;

	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(memory + i * PAGE_BYTES, i + 1);
	puppet_start();
	test_check(puppet_call(offer, (long)memory, PAGES, 0) == 0, "offering");
	vm = director_accept(director);
	test_needs_moves();
	director_scan(vm, vm->regions[0].page, 64);
	director_share(vm, vm->regions[0].page, 64);
	stop = false;
	test_check(pthread_create(&thread, NULL, flood, &vm->socket) == 0, "no thread");
	for (unsigned i = 0; i < orders; i++)
		director_order(vm, ORDER_SCAN, vm->regions[0].page + i * (PAGES / orders), PAGES / orders, 0);
	poll(NULL, 0, orders > 0 ? 500 : 50);
	test_check(puppet_call(fall_silent, 0, 0, 0) == 0, "it is not silent");
	stop = true;
	pthread_join(thread, NULL);
	test_check(puppet_call(wrong_bytes, (long)memory, PAGES, 0) == 0, "there are wrong bytes");
	puppet_end();
	director_forget(vm);
	director_free(director);
	munmap(memory, PAGES * PAGE_BYTES);
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	withdraw(0);
	withdraw(PAGES / 1000);
	return 0;
}
