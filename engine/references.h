/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a page holds: a reference to the slot that it maps, or a part in an order under way. */
#ifndef PAGEFUSE_ENGINE_REFERENCES_H
#define PAGEFUSE_ENGINE_REFERENCES_H

#include "engine/pages.h"

/** The order for @page, ORDERED or PAGE_ZERO_ORDERED, was carried out: it is SHARED or PAGE_ZERO from here on. */
void reference_confirm(struct page page);
/**
 * Makes @page private, whatever it was: drops its reference, or its part in an order, which counts as answered.
 * @private: the checksum to remember, and PRIVATE_COPY if it is one.
 */
void reference_drop(struct page page, uint32_t private);

#endif
