/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The process's mappings: the kind of a range before it becomes a region, and the number of mappings, which
 * vm.max_map_count limits.
 *
 * Every run costs up to two mappings, and the VMM needs some for itself: threads, discards, hot-plugged memory. So an
 * eighth of the limit is its reserve, which merges never touch; and as the rest fills, only long runs are worth their
 * mappings.
 */
#ifndef PAGEFUSE_LIBRARY_MAPPINGS_H
#define PAGEFUSE_LIBRARY_MAPPINGS_H

#include <stdbool.h>
#include <stdint.h>

struct region;

/** The attributes of a range. */
struct mapping_kind {
	bool dont_fork, dont_dump, no_reserve;
	bool protected;               /* some of it is not readable and writable, or is executable */
	bool mergeable;               /* all of it is marked mergeable in the kernel, too */
	int huge_advice;              /* MADV_HUGEPAGE, MADV_NOHUGEPAGE, or 0 */
	bool inspected, huge_differs; /* the advice differs within the range */
};

/**
 * Looks at [start, start+length) in /proc/self/smaps. @return 0 if it is private anonymous memory that may be shared;
 * else the reason why not (enum wire_reason, positive), -ENOMEM if there are holes, or -errno.
 */
int mappings_inspect(uint64_t start, uint64_t length, struct mapping_kind *ret);

/** The file offset, in bytes, that is privately mapped at @address. @return 0, or -ENOENT if no file is. */
int mappings_file_offset(uint64_t address, uint64_t *ret_offset);

#define MAPPINGS_NO_OFFSET UINT64_MAX
typedef void mappings_function(void *context, uint64_t start, uint64_t end, uint64_t offset);

/**
 * Calls @each for the mappings in [start, start+length), in order. @offset: in bytes, of what is at the start, if a
 * file is mapped privately; else MAPPINGS_NO_OFFSET. @return 0; or -errno: they may not have been all.
 */
int mappings_each(uint64_t start, uint64_t length, mappings_function *each, void *context);

/** Whether parts of [start, start+length), whole pages, are not mapped. Needs no descriptor; ends KSM there. */
bool mappings_have_holes(uint64_t start, uint64_t length);
/** Calls @each for every locked piece of [start, start+length), from the lowest on. @return 0 or -errno. Any thread. */
int mappings_each_locked(uint64_t start, uint64_t length, void (*each)(uint64_t start, uint64_t length));
/** Whether the page at @address is locked. The test ages the page, and splits a 2 MiB page. */
bool mappings_is_locked(uint64_t address);
/** Whether a page is sealed (mseal), as far as that can be determined. Lock held. */
bool mappings_is_sealed(const struct region *region, uint64_t index);
/** Whether new mappings will be locked, by mlockall(MCL_FUTURE). Any thread. */
bool mappings_will_be_locked(void);

/** Whether a mode of mbind() binds memory to nodes: a private copy of a store page could not keep this policy. */
bool mappings_has_policy(int mode);

/**
 * Counts the mappings and reads the limit again, or counts only mappings outside of regions while that is enough. Takes
 * about 1 µs per mapping counted; worker thread, without the lock.
 */
void mappings_count(void);
/** Whether the last count is so old or so full of guesses that a new one is due. */
bool mappings_count_is_due(void);

/** Whether a merge may add a run of @run_pages pages. */
bool mappings_allow(uint64_t run_pages);
/** Whether a call of the VMM may still split a run (it may use half of the reserve). */
bool mappings_allow_split(void);
/** The same if there is no other way: a quarter of the reserve is left for the VMM's own mappings. */
bool mappings_allow_last_split(void);

void mappings_stats(uint64_t *ret_mappings, uint64_t *ret_limit);

#endif
