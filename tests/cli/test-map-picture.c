/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pictures of memory: which state a cell has, where it is, and what is written of it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <png.h>

#include "cli/map-picture.h"

#define NO_LABEL PICTURE_NO_LABEL

static struct picture picture;

static int setup(void **state)
{
	(void)state;
	picture = (struct picture){ .width = 8 };
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	picture_done(&picture);
	return 0;
}

static int add_of(enum picture_state state, uint64_t first, uint64_t cells, uint32_t label)
{
	uint64_t counts[PICTURE_STATES] = { 0 };

	counts[state] = 4;
	return picture_add(&picture, first, cells, counts, label);
}

static int add_mixed(uint64_t first, enum picture_state a, uint64_t count_a, enum picture_state b, uint64_t count_b)
{
	uint64_t counts[PICTURE_STATES] = { 0 };

	counts[a] = count_a;
	counts[b] = count_b;
	return picture_add(&picture, first, 1, counts, NO_LABEL);
}

/* The text that @row is written as. */
static void assert_letters(size_t row, const char *expected)
{
	char *text;
	size_t size;
	FILE *stream = open_memstream(&text, &size);

	picture_write_letters(&picture, row, stream);
	fclose(stream);
	assert_string_equal(text, expected);
	free(text);
}

static void assert_blocks(size_t row, size_t count, const char *expected)
{
	char *text;
	size_t size;
	FILE *stream = open_memstream(&text, &size);

	assert_int_equal(picture_write_blocks(&picture, row, stream), count);
	fclose(stream);
	assert_string_equal(text, expected);
	free(text);
}

static void cells_are_where_they_belong(void **state)
{
	(void)state;
	assert_int_equal(add_of(PICTURE_SHARED, 3, 2, NO_LABEL), 0);
	assert_int_equal(add_of(PICTURE_ZERO, 5, 4, NO_LABEL), 0); /* the last one in the next row */
	assert_int_equal(add_of(PICTURE_PRIVATE, 42, 1, NO_LABEL), 0);
	assert_int_equal(picture.count, 3);
	assert_int_equal(picture.rows[0].number, 0);
	assert_int_equal(picture.rows[1].number, 1);
	assert_int_equal(picture.rows[2].number, 5);
	assert_letters(0, "   SSZZZ");
	assert_letters(1, "Z");
	assert_letters(2, "  P");
}

static void a_cell_is_what_most_of_it_is(void **state)
{
	(void)state;
	assert_int_equal(add_mixed(0, PICTURE_SHARED, 3, PICTURE_PRIVATE, 5), 0);
	assert_int_equal(add_mixed(1, PICTURE_SHARED, 5, PICTURE_PRIVATE, 3), 0);
	assert_int_equal(add_mixed(2, PICTURE_SHARED, 4, PICTURE_PRIVATE, 4), 0); /* the first of the list */
	assert_int_equal(add_mixed(3, PICTURE_ZERO, 4, PICTURE_COMMON, 4), 0);
	assert_int_equal(add_mixed(4, PICTURE_HUGE, 8, PICTURE_BUSY, 0), 0);
	assert_int_equal(add_mixed(5, PICTURE_BUSY, 2, PICTURE_DIVERGED, 1), 0);
	assert_letters(0, "psscHb");
}

static void what_makes_no_sense_is_refused(void **state)
{
	(void)state;
	assert_int_equal(add_of(PICTURE_SHARED, 3, 2, NO_LABEL), 0);
	assert_int_equal(add_of(PICTURE_SHARED, 4, 1, NO_LABEL), -EINVAL); /* there already */
	assert_int_equal(add_of(PICTURE_SHARED, 5, 0, NO_LABEL), -EINVAL);
	assert_int_equal(add_mixed(5, PICTURE_SHARED, 0, PICTURE_ZERO, 0), -EINVAL);
	assert_int_equal(add_of(PICTURE_SHARED, UINT64_MAX - 2, 4, NO_LABEL), -EINVAL);
	assert_int_equal(add_of(PICTURE_SHARED, 5, PICTURE_CELLS_MAX + 1, NO_LABEL), -E2BIG);
	assert_int_equal(add_of(PICTURE_SHARED, 5, 3, NO_LABEL), 0);
	assert_int_equal(add_of(PICTURE_SHARED, 8, PICTURE_CELLS_MAX - 7, NO_LABEL), -E2BIG);
	assert_letters(0, "   SSSSS");
}

static void a_line_has_the_label_of_most(void **state)
{
	uint64_t counts[PICTURE_STATES] = { [PICTURE_SHARED] = 7 };

	(void)state;
	assert_int_equal(add_of(PICTURE_SHARED, 0, 1, 3), 0);
	assert_int_equal(picture_add(&picture, 1, 1, counts, 2), 0);
	assert_int_equal(add_of(PICTURE_COMMON, 2, 1, 3), 0);
	assert_int_equal(add_of(PICTURE_PRIVATE, 3, 1, NO_LABEL), 0);
	assert_int_equal(picture_add(&picture, 8, 2, counts, 2), 0);
	assert_int_equal(add_of(PICTURE_PRIVATE, 16, 1, NO_LABEL), 0);
	assert_int_equal(picture_label(&picture, 0, 1), 3);
	assert_int_equal(picture_label(&picture, 0, 2), 2);
	assert_int_equal(picture_label(&picture, 2, 1), NO_LABEL);
}

/* The upper half is the character's own colour, the lower one its background. */
static void halves_are_rows(void **state)
{
	(void)state;
	assert_int_equal(add_of(PICTURE_SHARED, 0, 2, NO_LABEL), 0);
	assert_int_equal(add_of(PICTURE_ZERO, 8, 3, NO_LABEL), 0);
	assert_int_equal(add_of(PICTURE_PRIVATE, 24, 1, NO_LABEL), 0); /* a row of an odd number, alone */
	assert_int_equal(add_mixed(33, PICTURE_HUGE, 3, PICTURE_BUSY, 1), 0);
	assert_blocks(0, 2, "\033[0;38;5;40;48;5;231m\u2580\u2580\033[0;38;5;231m\u2584\033[0m");
	assert_blocks(2, 1, "\033[0;38;5;242m\u2584\033[0m");
	assert_blocks(3, 1, " \033[0;38;5;91m\u2580\033[0m");
}

static void colours_are_those_of_terminals(void **state)
{
	static const uint8_t green[] = { 0, 215, 0 }, orange[] = { 255, 135, 0 }, grey[] = { 108, 108, 108 },
			     black[] = { 0, 0, 0 };
	uint8_t rgb[3];

	(void)state;
	picture_rgb(40, rgb);
	assert_memory_equal(rgb, green, 3);
	picture_rgb(208, rgb);
	assert_memory_equal(rgb, orange, 3);
	picture_rgb(242, rgb);
	assert_memory_equal(rgb, grey, 3);
	picture_rgb(-1, rgb);
	assert_memory_equal(rgb, black, 3);
}

static void assert_pixel(const uint8_t *pixels, unsigned width, unsigned x, unsigned y, int colour)
{
	uint8_t rgb[3];

	picture_rgb(colour, rgb);
	assert_memory_equal(pixels + 3 * ((size_t)y * width + x), rgb, 3);
}

/* What libpng reads is what was drawn; a gap is one row. */
static void a_png_has_all_cells(void **state)
{
	png_image image = { .version = PNG_IMAGE_VERSION };
	FILE *file = tmpfile();
	uint8_t *pixels;

	(void)state;
	assert_int_equal(picture_write_png(&picture, 2, file), -E2BIG); /* nothing to draw */
	assert_int_equal(add_of(PICTURE_SHARED, 0, 2, NO_LABEL), 0);
	assert_int_equal(add_mixed(9, PICTURE_ZERO, 3, PICTURE_BUSY, 1), 0);
	assert_int_equal(add_of(PICTURE_PRIVATE, 807, 1, NO_LABEL), 0);
	assert_int_equal(picture_write_png(&picture, 2, file), 0);
	rewind(file);
	assert_int_not_equal(png_image_begin_read_from_stdio(&image, file), 0);
	assert_int_equal(image.width, 16);
	assert_int_equal(image.height, 8);
	image.format = PNG_FORMAT_RGB;
	pixels = malloc(PNG_IMAGE_SIZE(image));
	assert_non_null(pixels);
	assert_int_not_equal(png_image_finish_read(&image, NULL, pixels, 0, NULL), 0);
	for (unsigned y = 0; y < 8; y++)
		for (unsigned x = 0; x < 16; x++) {
			unsigned cell = y / 2 * 8 + x / 2;
			int colour = cell < 2 ? 40 : cell == 9 ? 249
					     : cell == 31      ? 242
							       : -1;

			assert_pixel(pixels, 16, x, y, colour);
		}
	free(pixels);
	fclose(file);
}

static void a_png_that_has_no_room_is_told(void **state)
{
	FILE *full = fopen("/dev/full", "w");

	(void)state;
	if (full == NULL)
		skip();
	setvbuf(full, NULL, _IONBF, 0);
	assert_int_equal(add_of(PICTURE_SHARED, 0, 2, NO_LABEL), 0);
	assert_int_equal(picture_write_png(&picture, 2, full), -EIO);
	fclose(full);
}

#define PICTURE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PICTURE_TEST(cells_are_where_they_belong),
		PICTURE_TEST(a_cell_is_what_most_of_it_is),
		PICTURE_TEST(what_makes_no_sense_is_refused),
		PICTURE_TEST(a_line_has_the_label_of_most),
		PICTURE_TEST(halves_are_rows),
		PICTURE_TEST(colours_are_those_of_terminals),
		PICTURE_TEST(a_png_has_all_cells),
		PICTURE_TEST(a_png_that_has_no_room_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
