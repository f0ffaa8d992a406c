/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The public functions: thin wrappers around the code that also serves the preload. */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include "include/pagefuse.h"
#include "library/announce.h"
#include "library/guest-memory.h"
#include "library/hold.h"
#include "library/memory.h"
#include "library/options.h"
#include "library/orders.h"
#include "library/refusals.h"
#include "library/region.h"
#include "library/sys.h"
#include "library/visits.h"
#include "library/worker.h"

/* The size of the structures in the first release. */
#define OPTIONS_LEAST (offsetof(struct pagefuse_options, mode) + sizeof(enum pagefuse_mode))
#define STATS_LEAST (offsetof(struct pagefuse_stats, connected) + sizeof(int))
#define GPA_END (WIRE_GFN_END * PAGE_BYTES)
#define STRUCTURE_MAX 4096u /* of any future release */

/** Copies the caller's @from, of its own size, to @ret. @return 0, -EINVAL, or -E2BIG if it sets unknown members. */
static int take_options(const struct pagefuse_options *from, struct pagefuse_options *ret)
{
	const char *bytes = (const char *)from;

	if (from == NULL || from->size < OPTIONS_LEAST)
		return -EINVAL;
	if (from->size > STRUCTURE_MAX)
		return -E2BIG;
	for (size_t i = sizeof(*ret); i < from->size; i++)
		if (bytes[i] != 0)
			return -E2BIG;
	memset(ret, 0, sizeof(*ret));
	memcpy(ret, from, from->size < sizeof(*ret) ? from->size : sizeof(*ret));
	return 0;
}

int pagefuse_configure(const struct pagefuse_options *callers)
{
	struct pagefuse_options taken, *wanted = &taken;
	int r;

	if (memory_in_use())
		return -EBUSY;
	r = take_options(callers, wanted);
	if (r < 0)
		return r;
	if (wanted->mode > PAGEFUSE_MODE_HINTS)
		return -EINVAL;
	if (wanted->name != NULL) {
		if (strlen(wanted->name) >= sizeof(options.name))
			return -ENAMETOOLONG;
		for (const char *c = wanted->name; *c != 0; c++)
			if (*c <= ' ' || *c > '~')
				return -EINVAL;
	}
	if (wanted->socket_path != NULL && strlen(wanted->socket_path) >= sizeof(options.socket_path))
		return -ENAMETOOLONG;
	strcpy(options.name, wanted->name != NULL ? wanted->name : "");
	strcpy(options.socket_path, wanted->socket_path != NULL ? wanted->socket_path : "");
	options.mode = (enum wire_mode)wanted->mode;
	return 0;
}

int pagefuse_add_ram(uint64_t gpa, void *hva, size_t length)
{
	int r;

	if ((uint64_t)hva % PAGE_BYTES != 0 || length % PAGE_BYTES != 0 || length == 0 || hva == NULL)
		return -EINVAL;
	if (gpa != PAGEFUSE_GPA_UNKNOWN &&
	    (gpa % PAGE_BYTES != 0 || gpa >= GPA_END || length > GPA_END - gpa))
		return -EINVAL;
	if (memory_is_ours(hva, length))
		return -EEXIST;
	r = memory_register(hva, length);
	if (r >= 0 && gpa != PAGEFUSE_GPA_UNKNOWN)
		guest_memory_note_ram(gpa, hva, length);
	return r < 0 ? r : 0;
}

/** Whether a region has exactly this range. Memory lock held. */
static bool is_region(uint64_t start, uint64_t length)
{
	for (unsigned i = 0; i < REGIONS_MAX; i++) {
		const struct region *region = region_at(i);

		if (region != NULL && !region->leaving && region->start == start &&
		    region->pages * PAGE_BYTES == length)
			return true;
	}
	return false;
}

int pagefuse_remove_ram(void *hva, size_t length)
{
	bool known, refused;
	int r;

	if (!visit_begin())
		return memory_is_ours(hva, length) ? -ENOMEM : -ENOENT;
	memory_lock();
	known = is_region((uint64_t)hva, length);
	refused = !known && refusals_overlap((uint64_t)hva, length);
	if (refused)
		refusals_forget((uint64_t)hva, length);
	memory_unlock();
	if (refused)
		worker_wake();
	visit_end();
	if (!known)
		return refused ? 0 : -ENOENT;
	/* As for mremap: anonymous memory of the same content replaces the shared pages, and the region ends. */
	r = memory_change_begin(CHANGE_MOVE, hva, length, 0);
	if (r == 0)
		memory_change_end(CHANGE_MOVE, hva, length, 0, true);
	if (r == 0)
		guest_memory_forget_ram(hva);
	return r;
}

int pagefuse_discard(void *hva, size_t length)
{
	int r;

	if ((uint64_t)hva % PAGE_BYTES != 0 || length > SIZE_MAX - PAGE_BYTES - (size_t)hva)
		return -EINVAL;
	r = memory_change_begin(CHANGE_DISCARD, hva, length, MADV_DONTNEED);
	if (r != 0)
		return r < 0 ? r : 0;
	r = sys_madvise((uint64_t)hva, length, MADV_DONTNEED);
	memory_change_end(CHANGE_DISCARD, hva, length, MADV_DONTNEED, r == 0);
	return r;
}

void pagefuse_before_read(const void *hva, size_t length)
{
	memory_before_read(hva, length);
	memory_note_read(hva, length, NOTE_SUBMITTED, -1);
}

void pagefuse_hint(const void *hva, size_t length)
{
	memory_note_read(hva, length, NOTE_READ, -1);
}

void pagefuse_note_file(int fd)
{
	memory_note_file(fd, false);
}

int pagefuse_pause(void)
{
	orders_pause();
	return 0;
}

int pagefuse_resume(void)
{
	orders_resume();
	return 0;
}

int pagefuse_get_stats(struct pagefuse_stats *callers)
{
	struct pagefuse_stats stats;
	uint64_t holds;

	if (callers == NULL || callers->size < STATS_LEAST)
		return -EINVAL;
	stats = (struct pagefuse_stats){
		.size = callers->size < sizeof(stats) ? callers->size : sizeof(stats),
		.ram_pages = region_totals.pages,
		.shared_pages = region_totals.shared,
		.zero_pages = region_totals.zeroed,
		.diverged_pages = region_totals.diverged,
		.busy_pages = hold_busy_pages,
		.refused_bytes = announce_refused_bytes(),
		.worker_cpu_nsec = worker_cpu_nsec(),
		.connected = worker_is_connected(),
	};
	hold_times(&holds, &stats.hold_p50_usec, &stats.hold_p99_usec, &stats.hold_max_usec);
	memcpy(callers, &stats, stats.size);
	return 0;
}

const char *pagefuse_version(void)
{
	return PAGEFUSE_VERSION;
}
