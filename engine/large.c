/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/large.h"

#include "engine/stability.h"
#include "engine/state.h"

enum engine_large large_most(const struct engine *engine)
{
	const struct engine_settings *settings = &engine->settings;

	return settings->large_scans > settings->large_hints ? settings->large_scans : settings->large_hints;
}

enum engine_large large_least(const struct engine *engine)
{
	const struct engine_settings *settings = &engine->settings;

	return settings->large_scans < settings->large_hints ? settings->large_scans : settings->large_hints;
}

bool large_is_dense(const struct engine *engine, const struct block *block)
{
	return (block->flags & BLOCK_OPEN) != 0 || block->matching >= engine->settings.dense_pages;
}

static enum engine_large allowed(struct page page)
{
	const struct engine_settings *settings = &page.region->vm->engine->settings;

	return stability_is_noted(page) ? settings->large_hints : settings->large_scans;
}

bool large_may_split(struct page page)
{
	switch (allowed(page)) {
	case ENGINE_LARGE_KEEP:
		return false;
	case ENGINE_LARGE_DENSE:
		return large_is_dense(page.region->vm->engine, blocks_of(&page.region->blocks, page.index));
	default:
		return true;
	}
}

bool large_keeps(struct page page)
{
	const struct blocks *blocks = &page.region->blocks;

	return (blocks_word(blocks, page.index) & READY_VALID) != 0 &&
	       (blocks_of(blocks, page.index)->flags & BLOCK_LARGE) != 0 && !large_may_split(page);
}

void large_mark(struct page page, uint32_t mark)
{
	struct engine *engine = page.region->vm->engine;
	const struct block *block = blocks_of(&page.region->blocks, page.index);
	bool was_dense = large_is_dense(engine, block);

	blocks_mark(&page.region->blocks, page.index, mark);
	if (!was_dense && large_is_dense(engine, block) && large_most(engine) != ENGINE_LARGE_KEEP)
		engine->release.wanted = true;
}

void large_broke(struct page page)
{
	struct blocks *blocks = &page.region->blocks;

	if (blocks_broke(blocks, page.index) && blocks_of(blocks, page.index)->matching > 0)
		page.region->vm->engine->release.wanted = true;
}
