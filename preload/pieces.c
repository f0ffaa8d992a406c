/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "preload/pieces.h"

#include <errno.h>
#include <stddef.h>

#include "library/descriptors.h"
#include "library/visits.h"

/** A walk over the mappings of a range, while /proc/self/maps is read. */
struct walk {
	uintptr_t at, to; /* the rest of the range, not seen yet */
	piece_function *piece;
	void *context;
};

static int walk_mapping(struct walk *walk, uintptr_t start, uintptr_t end)
{
	uintptr_t from = walk->at, to = end < walk->to ? end : walk->to;

	if (end <= from || from >= walk->to)
		return 0;
	if (start > from)
		return -EFAULT;
	walk->at = to;
	return walk->piece(from, to, walk->context);
}

/** Parses some of "start-end flags ... path\n"; @number and @field hold the state within a line. */
static int walk_text(struct walk *walk, const char *text, size_t length, uintptr_t number[2], int *field)
{
	for (size_t i = 0; i < length; i++) {
		char c = text[i];
		int r = 0;

		if (c == '\n') {
			*field = 0;
			number[0] = number[1] = 0;
		} else if (*field < 2 && (c == '-' || c == ' ')) {
			r = ++*field == 2 ? walk_mapping(walk, number[0], number[1]) : 0;
		} else if (*field < 2) {
			number[*field] = number[*field] << 4 | (uintptr_t)(c <= '9' ? c - '0' : c - 'a' + 10);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

int each_piece(uintptr_t from, uintptr_t to, piece_function *piece, void *context)
{
	struct walk walk = { from, to, piece, context };
	struct descriptor *maps;
	uintptr_t number[2] = { 0 };
	char text[4096];
	uint64_t offset = 0;
	int field = 0, r = 0;

	if (descriptor_open_passing("/proc/self/maps", 0, &maps) < 0)
		return -EFAULT;
	while (r == 0 && walk.at < to) {
		long length = descriptor_read(maps, text, sizeof(text), offset);

		r = length > 0 ? walk_text(&walk, text, (size_t)length, number, &field) : -EFAULT;
		offset += length > 0 ? (uint64_t)length : 0;
	}
	descriptor_close(&maps);
	return r;
}

static int pass_over(uintptr_t start, uintptr_t end, void *context)
{
	(void)start;
	(void)end;
	(void)context;
	return 0;
}

bool pieces_cover(uintptr_t from, uintptr_t to)
{
	int saved = errno;
	bool covered = false;

	if (visit_begin()) {
		covered = each_piece(from, to, pass_over, NULL) == 0;
		visit_end();
	}
	errno = saved;
	return covered;
}
