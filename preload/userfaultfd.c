/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ioctls that fill memory through a userfaultfd of the VMM's own. The kernel takes a range of one mapping only, both
 * for memory that is filled and for memory that is taken from elsewhere. So if it refuses a range of RAM, the ioctl is
 * made mapping by mapping.
 *
 * Where a mapping ends is found out by trying: a part that is refused is halved. No lock is taken for that, and no file
 * is read: whoever has the memory lock may wait for just this fill.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "library/kernel.h"
#include "library/own.h"
#include "library/sys.h"
#include "library/visits.h"
#include "preload/calls.h"

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

/** A call that is made part by part. */
struct fill {
	const struct kind *kind;
	const struct ioctl_call *call;
	uint64_t to, from, length;
	uint64_t unreadable; /* a page that is ours */
	uint64_t done;       /* bytes */
};

/** Fills the part at @offset. @return 0 or -errno. */
static int fill_part(struct fill *fill, uint64_t offset, uint64_t length)
{
	const struct kind *kind = fill->kind;
	char argument[ARGUMENT_BYTES];
	int64_t done;
	int r;

	memcpy(argument, fill->call->argument, kind->result_at);
	set(argument, 0, fill->to + offset);
	if (kind->takes || kind->copies)
		set(argument, SOURCE_AT, fill->from + offset);
	set(argument, kind->length_at, length);
	set(argument, kind->result_at, 0);
	r = ioctl_real(fill->call, argument) < 0 ? -errno : 0;
	done = (int64_t)get(argument, kind->result_at);
	fill->done += done > 0 ? (uint64_t)done : 0;
	return r;
}

/**
 * Whether the part at @offset could be filled: the kernel looks at that before it reads what it is to copy, which fails
 * here, so nothing changes. @return 0 or the error for several mappings.
 */
static int try_part(struct fill *fill, uint64_t offset, uint64_t length)
{
	struct uffdio_copy copy = { .dst = fill->to + offset, .src = fill->unreadable, .len = length };
	struct ioctl_call call = *fill->call;

	if (fill->kind->copies)
		copy.mode = get(call.argument, offsetof(struct uffdio_copy, mode)) & UFFDIO_COPY_MODE_WP;
	call.request = UFFDIO_COPY;
	/* EINVAL: the mode does not fit the mapping, or one of the ends is beyond all memory. */
	return ioctl_real(&call, &copy) < 0 && (errno == ENOENT || errno == EINVAL) ? -fill->kind->error : 0;
}

/**
 * Calls @part for parts that it does not refuse for being several mappings: halves one that is refused, and tries twice
 * as much after one that is taken. @return 0 or the first other error, which for a single page is any.
 */
static int each_part(struct fill *fill, int (*part)(struct fill *fill, uint64_t offset, uint64_t length))
{
	uint64_t length = fill->length;

	for (uint64_t offset = 0; offset < fill->length;) {
		int r;

		if (length > fill->length - offset)
			length = fill->length - offset;
		r = part(fill, offset, length);
		if (r == -fill->kind->error && length > PAGE_BYTES) {
			length = length / 2 & ~(PAGE_BYTES - 1);
		} else if (r < 0) {
			return r;
		} else {
			offset += length;
			length *= 2;
		}
	}
	return 0;
}

/** @return a page that nobody can read, which stays; 0 without room for it. */
static uint64_t unreadable_page(void)
{
	static _Atomic uint64_t kept;
	uint64_t page = atomic_load(&kept);
	long fresh;

	if (page != 0)
		return page;
	fresh = own_map(PAGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (sys_is_error(fresh))
		return 0;
	if (atomic_compare_exchange_strong(&kept, &page, (uint64_t)fresh))
		return (uint64_t)fresh;
	sys_munmap((uint64_t)fresh, PAGE_BYTES);
	return page;
}

/** Whether all that is to be filled is under a userfaultfd: the kernel fills nothing else, and says so before. */
static bool can_be_filled(struct fill *fill)
{
	fill->unreadable = unreadable_page();
	return fill->unreadable != 0 && each_part(fill, try_part) == 0;
}

/** Whether memory is mapped everywhere in a range. */
static bool is_mapped(uint64_t start, uint64_t length)
{
	unsigned char present[1024];

	for (uint64_t done = 0, part; done < length; done += part) {
		part = length - done < sizeof(present) * PAGE_BYTES ? length - done : sizeof(present) * PAGE_BYTES;
		if (sys_raw(SYS_mincore, (long)(start + done), (long)part, (long)present, 0, 0, 0) != 0)
			return false;
	}
	return true;
}

/** @return as ioctl(); its result is in the argument. */
static int fill_in_parts(struct fill *fill)
{
	void *argument = fill->call->argument;
	int r = each_part(fill, fill_part);

	if (r == 0 || fill->done > 0) {
		set(argument, fill->kind->result_at, fill->done);
		errno = r == 0 ? errno : EAGAIN;
		return r == 0 ? 0 : -1;
	}
	set(argument, fill->kind->result_at, (uint64_t)r);
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
	int saved = errno, result = ioctl_real(call, call->argument), error = errno;
	struct fill fill = { .kind = kind_of(call->request), .call = call };
	const void *argument = call->argument;

	if (result >= 0 || fill.kind == NULL || error != fill.kind->error || !forward_ready)
		return result;
	if (!readable(argument, fill.kind->result_at + sizeof(uint64_t))) /* it is no userfaultfd */
		return result;
	fill.to = get(argument, 0);
	fill.length = get(argument, fill.kind->length_at);
	fill.from = fill.kind->takes || fill.kind->copies ? get(argument, SOURCE_AT) : fill.to;
	/* The kernel has told the error there, too, or else it is another one. */
	if ((int64_t)get(argument, fill.kind->result_at) != -fill.kind->error || fill.length <= PAGE_BYTES ||
	    change_length((void *)fill.to, fill.length) != fill.length)
		return result;
	if (!memory_is_ours((void *)fill.to, fill.length) &&
	    !(fill.kind->takes && memory_is_ours((void *)fill.from, fill.length)))
		return result;
	if (!visit_begin())
		return result;
	if ((!fill.kind->takes || is_mapped(fill.from, fill.length)) && can_be_filled(&fill)) {
		result = fill_in_parts(&fill);
		error = result == 0 ? saved : errno;
	}
	errno = error;
	visit_end();
	return result;
}
