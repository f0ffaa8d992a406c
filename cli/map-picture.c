/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/map-picture.h"

#include <ctype.h>
#include <errno.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>

#define PIXELS_MAX (UINT64_C(1) << 28)

const char *const picture_names[PICTURE_STATES] = {
	[PICTURE_SHARED] = "shared",
	[PICTURE_COMMON] = "common",
	[PICTURE_ZERO] = "zero",
	[PICTURE_HUGE] = "huge",
	[PICTURE_DIVERGED] = "diverged",
	[PICTURE_BUSY] = "busy",
	[PICTURE_PRIVATE] = "private",
};

const char *const picture_meanings[PICTURE_STATES] = {
	[PICTURE_SHARED] = "maps a copy in the store",
	[PICTURE_COMMON] = "shared, and the other VM maps the same copy",
	[PICTURE_ZERO] = "was full of zeros and has been given back",
	[PICTURE_DIVERGED] = "was shared and has been written since",
	[PICTURE_HUGE] = "inside a 2 MiB page that is whole",
	[PICTURE_BUSY] = "being shared, or left alone for now as it changes too often",
	[PICTURE_PRIVATE] = "the VM's own, or never touched",
};

/* Of a terminal's 256: where all pages have the state, and where only most do. */
static const struct {
	char letter;
	uint8_t pure, mixed;
} looks[PICTURE_STATES] = {
	[PICTURE_SHARED] = { 'S', 40, 28 },
	[PICTURE_COMMON] = { 'C', 39, 25 },
	[PICTURE_ZERO] = { 'Z', 231, 249 },
	[PICTURE_DIVERGED] = { 'D', 208, 130 },
	[PICTURE_HUGE] = { 'H', 135, 91 },
	[PICTURE_BUSY] = { 'B', 226, 142 },
	[PICTURE_PRIVATE] = { 'P', 242, 238 },
};

void picture_done(struct picture *picture)
{
	for (size_t i = 0; i < picture->count; i++)
		free(picture->rows[i].cells);
	free(picture->rows);
	picture->rows = NULL;
	picture->count = picture->room = 0;
}

/* ---- making it ---- */

/* The row of that number, the last one or a new one behind it. NULL: no memory. */
static struct picture_row *row_of(struct picture *picture, uint64_t number)
{
	struct picture_row *row = picture->count > 0 ? &picture->rows[picture->count - 1] : NULL;

	if (row && row->number == number)
		return row;
	if (picture->count == picture->room) {
		size_t room = picture->room == 0 ? 64 : 2 * picture->room;
		struct picture_row *rows = reallocarray(picture->rows, room, sizeof(*rows));

		if (rows == NULL)
			return NULL;
		picture->rows = rows;
		picture->room = room;
	}
	row = &picture->rows[picture->count];
	row->number = number;
	row->cells = calloc(picture->width, sizeof(*row->cells));
	if (row->cells == NULL)
		return NULL;
	for (unsigned i = 0; i < picture->width; i++)
		row->cells[i] = (struct picture_cell){ .state = PICTURE_NOTHING, .label = PICTURE_NO_LABEL };
	picture->count++;
	return row;
}

static bool make_cell(const uint64_t counts[PICTURE_STATES], uint32_t label, struct picture_cell *ret)
{
	uint64_t shared = counts[PICTURE_SHARED] + counts[PICTURE_COMMON], all = 0;
	unsigned most = 0;

	for (unsigned i = 0; i < PICTURE_STATES; i++) {
		all += counts[i];
		if (counts[i] > counts[most])
			most = i;
	}
	*ret = (struct picture_cell){ .state = (uint8_t)most,
				      .mixed = counts[most] < all,
				      .label = label,
				      .shared = shared < UINT32_MAX ? (uint32_t)shared : UINT32_MAX };
	return all > 0;
}

static bool is_behind(const struct picture *picture, uint64_t first)
{
	const struct picture_row *last = picture->count > 0 ? &picture->rows[picture->count - 1] : NULL;

	if (last == NULL || first / picture->width > last->number)
		return true;
	return first / picture->width == last->number &&
	       last->cells[first % picture->width].state == PICTURE_NOTHING;
}

int picture_add(struct picture *picture, uint64_t first, uint64_t cells, const uint64_t counts[PICTURE_STATES],
		uint32_t label)
{
	struct picture_cell cell;

	if (cells == 0 || cells > UINT64_MAX - first || !make_cell(counts, label, &cell) || !is_behind(picture, first))
		return -EINVAL;
	if (cells > PICTURE_CELLS_MAX || picture->count * picture->width > PICTURE_CELLS_MAX - cells)
		return -E2BIG;
	for (uint64_t i = first; i < first + cells; i++) {
		struct picture_row *row = row_of(picture, i / picture->width);

		if (row == NULL)
			return -ENOMEM;
		row->cells[i % picture->width] = cell;
	}
	return 0;
}

/* ---- what it looks like ---- */

char picture_letter(const struct picture_cell *cell)
{
	char letter;

	if (cell->state >= PICTURE_STATES)
		return ' ';
	letter = looks[cell->state].letter;
	return cell->mixed ? (char)tolower((unsigned char)letter) : letter;
}

int picture_colour(const struct picture_cell *cell)
{
	if (cell->state >= PICTURE_STATES)
		return -1;
	return cell->mixed ? looks[cell->state].mixed : looks[cell->state].pure;
}

/* As xterm has them: a cube of 6 * 6 * 6, and 24 greys. */
void picture_rgb(int colour, uint8_t ret[3])
{
	static const uint8_t levels[6] = { 0, 95, 135, 175, 215, 255 };
	int cube = colour - 16;

	if (colour < 0)
		memset(ret, 0, 3);
	else if (colour >= 232)
		memset(ret, 8 + 10 * (colour - 232), 3);
	else
		for (unsigned i = 0; i < 3; i++, cube /= 6)
			ret[2 - i] = levels[cube % 6];
}

uint32_t picture_label(const struct picture *picture, size_t row, size_t count)
{
	uint32_t found = PICTURE_NO_LABEL;
	uint64_t most = 0;

	for (size_t i = 0; i < count * picture->width; i++) {
		uint32_t label = picture->rows[row + i / picture->width].cells[i % picture->width].label;
		uint64_t sum = 0;

		if (label == PICTURE_NO_LABEL || label == found)
			continue;
		for (size_t k = 0; k < count * picture->width; k++) {
			const struct picture_cell *cell =
				&picture->rows[row + k / picture->width].cells[k % picture->width];

			sum += cell->label == label ? cell->shared : 0;
		}
		if (sum > most) {
			most = sum;
			found = label;
		}
	}
	return found;
}

/* How many cells of a row are before the blanks at its end. */
static unsigned length_of(const struct picture *picture, const struct picture_row *row)
{
	unsigned length = picture->width;

	while (row && length > 0 && row->cells[length - 1].state == PICTURE_NOTHING)
		length--;
	return row ? length : 0;
}

void picture_write_letters(const struct picture *picture, size_t row, FILE *stream)
{
	for (unsigned i = 0; i < length_of(picture, &picture->rows[row]); i++)
		fputc(picture_letter(&picture->rows[row].cells[i]), stream);
}

/* ---- half-blocks ---- */

/* Changes the colours that are set to these; -1: none. */
static void set_colours(int *foreground, int *background, int upper, int lower, FILE *stream)
{
	if (*foreground == upper && *background == lower)
		return;
	fputs("\033[0", stream);
	if (upper >= 0)
		fprintf(stream, ";38;5;%d", upper);
	if (lower >= 0)
		fprintf(stream, ";48;5;%d", lower);
	fputc('m', stream);
	*foreground = upper;
	*background = lower;
}

static void write_halves(int upper, int lower, int *foreground, int *background, FILE *stream)
{
	if (upper >= 0) {
		set_colours(foreground, background, upper, lower, stream);
		fputs("\u2580", stream);
	} else if (lower >= 0) {
		set_colours(foreground, background, lower, -1, stream);
		fputs("\u2584", stream);
	} else {
		set_colours(foreground, background, -1, -1, stream);
		fputc(' ', stream);
	}
}

size_t picture_write_blocks(const struct picture *picture, size_t row, FILE *stream)
{
	const struct picture_row *rows = picture->rows, *upper = NULL, *lower = NULL;
	size_t count = 1;
	unsigned length, lower_length;
	int foreground = -1, background = -1;

	if (rows[row].number % 2 != 0)
		lower = &rows[row];
	else
		upper = &rows[row];
	if (upper && row + 1 < picture->count && rows[row + 1].number == upper->number + 1) {
		lower = &rows[row + 1];
		count = 2;
	}
	length = length_of(picture, upper);
	lower_length = length_of(picture, lower);
	length = lower_length > length ? lower_length : length;
	for (unsigned i = 0; i < length; i++)
		write_halves(upper ? picture_colour(&upper->cells[i]) : -1,
			     lower ? picture_colour(&lower->cells[i]) : -1, &foreground, &background, stream);
	fputs("\033[0m", stream);
	return count;
}

/* ---- PNG ---- */

/* Indices of the palette: 0 no memory, then both shades of each state. */
static uint8_t index_of(const struct picture_cell *cell)
{
	return cell->state >= PICTURE_STATES ? 0 : (uint8_t)(1 + 2 * cell->state + cell->mixed);
}

static void make_palette(uint8_t palette[1 + 2 * PICTURE_STATES][3])
{
	picture_rgb(-1, palette[0]);
	for (unsigned i = 0; i < PICTURE_STATES; i++) {
		picture_rgb(looks[i].pure, palette[1 + 2 * i]);
		picture_rgb(looks[i].mixed, palette[2 + 2 * i]);
	}
}

/* One line of pixels, and the others of the same row after it. */
static void draw_row(const struct picture *picture, const struct picture_row *row, unsigned scale, uint8_t *pixels)
{
	size_t width = (size_t)picture->width * scale;

	for (size_t x = 0; x < width; x++)
		pixels[x] = index_of(&row->cells[x / scale]);
	for (unsigned y = 1; y < scale; y++)
		memcpy(pixels + y * width, pixels, width);
}

static size_t lines_of(const struct picture *picture)
{
	size_t lines = picture->count;

	for (size_t i = 1; i < picture->count; i++)
		lines += picture->rows[i].number != picture->rows[i - 1].number + 1;
	return lines;
}

int picture_write_png(const struct picture *picture, unsigned scale, FILE *stream)
{
	png_image image = { .version = PNG_IMAGE_VERSION, .format = PNG_FORMAT_RGB_COLORMAP };
	uint8_t palette[1 + 2 * PICTURE_STATES][3], *pixels;
	size_t lines = lines_of(picture), line = 0, width = (size_t)picture->width * scale;
	int written;

	if (lines == 0 || width * scale > PIXELS_MAX / lines)
		return -E2BIG;
	pixels = calloc(lines * scale, width);
	if (pixels == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < picture->count; i++, line++) {
		line += i > 0 && picture->rows[i].number != picture->rows[i - 1].number + 1;
		draw_row(picture, &picture->rows[i], scale, pixels + line * scale * width);
	}
	make_palette(palette);
	image.width = (png_uint_32)width;
	image.height = (png_uint_32)(lines * scale);
	image.colormap_entries = 1 + 2 * PICTURE_STATES;
	written = png_image_write_to_stdio(&image, stream, 0, pixels, 0, palette);
	png_image_free(&image);
	free(pixels);
	return written ? 0 : -EIO;
}
