/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stripes: 64 slots, aligned, for one content that lies in many consecutive pages: page p maps member p % 64, so that
 * such pages are one mapping per 64 instead of one each.
 */
#ifndef PAGEFUSE_ENGINE_STRIPES_H
#define PAGEFUSE_ENGINE_STRIPES_H

#include "engine/links.h"

#define STRIPE_SLOTS 64u

/**
 * The slot that page number @page is to map, given the one that the table knows (@known, live or a stripe's first).
 * @repeated: a page beside it maps the same. Turns much repeated contents into a stripe, and charges @owner for what is
 * filled. @return a live slot, which may have no holder yet, or SLOT_NONE.
 */
uint32_t stripes_choose(const struct links *links, uint32_t known, uint32_t page, bool repeated, uint16_t owner);
/** Nobody is to find slot @number, live, any more, nor the others of its stripe: they live on for who maps them. */
void stripes_displace(const struct links *links, uint32_t number);
/** For struct slots: slot @number, of a stripe or not, has lost its last holder: it cannot be found, and is freed. */
void stripes_released(const struct links *links, uint32_t number);

#endif
