/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The orders that wait to be taken by a VM's worker. All return whether there was room. */
#ifndef PAGEFUSE_ENGINE_ORDERS_H
#define PAGEFUSE_ENGINE_ORDERS_H

#include "engine/pages.h"

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
/** Withdraws the MERGE and ZERO orders of @vm: their pages are private again. */
void orders_withdraw_merges(struct engine_vm *vm);
/** Withdraws all orders of @vm: their pages are private again. */
void orders_withdraw(struct engine_vm *vm);

#endif
