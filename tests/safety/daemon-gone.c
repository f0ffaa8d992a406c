/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The daemon goes away in the middle of anything, comes back with the same store or without it, or talks nonsense: the
 * process runs on with the right bytes, connects again, tells truly what it shares, and shares on.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/guest.h"
#include "tests/support/writers.h"

#define PAGES 512u

static uint64_t random_state;

static uint64_t below(uint64_t limit)
{
	return test_random(&random_state) % limit;
}

/** Posts orders and does not wait for what comes of them. */
static void post_orders(const struct guest *g)
{
	static const enum ring_order ops[] = { ORDER_SCAN, ORDER_FETCH, ORDER_MERGE,
					       ORDER_ZERO, ORDER_UNSHARE, ORDER_AUDIT };

	for (uint32_t i = 0; i < PAGES; i += 16) {
		enum ring_order op = ops[below(sizeof(ops) / sizeof(*ops))];
		uint32_t slot = director_take_slots(g->director, 16), step = op == ORDER_FETCH ? 1 : 16;

		for (uint32_t k = 0; k < 16; k += step)
			director_order(g->vm, op, g->page + i + k, step, slot + k);
	}
}

/** The worker has found out, connects again and adopts. Only then are the references of before dropped. */
static void meet_again(struct guest *g)
{
	struct director_vm *before = g->vm;

	g->vm = director_accept(g->director);
	test_check(g->vm->region_count == 1 && g->vm->regions[0].pages == PAGES, "the worker has told of %u regions",
		   g->vm->region_count);
	g->page = g->vm->regions[0].page;
	director_forget(before);
}

/** What the worker says it shares is what the kernel says. */
static void check_adopted(const struct guest *g)
{
	uint32_t shared = director_count(g->vm, g->page, PAGES, DIRECTOR_SHARED), mapped = 0;

	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_is_file(guest_at(g, i)))
			mapped += g->vm->pages[g->page + i].state != DIRECTOR_SHARED;
	test_check(mapped == 0, "%u pages still read the store, but only %u others have been adopted", mapped, shared);
}

static void test_same_store(struct guest *g)
{
	for (unsigned i = below(16); i > 0; i--)
		guest_churn(g, &random_state);
	post_orders(g);
	if (below(2))
		director_wait(g->vm);
	director_disconnect(g->vm);
	meet_again(g);
	check_adopted(g);
}

/** A new daemon that knows nothing: what is mapped stays as it is. */
static void test_other_store(struct guest *g)
{
	guest_share(g, 0, PAGES / 2);
	director_disconnect(g->vm);
	director_free(g->director);
	g->director = director_new();
	g->vm = director_accept(g->director);
	g->page = g->vm->regions[0].page;
	test_check(director_count(g->vm, g->page, PAGES, DIRECTOR_SHARED) == 0,
		   "pages of a store that is gone are adopted");
	for (unsigned i = 0; i < 8; i++)
		guest_churn(g, &random_state);
}

/* ---- nonsense ---- */

static void random_bytes(void *to, size_t length)
{
	for (size_t i = 0; i < length; i++)
		((uint8_t *)to)[i] = (uint8_t)below(256);
}

/** Records that no daemon would post: unknown orders, pages and slots that do not exist, runs too long or empty. */
static void bad_records(struct director_vm *vm)
{
	for (unsigned i = 0; i < 256; i++) {
		struct ring_record record;

		random_bytes(&record, sizeof(record));
		if (i < 200) { /* well formed, but beside the point: the worker must not hang up because of these */
			record.op = (uint8_t)(ORDER_SCAN + below(ORDER_END - ORDER_SCAN));
			record.flags = 0;
			record.count = record.op == ORDER_FETCH ? 1 : (uint16_t)(1 + below(RING_RUN_PAGES_MAX));
			record.page = below(2) ? PAGES + 1 + (uint32_t)below(1 << 20) : 1 + (uint32_t)below(PAGES + 64);
			record.slot = (uint32_t)below(UINT32_MAX);
			if (record.op == ORDER_UNSHARE)
				record.page = UINT32_MAX - (uint32_t)below(RING_RUN_PAGES_MAX) - RING_RUN_PAGES_MAX;
		}
		director_post(vm, &record);
	}
}

static void bad_cursors(struct director_vm *vm)
{
	struct ring_page *ring = vm->base;

	atomic_store(&ring->down.tail, (uint32_t)below(UINT32_MAX));
	atomic_store(&ring->down.head, (uint32_t)below(UINT32_MAX));
	atomic_store(&ring->up.head, (uint32_t)below(UINT32_MAX));
	atomic_store(&ring->up.tail, (uint32_t)below(UINT32_MAX));
}

/** The whole ring is noise. */
static void bad_ring(struct director_vm *vm)
{
	random_bytes(vm->base, PAGE_BYTES);
	random_bytes((char *)vm->base + RING_DOWN_OFFSET, RING_DOWN_RECORDS * sizeof(struct ring_record));
}

static void send_segment(struct director_vm *vm, uint32_t segment, uint32_t slots, int fd)
{
	struct wire_segment message = { .segment = segment, .slots = slots };

	wire_header_init(&message.header, WIRE_SEGMENT, sizeof(message));
	wire_send(vm->socket, &message, sizeof(message), &fd, fd >= 0 ? 1 : 0);
}

/** Segments with impossible numbers, shorter than they say, no files at all, or the one of a number that is in use. */
static void bad_segments(struct director_vm *vm)
{
	int small = memfd_create("small", MFD_CLOEXEC), ends[2];

	test_check(small >= 0 && ftruncate(small, PAGE_BYTES) == 0 && pipe2(ends, O_CLOEXEC) == 0, "no descriptors");
	send_segment(vm, 77, 16, small);
	send_segment(vm, 78, 16, ends[0]);
	send_segment(vm, UINT32_MAX, 1, small);
	send_segment(vm, 16384, 1, small);
	send_segment(vm, 0, 1, small);
	director_post(vm, &(struct ring_record){ .op = ORDER_MERGE, .count = 16, .page = 1, .slot = 77 * 65536 });
	director_post(vm, &(struct ring_record){ .op = ORDER_MERGE, .count = 1, .page = 1, .slot = 78 * 65536 });
	send_segment(vm, 79, 1, -1);
	close(small);
	close(ends[0]);
	close(ends[1]);
}

static void bad_messages(struct director_vm *vm)
{
	char message[512];

	for (unsigned i = 0; i < 16; i++) {
		size_t length = 1 + below(sizeof(message));

		random_bytes(message, length);
		if (below(2))
			wire_header_init((struct wire_header *)message, (enum wire_type)below(WIRE_TYPE_END + 2),
					 length);
		if (send(vm->socket, message, length, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			return; /* it has hung up, and may */
	}
}

static void test_nonsense(struct guest *g, void (*talk)(struct director_vm *vm))
{
	guest_share(g, 0, PAGES / 4);
	talk(g->vm);
	/* Whether the worker hangs up by itself is its own choice; after this it has no other. */
	shutdown(g->vm->socket, SHUT_WR);
	meet_again(g);
	guest_share(g, 0, PAGES / 4);
}

int main(int argc, char **argv)
{
	static void (*const talks[])(struct director_vm *) = { bad_records, bad_cursors, bad_ring, bad_segments,
							       bad_messages };
	struct writers_plan plan = { .pages = PAGES, .threads = 2 };
	struct writers *writers;
	struct guest g;

	test_begin(argc, argv);
	random_state = test_seed(1);
	plan.memory = pages_map(PAGES, false);
	writers = writers_new(&plan);
	guest_begin(&g, plan.memory, PAGES);
	writers_start(writers);
	for (size_t i = 0; test_wants("--nonsense") && i < sizeof(talks) / sizeof(*talks); i++)
		test_nonsense(&g, talks[i]);
	while (test_wants("--same-store") && test_running())
		test_same_store(&g);
	while (test_wants("--other-store") && test_running())
		test_other_store(&g);
	writers_stop(writers);
	guest_report(&g);
	guest_end(&g);
	writers_free(writers);
	return 0;
}
