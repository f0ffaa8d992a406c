/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The regions of this process: the memory that is guest RAM, and the state of each of its pages.
 *
 * Per page there is one 32-bit state (0.1 % of RAM), only touched where pages are shared, one byte of reasons to leave
 * the page alone, and a record of its last look (0.3 %), only touched where slow passes hash pages. A page's state
 * describes its *mapping*; whether the guest has written since, only the kernel knows.
 *
 *   PAGE_ANONYMOUS             as the VMM made it
 *   PAGE_ZEROED                given back as a zero page; anonymous, the daemon counts it
 *   PAGE_UNREPORTED            anonymous again (discarded, made plain); the daemon counts a slot until it is
 *                              told, once no child can read the slot
 *   PAGE_DROPPED               the same if it was zeroed or diverged: no slot is counted, so it is reported at once
 *   PAGE_IN_STORE | slot       inside a mapping of the store; the daemon counts a reference to the slot
 *   ... | PAGE_DIVERGED        the guest has a private copy in that mapping; the daemon knows, and counts it as such
 */
#ifndef PAGEFUSE_LIBRARY_REGION_H
#define PAGEFUSE_LIBRARY_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/page.h"
#include "library/lock.h"
#include "library/looks.h"
#include "library/notes.h"

#define REGIONS_MAX 512
#define REGION_GROUP 64u
#define REGION_PIECE_PAGES 4096u /* handled without releasing the lock in a walk over a whole region */

#define PAGE_ANONYMOUS UINT32_C(0)
#define PAGE_ZEROED UINT32_C(1)
#define PAGE_UNREPORTED UINT32_C(2)
#define PAGE_DROPPED UINT32_C(3)
#define PAGE_IN_STORE (UINT32_C(1) << 31)
#define PAGE_DIVERGED (UINT32_C(1) << 30)
#define PAGE_SLOT_MASK (PAGE_DIVERGED - 1)

/** Reasons in `excluded`: such a page is not held, hashed or mapped. */
enum excluded {
	EXCLUDED_PROTECTED = 1 << 0,   /* mprotect to other than read and write */
	EXCLUDED_LOCKED = 1 << 1,      /* mlock */
	EXCLUDED_USERFAULTFD = 1 << 2, /* the VMM's own */
	EXCLUDED_DEVICE = 1 << 3,      /* VFIO, iommufd */
	EXCLUDED_UNMAPPED = 1 << 4,    /* no longer part of the region */
	EXCLUDED_FOREIGN = 1 << 5,     /* mapped to the store of a daemon that is gone */
	EXCLUDED_UNMERGEABLE = 1 << 6, /* MADV_UNMERGEABLE, until the next MADV_MERGEABLE */
	EXCLUDED_ADVICE = 1 << 7,      /* has other attributes than the rest of its region, or is bound to NUMA nodes */
	EXCLUDED_ALL = (1 << 8) - 1,
};

struct region {
	_Atomic uint64_t start;            /* hva; 0: free entry */
	_Atomic uint64_t pages;            /* 0: leaving */
	uint64_t table_pages;              /* size of the tables */
	uint32_t first_page;               /* page number */
	uint32_t *state;                   /* per page */
	uint8_t *excluded;                 /* per page, enum excluded */
	uint8_t *blocks;                   /* per 2 MiB of address space, enum block */
	uint8_t *present;                  /* per REGION_GROUP pages: how many were present when last looked at */
	uint8_t *changed;                  /* per REGION_GROUP pages: calls have changed pages that the daemon counts */
	uint64_t changed_from, changed_to; /* all changed groups are in this range */
	uint8_t *marks;                    /* per page, enum mark */
	struct look *looks;                /* per page */
	uint64_t filled_pages, read_into_pages, unmapped_pages, present_pages;
	bool dont_fork, dont_dump, no_reserve; /* to be repeated on memory that replaces the region's */
	int huge_advice;                       /* MADV_HUGEPAGE, MADV_NOHUGEPAGE, or 0 */
	bool inherited_marks;                  /* in a child: marks of the parent, whose locks are not inherited */
	bool announced;                        /* the daemon of this session knows it */
	bool leaving;                          /* unmapped or removed; freed once the daemon has been told */
};

enum mark {
	/** Full of zeros in place of a discard that could not be done: until discarded, merged or unmapped. */
	MARK_FILLED = 1,
	/**
	 * A read into this page of the store was seen to begin, and may still go on: until the page leaves its slot.
	 */
	MARK_READ_INTO = 2,
};

enum block {
	BLOCK_WAS_HUGE = 1, /* seen mapped as 2 MiB page */
	BLOCK_BROKEN = 2,   /* we broke it and keep it from collapsing again */
	BLOCK_ADVISED = 4,  /* the VMM's advice differs from that for its region, or is not known */
	BLOCK_UNTOLD = 8,   /* broken without the daemon's knowledge: no scan has seen it as a 2 MiB page */
};

/* All below: with the lock of lock.h held, unless said otherwise. */

/** @return the entry (also leaving ones), or NULL at or past the end; for (i = 0; i < REGIONS_MAX; i++). */
struct region *region_at(unsigned index);

/** Makes a region. @return 0, -EEXIST (overlap), -ENOSPC, -ENOMEM. */
int region_add(uint64_t start, uint64_t pages, struct region **ret_region);
/**
 * All pages of the region have been unmapped, so none counts as shared or zeroed. From now on the region is not used;
 * region_free() follows once the daemon knows.
 */
void region_leave(struct region *region);
/** Whether any region has left and is not freed yet. Without the lock. */
bool region_any_leaving(void);

/** Frees the entry; its tables move to *ret, for region_free_tables(), which takes long and does not need the lock. */
void region_free(struct region *region, struct region *ret);
void region_free_tables(struct region *region);

/**
 * A walk over all pages of entry @i, piece by piece. Takes the lock. @return the region: look at its pages [index,
 * *ret_end), call region_piece_end(), and continue with *ret_end; NULL, without the lock, at the end of the region, or
 * if there is no such region.
 */
struct region *region_piece(unsigned i, uint64_t index, uint64_t *ret_end);
static inline void region_piece_end(void)
{
	memory_unlock();
}
/** After mlockall(): unlocks the tables of all regions, see own.h. */
void region_unlock_tables(void);

/** Sets a page's state and updates the totals. */
void page_set_state(struct region *region, uint64_t index, uint32_t state);
void region_mark(struct region *region, uint64_t index, uint64_t count, enum mark mark, bool set);
/** Notes that @count pages of the group of REGION_GROUP pages at @index are present. */
void region_set_present(struct region *region, uint64_t index, uint8_t count);

/** Notes that pages [index, index+count) have to be reported to the daemon soon, as VMM threads have changed them. */
void region_note_change(struct region *region, uint64_t index, uint64_t count);
/** Whether there are such pages. Without the lock. */
bool region_changes_noted(void);
/** @noted: false: they are about to be reported; true: some of them have to wait. Without the lock. */
void region_changes_note(bool noted);

/** Totals over all regions; read from any thread. */
struct region_totals {
	_Atomic uint64_t pages, present, shared, zeroed, diverged;
};
extern struct region_totals region_totals;

/** The number of page numbers assigned so far: grows when a region is added. */
uint32_t region_pages_given(void);

/** The index of an entry. */
unsigned region_number(const struct region *region);

/** The region with page number @page, not a leaving one, or NULL. */
struct region *region_of_page(uint32_t page);

/** Cheap and without the lock: whether [start, start+length) touches a region. */
bool region_overlaps(uint64_t start, uint64_t length);
/**
 * Sets the notes of all pages of regions that [start, start+length) touches. @fd: the file they are read from; -1: not
 * known. Without the lock. @return whether there are any such pages: then notes_made() has to follow.
 */
bool region_note(uint64_t start, uint64_t length, enum note_kind kind, int fd);

static inline uint64_t region_hva(const struct region *region, uint64_t index)
{
	return region->start + index * PAGE_BYTES;
}

static inline uint64_t region_end(const struct region *region)
{
	return region->start + region->pages * PAGE_BYTES;
}

static inline uint8_t *region_block(const struct region *region, uint64_t index)
{
	return &region->blocks[(region_hva(region, index) / HUGE_BYTES) - (region->start / HUGE_BYTES)];
}

/** Whether a block was seen as a 2 MiB page, and is not kept from being one. */
static inline bool block_may_be_huge(uint8_t block)
{
	return (block & (BLOCK_WAS_HUGE | BLOCK_BROKEN)) == BLOCK_WAS_HUGE;
}

static inline bool page_reads_slot(uint32_t state)
{
	return (state & (PAGE_IN_STORE | PAGE_DIVERGED)) == PAGE_IN_STORE;
}

#endif
