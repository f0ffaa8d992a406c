/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames and pages of a guest: what comes in chunks, and at random against a model that has an entry for each. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/guest-map.h"
#include "tests/support/test.h"

static struct guest_map map;

static int teardown(void **state)
{
	(void)state;
	guest_map_done(&map);
	return 0;
}

/* Below 1 MiB and below 4 GiB the same, as a PC's firmware is. */
static const struct wire_range pc[] = {
	{ 0, 1, 160 },
	{ 0xe0, 5001, 32 },
	{ 0x100, 257, 4000 },
	{ 0xfffe0, 5001, 32 },
};

static void frames_and_pages(void **state)
{
	uint64_t gfn;

	(void)state;
	assert_int_equal(guest_map_page(&map, 0), 0);
	assert_false(guest_map_next_frame(&map, 1, 0, &gfn));
	assert_int_equal(guest_map_take(&map, pc, 4, true, true), 0);
	assert_int_equal(guest_map_page(&map, 0), 1);
	assert_int_equal(guest_map_page(&map, 159), 160);
	assert_int_equal(guest_map_page(&map, 160), 0);
	assert_int_equal(guest_map_page(&map, 0xfffe0 + 31), 5032);
	assert_int_equal(guest_map_page(&map, 0xfffe0 + 32), 0);
	assert_int_equal(guest_map_page(&map, UINT64_MAX), 0);
	assert_true(guest_map_next_frame(&map, 5010, 0, &gfn));
	assert_int_equal(gfn, 0xe0 + 9);
	assert_true(guest_map_next_frame(&map, 5010, gfn + 1, &gfn));
	assert_int_equal(gfn, 0xfffe0 + 9);
	assert_false(guest_map_next_frame(&map, 5010, gfn + 1, &gfn));
	assert_false(guest_map_next_frame(&map, 161, 0, &gfn));
}

static void chunks(void **state)
{
	(void)state;
	assert_int_equal(guest_map_take(&map, pc, 4, true, true), 0);
	/* What is known stays until all of the new one is there. */
	assert_int_equal(guest_map_take(&map, pc, 1, true, false), 0);
	assert_int_equal(guest_map_page(&map, 0x100), 257);
	assert_int_equal(guest_map_take(&map, NULL, 0, false, false), 0);
	assert_int_equal(guest_map_take(&map, &pc[1], 1, false, true), 0);
	assert_int_equal(guest_map_page(&map, 0x100), 0);
	assert_int_equal(guest_map_page(&map, 0xe0), 5001);
	/* Begun again, by whoever could not finish. */
	assert_int_equal(guest_map_take(&map, &pc[2], 1, true, false), 0);
	assert_int_equal(guest_map_take(&map, pc, 2, true, false), 0);
	assert_int_equal(guest_map_take(&map, &pc[3], 1, false, true), 0);
	assert_int_equal(map.count, 3);
	/* None at all. */
	assert_int_equal(guest_map_take(&map, NULL, 0, true, true), 0);
	assert_int_equal(guest_map_page(&map, 0), 0);
}

static void what_does_not_follow(void **state)
{
	static struct wire_range many[1024];

	(void)state;
	assert_int_equal(guest_map_take(&map, pc, 4, true, true), 0);
	assert_int_equal(guest_map_take(&map, pc, 1, false, true), -EPROTO);
	assert_int_equal(guest_map_take(&map, &pc[2], 1, true, false), 0);
	assert_int_equal(guest_map_take(&map, pc, 1, false, false), -EPROTO);
	assert_int_equal(guest_map_take(&map, &pc[3], 1, false, true), -EPROTO); /* what it would follow is gone */
	for (uint32_t i = 0; i < 1024; i++)
		many[i] = (struct wire_range){ .gfn = i, .page = 7, .pages = 1 };
	for (uint32_t chunk = 0; chunk < WIRE_RANGES_MAX / 1024; chunk++) {
		assert_int_equal(guest_map_take(&map, many, 1024, chunk == 0, false), 0);
		for (uint32_t i = 0; i < 1024; i++)
			many[i].gfn += 1024;
	}
	assert_int_equal(guest_map_take(&map, many, 1, false, true), -ENOSPC);
	assert_int_equal(guest_map_page(&map, 0x100), 257); /* as it was */
	assert_int_equal(map.count, 4);
}

/* ---- at random ---- */

#define FRAMES 700u
#define PAGES 500u

static uint32_t model[FRAMES];

static uint32_t random_ranges(uint64_t *random, struct wire_range *ret)
{
	uint32_t count = 0;

	memset(model, 0, sizeof(model));
	for (uint32_t gfn = (uint32_t)(test_random(random) % 9); gfn < FRAMES;) {
		uint32_t pages = 1 + (uint32_t)(test_random(random) % 40);
		uint32_t page = 1 + (uint32_t)(test_random(random) % (PAGES - 40));

		pages = pages < FRAMES - gfn ? pages : FRAMES - gfn;
		ret[count++] = (struct wire_range){ .gfn = gfn, .page = page, .pages = pages };
		for (uint32_t i = 0; i < pages; i++)
			model[gfn + i] = page + i;
		gfn += pages + (test_random(random) % 3 == 0 ? (uint32_t)(test_random(random) % 50) : 0);
	}
	return count;
}

static void check_model(void)
{
	for (uint32_t gfn = 0; gfn < FRAMES + 10; gfn++)
		assert_int_equal(guest_map_page(&map, gfn), gfn < FRAMES ? model[gfn] : 0);
	for (uint32_t page = 1; page < PAGES; page++) {
		uint64_t gfn = 0, found;

		for (; guest_map_next_frame(&map, page, gfn, &found); gfn = found + 1) {
			for (uint64_t between = gfn; between < found; between++)
				assert_int_not_equal(model[between], page);
			assert_int_equal(model[found], page);
		}
		for (; gfn < FRAMES; gfn++)
			assert_int_not_equal(model[gfn], page);
	}
}

static void against_a_model(void **state)
{
	struct wire_range ranges[FRAMES];
	uint64_t random = test_seed(0);

	(void)state;
	for (int round = 0; round < 60; round++) {
		uint32_t count = random_ranges(&random, ranges), done = 0;

		do {
			uint32_t chunk = (uint32_t)(test_random(&random) % 12);
			bool first = done == 0;

			chunk = first && chunk == 0 ? 1 : chunk;
			chunk = chunk < count - done ? chunk : count - done;
			assert_int_equal(guest_map_take(&map, ranges + done, chunk, first, done + chunk == count), 0);
			done += chunk;
		} while (done < count);
		check_model();
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(frames_and_pages, teardown),
		cmocka_unit_test_teardown(chunks, teardown),
		cmocka_unit_test_teardown(what_does_not_follow, teardown),
		cmocka_unit_test_teardown(against_a_model, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
