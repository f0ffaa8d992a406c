/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The hold: make pages unwritable for a moment, compare every byte, then map them to the store or release them.
 *
 * All functions: worker thread, memory lock held, at most HOLD_PAGES pages of one region that are of one kind. Nothing
 * is allocated. Each page gets an outcome; whatever it is, afterwards the guest's bytes are right and no thread sleeps.
 */
#ifndef PAGEFUSE_LIBRARY_HOLD_H
#define PAGEFUSE_LIBRARY_HOLD_H

#include <stdbool.h>
#include <stdint.h>

#include "library/descriptors.h"
#include "library/region.h"
#include "protocol/ring.h"

#define HOLD_PAGES RING_RUN_PAGES_MAX
#define HOLD_DIVERGED_RUNS 16u

/** The target of a page of zeros; all other targets are slots. */
#define HOLD_ZERO UINT32_MAX

enum outcome {
	OUTCOME_NONE,   /* not tried yet */
	OUTCOME_MERGED, /* maps its slot now, or is a hole that reads as zeros */
	OUTCOME_DIFFERS,
	OUTCOME_BUSY,
	OUTCOME_GONE,
	OUTCOME_FULL, /* no mapping available */
	OUTCOME_HUGE, /* inside a 2 MiB page that must not be split */
};

/**
 * Opens a userfaultfd that can move pages, if none is there. @device: /dev/userfaultfd from the daemon, taken over, or
 * NULL. @return 0 or -errno: this process cannot share.
 */
int hold_open(struct descriptor *device);
bool hold_is_open(void);
/** After the last hold: closes and unmaps everything. */
void hold_close(void);
/**
 * In the child of a fork: forgets the parent's userfaultfd. The device stays, so that the child can open its own
 * userfaultfd.
 */
void hold_forget(void);
/** After mlockall(): unlocks the memory of holds, see own.h. Any thread, with the lock held. */
void hold_unlock_scratch(void);

/**
 * What a hold needs of a slot, prepared before: a hold waits for nothing, and has the replacement of a page before it
 * gives the page up.
 */
struct hold_slot {
	const void *content;
	uint64_t staged; /* see template.h; consecutive for consecutive slots of one VIEW_WINDOW_SLOTS */
};

/**
 * Anonymous pages, by UFFDIO_MOVE to a scratch area. @targets, @slots and @outcomes are @count long; all outcomes are
 * set. @slots: not looked at for HOLD_ZERO. The staged mappings of pages that become MERGED are used up.
 */
void hold_anonymous(struct region *region, uint64_t index, unsigned count, const uint32_t *targets,
		    const struct hold_slot *slots, enum outcome *outcomes);
/** Gives back the memory of pages merged by previous holds: once for all of them, as it flushes TLBs. */
void hold_empty_scratch(void);

/** Consecutive pages of a region, with the parameters of hold_anonymous(). */
struct hold_run {
	struct region *region;
	uint64_t index;
	unsigned count;
	const uint32_t *targets;
	const struct hold_slot *slots;
	enum outcome *outcomes;
};

/**
 * Private copies inside store mappings, by write-protection. As above, but @count runs, at most HOLD_DIVERGED_RUNS and
 * hold_diverged_length() pages in all, are held together, as excluding that they are pinned takes a look at all files
 * of the process. Pages for which this cannot be excluded are BUSY.
 */
void hold_diverged(const struct hold_run *runs, unsigned count);

/** Whether the page at @index and the one before it can be in one mapping of the store. */
bool hold_continues(const struct region *region, uint64_t index);

/**
 * Puts fresh anonymous memory (zeros) in place of [index, index+count), with the region's advice. @prot: its
 * protection; PROT_NONE, PROT_READ, or reading and writing. @return 0 or -errno.
 */
int hold_put_anonymous(const struct region *region, uint64_t index, uint64_t count, int prot);

/**
 * Replaces store mappings by anonymous memory of the same content, except for the pages of the mask @dropped, which
 * become empty. States stay the caller's to change. @count: at most HOLD_PAGES. @place: as many untouched pages of a
 * private anonymous mapping; these become the memory. Pages that are consecutive in both places stay one mapping, if
 * all their addresses come from one mapping. @overwritten: pages that a read of the VMM's is about to cover wholly,
 * with no other read into them under way as far as is known; for private copies among these it is enough that no pin
 * outlasts a request (hold.md). @return 0, -EBUSY (a pin cannot be excluded), -ENOMEM, -errno; on error nothing has
 * changed, and @place is still the caller's.
 */
int hold_make_plain(struct region *region, uint64_t index, unsigned count, uint64_t dropped, uint64_t overwritten,
		    uint64_t place);

/**
 * Anonymous pages become part of another mapping, without a copy: @place, as above. @return 0, -EBUSY (one of them is
 * missing or pinned), -errno; on error nothing has changed, and @place is still the caller's.
 */
int hold_renew(struct region *region, uint64_t index, unsigned count, uint64_t place);

/** @allow: the worker's last look found no way by which memory could be written past page tables and pins. Worker. */
void hold_allow_moving(bool allow);
/** Whether pages may be moved away: as far as is known, there can be no plain reference to one. Memory lock held. */
bool hold_may_move(void);

/**
 * Checks that memory is under no other userfaultfd, by registering it with ours for a moment. Worker. @return 0; -EBUSY
 * if it is; -errno if that cannot be determined.
 */
int hold_try(uint64_t start, uint64_t length);

/** Pages to hold at once now: shrinks after long holds, grows again. */
unsigned hold_length(void);
/** The same for diverged pages: fewer if they are swapped out to see whether they are pinned. */
unsigned hold_diverged_length(void);
/** Whether a private copy in a mapping of the store can be replaced at all: a pin can be excluded. Worker. */
bool hold_may_copy(void);
/** @allow: there is swap, which is used to show that pages are not pinned. Any thread. */
void hold_allow_paging_out(bool allow);

/** Notes the time that a hold took. */
void hold_times_note(uint64_t usec);
/** Times of all holds so far, see struct ring_stats. */
void hold_times(uint64_t *ret_holds, uint64_t *ret_p50_usec, uint64_t *ret_p99_usec, uint64_t *ret_max_usec);

/** Totals for struct ring_stats. */
extern _Atomic uint64_t hold_busy_pages, hold_kept_private_pages, hold_repaired_moves;
/** At most so many mappings have been added by merges since the last count; see mappings.h. */
extern _Atomic uint64_t hold_new_mappings;
/** How often memory was made anonymous, or like its neighbours: mappings may have come or gone. */
extern _Atomic uint64_t hold_discards;

#endif
