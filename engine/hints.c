/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/hints.h"

#include "engine/state.h"

bool hints_find_page(const struct engine *engine, uint32_t global, struct page *ret)
{
	struct region *region = space_find(&engine->space, global);

	if (region == NULL || global - region->global >= region->pages)
		return false;
	*ret = (struct page){ region, global - region->global };
	return true;
}

bool hints_find(const struct engine *engine, struct table_key key, uint32_t ref, struct page *ret)
{
	if (!hints_find_page(engine, ref, ret))
		return false;
	return (*page_state(*ret) & ~PRIVATE_COPY) == STATE(KIND_PRIVATE, PRIVATE_HINTED | check_of(key.tag));
}

bool hints_keep(void *engine, struct table_key key, uint32_t ref)
{
	struct page page;

	return (ref & REF_SHARED) || hints_find(engine, key, ref, &page);
}

void hints_forget(struct engine *engine, uint32_t ref)
{
	struct page page;

	if (!hints_find_page(engine, ref, &page) || state_kind(*page_state(page)) != KIND_PRIVATE)
		return;
	*page_state(page) &= ~PRIVATE_HINTED;
	if ((blocks_word(&page.region->blocks, page.index) & READY_VALID) == 0) /* whose hash is not kept */
		blocks_set_unknown(&page.region->blocks, page.index);
}

void hints_enter(struct page page, struct table_key key)
{
	struct engine *engine = page.region->vm->engine;

	if (table_put(&engine->table, key, page_global(page)) == 0)
		*page_state(page) |= PRIVATE_HINTED;
}
