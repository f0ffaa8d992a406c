/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a hash to an order: what to do about a page whose content somebody may already have.
 *
 *   the table knows   then
 *   nothing           a hint of this page is entered
 *   a hint            that page is FETCHed into a new slot, which the table names from now on; this page waits for it
 *   a filling slot    this page waits for it
 *   a slot            this page is ordered to MERGE with it
 *
 * When a FETCH fails or brings another content, the slot is dropped and those that waited are matched again. What a
 * requested pass sees of a page for which an order or FETCH is under way is matched if that comes to nothing.
 */
#ifndef PAGEFUSE_ENGINE_MATCH_H
#define PAGEFUSE_ENGINE_MATCH_H

#include "engine/pages.h"
#include "engine/table.h"
#include "protocol/ring.h"

struct engine;
struct engine_vm;

/** REPORT_HASH and REPORT_ZERO: the volatility filter, then the above. */
int match_hash(struct engine_vm *vm, const struct ring_record *report);
int match_zero(struct engine_vm *vm, const struct ring_record *report);

/** REPORT_FETCHED. */
int fetch_answered(struct engine_vm *vm, const struct ring_record *report, const void *staging);
/** Whether a BUSY or GONE answers the oldest FETCH; if so takes it. */
bool fetch_refused(struct engine_vm *vm, const struct ring_record *report);
/** Gives up FETCHes of pages in @region, or of all if it is NULL. Their answers are still waited for. */
void fetches_give_up(struct engine_vm *vm, const struct region *region);
/** The barrier that waits for FETCHes of @parity does so no longer: gives up all FETCHes of each VM that owes one. */
void fetches_overdue(struct engine *engine, uint32_t parity);
/** A VM goes: its pages that wait are nobody's any more. */
void waiters_disown(struct engine_vm *vm);
/** Forgets the oldest FETCH, which has been given up or answered. */
void fetch_pop(struct engine_vm *vm);

/** The order for @page came to nothing: matches what a requested pass saw of it meanwhile, if it did. */
void match_sighting(struct page page);
/** PRIVATE_COPY, or 0, as a report says of its pages. */
uint32_t private_copy(const struct ring_record *report);

/** For the table: whether an entry still means something. */
bool match_keep(void *engine, struct table_key key, uint32_t ref);
/** The hint @ref is replaced: its page has to be entered again when it is seen next. */
void match_forget_hint(struct engine *engine, uint32_t ref);

#endif
