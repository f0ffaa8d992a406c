/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory that stray faults have allocated is freed in parts, and nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/page.h"
#include "daemon/segments.h"

#define COUNT 11u
#define SPACING 5u /* of their numbers */

static struct segments segments;

static uint32_t slot_of(uint32_t i, uint32_t index)
{
	return i * SPACING * ENGINE_SEGMENT_SLOTS + index;
}

static void make_segments(void)
{
	unsigned char content[PAGE_BYTES];

	for (uint32_t i = 0; i < COUNT; i++) {
		int fd = memfd_create("segment", MFD_CLOEXEC);

		assert_true(fd >= 0 && ftruncate(fd, (off_t)SEGMENT_BYTES) == 0);
		assert_int_equal(segments_add(&segments, i * SPACING, fd, false), 0);
		memset(content, (int)i + 1, sizeof(content));
		for (uint32_t index = 0; index < 3; index++)
			assert_int_equal(segments_write(&segments, slot_of(i, index), content), 0);
		segments_punch(&segments, slot_of(i, 1), 1);
	}
}

/* What a fault of a VMM does to a slot that is dead, and to one that was never used. */
static void touch_dead(void)
{
	for (uint32_t i = 0; i < COUNT; i++) {
		int fd = segments_fd(&segments, i * SPACING);

		assert_int_equal(pwrite(fd, "", 1, (off_t)PAGE_BYTES), 1);
		assert_int_equal(pwrite(fd, "", 1, (off_t)(1000 * PAGE_BYTES)), 1);
	}
}

static void check_content(void)
{
	unsigned char content[PAGE_BYTES];

	for (uint32_t i = 0; i < COUNT; i++)
		for (uint32_t index = 0; index < 3; index++) {
			assert_int_equal(segments_read(&segments, slot_of(i, index), content), 0);
			assert_int_equal(content[0], index == 1 ? 0 : i + 1);
			assert_int_equal(content[PAGE_BYTES - 1], index == 1 ? 0 : i + 1);
		}
}

static bool goes_on(const struct segments_cursor *cursor)
{
	return cursor->segment < ENGINE_SEGMENTS_MAX;
}

static void stray_memory_is_freed_in_parts(void **state)
{
	const uint32_t parts = SEGMENT_SLOTS / SEGMENTS_PUNCHED_SLOTS;
	struct segments_cursor cursor = { 0 };
	uint32_t times = 0;

	(void)state;
	make_segments();
	assert_int_equal(segments_used_bytes(&segments), 2 * COUNT * PAGE_BYTES);
	assert_int_equal(segments_recheck(&segments, &cursor), 0);
	assert_false(goes_on(&cursor));
	touch_dead();
	assert_int_equal(segments_used_bytes(&segments), 4 * COUNT * PAGE_BYTES);
	for (cursor = (struct segments_cursor){ 0 }; goes_on(&cursor); times++)
		assert_in_range(segments_recheck(&segments, &cursor), 0, 2); /* of one segment at a time */
	assert_in_range(times, COUNT, COUNT * (parts + 1) + 1);
	assert_int_equal(segments_used_bytes(&segments), 2 * COUNT * PAGE_BYTES);
	check_content();
	segments_done(&segments);
}

/* Each second slot is dead, and has memory: a call for each of them. */
static void calls_that_free_are_bounded(void **state)
{
	struct segments_cursor cursor = { 0 };
	unsigned char content[PAGE_BYTES] = { 1 };
	const uint32_t dead = 2 * SEGMENTS_PUNCHES + 10;
	int fd = memfd_create("segment", MFD_CLOEXEC);

	(void)state;
	assert_true(fd >= 0 && ftruncate(fd, (off_t)SEGMENT_BYTES) == 0);
	assert_int_equal(segments_add(&segments, 3, fd, false), 0);
	for (uint32_t i = 0; i < dead; i++) {
		assert_int_equal(segments_write(&segments, 3 * SEGMENT_SLOTS + 2 * i, content), 0);
		assert_int_equal(pwrite(fd, "", 1, (off_t)((2 * i + 1) * PAGE_BYTES)), 1);
	}
	assert_int_equal(segments_recheck(&segments, &cursor), SEGMENTS_PUNCHES);
	assert_int_equal(segments_recheck(&segments, &cursor), SEGMENTS_PUNCHES);
	assert_int_equal(segments_recheck(&segments, &cursor), 10);
	assert_int_equal(segments_used_bytes(&segments), dead * PAGE_BYTES);
	segments_done(&segments);
}

/* Of an earlier daemon's: what has memory stays, as nobody knows yet what is read. */
static void what_was_there_is_live(void **state)
{
	struct segments_cursor cursor = { 0 };
	int fd = memfd_create("segment", MFD_CLOEXEC);

	(void)state;
	assert_true(fd >= 0 && ftruncate(fd, (off_t)SEGMENT_BYTES) == 0);
	assert_int_equal(pwrite(fd, "a", 1, 0), 1);
	assert_int_equal(pwrite(fd, "b", 1, (off_t)(7 * PAGE_BYTES)), 1);
	assert_int_equal(pwrite(fd, "c", 1, (off_t)(SEGMENT_BYTES - PAGE_BYTES)), 1);
	assert_int_equal(segments_add(&segments, 3, fd, true), 0);
	assert_int_equal(segments.live_slots, 3);
	assert_int_equal(pwrite(fd, "stray", 1, (off_t)(8 * PAGE_BYTES)), 1);
	while (goes_on(&cursor))
		segments_recheck(&segments, &cursor);
	assert_int_equal(segments_used_bytes(&segments), 3 * PAGE_BYTES);
	segments_punch(&segments, 3 * SEGMENT_SLOTS + 7, 1);
	assert_int_equal(segments.live_slots, 2);
	segments_remove(&segments, 3);
	assert_int_equal(segments.live_slots, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stray_memory_is_freed_in_parts),
		cmocka_unit_test(calls_that_free_are_bounded),
		cmocka_unit_test(what_was_there_is_live),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
