/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The steps that both holds consist of. For hold.c, hold-diverged.c and tests only; the rules of hold.h apply.
 *
 * Masks have one bit per page of the hold.
 */
#ifndef PAGEFUSE_LIBRARY_HOLD_STEPS_H
#define PAGEFUSE_LIBRARY_HOLD_STEPS_H

#include <stdbool.h>
#include <stdint.h>

#include "library/hold.h"

_Static_assert(HOLD_PAGES <= 64, "a hold's pages fit a mask");

struct hold {
	struct region *region;
	uint64_t index, start; /* of the first page: in the region, as hva */
	unsigned count;
	const uint32_t *targets;
	const struct hold_slot *slots;
	enum outcome *outcomes;
	uint64_t away; /* where pages are moved to, if they are moved */
};

static inline uint64_t mask_of(unsigned first, unsigned count)
{
	uint64_t ones = count >= 64 ? UINT64_MAX : (UINT64_C(1) << count) - 1;

	return ones << first; /* NOLINT(clang-analyzer-core.UndefinedBinaryOperatorResult): first is below 64 */
}

/** Finds the first run of set bits. @return its length, 0 if there is none. */
static inline unsigned next_run(uint64_t mask, unsigned *ret_first)
{
	uint64_t shifted;

	if (mask == 0)
		return 0;
	*ret_first = (unsigned)__builtin_ctzll(mask);
	shifted = mask >> *ret_first;
	return shifted == UINT64_MAX ? 64 : (unsigned)__builtin_ctzll(~shifted);
}

/**
 * HOLD_PAGES pages of space for pages that are moved away, registered with the userfaultfd. Empty pages read as zeros.
 */
extern uint64_t hold_scratch;
/**
 * Makes sure that @count of them are empty. @return their address; pages left there stay until hold_empty_scratch().
 */
uint64_t hold_take_scratch(unsigned count);

uint64_t hold_now_usec(void);
void hold_set_outcomes(const struct hold *hold, uint64_t mask, enum outcome outcome);

/** An ioctl of the userfaultfd. @return 0 or -errno. */
int hold_uffd(unsigned long request, void *argument);
int hold_register(uint64_t start, uint64_t length, uint64_t mode);
/** Registers memory so that pages can be moved to it; empty pages read as zeros. @return 0 or -errno. */
int hold_register_scratch(uint64_t start, uint64_t length);

/** Closes the userfaultfd, which releases everything, and opens another one. */
void hold_reopen(void);
extern unsigned hold_reopened; /* how often it was reopened */

/** Registers all pages of the hold, or none. @mode: UFFDIO_REGISTER_MODE_*. @return 0 or -errno. */
int hold_arm(const struct hold *hold, uint64_t mode);

/** Waits for all threads that have a plain reference to one of the pages. */
void hold_barrier(void);

/**
 * Compares the pages of @mask, which are at @base, with their targets. @return mask of the equal pages; the others'
 * outcome is DIFFERS.
 */
uint64_t hold_compare(const struct hold *hold, uint64_t mask, uint64_t base);

/**
 * Maps every page of @equal to its target. @holes_are_there: the pages are moved away, so pages of zeros need nothing
 * more. @return mask of the pages mapped, whose outcome is MERGED; the others' is FULL.
 */
uint64_t hold_map(const struct hold *hold, uint64_t equal, bool holes_are_there);

/** Ends the hold of all pages: those not @mapped_over are unregistered, all sleepers woken. */
void hold_release(const struct hold *hold, uint64_t mapped_over);

/** Whether all of the range is mapped, as any kind of memory. @length: at most HOLD_PAGES pages. */
bool hold_is_mapped(uint64_t start, uint64_t length);
/**
 * Moves the mapping at @from over the mapping at @to, at most HOLD_PAGES pages. @return an address or -errno; on error
 * the mapping at @to is still there.
 */
long hold_replace(uint64_t from, uint64_t length, uint64_t to);

/** Repeats the region's advice on memory that replaced its pages. */
void hold_repeat_advice(const struct region *region, uint64_t start, uint64_t length);
/**
 * For memory that is anonymous again: also repeats the advice on 2 MiB pages, and keeps broken ones from collapsing.
 */
void hold_repeat_huge_advice(const struct region *region, uint64_t index, uint64_t count);

#endif
