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

#define COUNT (SEGMENTS_PUNCHED_AT_ONCE + 3u)
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

static void stray_memory_is_freed_in_parts(void **state)
{
	uint32_t cursor = 0;

	(void)state;
	make_segments();
	assert_int_equal(segments_used_bytes(&segments), 2 * COUNT * PAGE_BYTES);
	assert_int_equal(segments_recheck(&segments, &cursor), 0);
	assert_int_equal(cursor, ENGINE_SEGMENTS_MAX);
	touch_dead();
	assert_int_equal(segments_used_bytes(&segments), 4 * COUNT * PAGE_BYTES);
	cursor = 0;
	assert_int_equal(segments_recheck(&segments, &cursor), 2 * SEGMENTS_PUNCHED_AT_ONCE);
	assert_true(cursor < ENGINE_SEGMENTS_MAX);
	assert_int_equal(segments_recheck(&segments, &cursor), 2 * (COUNT - SEGMENTS_PUNCHED_AT_ONCE));
	assert_int_equal(cursor, ENGINE_SEGMENTS_MAX);
	assert_int_equal(segments_used_bytes(&segments), 2 * COUNT * PAGE_BYTES);
	check_content();
	segments_done(&segments);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(stray_memory_is_freed_in_parts) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
