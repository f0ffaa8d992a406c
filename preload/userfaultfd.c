/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ioctls that fill memory through a userfaultfd of the VMM's own. The kernel takes a range of one mapping only, both
 * for memory that is filled and for memory that is taken from elsewhere. So if it refuses a range of RAM, the ioctl is
 * made mapping by mapping.
 */
#include <errno.h>
#include <string.h>

#include "library/kernel.h"
#include "library/visits.h"
#include "preload/calls.h"
#include "preload/pieces.h"

#ifndef UFFDIO_POISON /* Linux 6.6; as UFFDIO_ZEROPAGE */
#define UFFDIO_POISON _IOWR(UFFDIO, 0x08, struct uffdio_zeropage)
#endif

/* All arguments begin with the address that is filled. */
static const struct kind {
	unsigned long request;
	size_t length_at, result_at;
	bool takes;  /* pages are moved from the address behind the first one; that has to be one mapping, too */
	bool copies; /* pages are copied from there */
	int error;   /* for a range of several mappings */
} kinds[] = {
	{ UFFDIO_MOVE, offsetof(struct uffdio_move, len), offsetof(struct uffdio_move, move), true, false, EINVAL },
	{ UFFDIO_COPY, offsetof(struct uffdio_copy, len), offsetof(struct uffdio_copy, copy), false, true, ENOENT },
	{ UFFDIO_ZEROPAGE, offsetof(struct uffdio_zeropage, range.len), offsetof(struct uffdio_zeropage, zeropage),
	  false, false, ENOENT },
	{ UFFDIO_POISON, offsetof(struct uffdio_zeropage, range.len), offsetof(struct uffdio_zeropage, zeropage),
	  false, false, ENOENT },
};

#define SOURCE_AT offsetof(struct uffdio_move, src)
#define ARGUMENT_BYTES sizeof(struct uffdio_move) /* the longest */

_Static_assert(offsetof(struct uffdio_move, dst) == 0 && offsetof(struct uffdio_copy, dst) == 0 &&
		       offsetof(struct uffdio_zeropage, range.start) == 0 &&
		       offsetof(struct uffdio_copy, src) == SOURCE_AT,
	       "the kernel's structures begin alike");

static uint64_t get(const void *argument, size_t at)
{
	uint64_t value;

	memcpy(&value, (const char *)argument + at, sizeof(value));
	return value;
}

static void set(void *argument, size_t at, uint64_t value)
{
	memcpy((char *)argument + at, &value, sizeof(value));
}

/** A call that is made in pieces. */
struct fill {
	const struct kind *kind;
	const struct ioctl_call *call;
	uint64_t done;
};

static int fill_piece(uintptr_t start, uintptr_t end, void *context)
{
	struct fill *fill = context;
	const struct kind *kind = fill->kind;
	const void *argument = fill->call->argument;
	char part[ARGUMENT_BYTES];
	int64_t done;
	int r;

	memcpy(part, argument, kind->result_at);
	set(part, 0, start);
	if (kind->takes || kind->copies)
		set(part, SOURCE_AT, get(argument, SOURCE_AT) + (start - get(argument, 0)));
	set(part, kind->length_at, end - start);
	set(part, kind->result_at, 0);
	r = ioctl_real(fill->call, part) < 0 ? -errno : 0;
	done = (int64_t)get(part, kind->result_at);
	fill->done += done > 0 ? (uint64_t)done : 0;
	return r;
}

/** Takes a piece from one source mapping, which may go to several mappings. */
static int fill_from_piece(uintptr_t start, uintptr_t end, void *context)
{
	const struct fill *fill = context;
	const void *argument = fill->call->argument;
	uintptr_t to = get(argument, 0) + (start - get(argument, SOURCE_AT));

	return each_piece(to, to + (end - start), fill_piece, context);
}

/** @return as ioctl(); its result is in the argument. */
static int fill_in_pieces(struct fill *fill)
{
	const struct kind *kind = fill->kind;
	void *argument = fill->call->argument;
	uint64_t to = get(argument, 0), length = get(argument, kind->length_at);
	uint64_t from = kind->takes ? get(argument, SOURCE_AT) : to;
	int r = each_piece(from, from + length, kind->takes ? fill_from_piece : fill_piece, fill);

	if (r == 0 || fill->done > 0) {
		set(argument, kind->result_at, fill->done);
		errno = r == 0 ? errno : EAGAIN;
		return r == 0 ? 0 : -1;
	}
	set(argument, kind->result_at, (uint64_t)r);
	errno = -r;
	return -1;
}

static const struct kind *kind_of(unsigned long request)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if ((uint32_t)kinds[i].request == (uint32_t)request)
			return &kinds[i];
	return NULL;
}

int userfaultfd_forward(const struct ioctl_call *call)
{
	int saved = errno, result = ioctl_real(call, call->argument);
	struct fill fill = { .kind = kind_of(call->request), .call = call };
	const void *argument = call->argument;
	uint64_t to, from, length;

	if (result >= 0 || fill.kind == NULL || errno != fill.kind->error || !forward_ready)
		return result;
	if (!readable(argument, fill.kind->result_at + sizeof(uint64_t))) /* it is no userfaultfd */
		return result;
	to = get(argument, 0);
	length = get(argument, fill.kind->length_at);
	if ((int64_t)get(argument, fill.kind->result_at) > 0 || change_length((void *)to, length) != length ||
	    length <= PAGE_BYTES)
		return result;
	from = fill.kind->takes ? get(argument, SOURCE_AT) : to;
	if (!memory_is_ours((void *)to, length) && !memory_is_ours((void *)from, length))
		return result;
	/* What the VMM itself has made several mappings, the kernel has refused for that. */
	if (!memory_is_under_userfaultfd((void *)to, length) || !pieces_cover(to, to + length) ||
	    !pieces_cover(from, from + length) || !visit_begin())
		return result;
	result = fill_in_pieces(&fill);
	errno = result == 0 ? saved : errno;
	visit_end();
	return result;
}
