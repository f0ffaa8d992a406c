/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Slots of an earlier daemon, whose content is not known: VMs report which slots their pages map, and the content is
 * read from the store.
 */
#ifndef PAGEFUSE_ENGINE_ADOPTION_H
#define PAGEFUSE_ENGINE_ADOPTION_H

#include "engine/links.h"

/**
 * Takes in a page that maps slot @number already, after slots_can_claim(). New pages find the slot from here on, unless
 * they find another one with its content. @owner: see slots_claim(). @seed: of the contents' hashes.
 * @return the hint that gave way to it, 0 if none did.
 */
uint32_t adoption_take(const struct links *links, uint32_t number, uint16_t owner, uint64_t seed);

#endif
