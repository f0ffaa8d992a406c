/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/links.h"

#include <assert.h>

void links_label(const struct links *links, uint32_t number, struct table_key key, uint16_t marks)
{
	struct slot *slot = slots_get(links->slots, number);

	slot->tag = key.tag;
	slot->mark = (uint16_t)(key.partition | marks);
}

int links_enter(const struct links *links, uint32_t number)
{
	return table_put(links->table, slot_key(slots_get(links->slots, number)), REF_SHARED | number);
}

void links_remove(const struct links *links, uint32_t number)
{
	table_remove(links->table, slot_key(slots_get(links->slots, number)), REF_SHARED | number);
}

int links_take(const struct links *links, struct slot_window *window, uint16_t owner, struct table_key key,
	       uint32_t *ret_slot)
{
	int r = slots_take(links->slots, window, owner, ret_slot);

	if (r == 0)
		links_label(links, *ret_slot, key, 0);
	return r;
}

void links_abandon(const struct links *links, uint32_t number)
{
	assert(slots_get(links->slots, number)->state == SLOT_TAKEN);
	links_remove(links, number);
	slots_free(links->slots, number);
}
