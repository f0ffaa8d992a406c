/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/mappings.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "library/descriptors.h"
#include "library/hold.h"
#include "library/kernel.h"
#include "library/lock.h"
#include "library/protections.h"
#include "library/region.h"
#include "library/sys.h"
#include "protocol/wire.h"

#define LIMIT_DEFAULT 65530
#define NSEC_PER_SEC UINT64_C(1000000000)
#define RECOUNT_SECONDS 5
#define RECOUNT_SECONDS_AT_LIMIT 1
#define OUTSIDE_PART 4 /* of all mappings: if more than this part is outside of regions, all are counted */
#define OUTSIDE_AT_LEAST 1024
#define UNKNOWN UINT64_MAX
#define QUERIES_AT_ONCE 32 /* a third of a microsecond each, with the lock held */
#define RECOUNT_REST 100   /* refusals alone justify a new count after so many times the duration of a count */

static _Atomic uint64_t counted, limit = LIMIT_DEFAULT;
static _Atomic bool refused; /* a mapping, since the last count */
/* Worker thread only. */
static time_t counted_sec;
static uint64_t counted_discards, counting_nsec;
static struct {
	uint64_t mappings; /* outside of regions, or UNKNOWN */
	uint32_t regions;  /* region_pages_given() at that time */
	uint64_t guessed;  /* how many of those added by merges were not counted; 0 if all were counted */
} outside;                 /* as of the last count */

/* ---- reading lines without the heap ---- */

struct lines {
	struct descriptor *file;
	uint64_t offset;
	size_t filled, at;
	char buffer[4096];
};

static int lines_open(struct lines *lines, const char *path)
{
	lines->filled = lines->at = lines->offset = 0;
	return descriptor_open_passing(path, 0, &lines->file);
}

static void lines_close(struct lines *lines)
{
	descriptor_close(&lines->file);
}

/** @return the next line, zero terminated, cut if it is longer than the buffer; NULL at the end. */
static char *lines_next(struct lines *lines)
{
	for (;;) {
		char *start = lines->buffer + lines->at;
		char *end = memchr(start, '\n', lines->filled - lines->at);
		long got;

		if (end != NULL) {
			*end = 0;
			lines->at = (size_t)(end - lines->buffer) + 1;
			return start;
		}
		memmove(lines->buffer, start, lines->filled - lines->at);
		lines->filled -= lines->at;
		lines->at = 0;
		if (lines->filled == sizeof(lines->buffer) - 1)
			lines->filled = 0; /* no line of these files is that long */
		got = descriptor_read(lines->file, lines->buffer + lines->filled,
				      sizeof(lines->buffer) - 1 - lines->filled, lines->offset);
		if (got <= 0)
			return NULL;
		lines->filled += (size_t)got;
		lines->offset += (uint64_t)got;
	}
}

/* ---- the kind of a range ---- */

struct mapping {
	uint64_t start, end, offset, inode;
	char perms[5];
};

/** Parses "start-end perms offset device inode path". @return whether the line has this form. */
static bool parse_header(const char *line, struct mapping *ret)
{
	char *at;

	ret->start = strtoull(line, &at, 16);
	if (at == line || *at != '-')
		return false;
	ret->end = strtoull(at + 1, &at, 16);
	if (*at != ' ' || strlen(at) < 6)
		return false;
	memcpy(ret->perms, at + 1, 4);
	ret->perms[4] = 0;
	ret->offset = strtoull(at + 6, &at, 16);
	at = strchr(at, ' ');                 /* before the device */
	at = at ? strchr(at + 1, ' ') : NULL; /* past it */
	if (at == NULL)
		return false;
	ret->inode = strtoull(at + 1, NULL, 10);
	return true;
}

static int judge_header(const struct mapping *mapping)
{
	if (mapping->perms[3] != 'p')
		return WIRE_REASON_SHARED_MAPPING;
	return mapping->inode != 0 ? WIRE_REASON_FILE_BACKED : 0;
}

static void judge_huge_advice(const char *flags, struct mapping_kind *kind)
{
	int advice = strstr(flags, " hg") != NULL ? MADV_HUGEPAGE : strstr(flags, " nh") != NULL ? MADV_NOHUGEPAGE
												 : 0;

	kind->huge_differs |= kind->inspected && advice != kind->huge_advice;
	kind->huge_advice = advice != 0 ? advice : kind->huge_advice;
	kind->inspected = true;
}

static int judge_flags(const char *flags, struct mapping_kind *kind)
{
	kind->dont_fork |= strstr(flags, " dc") != NULL;
	kind->dont_dump |= strstr(flags, " dd") != NULL;
	kind->no_reserve |= strstr(flags, " nr") != NULL;
	kind->mergeable &= strstr(flags, " mg") != NULL;
	judge_huge_advice(flags, kind);
	if (strstr(flags, " lo") != NULL)
		return WIRE_REASON_LOCKED;
	if (strstr(flags, " um") != NULL || strstr(flags, " uw") != NULL || strstr(flags, " ui") != NULL)
		return WIRE_REASON_VMM_USERFAULTFD;
	/* Wiped on fork, sealed, with memory tags, or growing by itself. */
	if (strstr(flags, " wf") != NULL || strstr(flags, " sl") != NULL || strstr(flags, " mt") != NULL ||
	    strstr(flags, " gd") != NULL)
		return WIRE_REASON_ATTRIBUTE;
	return 0;
}

/** A mapping of the store would not have a protection key other than the default one. */
static int judge_key(const char *key)
{
	return strtoul(key, NULL, 10) != 0 ? WIRE_REASON_ATTRIBUTE : 0;
}

bool mappings_has_policy(int mode)
{
	mode &= ~MPOL_MODE_FLAGS;
	return mode != MPOL_DEFAULT && mode != MPOL_LOCAL;
}

/**
 * The kernel places copies of the store's pages by a policy that belongs to the store's file, not to the mapping. A
 * kernel without NUMA does not have the call.
 */
static int judge_policy(uint64_t address)
{
	int mode = MPOL_DEFAULT;
	long r = sys_call(SYS_get_mempolicy, (long)&mode, 0, 0, (long)address, MPOL_F_ADDR, 0);

	return r == 0 && mappings_has_policy(mode) ? WIRE_REASON_ATTRIBUTE : 0;
}

int mappings_inspect(uint64_t start, uint64_t length, struct mapping_kind *ret)
{
	struct lines lines;
	struct mapping mapping = { 0 };
	uint64_t covered = start, end = start + length;
	int r = lines_open(&lines, "/proc/self/smaps"), judged = 0;
	bool inside = false;
	char *line;

	if (r < 0)
		return r;
	*ret = (struct mapping_kind){ .mergeable = true };
	while (r == 0 && (line = lines_next(&lines)) != NULL) {
		if (strncmp(line, "VmFlags:", 8) == 0) {
			/* The last line of a mapping. Huge pages are files, too, so this reason is reported first. */
			if (inside && strstr(line, " ht") != NULL)
				r = WIRE_REASON_HUGETLB;
			else if (inside)
				r = judged != 0 ? judged : judge_flags(line + 8, ret);
		} else if (strncmp(line, "ProtectionKey:", 14) == 0) {
			r = inside ? judge_key(line + 14) : 0;
		} else if (parse_header(line, &mapping)) {
			inside = mapping.start < end && mapping.end > start;
			if (mapping.start >= end)
				break;
			if (inside && mapping.start > covered)
				break; /* a hole */
			if (inside) {
				covered = mapping.end;
				judged = judge_header(&mapping);
				if (judged == 0)
					judged = judge_policy(mapping.start);
				ret->protected |= strncmp(mapping.perms, "rw-", 3) != 0;
			}
		}
	}
	lines_close(&lines);
	if (r != 0)
		return r;
	return covered >= end ? 0 : -ENOMEM;
}

int mappings_file_offset(uint64_t address, uint64_t *ret_offset)
{
	struct mapping mapping = { 0 };
	struct lines lines;
	bool found = false;
	const char *line;

	if (lines_open(&lines, "/proc/self/maps") < 0)
		return -ENOENT;
	while (!found && (line = lines_next(&lines)) != NULL)
		found = parse_header(line, &mapping) && mapping.start <= address && address < mapping.end;
	lines_close(&lines);
	if (!found || mapping.perms[3] != 'p' || mapping.inode == 0)
		return -ENOENT;
	*ret_offset = mapping.offset + (address - mapping.start);
	return 0;
}

int mappings_each(uint64_t start, uint64_t length, mappings_function *each, void *context)
{
	uint64_t end = length > UINT64_MAX - start ? UINT64_MAX : start + length;
	struct mapping mapping = { 0 };
	struct lines lines;
	const char *line;
	int r = lines_open(&lines, "/proc/self/maps");

	if (r < 0)
		return r;
	while (mapping.end < end && (line = lines_next(&lines)) != NULL) {
		bool file = parse_header(line, &mapping) && mapping.perms[3] == 'p' && mapping.inode != 0;
		uint64_t from = mapping.start > start ? mapping.start : start;
		uint64_t to = mapping.end < end ? mapping.end : end;

		if (from < to)
			each(context, from, to,
			     file ? mapping.offset + (from - mapping.start) : MAPPINGS_NO_OFFSET);
	}
	lines_close(&lines);
	return mapping.end < end ? -ENOENT : 0;
}

/* ---- locked memory ---- */

int mappings_each_locked(uint64_t start, uint64_t length, void (*each)(uint64_t start, uint64_t length))
{
	uint64_t end = length > UINT64_MAX - start ? UINT64_MAX : start + length;
	struct mapping mapping = { 0 }, header;
	struct lines lines;
	const char *line;
	int r = lines_open(&lines, "/proc/self/smaps");

	if (r < 0)
		return r;
	while ((line = lines_next(&lines)) != NULL && mapping.start < end) {
		uint64_t from = mapping.start > start ? mapping.start : start;
		uint64_t to = mapping.end < end ? mapping.end : end;

		if (parse_header(line, &header))
			mapping = header;
		else if (strncmp(line, "VmFlags:", 8) == 0 && from < to && strstr(line, " lo") != NULL)
			each(from, to - from);
	}
	lines_close(&lines);
	return 0;
}

/** Asks the kernel by an advice that changes nothing for memory that KSM does not have. */
bool mappings_have_holes(uint64_t start, uint64_t length)
{
	return sys_madvise(start, length, MADV_UNMERGEABLE) == -ENOMEM;
}

bool mappings_is_locked(uint64_t address)
{
	return sys_madvise(address, PAGE_BYTES, MADV_COLD) == -EINVAL;
}

/** Tests this with a call that changes nothing: it sets the protection that the page has. */
bool mappings_is_sealed(const struct region *region, uint64_t index)
{
	if (region->excluded[index] & EXCLUDED_PROTECTED)
		return false; /* its protection is not known */
	return sys_mprotect(region_hva(region, index), PAGE_BYTES, PROT_READ | PROT_WRITE) == -EPERM;
}

/** Tests this with a new mapping. If it would be locked, beyond RLIMIT_MEMLOCK it cannot be made. */
bool mappings_will_be_locked(void)
{
	long page = sys_mmap(0, PAGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool locked;

	if (sys_is_error(page))
		return page == -EAGAIN;
	locked = mappings_is_locked((uint64_t)page);
	sys_munmap((uint64_t)page, PAGE_BYTES);
	return locked;
}

/* ---- the number of mappings ---- */

/** @return the limit, or its last known value if it cannot be read. */
static uint64_t read_limit(void)
{
	struct lines lines;
	uint64_t value = atomic_load_explicit(&limit, memory_order_relaxed);
	const char *line;

	if (lines_open(&lines, "/proc/sys/vm/max_map_count") < 0)
		return value;
	line = lines_next(&lines);
	if (line != NULL)
		value = strtoull(line, NULL, 10);
	lines_close(&lines);
	return value;
}

/** @return the number of mappings, or 0 if it cannot be determined now. */
static uint64_t count_lines(void)
{
	char buffer[4096];
	struct descriptor *file;
	uint64_t lines = 0, offset = 0;
	long got;

	if (descriptor_open_passing("/proc/self/maps", 0, &file) < 0)
		return 0;
	for (; (got = descriptor_read(file, buffer, sizeof(buffer), offset)) > 0; offset += (uint64_t)got)
		for (const char *at = buffer; (at = memchr(at, '\n', (size_t)(buffer + got - at))) != NULL; at++)
			lines++;
	descriptor_close(&file);
	return got < 0 ? 0 : lines;
}

/** @return the end of the region that has @address, or @address. Lock held. */
static uint64_t behind_region(uint64_t address)
{
	for (unsigned i = 0; i < REGIONS_MAX; i++) {
		const struct region *region = region_at(i);

		if (region != NULL && region->start <= address && address < region_end(region))
			return region_end(region);
	}
	return address;
}

/**
 * Continues to count from *at, QUERIES_AT_ONCE mappings at most. @return 0 at the end, 1 before it, or -errno. Lock
 * held.
 */
static int count_some_outside(const struct descriptor *maps, uint64_t *at, uint64_t *count)
{
	struct procmap_query query = { .size = sizeof(query), .query_flags = PROCMAP_QUERY_COVERING_OR_NEXT_VMA };

	if (!descriptor_is_there(maps))
		return -EBADF;
	for (unsigned i = 0; i < QUERIES_AT_ONCE; i++) {
		int r;

		query.query_addr = *at;
		r = sys_ioctl(descriptor_number(maps), PROCMAP_QUERY, &query);
		if (r < 0)
			return r == -ENOENT ? 0 : r;
		*at = behind_region(query.vma_start > *at ? query.vma_start : *at);
		if (*at >= query.vma_start && *at < query.vma_end) {
			*at = query.vma_end;
			++*count;
		}
	}
	return 1;
}

/**
 * Counts mappings outside of regions, into *ret_mappings; *ret_regions: region_pages_given() meanwhile. A query for one
 * mapping takes no less time than its line of /proc/self/maps, but the thousands that are ours are skipped. @all: the
 * approximate number of all mappings. @return 0; -E2BIG if this is not worth it; -EAGAIN if a region was added; -errno:
 * not possible on this kernel (before 6.11), or not now.
 */
static int count_outside(uint64_t all, uint64_t *ret_mappings, uint32_t *ret_regions)
{
	uint64_t at = 0, count = 0;
	uint64_t most = all / OUTSIDE_PART > OUTSIDE_AT_LEAST ? all / OUTSIDE_PART : OUTSIDE_AT_LEAST;
	uint32_t regions = 0, regions_before = 0;
	struct descriptor *maps;
	int r = descriptor_open_passing("/proc/self/maps", 0, &maps);

	if (r < 0)
		return r;
	do {
		memory_lock_worker();
		regions = region_pages_given();
		regions_before = at == 0 ? regions : regions_before;
		r = count_some_outside(maps, &at, &count);
		memory_unlock();
	} while (r > 0 && count <= most);
	descriptor_close(&maps);
	if (r > 0)
		return -E2BIG;
	if (r == 0 && regions != regions_before)
		r = -EAGAIN;
	if (r < 0)
		return r;
	*ret_mappings = count;
	*ret_regions = regions;
	return 0;
}

static time_t now_sec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

static uint64_t cpu_nsec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

static uint64_t used(void)
{
	return atomic_load_explicit(&counted, memory_order_relaxed) +
	       atomic_load_explicit(&hold_new_mappings, memory_order_relaxed);
}

/** How many mappings there may be before merges stop. */
static uint64_t ours(void)
{
	uint64_t all = atomic_load_explicit(&limit, memory_order_relaxed);

	return all - all / 8;
}

/**
 * The VMM's mappings and the host's limit change without the worker. So a refusal may be based on an outdated count,
 * and if all merges are refused, none makes the worker count again.
 */
static bool is_worth_a_doubt(uint64_t seconds)
{
	return atomic_load_explicit(&refused, memory_order_relaxed) && seconds >= RECOUNT_SECONDS &&
	       seconds >= counting_nsec * RECOUNT_REST / NSEC_PER_SEC;
}

/** Whether all merges are still allowed, even if the VMM has added half of its reserve unnoticed. */
static bool is_far_from_limit(void)
{
	return used() + limit / 16 < ours() / 2;
}

/** Whether the VMM's mappings and the limit may have been changing for so long that all mappings have to be counted. */
static bool is_old(void)
{
	bool changed = atomic_load_explicit(&hold_new_mappings, memory_order_relaxed) > 0 ||
		       atomic_load_explicit(&hold_discards, memory_order_relaxed) != counted_discards;
	uint64_t seconds = (uint64_t)(now_sec() - counted_sec);

	if (counted == 0 || is_worth_a_doubt(seconds))
		return true;
	return changed && seconds >= (used() < ours() ? RECOUNT_SECONDS : RECOUNT_SECONDS_AT_LIMIT);
}

bool mappings_count_is_due(void)
{
	uint64_t guessed = atomic_load_explicit(&hold_new_mappings, memory_order_relaxed);

	if (is_old() || (outside.guessed > 0 && !is_far_from_limit()))
		return true;
	/* The VMM may have added many itself meanwhile: merges add no more than half of its reserve without a count. */
	return guessed >= outside.guessed + limit / 16 + counted / 4;
}

static void count_all(void)
{
	uint64_t added = atomic_load_explicit(&hold_new_mappings, memory_order_relaxed), begin = cpu_nsec(), lines;

	counted_sec = now_sec();
	counted_discards = atomic_load_explicit(&hold_discards, memory_order_relaxed);
	atomic_store_explicit(&refused, false, memory_order_relaxed);
	atomic_store_explicit(&limit, read_limit(), memory_order_relaxed);
	/*
	 * Before all mappings are counted: mappings that the VMM adds between the two are counted twice by the next
	 * count outside of regions.
	 */
	if (count_outside(counted, &outside.mappings, &outside.regions) < 0)
		outside.mappings = UNKNOWN;
	outside.guessed = 0;
	lines = count_lines();
	if (lines == 0) /* unknown: allow no more */
		lines = atomic_load_explicit(&limit, memory_order_relaxed);
	atomic_store_explicit(&counted, lines, memory_order_relaxed);
	counting_nsec = cpu_nsec() - begin;
	/* Mappings added during the count may be counted twice: the guess only ever errs upwards. */
	atomic_fetch_sub_explicit(&hold_new_mappings, added, memory_order_relaxed);
}

/**
 * Far from the limit the guess of how many mappings merges have added is good enough, as it errs upwards only. Mappings
 * that the VMM has added show outside of regions. Mappings that are gone from there are not subtracted: they may only
 * have become part of a region, and a count of all will show. @return whether this count was enough.
 */
static bool count_is_enough_outside(void)
{
	uint64_t guessed = atomic_load_explicit(&hold_new_mappings, memory_order_relaxed);
	uint64_t before = atomic_load_explicit(&counted, memory_order_relaxed), now;
	uint32_t regions;

	if (outside.mappings == UNKNOWN || !is_far_from_limit() || count_outside(before, &now, &regions) < 0 ||
	    regions != outside.regions)
		return false;
	if (now > outside.mappings)
		atomic_store_explicit(&counted, before + now - outside.mappings, memory_order_relaxed);
	outside.mappings = now;
	outside.guessed = guessed;
	return is_far_from_limit();
}

void mappings_count(void)
{
	if (is_old() || !count_is_enough_outside())
		count_all();
}

/** Notes a refusal. @return @allowed. */
static bool answer(bool allowed)
{
	if (!allowed)
		atomic_store_explicit(&refused, true, memory_order_relaxed);
	return allowed;
}

bool mappings_allow(uint64_t run_pages)
{
	uint64_t most = ours(), now = used() + 2;

	if (!PROTECTED(PROTECT_RESERVE))
		return true;
	if (now >= most)
		return answer(false);
	if (now > most / 4 * 3)
		return answer(run_pages >= 4);
	return answer(now <= most / 2 || run_pages >= 2);
}

static bool allow_but(uint64_t kept)
{
	uint64_t all = atomic_load_explicit(&limit, memory_order_relaxed);

	return answer(!PROTECTED(PROTECT_RESERVE) || used() + 2 + kept < all);
}

bool mappings_allow_split(void)
{
	return allow_but(atomic_load_explicit(&limit, memory_order_relaxed) / 16);
}

bool mappings_allow_last_split(void)
{
	return allow_but(atomic_load_explicit(&limit, memory_order_relaxed) / 32);
}

void mappings_stats(uint64_t *ret_mappings, uint64_t *ret_limit)
{
	*ret_mappings = used();
	*ret_limit = limit;
}
