/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * VMs, their regions, and what each page is. A page's state is 32 bits:
 *
 *   kind      bits 31-30  bits 29-0
 *   PRIVATE   00          bit 29: the table has a hint of it; bit 28: a copy inside a mapping of the store (diverged);
 *                         bits 27-0: checksum of the content seen last, or CHECK_
 *   SHARED    01          slot that it maps
 *   ORDERED   10          slot that a MERGE order under way names
 *   OTHER     11          PAGE_ZERO, PAGE_ZERO_ORDERED, PAGE_FETCHING, PAGE_FETCHING_SEEN
 *
 * Every page of every VM also has a global number of 31 bits, by which hints name it. A region's numbers are given away
 * again only after no hint can name them any more.
 */
#ifndef PAGEFUSE_ENGINE_VM_H
#define PAGEFUSE_ENGINE_VM_H

#include "engine/queue.h"
#include "engine/slots.h"

#define VM_REGIONS_MAX 1024u
#define VM_QUEUE_MAX 8192u
#define VM_SCANS_MAX 4u
#define VM_SIGHTINGS_MAX 256u /* looked through one by one */
#define VM_LATE_MAX 16u       /* barriers that a ticket is put off at most */

enum page_kind {
	KIND_PRIVATE,
	KIND_SHARED,
	KIND_ORDERED,
	KIND_OTHER,
};
#define STATE_SHIFT 30
#define STATE_VALUE ((UINT32_C(1) << STATE_SHIFT) - 1)
#define STATE(kind, value) ((uint32_t)(kind) << STATE_SHIFT | (value))
#define PAGE_ZERO STATE(KIND_OTHER, 0)
#define PAGE_ZERO_ORDERED STATE(KIND_OTHER, 1)
#define PAGE_FETCHING STATE(KIND_OTHER, 2)
#define PAGE_FETCHING_SEEN STATE(KIND_OTHER, 3) /* and a requested pass has seen it meanwhile */
#define PRIVATE_HINTED (UINT32_C(1) << 29)
#define PRIVATE_COPY (UINT32_C(1) << 28)
#define PRIVATE_CHECK (PRIVATE_COPY - 1)
/* Checksums that no content has. */
#define CHECK_NEVER 0u   /* not seen yet */
#define CHECK_WRITTEN 1u /* shared until it was written: as if it had been seen with another content */
#define CHECK_ZERO 2u

struct region {
	struct engine_vm *vm;
	uint32_t first; /* page number */
	uint32_t pages;
	uint32_t global;  /* global number of the first page */
	uint32_t *state;  /* by page */
	uint8_t *touched; /* by REGION_BLOCK pages: whether the state of any was ever looked at by page_state() */
};

/* What was never touched is PRIVATE and CHECK_NEVER: walks over all pages cost no more than what somebody reported. */
#define REGION_BLOCK 1024u

/** One page: what most functions work on. */
struct page {
	struct region *region;
	uint32_t index;
};

/** A FETCH order that is not answered yet. */
struct fetch {
	uint64_t hash; /* that the content should have */
	uint32_t page;
	uint32_t slot;   /* to fill; SLOT_NONE once it is given up: only the answer is still to come */
	uint32_t parity; /* of the barrier before which it came to be, see schedule.h */
};

/** What a requested pass saw of a page while an order for it was under way that cannot succeed: matched after that. */
struct sighting {
	uint64_t hash; /* of the content; none if it is full of zeros */
	uint32_t page; /* 0: taken */
	bool zero;
};

enum scan_kind {
	SCAN_PASS,
	SCAN_SLOW,
	SCAN_AUDIT,
};

/** A SCAN or AUDIT order that is not answered yet. */
struct scan {
	uint32_t page, count;
	enum scan_kind kind;
};

/** Where a walk over all pages of a VM stands. */
struct walk {
	uint32_t page;      /* next one */
	uint64_t next_usec; /* when its next slice is due */
};

/** A requested pass that is over; its ticket comes true when a barrier is complete. */
struct ended {
	uint64_t ticket, barrier;
	uint32_t late; /* how often it has been put off by what was matched late */
};

/** How many answers of a kind there were when that last changed, and when it did. */
struct progress {
	uint64_t done, since_usec;
};

struct engine_vm {
	struct engine *engine;
	void *context;
	uint32_t index; /* in engine->vms */
	uint16_t owner; /* for slots_new() */
	enum wire_mode mode;
	bool ready, detached;
	bool heard;        /* something was reported since the last tick */
	bool unresponsive; /* nothing was for a long time, or no answer of a kind that it owes; set by the tick */
	bool laggard;      /* takes orders too slowly to be waited for */

	struct region *regions[VM_REGIONS_MAX]; /* by page number */
	uint32_t region_count;
	uint32_t region_last;            /* index of the one found last */
	uint32_t beyond[VM_REGIONS_MAX]; /* first pages of regions beyond the limits, of which nothing else is known */
	uint32_t beyond_pages[VM_REGIONS_MAX];
	uint32_t beyond_count;
	uint32_t next_page; /* number of the first page that no region had yet */
	uint64_t ram_pages;

	struct queue orders;    /* struct ring_record, not taken yet */
	struct queue fetches;   /* struct fetch */
	struct queue sightings; /* struct sighting, until the pass is settled */
	struct scan scans[VM_SCANS_MAX];
	uint32_t scan_count;
	uint32_t waiting;          /* its pages that wait for a slot to be filled */
	uint64_t issued, answered; /* pages in MERGE and ZERO orders; the difference is pages ORDERED or ZERO_ORDERED */
	uint64_t fetched, scanned; /* answers to FETCH, and to SCAN and AUDIT */
	struct progress progress[3];
	struct slot_window window;

	uint64_t pass_ticket, queued_ticket, settled_ticket; /* see schedule.h */
	struct ended ended[2];                               /* not settled: the first one, and the last one after it */
	uint32_t ended_count;
	uint64_t barrier_target;
	uint64_t overdue_answers, overdue_fetches; /* numbers of answers that a barrier has waited for too long */
	struct walk pass, slow, audit, unshare;
	uint64_t silent_since_usec, lag_usec, lag_seen_usec;
	uint64_t cpu_nsec, cpu_charged_nsec;
	int64_t cpu_budget_nsec;
	uint64_t cpu_filled_usec;

	struct engine_vm_counters counters;
	struct engine_vm_counters counted; /* at the last engine_counters(), if there was one since the VM came */
	bool was_counted;
};

static inline uint32_t *page_state(struct page page)
{
	page.region->touched[page.index / REGION_BLOCK] = 1;
	return &page.region->state[page.index];
}

/** The first page from @index on whose state may be another than that of a page never seen; region->pages: none. */
static inline uint32_t region_next(const struct region *region, uint32_t index)
{
	while (index < region->pages && !region->touched[index / REGION_BLOCK])
		index = index - index % REGION_BLOCK + REGION_BLOCK;
	return index < region->pages ? index : region->pages;
}

static inline uint32_t page_number(struct page page)
{
	return page.region->first + page.index;
}

static inline uint32_t page_global(struct page page)
{
	return page.region->global + page.index;
}

static inline enum page_kind state_kind(uint32_t state)
{
	return (enum page_kind)(state >> STATE_SHIFT);
}

static inline bool state_is_copy(uint32_t state)
{
	return state_kind(state) == KIND_PRIVATE && (state & PRIVATE_COPY) != 0;
}

/** Changes a page's state, and keeps count of the copies; what else is counted is the caller's. */
static inline void page_set(struct page page, uint32_t state)
{
	uint32_t *now = page_state(page);
	uint64_t *diverged = &page.region->vm->counters.diverged_pages;

	*diverged = *diverged + state_is_copy(state) - state_is_copy(*now);
	*now = state;
}

/** The checksum of a content with @tag in the table. */
static inline uint32_t check_of(uint32_t tag)
{
	uint32_t check = tag & PRIVATE_CHECK;

	return check > CHECK_ZERO ? check : check + CHECK_ZERO + 1;
}

/** The region of a page number, NULL if no region has it (any more). */
struct region *vm_region(struct engine_vm *vm, uint32_t page);
/** The same for a whole run; *@ret_region is NULL for pages of regions that are gone. @return 0, -EPROTO. */
int vm_run(struct engine_vm *vm, uint32_t page, uint32_t count, struct region **ret_region);
/** A region beyond the limits is only noted, and nothing is ever ordered for it. @return 0, -EPROTO, -ENOMEM. */
int vm_add_region(struct engine_vm *vm, uint32_t page, uint64_t pages);
/** Whether @page is of a region beyond the limits. */
bool vm_is_beyond(const struct engine_vm *vm, uint32_t page);
int vm_remove_region(struct engine_vm *vm, uint32_t page);
/** Frees a region's memory; NULL and half-built ones, too. */
void region_free(struct region *region);
/**
 * Makes a page private, whatever it was: drops its reference or its share in an order. @private: checksum, and
 * PRIVATE_COPY if it is one.
 */
void vm_forget(struct page page, uint32_t private);

#endif
