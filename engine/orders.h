/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The orders that wait to be taken by a VM's worker. They return false if there is no room. */
#ifndef PAGEFUSE_ENGINE_ORDERS_H
#define PAGEFUSE_ENGINE_ORDERS_H

#include "engine/pages.h"

struct engine_vm;
struct scan;

/**
 * Orders a private page to be merged with @slot, which must be held by an order already counted. It becomes ORDERED.
 */
bool orders_merge(struct page page, uint32_t slot);
/** Orders a private page to be given back as zero page. It becomes PAGE_ZERO_ORDERED. */
bool orders_zero(struct page page);
/** Orders a private page's content. It becomes PAGE_FETCHING. */
bool orders_fetch(struct page page);
/** Orders SCAN, SCAN_ZERO or AUDIT of a run inside one region. */
bool orders_scan(struct engine_vm *vm, uint8_t op, const struct scan *scan);
/** Withdraws all orders: their pages are private again. */
void orders_withdraw(struct engine_vm *vm);

#endif
