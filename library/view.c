/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/view.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "common/page.h"
#include "library/sys.h"

static struct segment {
	const char *base; /* read-only mapping; NULL: not known */
	uint32_t slots;
	int fd;
} segments[VIEW_SEGMENTS_MAX];

static void fd_close(int fd)
{
	sys_raw(SYS_close, fd, 0, 0, 0, 0, 0);
}

/** A file that is shorter than it claims would kill the VMM by SIGBUS: check what the kernel says of it. */
static int check_size(int fd, uint64_t bytes)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -EBADF;
	return S_ISREG(st.st_mode) && (uint64_t)st.st_size >= bytes ? 0 : -EINVAL;
}

int view_add(uint32_t segment, uint32_t slots, int fd)
{
	uint64_t bytes = slots * PAGE_BYTES;
	long base;
	int r = 0;

	if (segment >= VIEW_SEGMENTS_MAX || slots == 0 || slots > VIEW_SEGMENT_SLOTS)
		r = -EINVAL;
	else if (segments[segment].base != NULL)
		r = -EEXIST;
	else
		r = check_size(fd, bytes);
	if (r == 0) {
		base = sys_mmap(0, bytes, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
		r = sys_is_error(base) ? (int)base : 0;
	}
	if (r < 0) {
		fd_close(fd);
		return r;
	}
	sys_madvise((uint64_t)base, bytes, MADV_DONTFORK);
	sys_madvise((uint64_t)base, bytes, MADV_DONTDUMP);
	segments[segment] = (struct segment){ .base = (const char *)base, .slots = slots, .fd = fd };
	return 0;
}

void view_remove(uint32_t segment)
{
	struct segment *s;

	if (segment >= VIEW_SEGMENTS_MAX || segments[segment].base == NULL)
		return;
	s = &segments[segment];
	sys_munmap((uint64_t)s->base, s->slots * PAGE_BYTES);
	fd_close(s->fd);
	*s = (struct segment){ .fd = -1 };
}

void view_remove_all(void)
{
	for (uint32_t i = 0; i < VIEW_SEGMENTS_MAX; i++)
		view_remove(i);
}

static const struct segment *segment_of(uint32_t slot)
{
	const struct segment *s =
		slot / VIEW_SEGMENT_SLOTS < VIEW_SEGMENTS_MAX ? &segments[slot / VIEW_SEGMENT_SLOTS] : NULL;

	return s != NULL && s->base != NULL && slot % VIEW_SEGMENT_SLOTS < s->slots ? s : NULL;
}

const void *view_slot(uint32_t slot)
{
	const struct segment *s = segment_of(slot);

	return s != NULL ? s->base + slot % VIEW_SEGMENT_SLOTS * PAGE_BYTES : NULL;
}

int view_place(uint32_t slot, int *ret_fd, uint64_t *ret_offset)
{
	const struct segment *s = segment_of(slot);

	if (s == NULL)
		return -ENOENT;
	*ret_fd = s->fd;
	*ret_offset = slot % VIEW_SEGMENT_SLOTS * PAGE_BYTES;
	return 0;
}
