/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The rings: nothing is lost between two threads that sleep and wake each other; hostile cursors are seen. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "protocol/ring.h"

#define RECORDS 300000u

static void *new_memory(void)
{
	void *base = aligned_alloc(PAGE_BYTES, RING_BYTES);

	assert_non_null(base);
	memset(base, 0, RING_BYTES);
	return base;
}

struct duplex {
	void *base;
	int up_bell, down_bell; /* towards the daemon, towards the worker */
};

static void ring_bell(int bell)
{
	assert_int_equal(eventfd_write(bell, 1), 0);
}

static void await_bell(int bell)
{
	struct pollfd poll_bell = { .fd = bell, .events = POLLIN };
	eventfd_t count;

	/* A lost doorbell would be a test that ends here, not one that goes on a little later. */
	assert_int_equal(poll(&poll_bell, 1, 300 * 1000), 1);
	assert_int_equal(eventfd_read(bell, &count), 0);
}

static void *worker(void *argument)
{
	struct duplex *duplex = argument;
	struct ring_end up, down;

	ring_attach_worker(duplex->base, &up, &down);
	for (uint32_t i = 0; i < RECORDS;) {
		int room = ring_room(&up);

		assert_true(room >= 0);
		if (room == 0) {
			ring_set_starved(&up, true);
			if (ring_room(&up) == 0)
				await_bell(duplex->down_bell);
			ring_set_starved(&up, false);
			continue;
		}
		/* Batches of every length, so that the ring is empty at times and full at others. */
		for (uint32_t batch = i % 977 + 1; batch > 0 && room > 0 && i < RECORDS; batch--, room--, i++)
			ring_put(&up, &(struct ring_record){
					      .op = REPORT_HASH, .count = 1, .page = i + 1, .value = ~(uint64_t)i });
		if (ring_publish(&up))
			ring_bell(duplex->up_bell);
	}
	return NULL;
}

static void nothing_is_lost_between_two_threads(void **state)
{
	struct duplex duplex = { .base = new_memory() };
	struct ring_end up, down;
	struct ring_record record;
	pthread_t thread;
	int r;

	(void)state;
	duplex.up_bell = eventfd(0, EFD_CLOEXEC);
	duplex.down_bell = eventfd(0, EFD_CLOEXEC);
	assert_true(duplex.up_bell >= 0 && duplex.down_bell >= 0);
	ring_attach_daemon(duplex.base, &up, &down);
	assert_int_equal(pthread_create(&thread, NULL, worker, &duplex), 0);
	for (uint32_t i = 0; i < RECORDS;) {
		while ((r = ring_get(&up, &record)) == 1) {
			assert_int_equal(record.page, i + 1);
			assert_int_equal(record.value, ~(uint64_t)i);
			assert_int_equal(ring_check_report(&record), 0);
			i++;
			if (i % 1009 == 0 && ring_release(&up))
				ring_bell(duplex.down_bell);
		}
		assert_int_equal(r, 0);
		if (ring_release(&up))
			ring_bell(duplex.down_bell);
		ring_set_waiting(&up, true);
		if (i < RECORDS && ring_get(&up, &record) == 0)
			await_bell(duplex.up_bell);
		else if (i < RECORDS)
			up.mine--; /* look at it again above */
		ring_set_waiting(&up, false);
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
	close(duplex.up_bell);
	close(duplex.down_bell);
	free(duplex.base);
}

static void a_full_ring_has_no_room(void **state)
{
	void *base = new_memory();
	struct ring_end up, down, up_daemon, down_daemon;
	struct ring_record record;

	(void)state;
	ring_attach_worker(base, &up, &down);
	ring_attach_daemon(base, &up_daemon, &down_daemon);
	assert_int_equal(ring_room(&up), RING_UP_RECORDS);
	assert_int_equal(ring_room(&down_daemon), RING_DOWN_RECORDS);
	for (uint32_t i = 0; i < RING_UP_RECORDS; i++)
		ring_put(&up, &(struct ring_record){ .op = REPORT_HASH, .count = 1, .page = i + 1 });
	assert_int_equal(ring_get(&up_daemon, &record), 0); /* not published yet */
	(void)ring_publish(&up);
	assert_int_equal(ring_room(&up), 0);
	for (uint32_t i = 0; i < RING_UP_RECORDS; i++) {
		assert_int_equal(ring_get(&up_daemon, &record), 1);
		assert_int_equal(record.page, i + 1);
	}
	assert_int_equal(ring_get(&up_daemon, &record), 0);
	assert_int_equal(ring_room(&up), 0); /* not released yet */
	(void)ring_release(&up_daemon);
	assert_int_equal(ring_room(&up), RING_UP_RECORDS);
	free(base);
}

static void impossible_cursors_are_seen(void **state)
{
	static const uint32_t wrong[] = { RING_UP_RECORDS + 1, UINT32_MAX, UINT32_C(1) << 31 };
	void *base = new_memory();
	struct ring_end up, down;
	struct ring_record record;

	(void)state;
	ring_attach_daemon(base, &up, &down);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		atomic_store(&up.cursors->tail, wrong[i]);
		assert_int_equal(ring_get(&up, &record), -EPROTO);
	}
	for (uint32_t ahead = 1; ahead != 0; ahead <<= 1) { /* more consumed than was ever produced */
		atomic_store(&down.cursors->head, ahead);
		assert_int_equal(ring_room(&down), -EPROTO);
	}
	/* What the peer writes over our own cursor moves nothing. */
	atomic_store(&up.cursors->tail, 1);
	atomic_store(&up.cursors->head, 77);
	assert_int_equal(ring_get(&up, &record), 1);
	assert_int_equal(ring_get(&up, &record), 0);
	free(base);
}

static void records_are_checked(void **state)
{
	static const struct {
		struct ring_record record;
		int report, order;
	} cases[] = {
		{ { .op = 0, .count = 1, .page = 1 }, -EPROTO, -EPROTO },
		{ { .op = ORDER_END, .count = 1, .page = 1 }, -EPROTO, -EPROTO },
		{ { .op = REPORT_END, .count = 1, .page = 1 }, -EPROTO, -EPROTO },
		{ { .op = ORDER_MERGE, .count = RING_RUN_PAGES_MAX, .page = 1 }, -EPROTO, 0 },
		{ { .op = ORDER_MERGE, .count = RING_RUN_PAGES_MAX + 1, .page = 1 }, -EPROTO, -EPROTO },
		{ { .op = ORDER_MERGE, .count = 0, .page = 1 }, -EPROTO, -EPROTO },
		{ { .op = ORDER_MERGE, .count = 1, .page = 0 }, -EPROTO, -EPROTO },
		{ { .op = ORDER_MERGE, .count = 1, .page = 1, .flags = RING_PRIVATE_COPY }, -EPROTO, -EPROTO },
		{ { .op = ORDER_MERGE, .count = 1, .page = UINT32_MAX }, -EPROTO, 0 },
		{ { .op = ORDER_MERGE, .count = 2, .page = UINT32_MAX }, -EPROTO, -EPROTO },
		{ { .op = ORDER_SCAN, .count = RING_SCAN_PAGES_MAX, .page = 1 }, -EPROTO, 0 },
		{ { .op = ORDER_SCAN, .count = RING_SCAN_PAGES_MAX + 1, .page = 1 }, -EPROTO, -EPROTO },
		{ { .op = ORDER_FETCH, .count = 2, .page = 1 }, -EPROTO, -EPROTO },
		{ { .op = REPORT_READY }, 0, -EPROTO },
		{ { .op = REPORT_MERGED, .count = RING_RUN_PAGES_MAX, .page = 1 }, 0, -EPROTO },
		{ { .op = REPORT_MERGED, .count = RING_RUN_PAGES_MAX + 1, .page = 1 }, -EPROTO, -EPROTO },
		{ { .op = REPORT_HASH, .count = 1, .page = 1, .flags = RING_PRIVATE_COPY }, 0, -EPROTO },
		{ { .op = REPORT_HASH, .count = 1, .page = 1, .flags = RING_INSIDE_HUGE }, 0, -EPROTO },
		{ { .op = REPORT_HASH, .count = 1, .page = 1, .flags = RING_MAY_SPLIT }, -EPROTO, -EPROTO },
		{ { .op = REPORT_HASH, .count = 1, .page = 1, .flags = RING_NOTED | RING_PRIVATE_COPY }, 0, -EPROTO },
		{ { .op = REPORT_ZERO, .count = 64, .page = 1, .flags = RING_NOTED }, 0, -EPROTO },
		{ { .op = REPORT_SAME, .count = 64, .page = 1, .flags = RING_PRIVATE_COPY }, 0, -EPROTO },
		{ { .op = REPORT_SAME, .count = 64, .page = 1, .flags = RING_INSIDE_HUGE }, 0, -EPROTO },
		{ { .op = REPORT_SAME, .count = 65, .page = 1 }, -EPROTO, -EPROTO },
		{ { .op = REPORT_SAME, .count = 1, .page = 1, .flags = RING_NOTED }, -EPROTO, -EPROTO },
		{ { .op = REPORT_DIVERGED, .count = 1, .page = 1, .flags = RING_NOTED }, -EPROTO, -EPROTO },
		{ { .op = REPORT_BUSY, .count = 1, .page = 1, .flags = RING_NOTED }, -EPROTO, -EPROTO },
		{ { .op = ORDER_SCAN, .count = 1, .page = 1, .flags = RING_NOTED }, -EPROTO, -EPROTO },
		{ { .op = ORDER_NOTES, .count = 1, .page = 1, .value = 1 }, -EPROTO, 0 },
		{ { .op = ORDER_NOTES, .count = 1, .page = 1, .value = 2 }, -EPROTO, -EPROTO },
		{ { .op = ORDER_NOTES, .count = 2, .page = 1 }, -EPROTO, -EPROTO },
		{ { .op = ORDER_WHOLE, .flags = RING_COLLAPSE, .count = RING_BLOCK_PAGES, .page = 1 }, -EPROTO, 0 },
		{ { .op = ORDER_WHOLE, .flags = RING_MAY_SPLIT, .count = 1, .page = 1 }, -EPROTO, -EPROTO },
		{ { .op = ORDER_WHOLE, .count = 1, .page = 1, .value = RING_BLOCK_PAGES }, -EPROTO, 0 },
		{ { .op = ORDER_WHOLE, .count = 1, .page = 1, .value = RING_BLOCK_PAGES + 1 }, -EPROTO, -EPROTO },
		{ { .op = ORDER_WHOLE, .count = RING_BLOCK_PAGES + 1, .page = 1 }, -EPROTO, -EPROTO },
		{ { .op = REPORT_WHOLE, .count = RING_BLOCK_PAGES, .page = 1, .value = WHOLE_IS }, 0, -EPROTO },
		{ { .op = REPORT_WHOLE, .count = RING_BLOCK_PAGES, .page = 1, .value = WHOLE_END }, -EPROTO, -EPROTO },
		{ { .op = REPORT_WHOLE, .count = RING_BLOCK_PAGES + 1, .page = 1 }, -EPROTO, -EPROTO },
		{ { .op = REPORT_BROKEN, .count = 1, .page = 1 }, 0, -EPROTO },
		{ { .op = REPORT_BROKEN, .count = 2, .page = 1 }, -EPROTO, -EPROTO },
		{ { .op = ORDER_ZERO, .count = 1, .page = 1, .flags = RING_MAY_SPLIT }, -EPROTO, 0 },
		{ { .op = ORDER_FETCH, .count = 1, .page = 1, .flags = RING_MAY_SPLIT }, -EPROTO, -EPROTO },
		{ { .op = REPORT_HASH, .count = 2, .page = 1 }, -EPROTO, -EPROTO },
		{ { .op = REPORT_MERGED, .count = 1, .page = 1, .flags = RING_PRIVATE_COPY }, -EPROTO, -EPROTO },
		{ { .op = ORDER_SCAN, .count = 1, .page = 1, .flags = RING_PRIVATE_COPY }, -EPROTO, -EPROTO },
		{ { .op = REPORT_FETCHED, .count = 1, .page = 1, .value = RING_STAGING_PAGES - 1 }, 0, -EPROTO },
		{ { .op = REPORT_FETCHED, .count = 1, .page = 1, .value = RING_STAGING_PAGES }, -EPROTO, -EPROTO },
		{ { .op = REPORT_FETCHED, .count = 1, .page = 1, .value = UINT64_MAX }, -EPROTO, -EPROTO },
		{ { .op = REPORT_REGION_ADD, .count = 1, .page = 1, .value = UINT32_MAX - 1 }, 0, -EPROTO },
		{ { .op = REPORT_REGION_ADD, .count = 1, .page = 2, .value = UINT32_MAX - 1 }, -EPROTO, -EPROTO },
		{ { .op = REPORT_REGION_ADD, .count = 1, .page = 1, .value = UINT64_MAX }, -EPROTO, -EPROTO },
		{ { .op = REPORT_REGION_ADD, .count = 1, .page = 1, .value = 0 }, -EPROTO, -EPROTO },
		{ { .op = REPORT_REGION_ADD, .count = RING_BLOCK_PAGES, .page = 1, .value = 1 }, 0, -EPROTO },
		{ { .op = REPORT_REGION_ADD, .count = RING_BLOCK_PAGES + 1, .page = 1, .value = 1 }, -EPROTO, -EPROTO },
		{ { .op = REPORT_REGION_ADD, .count = 0, .page = 1, .value = 1 }, -EPROTO, -EPROTO },
		{ { .op = REPORT_SCANNED, .count = 1, .page = 1, .value = UINT64_C(1) << 32 }, -EPROTO, -EPROTO },
		{ { .op = REPORT_SOURCE, .count = 64, .page = 1, .value = RING_IMAGES_MAX }, 0, -EPROTO },
		{ { .op = REPORT_SOURCE, .count = 1, .page = 1, .value = RING_IMAGES_MAX + 1 }, -EPROTO, -EPROTO },
		{ { .op = REPORT_SOURCE, .count = 1, .page = 1, .value = 0 }, -EPROTO, -EPROTO },
		{ { .op = REPORT_SOURCE, .count = 65, .page = 1, .value = 1 }, -EPROTO, -EPROTO },
		{ { .op = REPORT_SOURCE, .count = 1, .page = 1, .value = 1, .flags = RING_NOTED }, -EPROTO, -EPROTO },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_equal(ring_check_report(&cases[i].record), cases[i].report);
		assert_int_equal(ring_check_order(&cases[i].record), cases[i].order);
	}
}

static void staging_stays_inside(void **state)
{
	char *base = new_memory();

	(void)state;
	assert_ptr_equal(ring_staging(base, 0), base + RING_STAGING_OFFSET);
	assert_ptr_equal((char *)ring_staging(base, RING_STAGING_PAGES - 1) + PAGE_BYTES, base + RING_BYTES);
	assert_ptr_equal(ring_staging(base, RING_STAGING_PAGES), ring_staging(base, 0));
	free(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_lost_between_two_threads),
		cmocka_unit_test(a_full_ring_has_no_room),
		cmocka_unit_test(impossible_cursors_are_seen),
		cmocka_unit_test(records_are_checked),
		cmocka_unit_test(staging_stays_inside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
