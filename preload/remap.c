/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mremap(). It takes a range of one kernel mapping only, from Linux 6.17 on of several, if the length does not change.
 * RAM that has been shared is several mappings, even after the library has made it anonymous again: the kernel never
 * merges memory that was filled at another address with its neighbours. So if the kernel returns EFAULT the pieces are
 * moved one by one.
 */
#include <errno.h>
#include <stdarg.h>
#include <sys/syscall.h>

#include "common/madvise.h"
#include "preload/calls.h"
#include "preload/next.h"
#include "preload/pieces.h"

static int note_last(uintptr_t start, uintptr_t end, void *context)
{
	(void)end;
	*(uintptr_t *)context = start;
	return 0;
}

/** A move of [from, end) to the address @to; the last piece becomes longer by @growth. */
struct move {
	remap_function *real;
	uintptr_t from, end, to;
	size_t growth;
	int flags;
	uintptr_t done; /* end of the pieces that have been moved */
};

static int move_piece(uintptr_t start, uintptr_t end, void *context)
{
	struct move *move = context;
	size_t length = end - start, growth = end == move->end ? move->growth : 0;
	void *result = move->real((void *)start, length, length + growth, move->flags | MREMAP_MAYMOVE | MREMAP_FIXED,
				  (void *)(move->to + (start - move->from)));

	if (result == MAP_FAILED)
		return -errno;
	move->done = end;
	return 0;
}

static int move_pieces(struct move *move)
{
	int r = each_piece(move->from, move->end, move_piece, move);

	if (r < 0 && move->done > move->from) {
		struct move back = { .real = move->real, .from = move->to, .to = move->from };

		back.end = back.from + (move->done - move->from);
		each_piece(back.from, back.end, move_piece, &back); /* or as many as the kernel has room for */
	}
	return r;
}

static void *remap_pieces(remap_function *real, uintptr_t old, size_t old_length, size_t new_length, int flags,
			  void *to)
{
	struct move move = { .real = real, .from = old, .end = old + old_length, .growth = new_length - old_length };
	bool reserved = (flags & MREMAP_FIXED) == 0;
	uintptr_t last = old;
	int r = each_piece(old, move.end, note_last, &last);

	if (r < 0)
		goto fail;
	if (reserved && move.growth > 0 &&
	    real((void *)last, move.end - last, move.end - last + move.growth, 0, NULL) != MAP_FAILED)
		return (void *)old;
	if (reserved && (flags & MREMAP_MAYMOVE) == 0)
		return MAP_FAILED;
	if (reserved)
		to = next.mmap(to, new_length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (to == MAP_FAILED)
		return MAP_FAILED;
	move.to = (uintptr_t)to;
	move.flags = flags & MREMAP_DONTUNMAP;
	r = move_pieces(&move);
	if (r == 0)
		return to;
	if (reserved)
		next.munmap(to, new_length);
fail:
	errno = -r;
	return MAP_FAILED;
}

static size_t round_up(size_t length)
{
	return (length + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
}

/*
 * Begins the bracket. The call can touch two ranges, but only one bracket may be open: if both are ours, the old one is
 * made plain memory here, and is no longer ours.
 * @return 0; or -1 with errno set: the call has to fail.
 */
static int begin_move(uintptr_t old, size_t old_length, size_t new_length, int flags, void *to,
		      struct change *ret_change)
{
	struct change from, over;

	if ((flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) == 0 && new_length != 0 && new_length <= old_length) {
		/* The mapping stays in place and loses its tail. */
		*ret_change = change_of(CHANGE_UNMAP, (void *)(old + new_length), old_length - new_length, 0);
		return change_begin(ret_change);
	}
	from = new_length != 0 ? change_of(CHANGE_MOVE, (void *)old, old_length, 0) : change_none();
	over = (flags & MREMAP_FIXED) != 0 ? change_of(CHANGE_UNMAP, to, new_length, 0) : change_none();
	/* From Linux 6.17 on, where the old range has holes, what is in their place in the new one stays. */
	if (over.tell && new_length == old_length && !pieces_cover(old, old + old_length))
		over.what = CHANGE_MOVE;
	*ret_change = from.tell ? from : over;
	if (from.tell && over.tell) {
		if (change_begin(&from) != 0)
			return -1;
		change_end(&from, true);
		*ret_change = over;
	}
	return change_begin(ret_change);
}

void *remap_forward(remap_function *real, void *old, size_t old_length, size_t new_length, int flags, void *to)
{
	size_t old_rounded = round_up(old_length), new_rounded = round_up(new_length);
	size_t kept = new_rounded < old_rounded ? new_rounded : old_rounded;
	bool ours = memory_is_ours(old, old_rounded); /* begin may end that, for a whole region */
	struct change change;
	int saved = errno;
	void *result;

	if (begin_move((uintptr_t)old, old_rounded, new_rounded, flags, to, &change) != 0)
		return MAP_FAILED;
	result = real(old, old_length, new_length, flags, to);
	if (result == MAP_FAILED && errno == EFAULT && change.tell && memory_is_inside() &&
	    ours && kept > 0 && pieces_cover((uintptr_t)old, (uintptr_t)old + kept) &&
	    (new_rounded >= old_rounded || (flags & MREMAP_FIXED) != 0)) {
		/* As the kernel does it: what is there goes first, then what is too long. */
		if (kept == old_rounded || (next.munmap(to, new_rounded) == 0 &&
					    next.munmap((char *)old + kept, old_rounded - kept) == 0))
			result = remap_pieces(real, (uintptr_t)old, kept, new_rounded, flags, to);
		errno = result == MAP_FAILED ? errno : saved;
	}
	change_end(&change, result != MAP_FAILED);
	return result;
}

static void *remap_by_name(void *old, size_t old_length, size_t new_length, int flags, void *to)
{
	return next.mremap(old, old_length, new_length, flags, to);
}

INTERPOSED void *mremap(void *old, size_t old_length, size_t new_length, int flags, ...)
{
	void *to = NULL;
	va_list arguments;

	if ((flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) != 0) {
		va_start(arguments, flags);
		to = va_arg(arguments, void *);
		va_end(arguments);
	}
	return remap_forward(remap_by_name, old, old_length, new_length, flags, to);
}
