/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The engine's one instance of everything, and what it knows of each VM. */
#ifndef PAGEFUSE_ENGINE_STATE_H
#define PAGEFUSE_ENGINE_STATE_H

#include "engine/links.h"
#include "engine/queue.h"
#include "engine/regions.h"
#include "engine/sample.h"
#include "engine/space.h"
#include "engine/waiters.h"

struct rival;

#define VM_QUEUE_MAX 8192u
#define VM_SCANS_MAX 12u
#define VM_LOOKS_MAX 4096u
#define VM_SIGHTINGS_MAX 256u /* looked through one by one */
#define VM_LATER_MAX 1024u
#define UNSHARES_MAX 4u /* UNSHARE orders of a VM under way */
#define VM_LATE_MAX 16u /* barriers that a ticket is put off at most; and times that its pass is made again */
/**
 * A barrier answers "is everything that was ordered before it done?". It waits for the pages that waited to be
 * matched before it began, by FETCHes or for their turn, which have the parity that `started` had; then for the MERGE
 * and ZERO orders that each VM has been given by then. Whoever makes it wait too long is left behind.
 */
struct barrier {
	uint64_t started, completed;
	uint64_t stage_usec; /* when the stage began that it is in, by watched_usec */
	bool wanted;         /* start another one when this one is over */
	bool orders;         /* second stage: waits for orders */
};

/** After a restart: VMs that map old slots are to be heard before anything new is shared; see schedule.c. */
struct resync {
	bool wanted, began;
	uint64_t began_usec, heard_usec; /* heard: last time that a VM told what it maps */
};

/** Regions that wait for page numbers, which others have had, to be free; see vm.h. */
struct waiting {
	uint32_t regions; /* of all VMs */
	bool goes_on;     /* they are tried again: */
	uint32_t vm, at;  /* where that stands: indices, of the VM and of its regions beyond the limits */
};

/** A segment whose pages are told to leave it; see retire.c. */
struct retire {
	bool goes_on;
	uint32_t segment;
	uint32_t vm, region, page; /* where the walk stands: indices */
	uint64_t next_usec;        /* when to look for the next one */
};

/** The search for who is to be charged for slots, see heirs.h. */
enum heirs_phase {
	HEIRS_NONE,
	HEIRS_OWNERS, /* whether the user who is charged maps them */
	HEIRS_WITHIN, /* who else does, and may be charged for more */
	HEIRS_BEYOND, /* who else does, whatever may be charged */
};
struct heirs {
	enum heirs_phase phase;
	unsigned mark;             /* of the slots that it is about */
	bool left_some;            /* this walk leaves slots to the next one, or may */
	uint32_t vm, region, page; /* where the walk stands: indices */
	uint64_t begun_usec;       /* the first walk */
	uint64_t next_usec;        /* no other one before */
};

/** A FETCH order that is not answered yet. */
struct fetch {
	struct table_key key; /* that the content should have */
	uint32_t page;
	uint32_t slot; /* to fill; SLOT_NONE once it is given up: only the answer is still to come */
};

/** What a requested pass saw of a page while an order for it was under way that cannot succeed: matched after that. */
struct sighting {
	struct table_key key; /* of the content; none if it is full of zeros */
	uint32_t page;        /* 0: taken */
	bool zero;
};

/** A run of noted pages that are to be looked at later. */
struct later {
	uint64_t due_usec;
	uint32_t page, count;
};

enum scan_kind {
	SCAN_PASS,
	SCAN_SLOW,
	SCAN_AUDIT,
	SCAN_LATER,  /* of pages that were noted, see later.h */
	SCAN_LOOK,   /* of pages that somebody has named, see engine_look() */
	SCAN_SURVEY, /* of all, only to know what is in them, see survey.h */
};

/** A SCAN or AUDIT order that is not answered yet. */
struct scan {
	uint32_t page, count;
	enum scan_kind kind;
	bool hashes; /* it tells of all pages that are there, not only of what has diverged */
	bool reads;  /* slow, and without samples, as something there is not known: see BLOCK_UNKNOWN */
};

/** An UNSHARE order that is not answered yet. */
struct unshare_run {
	uint32_t page, count;
};

/** What has to be given memory of its own, as the VM's mode allows it no more; see unshare.c. */
struct unsharing {
	bool active, shared, zero; /* which pages: that map slots, that are zero */
	bool walked;               /* a whole round has been made */
	uint32_t page;             /* next one of this round */
	uint32_t count;
	struct unshare_run runs[UNSHARES_MAX];
	uint64_t answered;
	uint64_t left;                 /* when the last round ended */
	uint64_t wait_usec, next_usec; /* for as long before this round, and until when */
};

/** A look at all pages that nothing comes of, see survey.h. */
struct survey {
	bool active;
	uint32_t page;                   /* next one */
	uint64_t from_usec;              /* when it began; 0: it is over, or void */
	uint64_t begun_usec, ended_usec; /* the last one that is over; 0: none */
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
	uint64_t done, since_usec; /* by watched_usec, as those of watch.h below */
};

/** Where the release of pages inside 2 MiB pages stands, see release.c. */
struct release {
	bool active, wanted;
	uint32_t threshold, densest;      /* pages that match in a block */
	uint32_t vm, region, block, page; /* next one, by index; page 0: none of the block was looked at */
	uint64_t begun_usec;              /* the last one */
	uint64_t next_usec;               /* no other one before */
};

/** Where the walk over a VM's broken blocks stands, and the WHOLE order under way; see whole.c. */
struct whole {
	uint32_t region, block;        /* next one, by index */
	uint32_t page, count;          /* of the order; count 0: there is none */
	bool gave;                     /* a block was given back in this walk */
	uint64_t next_usec, wait_usec; /* for as long after the last walk */
};

/** Where the estimate that is being made stands, see estimate.c. */
enum estimate_phase {
	ESTIMATE_NONE,
	ESTIMATE_PREPARES, /* memory for the sample is touched, see sample_prepare() */
	ESTIMATE_HINTS,    /* which the table has */
	ESTIMATE_PAGES,    /* of all VMs */
	ESTIMATE_COUNT,    /* who has the same */
};
struct estimate {
	enum estimate_phase phase;
	bool wanted;                    /* one that begins from now on */
	struct sample sample;           /* of all rows, also those whose VM has gone */
	struct engine_estimate *making; /* this one */
	struct engine_estimate *last;   /* that is complete, or NULL */
	struct table_key hint;          /* the next one */
	uint32_t row, page;             /* the next page: of the VM that has that row */
	uint32_t content, record;       /* the next ones; record: index + 1, 0: none of the content was looked at */
	uint64_t done_pages;            /* that were gone over */
	uint64_t serial;                /* of the last one that was begun */
	uint64_t next_usec;             /* none begins before */
};

/** That a VM has a row in the estimate with that serial, and which. */
struct estimate_row {
	uint64_t serial;
	uint32_t row;
};

struct engine_vm {
	struct engine *engine;
	void *context;
	void *account;  /* of its slots and page numbers, or NULL */
	uint32_t index; /* in engine->vms */
	uint16_t owner; /* for slots_new() */
	enum wire_mode mode;
	bool ready, detached;
	bool heard;        /* something was reported since the last tick that looked at it */
	bool unresponsive; /* nothing was for a long time, or no answer of a kind that it owes; set by the tick */
	bool lagging;      /* takes orders too slowly: others go on without it */
	bool held;         /* nothing is ordered for it: see exposure.h */

	struct regions regions;
	struct page_counts pages;
	struct block_counts blocks;
	struct engine_vm_limits limits;

	struct queue orders;                  /* struct ring_record, not taken yet */
	uint32_t withdraw_next, withdraw_end; /* of these, those that are still to be withdrawn; nothing: both 0 */
	struct queue fetches;                 /* struct fetch */
	struct queue later;                   /* struct later, in the order in which they came */
	struct queue looks;                   /* struct scan: looks that are to be ordered */
	uint64_t looks_wanted, looks_over;
	struct rival *rivals;   /* RIVALS_SEEN, see rivals.h; NULL: there was none */
	struct queue sightings; /* struct sighting, until the pass is settled */
	bool lost_sightings;    /* there were more than fit since a ticket came true */
	uint32_t made_again;    /* times that the pass of the next one was made once more for that */
	struct scan scans[VM_SCANS_MAX];
	uint32_t scan_count;
	uint32_t waiting;          /* its pages that wait for a slot to be filled */
	uint64_t issued, answered; /* pages in MERGE and ZERO orders; the difference is pages ORDERED or ZERO_ORDERED */
	uint64_t fetched, scanned; /* answers to FETCH, and to SCAN and AUDIT */
	struct progress progress[4];
	struct slot_window window;
	struct unsharing unsharing;
	struct whole whole;
	struct survey survey;

	uint64_t pass_ticket, queued_ticket, settled_ticket; /* see schedule.h */
	struct ended ended[2];                               /* not settled: the first one, and the last one after it */
	uint32_t ended_count;
	uint64_t barrier_target;
	uint64_t overdue_answers, overdue_fetches; /* numbers of answers that a barrier has waited for too long */
	struct walk pass, slow, audit;
	/*
	 * When the requested and the slow pass under way began, if they look at all pages and tell their hashes; and
	 * the last such pass that is over. Or 0.
	 */
	uint64_t pass_from_usec, slow_from_usec, looked_usec;
	uint64_t slow_usec;  /* when the last slice of a slow pass was ordered */
	uint64_t noted_usec; /* when a noted page was reported last */
	bool lacks_notes;    /* its worker knows nothing of them */
	bool lacks_whole;    /* nor of WHOLE orders */
	bool lacks_samples;  /* nor of RING_MAY_SAMPLE */
	bool told_notes;     /* whether it has been ordered to tell of notes, or not to */
	bool wants_notes;    /* the last such order */
	uint64_t silent_since_usec, lag_usec, lag_seen_usec;
	uint64_t cpu_nsec, cpu_charged_nsec;
	int64_t cpu_budget_nsec;
	uint64_t cpu_filled_usec;

	struct engine_vm_counters counters;
	struct engine_vm_counters counted; /* at the last engine_counters(), if there was one since the VM came */
	bool was_counted;
	struct estimate_row estimate_rows[2]; /* in the last one, and the one under way: by serials, even or odd */
};

/** VMs that ticks pass by, by their indices, see rest.h. */
struct rest {
	uint64_t until_usec[ENGINE_VMS_MAX]; /* 0: it is awake */
	uint64_t all_usec;                   /* when all were woken last */
};

/** Regions that have left, see leaving.h. */
struct leaving {
	struct region *first, *last; /* in the order in which they have left; NULL: there are none */
	uint64_t added, gone;        /* so far */
};

struct engine {
	struct engine_settings settings;
	struct table table;
	struct slots slots;
	struct links links;
	struct space space;
	struct engine_vm *vms[ENGINE_VMS_MAX];
	uint32_t vms_end;         /* above the highest index in use */
	struct page_counts pages; /* of all of them */
	struct rest rest;
	uint32_t turn;                             /* who is the first to be given scans at the next tick */
	uint64_t with_orders[ENGINE_VMS_MAX / 64]; /* bitmap: VMs with orders to be taken */
	struct waiters waiters;
	uint32_t fetches_open; /* FETCHes that have neither been answered nor given up */
	struct barrier barrier;
	struct resync resync;
	struct release release;
	struct retire retire;
	struct heirs heirs;
	struct estimate estimate;
	struct leaving leaving;
	uint32_t sweep_next; /* partition; TABLE_PARTITIONS when no sweep is under way */
	struct waiting waiting;
	uint32_t withdrawing; /* VMs of which orders are withdrawn, see orders.h */
	uint64_t steps;       /* since engine_take_steps() */
	uint64_t last_ticket;
	uint64_t now_usec;
	uint64_t watched_usec; /* for how long VMs have been watched, see watch.h */
};

/** The region of page number @page of @vm, NULL if no region has it (any more). */
static inline struct region *vm_region(struct engine_vm *vm, uint32_t page)
{
	return regions_find(&vm->regions, page);
}

/** What may be shared of it now: nothing while pages are unshared because of its mode. */
static inline enum wire_mode vm_mode(const struct engine_vm *vm)
{
	return vm->unsharing.active ? WIRE_MODE_OFF : vm->mode;
}

#endif
