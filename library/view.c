/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/view.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "common/page.h"
#include "library/own.h"
#include "library/protections.h"
#include "library/sys.h"

static struct segment {
	uint32_t slots; /* 0: not known, and there is no descriptor */
	struct descriptor *file;
	const char *base; /* read-only mapping; NULL: not needed lately, or there has been no room for it */
	bool used;        /* since the last view_rest() */
} segments[VIEW_SEGMENTS_MAX];
static uint32_t segments_end; /* all that were ever known are below */
static unsigned hidden;       /* view_hide() calls without their view_show() */

/** A file that is shorter than it claims would kill the VMM by SIGBUS: check what the kernel says of it. */
static int check_size(const struct descriptor *file, uint64_t bytes)
{
	struct stat st = { 0 };

	if (!descriptor_is_there(file) || sys_raw(SYS_fstat, descriptor_number(file), (long)&st, 0, 0, 0, 0) < 0)
		return -EBADF;
	return S_ISREG(st.st_mode) && (uint64_t)st.st_size >= bytes ? 0 : -EINVAL;
}

/** Maps a segment, or tries to: a mapping that cannot be had now may be had at the next order. */
static void map(struct segment *s)
{
	uint64_t bytes = s->slots * PAGE_BYTES;
	long base = hidden > 0 ? -EAGAIN
			       : own_map(bytes, PROT_READ, MAP_SHARED | MAP_NORESERVE, descriptor_number(s->file));

	if (sys_is_error(base))
		return;
	if (!descriptor_is_there(s->file)) {
		sys_munmap((uint64_t)base, bytes);
		return;
	}
	sys_madvise((uint64_t)base, bytes, MADV_DONTFORK);
	sys_madvise((uint64_t)base, bytes, MADV_DONTDUMP);
	s->base = (const char *)base;
}

static void unmap(struct segment *s)
{
	if (s->base != NULL)
		sys_munmap((uint64_t)s->base, s->slots * PAGE_BYTES);
	s->base = NULL;
}

int view_add(uint32_t segment, uint32_t slots, struct descriptor *file)
{
	int r;

	if (segment >= VIEW_SEGMENTS_MAX || slots == 0 || slots > VIEW_SEGMENT_SLOTS)
		r = -EINVAL;
	else if (segments[segment].slots != 0)
		r = -EEXIST;
	else
		r = check_size(file, slots * PAGE_BYTES);
	if (r < 0) {
		descriptor_close(&file);
		return r;
	}
	segments[segment] = (struct segment){ .slots = slots, .file = file };
	if (segment >= segments_end)
		segments_end = segment + 1;
	return 0;
}

void view_remove(uint32_t segment)
{
	struct segment *s;

	if (segment >= VIEW_SEGMENTS_MAX || segments[segment].slots == 0)
		return;
	s = &segments[segment];
	unmap(s);
	descriptor_close(&s->file);
	*s = (struct segment){ 0 };
}

void view_forget(void)
{
	for (uint32_t i = 0; i < segments_end; i++) {
		descriptor_close(&segments[i].file);
		segments[i] = (struct segment){ 0 };
	}
	hidden = 0;
}

void view_hide(void)
{
	for (uint32_t i = 0; i < segments_end && PROTECTED(PROTECT_OWN_UNLOCKED); i++)
		unmap(&segments[i]);
	hidden++;
}

void view_show(void)
{
	hidden--;
}

void view_rest(void)
{
	for (uint32_t i = 0; i < segments_end; i++) {
		if (!segments[i].used)
			unmap(&segments[i]);
		segments[i].used = false;
	}
}

void view_remove_all(void)
{
	for (uint32_t i = 0; i < segments_end; i++)
		view_remove(i);
}

static const struct segment *segment_of(uint32_t slot)
{
	struct segment *s = slot / VIEW_SEGMENT_SLOTS < VIEW_SEGMENTS_MAX ? &segments[slot / VIEW_SEGMENT_SLOTS] : NULL;

	if (s == NULL || slot % VIEW_SEGMENT_SLOTS >= s->slots)
		return NULL;
	if (s->base == NULL)
		map(s);
	s->used = true;
	return s->base != NULL ? s : NULL;
}

const void *view_slot(uint32_t slot)
{
	const struct segment *s = segment_of(slot);

	return s != NULL ? s->base + slot % VIEW_SEGMENT_SLOTS * PAGE_BYTES : NULL;
}

int view_place(uint32_t slot, const struct descriptor **ret_file, uint64_t *ret_offset)
{
	const struct segment *s = segment_of(slot);

	if (s == NULL || !descriptor_is_there(s->file))
		return -ENOENT;
	*ret_file = s->file;
	*ret_offset = slot % VIEW_SEGMENT_SLOTS * PAGE_BYTES;
	return 0;
}
