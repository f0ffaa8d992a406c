/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Slots that are compared are mostly close to each other: pages are shared in runs, and neighbours in the guest become
 * neighbours in the store. So contents are compared in windows, which cost no copy; but a window is mapped only when
 * enough of it was wanted lately to pay for it. Until then, and for scattered slots, contents are read.
 */
#include "library/view.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "common/page.h"
#include "library/hold.h"
#include "library/mappings.h"
#include "library/own.h"
#include "library/protections.h"
#include "library/sys.h"

#define WINDOW_BYTES (VIEW_WINDOW_SLOTS * PAGE_BYTES)
#define WINDOW_PAYS_SLOTS 16u
#define MISSED_MAX 16u

static struct segment {
	uint32_t number, slots; /* slots 0: none, and there is no descriptor */
	struct descriptor *file;
	uint64_t used; /* last use, as counted by `uses` */
	uint64_t read; /* the last batch that has read from it */
} segments[VIEW_FDS_MAX];
static uint64_t uses;

static struct window {
	const char *base; /* read-only mapping; NULL: none */
	uint32_t number;  /* slots [number * VIEW_WINDOW_SLOTS, ...) */
	uint64_t batch;   /* the last batch that has looked at it */
	bool used;        /* since the last view_rest() */
} windows[VIEW_WINDOWS_MAX];
static uint64_t batch = 1; /* of view_begin() */
static unsigned hidden;    /* view_hide() calls without their view_show() */

static struct {
	uint32_t number, slots; /* read from a window that is not mapped */
} missed[MISSED_MAX];           /* by number, the last one of each remainder */

/* ---- descriptors ---- */

static struct segment *find(uint32_t number)
{
	for (unsigned i = 0; i < VIEW_FDS_MAX; i++)
		if (segments[i].slots != 0 && segments[i].number == number)
			return &segments[i];
	return NULL;
}

static void drop(struct segment *s)
{
	descriptor_close(&s->file);
	*s = (struct segment){ 0 };
}

/** A place for one more: a free one, or that of the least recently used segment. */
static struct segment *make_room(void)
{
	struct segment *oldest = &segments[0];

	for (unsigned i = 0; i < VIEW_FDS_MAX; i++) {
		if (segments[i].slots == 0)
			return &segments[i];
		if (segments[i].used < oldest->used)
			oldest = &segments[i];
	}
	drop(oldest);
	return oldest;
}

/** A file that is shorter than announced would kill the VMM by SIGBUS: check the kernel's size of it. */
static int check_size(const struct descriptor *file, uint64_t bytes)
{
	struct stat st = { 0 };

	if (!descriptor_is_there(file) || sys_raw(SYS_fstat, descriptor_number(file), (long)&st, 0, 0, 0, 0) < 0)
		return -EBADF;
	return S_ISREG(st.st_mode) && (uint64_t)st.st_size >= bytes ? 0 : -EINVAL;
}

int view_add(uint32_t segment, uint32_t slots, struct descriptor *file)
{
	int r;

	if (segment >= VIEW_SEGMENTS_MAX || slots == 0 || slots > VIEW_SEGMENT_SLOTS)
		r = -EINVAL;
	else if (find(segment) != NULL)
		r = -EEXIST;
	else
		r = check_size(file, slots * PAGE_BYTES);
	if (r < 0) {
		descriptor_close(&file);
		return r;
	}
	*make_room() = (struct segment){ .number = segment, .slots = slots, .file = file, .used = ++uses };
	return 0;
}

static void unmap(struct window *window)
{
	if (window->base != NULL)
		sys_munmap((uint64_t)window->base, WINDOW_BYTES);
	*window = (struct window){ 0 };
}

static void unmap_all(void)
{
	for (unsigned i = 0; i < VIEW_WINDOWS_MAX; i++)
		unmap(&windows[i]);
}

void view_remove(uint32_t segment)
{
	struct segment *s = find(segment);

	for (unsigned i = 0; i < VIEW_WINDOWS_MAX; i++)
		if (windows[i].number / (VIEW_SEGMENT_SLOTS / VIEW_WINDOW_SLOTS) == segment)
			unmap(&windows[i]);
	if (s != NULL)
		drop(s);
}

void view_remove_all(void)
{
	unmap_all();
	for (unsigned i = 0; i < VIEW_FDS_MAX; i++)
		drop(&segments[i]);
}

void view_forget(void)
{
	for (unsigned i = 0; i < VIEW_WINDOWS_MAX; i++)
		windows[i] = (struct window){ 0 };
	for (unsigned i = 0; i < VIEW_FDS_MAX; i++)
		drop(&segments[i]);
	hidden = 0;
}

void view_hide(void)
{
	if (PROTECTED(PROTECT_OWN_UNLOCKED))
		unmap_all();
	hidden++;
}

void view_show(void)
{
	hidden--;
}

void view_rest(void)
{
	for (unsigned i = 0; i < VIEW_WINDOWS_MAX; i++) {
		if (!windows[i].used)
			unmap(&windows[i]);
		windows[i].used = false;
	}
}

static struct segment *segment_of(uint32_t slot)
{
	struct segment *s = find(slot / VIEW_SEGMENT_SLOTS);

	if (s == NULL || slot % VIEW_SEGMENT_SLOTS >= s->slots)
		return NULL;
	s->used = ++uses;
	return s;
}

bool view_has(uint32_t slot, uint32_t count)
{
	uint32_t last = slot + (count - 1);

	return last >= slot && segment_of(slot) != NULL && segment_of(last) != NULL;
}

/* ---- content ---- */

void view_begin(void)
{
	batch++;
	if (own_addresses_are_limited())
		unmap_all();
}

/** Tries to map a window, but not in place of one that this batch has looked at. */
static struct window *map(const struct segment *s, uint32_t number)
{
	uint64_t offset = number * WINDOW_BYTES % (VIEW_SEGMENT_SLOTS * PAGE_BYTES);
	struct window *oldest = &windows[0];
	bool one_more;
	long base;

	for (unsigned i = 1; i < VIEW_WINDOWS_MAX; i++)
		if (windows[i].batch < oldest->batch)
			oldest = &windows[i];
	one_more = oldest->base == NULL;
	if (oldest->batch == batch || hidden > 0 || own_addresses_are_limited() || !mappings_allow(VIEW_WINDOW_SLOTS))
		return NULL;
	unmap(oldest);
	base = own_map(WINDOW_BYTES, PROT_READ, MAP_SHARED | MAP_NORESERVE, descriptor_number(s->file), offset);
	if (sys_is_error(base))
		return NULL;
	if (!descriptor_is_there(s->file)) {
		sys_munmap((uint64_t)base, WINDOW_BYTES);
		return NULL;
	}
	atomic_fetch_add_explicit(&hold_new_mappings, one_more, memory_order_relaxed);
	sys_madvise((uint64_t)base, WINDOW_BYTES, MADV_DONTFORK);
	sys_madvise((uint64_t)base, WINDOW_BYTES, MADV_DONTDUMP);
	*oldest = (struct window){ .base = (const char *)base, .number = number };
	return oldest;
}

/** The window that has the slot, if there is one, or if it is worth mapping now. @count: slots wanted. */
static struct window *window_of(const struct segment *s, uint32_t slot, unsigned count)
{
	uint32_t number = slot / VIEW_WINDOW_SLOTS, i = number % MISSED_MAX;

	for (unsigned w = 0; w < VIEW_WINDOWS_MAX; w++)
		if (windows[w].base != NULL && windows[w].number == number)
			return &windows[w];
	if (missed[i].number != number)
		missed[i].slots = 0;
	missed[i].number = number;
	missed[i].slots += count;
	/* Reading a window beyond the end of its file would raise SIGBUS. */
	if (missed[i].slots < WINDOW_PAYS_SLOTS || s->slots < VIEW_SEGMENT_SLOTS)
		return NULL;
	missed[i].slots = 0;
	return map(s, number);
}

unsigned view_content(uint32_t slot, unsigned count, void *buffer, const void **ret_content)
{
	uint32_t within = slot % VIEW_WINDOW_SLOTS;
	struct segment *s = segment_of(slot);
	struct window *window;
	long wanted, got;

	if (s == NULL)
		return 0;
	count = count < VIEW_WINDOW_SLOTS - within ? count : VIEW_WINDOW_SLOTS - within;
	count = count < s->slots - slot % VIEW_SEGMENT_SLOTS ? count : s->slots - slot % VIEW_SEGMENT_SLOTS;
	window = window_of(s, slot, count);
	if (window != NULL) {
		window->batch = batch;
		window->used = true;
		*ret_content = window->base + within * PAGE_BYTES;
		return count;
	}
	if (s->read != batch && !descriptor_is_there(s->file))
		return 0;
	s->read = batch;
	wanted = (long)(count * PAGE_BYTES);
	got = sys_call(SYS_pread64, descriptor_number(s->file), (long)buffer, wanted,
		       (long)(slot % VIEW_SEGMENT_SLOTS * PAGE_BYTES), 0, 0);
	*ret_content = buffer;
	return got == wanted ? count : 0;
}

bool view_is_true(void)
{
	for (unsigned i = 0; i < VIEW_FDS_MAX; i++)
		if (segments[i].slots != 0 && segments[i].read == batch && !descriptor_is_there(segments[i].file))
			return false;
	return true;
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
