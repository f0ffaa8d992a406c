/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a hash to an order: what to do about a page whose content somebody may already have.
 *
 *   the table knows   then
 *   nothing           a hint of this page is entered
 *   a hint            that page is FETCHed into a new slot, which the table names from now on; this page waits for it
 *   a taken slot      this page waits for it
 *   a slot            this page is ordered to MERGE with it
 *
 * When a FETCH is answered, those that waited are matched again: MATCH_PER_REPORT at once, so that the work of a report
 * is bounded, and the others by later reports and ticks. What a requested pass sees of a page for which an order or
 * FETCH is under way is matched if that comes to nothing.
 *
 * A page that is told to be as it was needs no match if it has a hint: whoever has the same content finds that. One
 * that has none is matched by its hash; where that is not kept, the next slow pass reads the page.
 */
#ifndef PAGEFUSE_ENGINE_MATCH_H
#define PAGEFUSE_ENGINE_MATCH_H

#include "engine/pages.h"
#include "protocol/ring.h"

#define MATCH_PER_REPORT 64u /* half of them while a slot that it fills is held, and half after all else */
#define MATCH_PER_TICK 4096u

struct engine;
struct engine_vm;

/**
 * @report of @vm is a HASH, a ZERO or a SAME: applies the volatility filter, then the table above. @return 0, -EPROTO.
 */
int match_hash(struct engine_vm *vm, const struct ring_record *report);
int match_zero(struct engine_vm *vm, const struct ring_record *report);
int match_same(struct engine_vm *vm, const struct ring_record *report);
/** Prefetches the table's entry for match_hash(), if that will need it. @report need not be valid. */
void match_prefetch(struct engine_vm *vm, const struct ring_record *report);

/**
 * @report of @vm is a FETCHED. @staging: the content, PAGE_BYTES, which may change meanwhile. @return 0, -EPROTO if
 * the oldest FETCH is for another page.
 */
int match_fetched(struct engine_vm *vm, const struct ring_record *report, const void *staging);
/** Whether a BUSY or GONE, @report, answers the oldest FETCH of @vm; if so takes it. */
bool match_refused(struct engine_vm *vm, const struct ring_record *report);
/** @page has a ready hash: matches it by that, as if it had been seen just now. */
void match_ready(struct page page);
/** Matches up to @most pages that have waited, in the order in which they began to wait. */
void match_again(struct engine *engine, uint32_t most);

/** The order for @page failed: matches the content that a requested pass reported of it meanwhile, if one did. */
void match_sighting(struct page page);
/** @page, which was to be merged with a slot under @key, differs from that: see rivals.h. */
void match_differing(struct page page, struct table_key key);
/** @return PRIVATE_COPY or 0, as @report says of its pages. */
uint32_t private_copy(const struct ring_record *report);

#endif
