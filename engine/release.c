/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of Operation. A release is a number of walks over all blocks of all VMs. Each takes those of which at least
 * `threshold` pages match, and notes the densest of the others; three quarters of what that one has are the next
 * walk's threshold. So a dozen walks or two, of a few bytes per 2 MiB, take the place of sorting, and need no memory.
 * The last one's threshold is `dense_pages`, or 1 where any block may be split.
 *
 * In a block that is taken each page that has a twin (READY_TWIN) is matched. Pages that their twins name
 * (READY_NAMED) are fetched for that, and follow. Blocks that have been broken meanwhile are taken whatever their
 * density is: they are small pages.
 */
#include "engine/release.h"

#include "engine/large.h"
#include "engine/match.h"
#include "engine/state.h"

/*
 * Pause between the releases that start when blocks become dense, or could have been split but were refused: at least
 * and at most this long, and in between this many times as long as the last release took. So a VMM that refuses again
 * and again has a bounded part of the engine's time.
 */
#define RELEASE_AGAIN_USEC UINT64_C(100000)
#define RELEASE_AGAIN_MAX_USEC UINT64_C(10000000)
#define RELEASE_AGAIN_TIMES 9u

static uint32_t least(const struct engine *engine)
{
	return large_most(engine) == ENGINE_LARGE_ALWAYS ? 1 : engine->settings.dense_pages;
}

static void begin_walk(struct release *release, uint32_t threshold)
{
	release->threshold = threshold;
	release->densest = 0;
	release->vm = release->region = release->block = release->page = 0;
}

static void begin(struct engine *engine)
{
	engine->release.active = true;
	engine->release.wanted = false;
	engine->release.begun_usec = engine->now_usec;
	begin_walk(&engine->release, ENGINE_BLOCK_PAGES - ENGINE_BLOCK_PAGES / 4);
}

void release_settings_changed(struct engine *engine, const struct engine_settings *before)
{
	const struct engine_settings *now = &engine->settings;

	if (large_most(engine) == ENGINE_LARGE_KEEP)
		engine->release.active = engine->release.wanted = false;
	else if (now->large_scans > before->large_scans || now->large_hints > before->large_hints ||
		 now->dense_pages < before->dense_pages)
		begin(engine);
}

static uint64_t pause_usec(const struct engine *engine)
{
	uint64_t usec = (engine->now_usec - engine->release.begun_usec) * RELEASE_AGAIN_TIMES;

	if (usec < RELEASE_AGAIN_USEC)
		return RELEASE_AGAIN_USEC;
	return usec < RELEASE_AGAIN_MAX_USEC ? usec : RELEASE_AGAIN_MAX_USEC;
}

/* @return whether there is another walk. */
static bool end_walk(struct engine *engine)
{
	struct release *release = &engine->release;
	uint32_t next = release->densest - release->densest / 4;

	if (release->densest < least(engine)) {
		release->active = false;
		release->next_usec = engine->now_usec + pause_usec(engine);
		return false;
	}
	begin_walk(release, next > least(engine) ? next : least(engine));
	return true;
}

/* Moves on to the next region that has something. @return it, or NULL at the end of the walk, or of the @looks. */
static struct region *region_at(struct engine *engine, uint32_t *looks)
{
	struct release *release = &engine->release;

	for (; release->vm < engine->vms_end && *looks < RELEASE_LOOKS_PER_TICK; ++*looks) {
		const struct engine_vm *vm = engine->vms[release->vm];
		bool has = vm != NULL && vm->ready && !vm->detached && !vm->held && vm->blocks.ready > 0 &&
			   release->region < vm->regions.count;
		struct region *region = has ? vm->regions.list[release->region] : NULL;

		if (has && region->blocks.own.ready > 0 && release->block < region->blocks.count)
			return region;
		release->vm += !has;
		release->region = has ? release->region + 1 : 0;
		release->block = release->page = 0;
	}
	return NULL;
}

/* Notes how dense @block is if this walk passes it by. @return whether it has its turn in this walk. */
static bool consider(struct engine *engine, const struct block *block)
{
	struct release *release = &engine->release;

	if (block->matching == 0)
		return false;
	if ((block->flags & BLOCK_LARGE) == 0 || block->matching >= release->threshold ||
	    release->page > 0) /* it was begun with */
		return true;
	if (block->matching > release->densest)
		release->densest = block->matching;
	return false;
}

/* Matches what has a twin in the block that is being released. @return whether that was all of it. */
static bool take_block(struct engine *engine, struct region *region, uint32_t most, uint32_t *taken)
{
	struct release *release = &engine->release;
	struct blocks *blocks = &region->blocks;
	uint32_t start = release->block * ENGINE_BLOCK_PAGES;
	uint32_t first = start > blocks->before ? start - blocks->before : 0;
	uint32_t end = start + ENGINE_BLOCK_PAGES - blocks->before;

	if (end > region->pages)
		end = region->pages;
	if (release->page < first)
		release->page = first;
	for (; release->page < end; release->page++) {
		if (!blocks_has_twin(blocks, release->page))
			continue;
		if (*taken >= most)
			return false;
		match_ready((struct page){ region, release->page });
		++*taken;
	}
	return true;
}

/* Processes the current block in this walk, and moves on. @return whether all of it was done. */
static bool release_block(struct engine *engine, struct region *region, uint32_t most, uint32_t *looks, uint32_t *taken)
{
	struct release *release = &engine->release;

	++*looks;
	if (consider(engine, &region->blocks.list[release->block])) {
		*looks += RELEASE_LOOKS_INSIDE;
		if (!take_block(engine, region, most, taken))
			return false;
	}
	release->block++;
	release->page = 0;
	return true;
}

uint32_t release_tick(struct engine *engine, uint32_t most)
{
	struct release *release = &engine->release;
	uint32_t taken = 0, looks = 0;

	if (engine->resync.wanted) /* until the content is known a merge would store a second copy */
		return 0;
	if (!release->active && release->wanted && engine->now_usec >= release->next_usec)
		begin(engine);
	most = most < RELEASE_PAGES_PER_TICK ? most : RELEASE_PAGES_PER_TICK;
	while (release->active && looks < RELEASE_LOOKS_PER_TICK) {
		struct region *region = region_at(engine, &looks);

		if (region != NULL && !release_block(engine, region, most, &looks, &taken))
			break;
		if (region == NULL && release->vm >= engine->vms_end && !end_walk(engine))
			break;
	}
	return taken;
}

uint64_t release_next_usec(const struct engine *engine)
{
	const struct release *release = &engine->release;

	if (release->active)
		return engine->now_usec;
	return release->wanted ? release->next_usec : UINT64_MAX;
}
