/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table, the queue and the global page numbers, each by itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/queue.h"
#include "engine/space.h"
#include "engine/table.h"

/* ---- the table ---- */

#define KEYS 60000u

static uint64_t hash_of(uint32_t i)
{
	uint64_t x = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	return x ^ (x >> 27);
}

/* References from 1000000 on are stale. */
static bool keep(void *context, struct table_key key, uint32_t ref)
{
	(void)context;
	(void)key;
	return ref < 1000000;
}

static void what_is_put_is_found(void **state)
{
	struct table table;

	(void)state;
	table_init(&table, keep, NULL);
	assert_int_equal(table_get(&table, table_key(&table, 7)), 0);
	for (uint32_t i = 0; i < KEYS; i++)
		assert_int_equal(table_put(&table, table_key(&table, hash_of(i)), i + 1), 0);
	assert_null(table_check(&table));
	assert_int_equal(table_count(&table), KEYS);
	for (uint32_t i = 0; i < KEYS; i++)
		assert_int_equal(table_get(&table, table_key(&table, hash_of(i))), i + 1);
	for (uint32_t i = KEYS; i < 2 * KEYS; i++)
		assert_int_equal(table_get(&table, table_key(&table, hash_of(i))), 0);
	table_done(&table);
}

static void the_same_key_is_replaced(void **state)
{
	struct table table;

	(void)state;
	table_init(&table, keep, NULL);
	table_put(&table, table_key(&table, hash_of(1)), 5);
	table_put(&table, table_key(&table, hash_of(1)), 6);
	assert_int_equal(table_get(&table, table_key(&table, hash_of(1))), 6);
	assert_int_equal(table_count(&table), 1);
	table_done(&table);
}

static void only_what_is_named_is_removed(void **state)
{
	struct table table;

	(void)state;
	table_init(&table, keep, NULL);
	for (uint32_t i = 0; i < KEYS; i++)
		table_put(&table, table_key(&table, hash_of(i)), i + 1);
	for (uint32_t i = 0; i < KEYS; i += 3)
		table_remove(&table, table_key(&table, hash_of(i)), i + 1);
	for (uint32_t i = 1; i < KEYS; i += 3)
		table_remove(&table, table_key(&table, hash_of(i)), i + 2); /* another's reference */
	assert_null(table_check(&table));
	for (uint32_t i = 0; i < KEYS; i++)
		assert_int_equal(table_get(&table, table_key(&table, hash_of(i))), i % 3 == 0 ? 0 : i + 1);
	table_done(&table);
}

static void an_entry_costs_less_than_twelve_bytes(void **state)
{
	struct table table;

	(void)state;
	table_init(&table, keep, NULL);
	for (uint32_t i = 0; i < 300000; i++) {
		table_put(&table, table_key(&table, hash_of(i)), i + 1);
		if (i > 100000 && i % 1000 == 0)
			assert_true(table_bytes(&table) < UINT64_C(12) * i);
	}
	table_done(&table);
}

static void stale_entries_make_room(void **state)
{
	struct table table;
	uint64_t before;

	(void)state;
	table_init(&table, keep, NULL);
	for (uint32_t i = 0; i < KEYS; i++)
		table_put(&table, table_key(&table, hash_of(i)), i + 1);
	before = table_bytes(&table);
	for (uint32_t i = KEYS; i < 20 * KEYS; i++)
		table_put(&table, table_key(&table, hash_of(i)), 1000000 + i);
	assert_true(table_bytes(&table) <= 2 * before);
	assert_null(table_check(&table));
	for (uint32_t i = 0; i < TABLE_PARTITIONS; i++)
		table_sweep(&table, i);
	assert_null(table_check(&table));
	assert_int_equal(table_count(&table), KEYS);
	for (uint32_t i = 0; i < KEYS; i++)
		assert_int_equal(table_get(&table, table_key(&table, hash_of(i))), i + 1);
	table_done(&table);
}

/* Tags that nobody could choose in practice: all homes at one end. */
static void crowded_tags_are_found(void **state)
{
	struct table table;

	(void)state;
	table_init(&table, keep, NULL);
	for (uint32_t i = 0; i < 200; i++) {
		struct table_key low = { i, 1 }, high = { UINT32_MAX - i, 1 };

		assert_int_equal(table_put(&table, low, i + 1), 0);
		assert_int_equal(table_put(&table, high, i + 1001), 0);
		assert_null(table_check(&table));
	}
	for (uint32_t i = 0; i < 200; i++) {
		assert_int_equal(table_get(&table, (struct table_key){ i, 1 }), i + 1);
		assert_int_equal(table_get(&table, (struct table_key){ UINT32_MAX - i, 1 }), i + 1001);
		table_remove(&table, (struct table_key){ i, 1 }, i + 1);
		assert_null(table_check(&table));
	}
	assert_int_equal(table_count(&table), 200);
	table_done(&table);
}

struct visits {
	uint8_t seen[2 * KEYS];
	uint32_t stop; /* the next so many are not taken */
};

static bool visit(void *context, struct table_key key, uint32_t ref)
{
	struct visits *visits = context;

	(void)key;
	if (visits->stop > 0) {
		visits->stop--;
		return false;
	}
	visits->seen[ref - 1]++;
	return true;
}

/* In pieces, and the table grows and shrinks in between: what is there all the time is visited once. */
static void all_entries_are_visited_once(void **state)
{
	static struct visits visits;
	struct table_key at = { 0 };
	struct table table;
	uint32_t more = KEYS, most = 1, pieces = 0;

	(void)state;
	table_init(&table, keep, NULL);
	assert_true(table_visit(&table, &at, &most, visit, &visits));
	assert_int_equal(most, 1);
	for (uint32_t i = 0; i < KEYS; i++)
		assert_int_equal(table_put(&table, table_key(&table, hash_of(i)), i + 1), 0);
	at = (struct table_key){ 0 };
	while (!table_visit(&table, &at, &most, visit, &visits)) {
		for (uint32_t i = 0; i < 50 && more < 2 * KEYS; i++, more++)
			table_put(&table, table_key(&table, hash_of(more)), more + 1);
		visits.stop = pieces++ % 7 == 0;
		most = 1 + pieces % 200;
	}
	assert_true(pieces > 500);
	for (uint32_t i = 0; i < KEYS; i++)
		assert_int_equal(visits.seen[i], 1);
	for (uint32_t i = KEYS; i < 2 * KEYS; i++)
		assert_in_range(visits.seen[i], 0, 1);
	table_done(&table);
}

/* ---- the queue ---- */

static void a_queue_keeps_order_and_its_bound(void **state)
{
	struct queue queue;
	uint32_t pushed = 0, popped = 0;

	(void)state;
	queue_init(&queue, sizeof(uint32_t), 64);
	assert_null(queue_at(&queue, 0));
	for (uint32_t round = 0; round < 300; round++) {
		for (uint32_t *item; pushed - popped < 1 + round % 64 && (item = queue_push(&queue)) != NULL;)
			*item = pushed++;
		for (uint32_t i = 0; i < queue.length; i++)
			assert_int_equal(*(uint32_t *)queue_at(&queue, i), popped + i);
		for (uint32_t i = 0; i < 1 + round % 7 && queue.length > 0; i++, popped++)
			queue_pop(&queue);
	}
	while (queue_push(&queue) != NULL)
		;
	assert_int_equal(queue.length, 64);
	queue_unpush(&queue);
	assert_int_equal(queue.length, 63);
	queue_done(&queue);
}

static void an_empty_queue_gives_its_memory_back(void **state)
{
	struct queue queue;

	(void)state;
	queue_init(&queue, 16, 8192);
	for (uint32_t i = 0; i < 8192; i++)
		assert_non_null(queue_push(&queue));
	assert_null(queue_push(&queue));
	while (queue.length > 0)
		queue_pop(&queue);
	assert_int_equal(queue.capacity, 0);
	queue_done(&queue);
}

/* ---- global numbers ---- */

static void *const regions[3] = { (void *)8, (void *)16, (void *)24 }; /* never looked into */

static void numbers_are_given_again_after_a_sweep_only(void **state)
{
	struct space space;
	uint32_t first, second, third;

	(void)state;
	assert_int_equal(space_init(&space), 0);
	first = space_take(&space, regions[0], 1000);
	second = space_take(&space, regions[1], SPACE_CHUNK_PAGES);
	assert_true(first != 0 && second >= first + 1000);
	assert_ptr_equal(space_find(&space, first + 999), regions[0]);
	assert_ptr_equal(space_find(&space, second), regions[1]);
	space_leave(&space, first, 1000, NULL);
	assert_null(space_find(&space, first));
	assert_ptr_equal(space_find(&space, second), regions[1]);
	third = space_take(&space, regions[2], 1000);
	assert_true(third != first);
	space_sweep_begins(&space);
	space_leave(&space, third, 1000, NULL); /* too late for this sweep */
	space_sweep_ended(&space);
	while (space_free(&space))
		;
	assert_int_equal(space.gone.count, 1);
	assert_int_equal(space_take(&space, regions[2], 1000), first);
	assert_null(space_find(&space, third));
	space_done(&space);
}

/* Bit by bit, however many there are; who had them is told of each. */
static uint64_t freed;

static void on_freed(void *context, void *account, uint64_t pages)
{
	assert_ptr_equal(context, &freed);
	assert_ptr_equal(account, regions[1]);
	freed += pages;
}

static void numbers_become_free_in_parts(void **state)
{
	const uint32_t pages = SPACE_CHUNKS / 2 * SPACE_CHUNK_PAGES;
	uint32_t times = 1, first;
	struct space space;

	(void)state;
	assert_int_equal(space_init(&space), 0);
	space.freed = on_freed;
	space.context = &freed;
	first = space_take(&space, regions[0], pages);
	space_leave(&space, first, pages, regions[1]);
	space_sweep_begins(&space);
	assert_false(space_free(&space)); /* not before it is over */
	assert_int_equal(freed, 0);
	space_sweep_ended(&space);
	while (space_free(&space))
		times++;
	assert_int_equal(times, SPACE_CHUNKS / 2 / SPACE_FREED_CHUNKS);
	assert_int_equal(freed, pages);
	assert_int_equal(space_take(&space, regions[0], pages), first);
	space_done(&space);
}

/* Against a look at each chunk: wherever there is room it is found, the first one. */
static uint32_t search_plainly(const struct space *space, uint32_t count)
{
	uint32_t run = 0;

	for (uint32_t at = 0; at < SPACE_CHUNKS; at++) {
		run = space->chunks[at] == NULL ? run + 1 : 0;
		if (run == count)
			return at + 1 - count;
	}
	return 0;
}

static void any_room_is_found(void **state)
{
	static uint32_t taken[64], pages[64];
	struct space space;
	uint32_t random = 1;

	(void)state;
	assert_int_equal(space_init(&space), 0);
	for (unsigned i = 0; i < 400; i++) {
		unsigned which = (random = random * 1103515245 + 12345) >> 8 & 63;
		uint32_t chunks = 1 + ((random >> 16) % (i % 3 == 0 ? 5000 : 700));

		if (taken[which] != 0) {
			space_leave(&space, taken[which], pages[which], NULL);
			taken[which] = 0;
			space_sweep_begins(&space);
			space_sweep_ended(&space);
			while (space_free(&space))
				;
			continue;
		}
		pages[which] = chunks * SPACE_CHUNK_PAGES - i % SPACE_CHUNK_PAGES;
		taken[which] = search_plainly(&space, chunks) * SPACE_CHUNK_PAGES;
		assert_int_equal(space_take(&space, regions[0], pages[which]), taken[which]);
	}
	space_done(&space);
}

static void numbers_run_out(void **state)
{
	struct space space;
	uint32_t half = SPACE_CHUNKS / 2 * SPACE_CHUNK_PAGES, first;

	(void)state;
	assert_int_equal(space_init(&space), 0);
	first = space_take(&space, regions[0], half);
	assert_int_not_equal(first, 0);
	assert_int_equal(space_take(&space, regions[1], half), 0); /* one chunk is nobody's */
	assert_int_not_equal(space_take(&space, regions[1], half - SPACE_CHUNK_PAGES), 0);
	assert_int_equal(space_take(&space, regions[2], 1), 0);
	space_leave(&space, first, half, NULL);
	assert_int_equal(space_take(&space, regions[2], 1), 0);
	space_sweep_begins(&space);
	space_sweep_ended(&space);
	while (space_free(&space))
		;
	assert_int_equal(space_take(&space, regions[2], half), first);
	space_done(&space);
}

/* Without the secret, these hashes all want the last place, and a table of 64 times the size is made for them. */
static void nobody_can_choose_places(void **state)
{
	struct table table;

	(void)state;
	table_init(&table, keep, NULL);
	table.secret[0] = hash_of(1);
	table.secret[1] = hash_of(2);
	for (uint32_t i = 0; i < KEYS; i++)
		assert_int_equal(table_put(&table, table_key(&table, (uint64_t)(UINT32_MAX - i) << 32), 1), 0);
	assert_null(table_check(&table));
	assert_true(table_bytes(&table) <= KEYS * 12 + TABLE_PARTITIONS * 1024);
	table_done(&table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_put_is_found),
		cmocka_unit_test(the_same_key_is_replaced),
		cmocka_unit_test(only_what_is_named_is_removed),
		cmocka_unit_test(an_entry_costs_less_than_twelve_bytes),
		cmocka_unit_test(stale_entries_make_room),
		cmocka_unit_test(crowded_tags_are_found),
		cmocka_unit_test(all_entries_are_visited_once),
		cmocka_unit_test(nobody_can_choose_places),
		cmocka_unit_test(a_queue_keeps_order_and_its_bound),
		cmocka_unit_test(an_empty_queue_gives_its_memory_back),
		cmocka_unit_test(numbers_are_given_again_after_a_sweep_only),
		cmocka_unit_test(numbers_become_free_in_parts),
		cmocka_unit_test(any_room_is_found),
		cmocka_unit_test(numbers_run_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
