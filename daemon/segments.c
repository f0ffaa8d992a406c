/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/segments.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/log.h"

struct segment {
	int fd;
	uint32_t live_slots;
	uint64_t live[ENGINE_SEGMENT_SLOTS / 64];
};

static uint32_t index_of(uint32_t slot)
{
	return slot % ENGINE_SEGMENT_SLOTS;
}

static bool is_live(const struct segment *segment, uint32_t index)
{
	return segment->live[index / 64] >> (index % 64) & 1;
}

static void set_live(struct segments *segments, struct segment *segment, uint32_t index, bool live)
{
	uint64_t bit = UINT64_C(1) << (index % 64);

	if (is_live(segment, index) == live)
		return;
	segment->live[index / 64] ^= bit;
	segment->live_slots += live ? 1 : -1u;
	segments->live_slots += live ? 1 : UINT64_MAX;
}

static uint64_t used_pages(const struct segment *segment)
{
	struct stat st;

	return fstat(segment->fd, &st) < 0 ? 0 : (uint64_t)st.st_blocks * 512 / PAGE_BYTES;
}

void segments_done(struct segments *segments)
{
	for (uint32_t i = 0; i < ENGINE_SEGMENTS_MAX; i++)
		if (segments->table[i])
			segments_remove(segments, i);
}

/*
 * Which of the slots with memory are still read is for the engine to find out; it punches the others then. What has
 * none holds nothing that anybody was told of.
 */
static int find_live(struct segments *segments, struct segment *segment)
{
	off_t data = 0, hole;

	while ((data = lseek(segment->fd, data, SEEK_DATA)) >= 0) {
		hole = lseek(segment->fd, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		for (; data < hole; data += (off_t)PAGE_BYTES)
			set_live(segments, segment, (uint32_t)((uint64_t)data / PAGE_BYTES), true);
	}
	return errno == ENXIO ? 0 : -errno; /* there is no more */
}

int segments_add(struct segments *segments, uint32_t number, int fd, bool old)
{
	struct segment *segment = calloc(1, sizeof(*segment));
	int r;

	assert(number < ENGINE_SEGMENTS_MAX && segments->table[number] == NULL);
	if (segment == NULL) {
		close(fd);
		return -ENOMEM;
	}
	segment->fd = fd;
	segments->table[number] = segment;
	r = old ? find_live(segments, segment) : 0;
	if (r < 0)
		segments_remove(segments, number);
	return r;
}

void segments_remove(struct segments *segments, uint32_t number)
{
	segments->live_slots -= segments->table[number]->live_slots;
	close(segments->table[number]->fd);
	free(segments->table[number]);
	segments->table[number] = NULL;
}

bool segments_has(const struct segments *segments, uint32_t number)
{
	return number < ENGINE_SEGMENTS_MAX && segments->table[number] != NULL;
}

int segments_fd(const struct segments *segments, uint32_t number)
{
	assert(segments_has(segments, number));
	return segments->table[number]->fd;
}

int segments_write(struct segments *segments, uint32_t slot, const void *content)
{
	struct segment *segment = segments->table[slot / ENGINE_SEGMENT_SLOTS];
	ssize_t written = pwrite(segment->fd, content, PAGE_BYTES, (off_t)(index_of(slot) * PAGE_BYTES));

	if (written < 0)
		return -errno;
	set_live(segments, segment, index_of(slot), true);
	return written == (ssize_t)PAGE_BYTES ? 0 : -EIO;
}

int segments_read(struct segments *segments, uint32_t slot, void *ret_content)
{
	const struct segment *segment = segments->table[slot / ENGINE_SEGMENT_SLOTS];
	ssize_t got = pread(segment->fd, ret_content, PAGE_BYTES, (off_t)(index_of(slot) * PAGE_BYTES));

	if (got < 0)
		return -errno;
	return got == (ssize_t)PAGE_BYTES ? 0 : -EIO;
}

static int punch(const struct segment *segment, uint32_t index, uint32_t count)
{
	off_t offset = (off_t)(index * PAGE_BYTES), length = (off_t)(count * PAGE_BYTES);

	return fallocate(segment->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length) < 0 ? -errno : 0;
}

void segments_punch(struct segments *segments, uint32_t slot, uint32_t count)
{
	struct segment *segment = segments->table[slot / ENGINE_SEGMENT_SLOTS];
	uint32_t index = index_of(slot);
	int r;

	assert(segment != NULL && count <= ENGINE_SEGMENT_SLOTS - index);
	for (uint32_t i = 0; i < count; i++)
		set_live(segments, segment, index + i, false);
	r = punch(segment, index, count);
	if (r < 0) /* the next recheck sees the difference and does it again */
		log_warning("cannot free %u slots of the store from slot %u on, trying again later: %s", count, slot,
			    strerror(-r));
}

/* The run of dead slots from @first on, as far as is freed at once; empty if @first is live. */
static uint32_t dead_end(const struct segment *segment, uint32_t first, uint32_t most)
{
	uint32_t end = first;

	while (end < ENGINE_SEGMENT_SLOTS && end - first < most && !is_live(segment, end))
		end++;
	return end;
}

/* From slot @slot on. @return where it stopped. */
static uint32_t punch_dead(const struct segment *segment, uint32_t slot)
{
	uint32_t punches = 0, left = SEGMENTS_PUNCHED_SLOTS;

	while (slot < ENGINE_SEGMENT_SLOTS && punches < SEGMENTS_PUNCHES && left > 0) {
		uint32_t end = dead_end(segment, slot, left);

		if (end > slot) {
			(void)punch(segment, slot, end - slot);
			punches++;
			left -= end - slot;
		} else {
			end = slot + 1;
		}
		slot = end;
	}
	return slot;
}

/* Moves @slot on. @return whether there was something to be freed; how many pages were is added to *@freed. */
static bool recheck(const struct segment *segment, uint32_t *slot, uint64_t *freed)
{
	uint64_t before = used_pages(segment), after;

	if (before <= segment->live_slots) {
		*slot = ENGINE_SEGMENT_SLOTS;
		return false;
	}
	*slot = punch_dead(segment, *slot);
	after = used_pages(segment);
	*freed += before > after ? before - after : 0;
	return true;
}

uint64_t segments_recheck(struct segments *segments, struct segments_cursor *cursor)
{
	uint64_t freed = 0;
	bool punched = false;

	for (uint32_t looks = 0; cursor->segment < ENGINE_SEGMENTS_MAX && looks < SEGMENTS_LOOKED_AT && !punched;) {
		const struct segment *segment = segments->table[cursor->segment];

		if (segment) {
			looks++;
			punched = recheck(segment, &cursor->slot, &freed);
			if (cursor->slot < ENGINE_SEGMENT_SLOTS)
				break;
		}
		cursor->segment++;
		cursor->slot = 0;
	}
	return freed;
}

uint64_t segments_used_bytes(const struct segments *segments)
{
	uint64_t pages = 0;

	for (uint32_t i = 0; i < ENGINE_SEGMENTS_MAX; i++)
		if (segments->table[i])
			pages += used_pages(segments->table[i]);
	return pages * PAGE_BYTES;
}
