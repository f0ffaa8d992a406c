/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/adoption.h"

#include "common/hash.h"
#include "common/page.h"

uint32_t adoption_take(const struct links *links, uint32_t number, uint16_t owner, uint64_t seed)
{
	struct slots *slots = links->slots;
	unsigned char content[PAGE_BYTES];
	struct table_key key;
	uint32_t known;

	if (!slots_claim(slots, number, owner))
		return 0;
	/*
	 * A page whose content is not known yet, or that another slot has already: this slot is kept only for the pages
	 * that map it.
	 */
	slots_get(slots, number)->mark |= MARK_DISPLACED;
	if (slots->store.read(slots->store.context, number, content) < 0)
		return 0;
	key = table_key(links->table, page_hash(content, seed));
	links_label(links, number, key, MARK_DISPLACED);
	known = table_get(links->table, key);
	if ((known & REF_SHARED) || links_enter(links, number) < 0)
		return 0;
	links_label(links, number, key, 0);
	return known;
}
