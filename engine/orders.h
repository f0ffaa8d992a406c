/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The orders that wait to be taken by a VM's worker. All return whether there was room. */
#ifndef PAGEFUSE_ENGINE_ORDERS_H
#define PAGEFUSE_ENGINE_ORDERS_H

#include "engine/pages.h"

#ifndef ORDERS_WITHDRAWN_PAGES
#define ORDERS_WITHDRAWN_PAGES 4096u /* at once, and with each tick; a control is built with another */
#endif

struct engine_vm;
struct scan;

/**
 * Orders @page, private, to be merged with @slot, which must be held by an order already counted. It becomes ORDERED.
 */
bool orders_merge(struct page page, uint32_t slot);
/** Orders @page, private, to be given back as zero page. It becomes PAGE_ZERO_ORDERED. */
bool orders_zero(struct page page);
/** Orders the content of @page, private. It becomes PAGE_FETCHING. */
bool orders_fetch(struct page page);
/** Orders @op (SCAN, SCAN_ZERO or AUDIT) of the run in @scan, which is inside one region of @vm. */
bool orders_scan(struct engine_vm *vm, uint8_t op, const struct scan *scan);
/** Orders @vm to tell of notes, or not to. */
bool orders_notes(struct engine_vm *vm, bool wanted);
/** Orders pages [@page, @page + @count) of one region of @vm to be given memory of their own. */
bool orders_unshare(struct engine_vm *vm, uint32_t page, uint32_t count);
bool orders_whole(struct engine_vm *vm, uint32_t page, uint32_t count, uint32_t most);
/**
 * Withdraws the MERGE and ZERO orders of @vm that its worker has not taken: their pages are private again, some of them
 * at once, the others by orders_withdraw_on(). Until then none of its orders can be taken.
 */
void orders_withdraw_merges(struct engine_vm *vm);
/** Withdraws all orders of @vm, which is detached, in the same way. */
void orders_withdraw(struct engine_vm *vm);
/** Whether that goes on. */
bool orders_are_withdrawn(const struct engine_vm *vm);
/** Continues that: @most pages and orders. @return what is left of @most. */
uint32_t orders_withdraw_on(struct engine_vm *vm, uint32_t most);
/** Forgets all orders of @vm, whose regions leave with what their pages hold. */
void orders_drop(struct engine_vm *vm);

#endif
