/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How often pages have diverged lately, or could not be held, so that one that does again and again is not shared again
 * soon by what was noted of it. Who does so for the second time within its span is left alone for a second, and for
 * twice as long with each further time, up to 32 seconds; the span is four times as long as that, 8 seconds at least.
 *
 * 16 bits per page, in an array of which only what is touched costs memory:
 *
 *   bit 15      what is under way for the page comes of a note
 *   bits 14-12  how often it has diverged, 0: not lately; up to STABILITY_LEVELS
 *   bits 11-0   when it did last, in half seconds
 *
 * The time wraps around after 34 minutes. So of pages that have diverged before, one in 60 is left alone once more for
 * no reason.
 */
#ifndef PAGEFUSE_ENGINE_STABILITY_H
#define PAGEFUSE_ENGINE_STABILITY_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/pages.h"

#define STABILITY_LEVELS 7u
#define STABILITY_NOTED (1u << 15)

/** A page was shared, and has diverged; or it could not be held. */
void stability_disturbed(struct page page, uint64_t now_usec);
/** For how much longer it is to be left alone; 0: it is not. */
uint64_t stability_wait_usec(struct page page, uint64_t now_usec);

/** Marks that what is under way for a page comes of a note, or not. */
static inline void stability_set_noted(struct page page, bool noted)
{
	uint16_t *word = &page.region->stability[page.index];

	if (((*word & STABILITY_NOTED) != 0) != noted) /* untouched memory stays so */
		*word ^= STABILITY_NOTED;
}
static inline bool stability_is_noted(struct page page)
{
	return (page.region->stability[page.index] & STABILITY_NOTED) != 0;
}

#endif
