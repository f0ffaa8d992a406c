/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A store and VMs for the engine, in memory and without kernel, threads or time: workers that carry out orders one at
 * a time and answer through a queue, as slow, as often refusing, and as late as a test wants it.
 *
 * A page's content is a number, 0 for zeros; content_fill() makes 4096 bytes of it. The simulation notices by itself,
 * in sim->wrong, when a guest would read what it did not write, when a slot is written that a page maps, used again
 * after having been punched, or named by an order while it is not there.
 */
#ifndef PAGEFUSE_TESTS_ENGINE_SIMULATION_H
#define PAGEFUSE_TESTS_ENGINE_SIMULATION_H

#include "engine/engine.h"

#define SIM_VMS 16u
#define SIM_REGIONS 8u
#define SIM_SEGMENTS 64u
/** Contents with this bit: each even one has the same hash as the next. */
#define SIM_RIVAL (UINT32_C(1) << 31)

enum sim_state {
	SIM_ABSENT,   /* not present */
	SIM_PLAIN,    /* private, never shared since it came to be */
	SIM_DIVERGED, /* private again, and reported so */
	SIM_SHARED,   /* maps a slot */
	SIM_ZEROED,   /* given back as zero page */
	SIM_LEFT,     /* was shared, zeroed or dropped, written since, not reported yet */
	SIM_DROPPED,  /* was shared, zeroed or a copy, discarded, not reported yet */
};

struct sim_page {
	uint32_t content, slot;
	enum sim_state state;
	bool copy;           /* a private copy inside a mapping of the store */
	bool large;          /* part of a 2 MiB page */
	bool broken;         /* the first of a block that was one, and is kept from collapsing */
	uint32_t told;       /* the content that was told last */
	unsigned times_told; /* one after the other, since the last order that drops that */
};

struct sim_record {
	struct ring_record record;
	uint32_t content; /* of the staging page, in FETCHED */
};

/** Unbounded; a ring would only be fuller or emptier at other times. */
struct sim_queue {
	struct sim_record *items;
	uint32_t head, tail, capacity;
};

struct sim_region {
	uint32_t first, pages;
	uint32_t before; /* pages of its first 2 MiB block that are before it */
};

struct sim_vm {
	struct sim *sim;
	struct engine_vm *vm;   /* NULL: no connection */
	struct engine_vm *kept; /* what the engine knows of it from an earlier connection */
	enum wire_mode mode;
	void *account;           /* that it has from the next connection on, or NULL */
	uint32_t refuse_percent; /* how many pages of orders it refuses */
	bool silent;             /* carries out nothing */
	bool lacks_notes;        /* its worker is of an earlier release; set before it connects */
	bool lacks_whole;        /* the same, of another earlier one */
	bool lacks_samples;      /* the same */
	bool tells_notes;        /* as it was ordered */
	struct sim_region regions[SIM_REGIONS];
	uint32_t region_count, next_page;
	uint32_t before;        /* of regions that are added from now on */
	struct sim_page *pages; /* by page number */
	struct sim_queue up, down;
	uint64_t cpu_nsec;
	uint64_t read_scans, sampled_scans; /* SCAN orders without and with RING_MAY_SAMPLE */
};

struct sim_segment {
	unsigned char *memory; /* NULL: not there */
	unsigned char *use;    /* by slot: 0 untouched, 1 written, 2 punched */
	bool old;              /* from before a restart: what was punched then may be punched again */
};

struct sim {
	uint64_t random;
	uint64_t seed; /* of the hash */
	struct engine_settings settings;
	struct engine *engine;
	struct sim_segment segments[SIM_SEGMENTS];
	struct sim_vm *vms[SIM_VMS];
	uint64_t now_usec;
	bool store_fails;         /* add_segment and slot fail now and then */
	uint64_t store_slots_max; /* slots that there is memory for; 0: for all */
	uint64_t exposed_max;     /* pages that all VMs together may share, or have given back; 0: any */
	uint64_t exposed_vm_max;  /* the same, of one */
	uint32_t stale_percent;   /* of the pages that have changed and may be told by samples: told as they were */
	bool loses_orders;        /* workers, a few: nothing is done, and nothing answered */
	uint64_t splits;          /* of 2 MiB pages, by merges */
	uint64_t removed_segments, merged, diverged, merge_orders, fetch_orders, unshare_orders, blocks_given_back;
	const char *wrong;
};

int sim_init(struct sim *sim, uint64_t seed);
void sim_done(struct sim *sim);
uint32_t sim_random(struct sim *sim, uint32_t below);
void content_fill(void *page, uint32_t content);

/** Sets which 2 MiB pages may be split; from then on an order that may split any though none may is a fault. */
void sim_set_large(struct sim *sim, enum engine_large scans, enum engine_large hints);

/** Starts the engine, again if need be: then it finds the store's segments. */
void sim_start(struct sim *sim);
/** Ends the engine as if the daemon had been killed: VMs lose their connection. */
void sim_kill_engine(struct sim *sim);

struct sim_vm *sim_vm_new(struct sim *sim, enum wire_mode mode);
/** Connects: tells regions and what is mapped already, and is ready. Replaces an earlier connection. */
void sim_vm_connect(struct sim_vm *vm);
void sim_vm_disconnect(struct sim_vm *vm);
/** The process ends. */
void sim_vm_end(struct sim_vm *vm);
/** @return its index, -1 if there are enough. */
int sim_vm_add_region(struct sim_vm *vm, uint32_t pages);
void sim_vm_remove_region(struct sim_vm *vm, uint32_t index);

/** What a guest does to one of its pages. */
void sim_write(struct sim_vm *vm, uint32_t page, uint32_t content);
void sim_discard(struct sim_vm *vm, uint32_t page);

/**
 * The kernel makes a 2 MiB page of the ENGINE_BLOCK_PAGES pages around @page, counted from where its region begins: if
 * all of them are there, and private. @return whether it did.
 */
bool sim_collapse(struct sim_vm *vm, uint32_t page);

/** The VMM has read into a page: its worker looks at it, and tells, if it was ordered to. */
void sim_note(struct sim_vm *vm, uint32_t page);

/** The daemon takes up to @most orders for a VM, or reports of it; the VM carries out up to @most orders. */
bool sim_take_orders(struct sim_vm *vm, uint32_t most);
bool sim_take_reports(struct sim_vm *vm, uint32_t most);
bool sim_work(struct sim_vm *vm, uint32_t most);
void sim_tick(struct sim *sim, uint64_t usec);
/** Until nothing moves any more without time passing. */
void sim_settle(struct sim *sim);
/** One requested pass over all VMs, to its end. @return whether all tickets came true in bounded time. */
bool sim_scan_all(struct sim *sim);

/** Compares every page with the store, and what was punched with what is mapped. Sets sim->wrong. */
void sim_check_memory(struct sim *sim);
/** Slots whose memory is in use. */
uint64_t sim_stored(const struct sim *sim);

#endif
