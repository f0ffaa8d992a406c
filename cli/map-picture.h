/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VM's memory as a picture: cells of so many pages, so many in a row, of which each has the state that most of its
 * pages have. Plain code: no daemon, no terminal. docs/map.md has the rules.
 */
#ifndef PAGEFUSE_CLI_MAP_PICTURE_H
#define PAGEFUSE_CLI_MAP_PICTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/** In the order in which one goes before another that as many pages of a cell have. */
enum picture_state {
	PICTURE_SHARED,
	PICTURE_COMMON,
	PICTURE_ZERO,
	PICTURE_DIVERGED,
	PICTURE_HUGE,
	PICTURE_BUSY,
	PICTURE_PRIVATE,
	PICTURE_STATES,
	PICTURE_NOTHING = PICTURE_STATES, /* no memory that is known */
};
/** "shared" and so on; and what it means, in few words. */
extern const char *const picture_names[PICTURE_STATES];
extern const char *const picture_meanings[PICTURE_STATES];

/** Cells that a picture has at most, gaps between rows not among them. */
#define PICTURE_CELLS_MAX (UINT64_C(1) << 22)
#define PICTURE_WIDTH_MAX 1024u
#define PICTURE_NO_LABEL UINT32_MAX

struct picture_cell {
	uint8_t state;   /* enum picture_state */
	bool mixed;      /* not all of its pages have that state */
	uint32_t label;  /* whose its shared pages are, or most of them */
	uint32_t shared; /* how many these are */
};

struct picture_row {
	uint64_t number; /* of its place: its first cell is number * width, counted from address 0 */
	struct picture_cell *cells;
};

/** All zero but for width: an empty one. */
struct picture {
	unsigned width;           /* cells in a row, 1 to PICTURE_WIDTH_MAX */
	struct picture_row *rows; /* ascending, those with memory only */
	size_t count, room;
};

void picture_done(struct picture *picture);
/**
 * Adds @cells cells from number @first on, each of which has @counts pages of each state; they are behind all that were
 * added before. @return 0, -E2BIG beyond PICTURE_CELLS_MAX, -EINVAL (out of order, or no pages), -ENOMEM.
 */
int picture_add(struct picture *picture, uint64_t first, uint64_t cells, const uint64_t counts[PICTURE_STATES],
		uint32_t label);

/** The letter of a cell: a capital where all of its pages have that state; a blank where there is no memory. */
char picture_letter(const struct picture_cell *cell);
/** Its colour among the 256 of terminals; darker where it is mixed. -1: no memory. */
int picture_colour(const struct picture_cell *cell);
/** The same as red, green and blue. @colour: 16 to 255, or -1: black. */
void picture_rgb(int colour, uint8_t ret[3]);

/** The label that most shared pages of @count rows from @row on have, or PICTURE_NO_LABEL. */
uint32_t picture_label(const struct picture *picture, size_t row, size_t count);

/** Writes a row as letters, without a line's end and blanks at its end. */
void picture_write_letters(const struct picture *picture, size_t row, FILE *stream);
/**
 * Writes the row, and the next one if that is its other half (@return how many, 1 or 2), as half-blocks of UTF-8 with
 * colours. Halves are rows of an even number and the next one.
 */
size_t picture_write_blocks(const struct picture *picture, size_t row, FILE *stream);

/**
 * Writes all of it as a PNG, @scale pixels for each side of a cell; where rows without memory are left out there is an
 * empty one. @return 0, -EIO, -ENOMEM, -E2BIG.
 */
int picture_write_png(const struct picture *picture, unsigned scale, FILE *stream);

#endif
