/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A daemon for tests of the library, without policy: the test says which pages to hash, fetch, merge, zero, unshare.
 * It listens on a socket of its own, serves any number of VMMs (usually the test's own process), has a store of memfds,
 * and keeps the same books as the real one: a slot is referenced from the order that names it until no page reads it
 * any more, and its memory is freed then. A worker that answers what was not asked, leaves a page of a run without an
 * answer, or does not answer in time fails the test.
 *
 * Everything runs on the calling thread. Page numbers are those of common/page.h.
 */
#ifndef PAGEFUSE_TESTS_SUPPORT_DIRECTOR_H
#define PAGEFUSE_TESTS_SUPPORT_DIRECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/ring.h"
#include "protocol/wire.h"

#define DIRECTOR_NO_SLOT UINT32_MAX
#define DIRECTOR_REGIONS_MAX 1024 /* of one VM, those that are gone included */

enum director_state {
	DIRECTOR_PRIVATE,
	DIRECTOR_SHARED,
	DIRECTOR_ZEROED,
};

struct director_page {
	uint64_t hash;    /* that was told last */
	uint32_t slot;    /* that it reads, or DIRECTOR_NO_SLOT */
	uint32_t wanted;  /* that the order under way names */
	uint8_t state;    /* enum director_state */
	uint8_t asked;    /* enum ring_order under way, or 0 */
	uint8_t answer;   /* enum ring_report that the last order got */
	uint8_t told;     /* REPORT_HASH or REPORT_ZERO, whichever came last */
	bool was_hashed;  /* by the last SCAN, or the same as when it was */
	bool was_zero;    /* found full of zeros by the last SCAN, or the same as when it was */
	bool diverged;    /* in the words of the last SCAN */
	bool inside_huge; /* the same, or of the answer to a MERGE or ZERO since */
};

struct director_region {
	uint32_t page;
	uint32_t pages;
	bool gone;
};

struct director;

/** One VMM. Tests read it, and write to the ring behind its back when they play a hostile daemon. */
struct director_vm {
	struct director *director;
	struct director_vm *next;
	int socket; /* -1 when the connection is gone */
	void *base; /* the ring's memory */
	struct ring_end up, down;
	char name[WIRE_NAME_MAX];
	uint64_t hello_store; /* the store that it said to know */
	uint64_t hello_features;
	bool ready;
	bool keeps_huge;             /* orders do not allow to split 2 MiB pages */
	bool samples;                /* SCANs allow samples */
	struct director_page *pages; /* by page number */
	uint32_t pages_end;          /* numbers 1 to pages_end - 1 exist */
	struct director_region regions[DIRECTOR_REGIONS_MAX];
	unsigned region_count;
	uint64_t pending;                       /* pages in run orders, and scans, without an answer */
	uint64_t present;                       /* what the last SCANNED told, of the whole VM */
	uint64_t reports[REPORT_END];           /* pages, by kind */
	uint64_t noted;                         /* pages that were told of as noted */
	uint64_t refused[WIRE_REASON_END];      /* bytes */
	enum ring_whole whole;                  /* answer to the last WHOLE */
	uint64_t segments_wanted;               /* times that it has asked for a segment once more */
	struct wire_range map[WIRE_RANGES_MAX]; /* of its guest's physical memory, as it told last */
	uint32_t map_count, map_next, maps_told;
	bool deaf; /* set by tests: it is given none then */
};

/** Makes the socket and sets $PAGEFUSE_SOCKET to its path, for the library here and in children. One at a time. */
struct director *director_new(void);
/** Closes everything. VMMs that still map the store keep it as it is: to them this is a daemon that has died. */
void director_free(struct director *director);

/** How VMMs are welcomed from now on: by @bytes, as a daemon of another release would. At first without any feature. */
struct director_greeting {
	size_t bytes;
	uint64_t features, required;
};
void director_greet(struct director *director, const struct director_greeting *greeting);

/** Waits for a VMM to connect, welcomes it and waits until it is READY. */
struct director_vm *director_accept(struct director *director);
/** Whether one waits to be accepted. */
bool director_is_called(const struct director *director);
/** As director_accept(), but @return NULL if it hangs up before it is ready. */
struct director_vm *director_try_accept(struct director *director);
/** Closes the connection. What the VMM's pages read stays referenced. */
void director_disconnect(struct director_vm *vm);
/** The VMM's process is gone, or reads nothing of the store any more: drops its references and frees @vm. */
void director_forget(struct director_vm *vm);

/** @count slots in a row that were never given before, writable through director_slot(). */
uint32_t director_take_slots(struct director *director, uint32_t count);
void *director_slot(struct director *director, uint32_t slot);
/** Slots whose memory is in use because something reads them or an order names them. */
uint64_t director_live_slots(const struct director *director);
/** Bytes that the store's files really use. */
uint64_t director_store_bytes(const struct director *director);

/** Posts an order without waiting. For FETCH, the content goes to @slot. */
void director_order(struct director_vm *vm, enum ring_order op, uint32_t page, uint32_t count, uint32_t slot);
/** Waits until all orders are answered. @return 0, or -ECONNRESET if the VMM is gone. */
int director_wait(struct director_vm *vm);
/** Waits until @done(vm, context) holds, taking in reports meanwhile. @return 0 or -ECONNRESET. */
int director_wait_until(struct director_vm *vm, bool (*done)(const struct director_vm *vm, void *context),
			void *context);
/** Posts a record as it is, and rings. Nothing is expected of it: a test of hostile orders. */
void director_post(struct director_vm *vm, const struct ring_record *record);

/*
 * Whole steps, with the wait. All take any number of pages and return 0 on a connection that breaks.
 */

/** Hashes. @return pages of the VM that are present. */
uint32_t director_scan(struct director_vm *vm, uint32_t page, uint32_t count);
/** Looks for pages that diverged. @return the same. */
uint32_t director_audit(struct director_vm *vm, uint32_t page, uint32_t count);
/** Copies at most RING_STAGING_PAGES pages to slots. @return pages fetched; see .answer. */
uint32_t director_fetch(struct director_vm *vm, uint32_t page, uint32_t count, uint32_t slot);
/** @return pages merged; see .answer. */
uint32_t director_merge(struct director_vm *vm, uint32_t page, uint32_t count, uint32_t slot);
/** Fetches pages into new slots and merges them with those. @return pages merged. */
uint32_t director_share(struct director_vm *vm, uint32_t page, uint32_t count);
/** @return pages given back. */
uint32_t director_zero(struct director_vm *vm, uint32_t page, uint32_t count);
void director_unshare(struct director_vm *vm, uint32_t page, uint32_t count);

/** Of [page, page+count), how many are in @state, or got @answer to their last order. */
uint32_t director_count(const struct director_vm *vm, uint32_t page, uint32_t count, enum director_state state);
uint32_t director_answers(const struct director_vm *vm, uint32_t page, uint32_t count, enum ring_report answer);

/** One random step over a run in [page, page+count): shares, shares anew, gives back zeros, unshares, scans, audits. */
void director_churn(struct director_vm *vm, uint32_t page, uint32_t count, uint64_t *random);

#endif
