/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The engine: which page of which VM reads which slot, which hashes are known, and what to do next. Plain code: no
 * sockets, no files, no clock, one thread. The daemon feeds it the workers' reports and the time, takes orders from it,
 * and lends it a store. docs/design/engine.md tells how it works.
 *
 *   reports ──> engine_report() ──> [ table: hash -> hint page or slot ] ──> orders ──> engine_next_order()
 *                                   [ VMs:  page -> slot, zero, private ]
 *                                   [ slots: sharers, orders under way  ] ──> struct engine_store
 *
 * A slot number is segment * ENGINE_SEGMENT_SLOTS + index.
 */
#ifndef PAGEFUSE_ENGINE_ENGINE_H
#define PAGEFUSE_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/ring.h"
#include "protocol/wire.h"

#define ENGINE_SEGMENT_SLOTS 65536u /* 256 MiB */
#define ENGINE_SEGMENTS_MAX 16384u  /* slot numbers have 30 bits */
#define ENGINE_VMS_MAX 4096u
#define ENGINE_STEPS_MAX 32768u
#define ENGINE_NUMBERS (UINT64_C(1) << 31) /* pages of all VMs that can be told apart */
/* Of an estimate, while it is made: contents, and who has which, of 40 bytes; and VMs of whose pairs it tells. */
#define ENGINE_ESTIMATE_CONTENTS (UINT32_C(1) << 19)
#define ENGINE_ESTIMATE_PAIR_VMS 1024u

/** The store as the engine needs it. Calls come from inside engine functions, on their thread. */
struct engine_store {
	void *context;
	/** Makes segment @segment (empty) available. @return 0 or -errno (then nothing new is shared for now). */
	int (*add_segment)(void *context, uint32_t segment);
	/** All its slots are dead and no VM's orders name it: drop it. The number may be added again later. */
	void (*remove_segment)(void *context, uint32_t segment);
	/**
	 * Gives a slot its content, PAGE_BYTES. @return 0, -ENOSPC (no memory), -errno: the slot is as good as empty.
	 */
	int (*write)(void *context, uint32_t slot, const void *content);
	/** Reads a slot's content, PAGE_BYTES. @return 0 or -errno. */
	int (*read)(void *context, uint32_t slot, void *ret_content);
	/** Frees the memory of @count slots that no guest page reads. Failure is retried by the store itself. */
	void (*punch)(void *context, uint32_t slot, uint32_t count);
	/**
	 * One slot more is to be charged to @account (engine_vm_set_account()). @return whether it may be. NULL:
	 * always.
	 */
	bool (*admit_slot)(void *context, void *account);
	/** @slots more, or less, are charged to it, also after its VM has gone: until they are dead. NULL: not kept. */
	void (*charge)(void *context, void *account, int64_t slots);
	/**
	 * Whether @account may have @pages more of the ENGINE_NUMBERS, for a region: then they are its own until
	 * give_numbers(), also after its VM has gone. NULL: always.
	 */
	bool (*take_numbers)(void *context, void *account, uint64_t pages);
	/** They can be given to others again. NULL: not kept. */
	void (*give_numbers)(void *context, void *account, uint64_t pages);
	/**
	 * @all_pages of all VMs are to be shared or zero, and of these @vm_pages of one. @return whether so many may
	 * be; or else that VM is given no more. @held: they were not when this was asked last, so there has to be some
	 * room. NULL: always.
	 */
	bool (*admit_exposure)(void *context, uint64_t all_pages, uint64_t vm_pages, bool held);
};

/** Pages of a 2 MiB page. */
#define ENGINE_BLOCK_PAGES RING_BLOCK_PAGES

/** Which 2 MiB pages may be split, so that pages inside them can be shared. */
enum engine_large {
	ENGINE_LARGE_KEEP,   /* none */
	ENGINE_LARGE_DENSE,  /* those of whose pages enough would be shared: dense_pages */
	ENGINE_LARGE_ALWAYS, /* any */
};
/** "keep" and so on, by these; NULL at the end. */
extern const char *const engine_large_names[];

/** All settings; engine_settings_default() fills in the defaults, which are documented in pagefused.conf(5). */
struct engine_settings {
	uint32_t scan_interval_seconds;  /* time for one slow pass over a VM; 0: none, only on request */
	uint32_t audit_interval_seconds; /* how often to look for pages that diverged; 0: only with scans */
	uint32_t scan_cpu_percent;       /* at most this share of one core for a VM's slow pass */
	uint64_t vm_slots_max;           /* slots that one VM may bring in: their memory is the daemon's */
	uint64_t vm_ram_bytes_max;       /* registered RAM of one VM */
	enum engine_large large_scans;   /* for what passes find */
	enum engine_large large_hints;   /* for what is noted */
	uint32_t dense_pages;            /* of ENGINE_BLOCK_PAGES, that would be shared, make a 2 MiB page dense */
	bool large_back;                 /* memory is plentiful: 2 MiB pages come back, of which no more than */
	uint32_t large_back_pages;       /* so many pages are shared or zero */
	uint32_t segments_max;           /* ENGINE_SEGMENTS_MAX; fewer in tests only */
	uint32_t estimate_contents;      /* ENGINE_ESTIMATE_CONTENTS, */
	uint32_t estimate_pair_vms;      /* and _PAIR_VMS; the same */
	uint64_t seed;                   /* for page_hash() */
	uint64_t secret[2];              /* random, told to nobody: where hashes stand in the table */
};
void engine_settings_default(struct engine_settings *settings);

struct engine;
struct engine_vm;

/**
 * Takes over the settings that can change while it runs: all but seed, secret, and those for tests. Limits are of what
 * comes from now on; walks whose interval has changed go on at once. What may be split from now on is, with the next
 * ticks; what may not any more is not, but for orders that VMs have taken already.
 */
void engine_change_settings(struct engine *engine, const struct engine_settings *settings);

/** @store is copied. @return NULL without memory. */
struct engine *engine_new(const struct engine_settings *settings, const struct engine_store *store);
void engine_free(struct engine *engine);

/** Adds a VM. The handle is valid until engine_remove_vm(). @return 0, -ENOSPC (ENGINE_VMS_MAX), -ENOMEM. */
int engine_add_vm(struct engine *engine, enum wire_mode mode, struct engine_vm **ret_vm);
/** The VM's process, and every child that could read its memory, is gone: drops all its references and hints. */
void engine_remove_vm(struct engine *engine, struct engine_vm *vm);
/** Regions that have left give back what they hold bit by bit, with ticks: @return whether all of that is done. */
uint64_t engine_leaving_ticket(const struct engine *engine);
bool engine_has_given_back(const struct engine *engine, uint64_t ticket);
/**
 * The connection is gone but the process lives (or a child of it): references stay, orders under way count as
 * answered "maybe merged": their references stay until the VM is removed. No orders come for it any more. A process
 * that reconnects is a new VM that adopts; the daemon then removes this one, after REPORT_READY of the new one.
 */
void engine_detach_vm(struct engine *engine, struct engine_vm *vm);

/**
 * Takes one report that has passed ring_check_report(). @staging: the page that a FETCHED names (untrusted and
 * changing: it is copied first), else NULL.
 * @return 0, or -EPROTO if it does not fit what was ordered and known: the daemon then drops the peer. Nothing of the
 * report (of its part in that region) has been applied in that case. -ENOMEM, and -ENOSPC for pages that it shares in a
 * region beyond the limits: drop the peer, too.
 */
int engine_report(struct engine *engine, struct engine_vm *vm, const struct ring_record *report, const void *staging);

/**
 * Prefetches memory that engine_report() will read. @report need not be valid, nor name a page of @vm. It pays off a
 * few reports ahead.
 */
void engine_prefetch(struct engine_vm *vm, const struct ring_record *report);

/**
 * Sets what @vm may share from now on. Pages that the new mode does not allow are unshared first, in batches: with
 * WIRE_MODE_OFF all; with _ZERO those that map slots; with _HINTS after _FULL these, too, as it is not known which came
 * by hints. Until that is done nothing new of the VM is shared.
 */
void engine_set_mode(struct engine *engine, struct engine_vm *vm, enum wire_mode mode);
/** Pages that are still to be unshared. */
uint64_t engine_pages_to_unshare(const struct engine_vm *vm);

/** The worker of @vm does not know notes: it is never ordered to report them. To be called before it is READY. */
void engine_vm_lacks_notes(struct engine_vm *vm);
/** Likewise for WHOLE orders: it gets none. */
void engine_vm_lacks_whole(struct engine_vm *vm);
/** Likewise for RING_MAY_SAMPLE. */
void engine_vm_lacks_samples(struct engine_vm *vm);

/**
 * Hints that pages [page, page + count) of @vm are worth a look. The hint need not be right. The pages are looked at
 * soon, and matched as noted ones are. Page numbers without a page are ignored, as are hints for which there is no
 * room. Only in the modes _HINTS and _FULL.
 */
void engine_look(struct engine *engine, struct engine_vm *vm, uint32_t page, uint32_t count);
/** The number of hinted looks so far, and how many of these, the first ones, are over. */
uint64_t engine_looks_wanted(const struct engine_vm *vm);
uint64_t engine_looks_over(const struct engine_vm *vm);

/** The first page of its largest region. @return how many pages that has; 0: it has no region. */
uint32_t engine_largest_region(const struct engine_vm *vm, uint32_t *ret_page);

/** How many pages @page's region has from @page on. 0: it is in no region, or in one beyond the limits. */
uint32_t engine_region_pages(struct engine_vm *vm, uint32_t page);

/** What engine_page_sharers() says of a page full of zeros, which needs no copy at all. */
#define ENGINE_ZERO_SHARERS UINT32_MAX
/** How many pages map the slot that @page of @vm maps, itself among them. 0: it is not shared, or is no page. */
uint32_t engine_page_sharers(struct engine_vm *vm, uint32_t page);

/** The state of a page, for walks over all pages: the first of these that holds. */
enum engine_page_state {
	ENGINE_PAGE_ABSENT, /* in no region, or in one beyond the limits */
	ENGINE_PAGE_SHARED,
	ENGINE_PAGE_ZERO,
	ENGINE_PAGE_HUGE,     /* part of a 2 MiB page, as its worker last saw it */
	ENGINE_PAGE_BUSY,     /* an order for it is under way, or it is left alone for now: stability.h */
	ENGINE_PAGE_DIVERGED, /* a private copy inside a mapping of the store */
	ENGINE_PAGE_PRIVATE,
	ENGINE_PAGE_STATES
};
/**
 * How many pages from @page on, @most at most, are all _ABSENT, or all _PRIVATE because no report ever mentioned them:
 * without a look at each. 0: they have to be looked at. This is quick even for a TiB.
 */
uint32_t engine_pages_alike(const struct engine_vm *vm, uint32_t page, uint32_t most,
			    enum engine_page_state *ret_state);
/**
 * The states of pages [page, page + count). @ret_slots: the slots of those that are _SHARED; the other items are not
 * set.
 */
void engine_page_states(struct engine_vm *vm, uint32_t page, uint32_t count, enum engine_page_state *ret_states,
			uint32_t *ret_slots);

/** Takes the next order for @vm. Call while there is room in its ring. @return whether there was one. */
bool engine_next_order(struct engine *engine, struct engine_vm *vm, struct ring_record *ret_order);
/** VMs that have orders waiting: iterate with *cursor = 0 at first. @return NULL at the end. */
struct engine_vm *engine_next_ready(struct engine *engine, uint32_t *cursor);

/** Whether new slots can be had. */
enum engine_room {
	ENGINE_ROOM,
	ENGINE_ROOM_NO_MEMORY,  /* tried again now and then, and when a pass is requested */
	ENGINE_ROOM_NO_NUMBERS, /* every possible segment has a slot in use: none until one is free */
};
enum engine_room engine_store_room(const struct engine *engine);
/** The store may have memory again: new slots are tried now. */
void engine_retry_store(struct engine *engine);

/** Limits for one VM, besides those in the settings. At a limit less is shared: limited_pages. */
struct engine_vm_limits {
	uint64_t ram_pages;   /* in its regions; further regions are ignored */
	uint64_t known_pages; /* private ones whose content is remembered; others are not looked up, nor found */
	uint64_t slots;       /* charged to it: that it has brought into the store */
};
/** For the future; what the VM has stays. Without this call there are no limits. */
void engine_vm_set_limits(struct engine_vm *vm, const struct engine_vm_limits *limits);
/**
 * The account that its slots and page numbers are charged to, in addition. To be called before the VM has any. The
 * account has to exist until nothing is charged to it any more.
 */
void engine_vm_set_account(struct engine_vm *vm, void *account);
/** What it has now. */
void engine_vm_usage(const struct engine_vm *vm, struct engine_vm_limits *ret);

/** The daemon's object for this VM (its session). */
void engine_vm_set_context(struct engine_vm *vm, void *context);
void *engine_vm_context(const struct engine_vm *vm);

/**
 * Advances time: schedules slices of slow passes and audits, and gives up on orders that VMs do not answer. Call it at
 * least as often as it asks for. @now_usec: any monotonic clock. @return microseconds until the next call is needed.
 */
uint64_t engine_tick(struct engine *engine, uint64_t now_usec);

/**
 * Work done since the last call, in steps of about the cost of one page: withdrawing an order for it, giving back what
 * it held, reading an adopted one, sweeping 16 places of the table, 32768 page numbers. A tick makes ENGINE_STEPS_MAX
 * at most; other functions leave larger work to the next ticks.
 */
uint64_t engine_take_steps(struct engine *engine);

/** Slots whose memory is in use, as in engine_counters(), at once. */
uint64_t engine_stored_pages(const struct engine *engine);

/** Memory that guests take if they write all that they share: as in engine_counters(), without its cost. */
struct engine_exposure {
	uint64_t pages;           /* shared + zero */
	uint64_t under_way_pages; /* that will be, unless something comes between */
	uint32_t held_vms;
};
/** A look at each VM. */
void engine_exposure(const struct engine *engine, struct engine_exposure *ret);

/** The worker's CPU time so far, from its statistics, for scan_cpu_percent. */
void engine_vm_set_cpu(struct engine_vm *vm, uint64_t cpu_nsec);

/**
 * Starts one full pass over @vm as fast as it answers; equal pages are merged even if they changed lately.
 * @return a ticket > 0 for engine_pass_done().
 */
uint64_t engine_scan(struct engine *engine, struct engine_vm *vm);
/** Whether the pass of that ticket is over and every order that came of it, for whatever VM, has been answered. */
bool engine_scan_done(const struct engine *engine, const struct engine_vm *vm, uint64_t ticket);
/** Whether a pass is under way that was requested, or is the VM's first. */
bool engine_is_scanning(const struct engine_vm *vm);
/** Progress of the pass under way: pages of @ret_total passed. */
void engine_scan_progress(const struct engine_vm *vm, uint64_t *ret_done, uint64_t *ret_total);

/**
 * After a restart: the store still has segment @segment from an earlier daemon. Its slots can be adopted by
 * REPORT_ADOPT (the engine hashes their content through store->read() and enters them into the table). Nothing in the
 * segment is allocated, and nothing punched before engine_accounted(). To be called before any VM is added.
 */
int engine_old_segment(struct engine *engine, uint32_t segment);
/**
 * Every process that might map the old segments has reconnected (and sent READY) or is gone: slots without a reader are
 * punched.
 */
void engine_accounted(struct engine *engine);

/**
 * What a VM saves. saved = shared + zero, less its part of the common pages: as large as that of its shared pages in
 * all shared ones. Rounded so that all add up.
 */
struct engine_vm_counters {
	uint64_t ram_pages;
	uint64_t shared_pages;
	uint64_t zero_pages;
	uint64_t large_blocks;              /* 2 MiB pages, as last seen by the worker */
	uint64_t broken_blocks;             /* that were ones until something in them was merged */
	uint64_t ready_pages;               /* inside 2 MiB pages, with hashes that are known */
	uint64_t would_save_pages;          /* of these: what would be saved if they were shared now */
	uint64_t diverged_pages;            /* private copies inside mappings of the store */
	uint64_t present_pages;             /* as last seen by the worker, shared ones included */
	int64_t saved_pages;                /* in engine_vm_last_counted() only */
	uint64_t beyond_pages;              /* of regions beyond vm_ram_bytes_max or what can be numbered: left alone */
	uint64_t unsharing_pages;           /* that its mode does not allow, and are still to be unshared */
	uint64_t dropped_orders;            /* for lack of room; found again by the next pass */
	uint64_t limited_pages;             /* so far: not known, or not brought into the store, at a limit */
	uint64_t held_pages;                /* so far: not shared, nor given back, as admit_exposure said no */
	bool held;                          /* it says so now */
	uint64_t differs, busy, gone, full; /* answers so far, pages */
	uint64_t noted_shared;              /* shared or given back because they had been noted, so far */
	uint64_t noted_unstable;            /* noted, and left alone as they diverge again and again, so far */
};
struct engine_counters {
	uint64_t shared_pages; /* guest pages confirmed to read a slot */
	uint64_t common_pages; /* slots that at least one of them reads */
	uint64_t zero_pages;
	int64_t saved_pages; /* shared - common + zero */
	uint32_t held_vms;   /* VMs for which nothing new is shared, as admit_exposure refused */
	/* Of all VMs, as above. */
	uint64_t large_blocks, broken_blocks, ready_pages, would_save_pages;

	uint64_t store_pages; /* slots whose memory is in use: common, and those being filled or dropped */
};
/**
 * Sets the host's counters, and keeps every VM's for engine_vm_last_counted(). One look at each VM, none at its pages.
 */
void engine_counters(struct engine *engine, struct engine_counters *ret);
/** Memory of the engine's own tables. One look at each VM. */
uint64_t engine_memory_bytes(const struct engine *engine);
/** A VM's counters now, but for saved_pages. */
void engine_vm_counters(const struct engine_vm *vm, struct engine_vm_counters *ret);
/** A VM's counters as they were at the last engine_counters(), so that they match the host's. */
void engine_vm_last_counted(const struct engine_vm *vm, struct engine_vm_counters *ret);

/** What sharing everything would save, for one VM or all, as far as contents are known: see docs/design/estimate.md. */
struct engine_vm_estimate {
	uint64_t ram_pages, present_pages;
	uint64_t looked_pages;             /* whose content is known, as it was when they were looked at last */
	uint64_t shared_pages, zero_pages; /* of these: already shared, or zero */
	uint64_t would_share_pages;        /* would be saved besides: copies less */
	uint64_t would_zero_pages;         /* would be given back besides */
	uint64_t looked_usec;              /* when the last complete pass began, by the engine's clock; 0: none */
};
/** Of two VMs. */
struct engine_pair_estimate {
	uint64_t common_pages; /* contents that both have, without zeros: each pair of pages could share one copy */
	uint64_t shared_pages; /* of these: that both map already */
};
struct engine_estimate_summary {
	uint64_t begun_usec, ended_usec; /* by the engine's clock */
	uint64_t one_in;                 /* one content in so many was counted, and counts for so many */
	uint32_t rows;                   /* VMs that were there when it began */
	uint32_t left;                   /* of these, VMs that were there when it ended: it covers these */
	uint32_t pair_rows;              /* of these, the first so many: pairs are known of them */
	uint64_t common_pages;           /* slots that are mapped now */
	struct engine_vm_estimate all;   /* looked_usec: 0 */
};
struct engine_estimate;

/** A look at all pages of a VM, so that estimates know their contents. */
struct engine_survey {
	bool active;
	uint64_t done_pages, total_pages;
	uint64_t begun_usec, ended_usec; /* of the last one that is over, by the engine's clock; 0: none */
};
/**
 * Has all pages of @vm looked at, as fast as it answers, unless that is under way. Their contents are known then;
 * nothing is shared or given back. For modes other than _FULL, whose passes look at few pages or none.
 * @return false: the mode is _FULL, or the VM does not answer. If that becomes so later, the look ends.
 */
bool engine_survey(struct engine_vm *vm);
void engine_survey_state(const struct engine_vm *vm, struct engine_survey *ret);

/**
 * Requests an estimate that begins after this call. It is made in the ticks, one at a time, with pauses in between. It
 * orders nothing, and changes nothing but the estimate.
 */
void engine_want_estimate(struct engine *engine);
/** Whether none would begin now, because the last one was too recent. */
bool engine_pauses_estimates(const struct engine *engine, uint64_t now_usec);
/** Whether one is requested or under way. Its progress: pages of *@ret_total have been visited. */
bool engine_is_estimating(const struct engine *engine, uint64_t *ret_done, uint64_t *ret_total);
/** The last complete estimate, even if a later one is under way. To be released by engine_drop_estimate(). */
struct engine_estimate *engine_take_estimate(struct engine *engine);
/** Also after engine_free(), and NULL. */
void engine_drop_estimate(struct engine_estimate *estimate);
void engine_estimate_summary(const struct engine_estimate *estimate, struct engine_estimate_summary *ret);
/** The row of @vm, which still exists, in @estimate. @return whether it has one. */
bool engine_estimate_row(const struct engine_estimate *estimate, const struct engine_vm *vm, uint32_t *ret_row);
void engine_estimate_vm(const struct engine_estimate *estimate, uint32_t row, struct engine_vm_estimate *ret);
/** @a and @b: two rows below summary.pair_rows. */
void engine_estimate_pair(const struct engine_estimate *estimate, uint32_t a, uint32_t b,
			  struct engine_pair_estimate *ret);

/**
 * Verifies every equation between table, slots and pages; for tests and debug builds. @return NULL, or what is wrong.
 */
const char *engine_check(const struct engine *engine);

#endif
