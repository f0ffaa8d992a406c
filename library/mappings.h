/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The process's mappings: what a range is before it becomes a region, and how many there are against vm.max_map_count.
 *
 * Every run costs up to two mappings, and the VMM needs some for itself: threads, discards, hot-plugged memory. So an
 * eighth of the limit is its reserve, that merges never touch; and as the rest fills, runs must be long to be worth
 * theirs.
 */
#ifndef PAGEFUSE_LIBRARY_MAPPINGS_H
#define PAGEFUSE_LIBRARY_MAPPINGS_H

#include <stdbool.h>
#include <stdint.h>

struct region;

/** What all of a range has in common. */
struct mapping_kind {
	bool dont_fork, dont_dump, no_reserve;
	bool protected;               /* some of it cannot be read and written, or can be executed */
	bool mergeable;               /* all of it is marked so with the kernel, too */
	int huge_advice;              /* MADV_HUGEPAGE, MADV_NOHUGEPAGE, or 0 */
	bool inspected, huge_differs; /* not the same for all of it */
};

/**
 * Looks at [start, start+length) in /proc/self/smaps. @return 0 if it is private anonymous memory that may be
 * shared; else the enum wire_reason why not (positive), -ENOMEM if there are holes, or -errno.
 */
int mappings_inspect(uint64_t start, uint64_t length, struct mapping_kind *ret);

/** What of a file is privately mapped at @address: the offset, in bytes. @return 0, or -ENOENT if nothing of one is. */
int mappings_file_offset(uint64_t address, uint64_t *ret_offset);
/** Calls @each for every locked piece of [start, start+length), from the lowest on. @return 0 or -errno. Any thread. */
int mappings_each_locked(uint64_t start, uint64_t length, void (*each)(uint64_t start, uint64_t length));
/** Whether the page at @address is locked. It ages by that, and a 2 MiB page is split. */
bool mappings_is_locked(uint64_t address);
/** Whether a page is sealed (mseal), as far as can be found out. Lock held. */
bool mappings_is_sealed(const struct region *region, uint64_t index);
/** Whether what is mapped from now on will be locked, as mlockall(MCL_FUTURE) has it. Any thread. */
bool mappings_will_be_locked(void);

/** Whether a mode of mbind() binds memory to nodes: a private copy of a store page could not keep that. */
bool mappings_has_policy(int mode);

/**
 * Counts the mappings and reads the limit anew, or only those outside of regions while that is enough. Takes about 1 µs
 * for each that is counted; worker thread, without the lock.
 */
void mappings_count(void);
/** Whether the last count is so old or so full of guesses that a new one is due. */
bool mappings_count_is_due(void);

/** Whether a merge may add a run of @run_pages pages. */
bool mappings_allow(uint64_t run_pages);
/** Whether a call of the VMM may still split a run (it may use half of the reserve). */
bool mappings_allow_split(void);
/** The same where there is no other way: a quarter of the reserve is left for what the VMM maps itself. */
bool mappings_allow_last_split(void);

void mappings_stats(uint64_t *ret_mappings, uint64_t *ret_limit);

#endif
