/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/merge.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "common/hash.h"
#include "library/mappings.h"
#include "library/own.h"
#include "library/pagemap.h"
#include "library/protections.h"
#include "library/sys.h"
#include "library/template.h"
#include "library/transfers.h"
#include "library/view.h"

#define FIRST_LOOK_BYTES 64
#define LOOK_AHEAD_PAGES 4

enum kind { KIND_NONE,
	    KIND_ANONYMOUS,
	    KIND_DIVERGED };

/** How a page can be merged; KIND_NONE: it cannot, and *outcome has the reason. */
static enum kind kind_of(const struct region *region, uint64_t index, uint64_t entry, enum outcome *outcome)
{
	uint32_t state = region->state[index];

	*outcome = OUTCOME_GONE;
	if (region->excluded[index] != 0)
		return KIND_NONE;
	if (state != PAGE_ANONYMOUS && (state & (PAGE_IN_STORE | PAGE_DIVERGED)) != (PAGE_IN_STORE | PAGE_DIVERGED))
		return KIND_NONE;
	if (entry & PAGEMAP_SWAPPED)
		*outcome = OUTCOME_BUSY;
	if (!(entry & PAGEMAP_PRESENT) || (entry & PAGEMAP_FILE))
		return KIND_NONE;
	*outcome = OUTCOME_BUSY;
	if (!(entry & PAGEMAP_EXCLUSIVE))
		return KIND_NONE; /* also in a forked child, or the kernel's zero page */
	return state == PAGE_ANONYMOUS ? KIND_ANONYMOUS : KIND_DIVERGED;
}

/**
 * A first look, without a hold: it faults the store in, which takes long, and rejects pages that have changed at their
 * start. To compare more is not worth a second read of all memory: the hashes were equal a moment ago.
 */
static bool looks_equal(uint64_t hva, uint32_t target, const void *content)
{
	if (!PROTECTED(PROTECT_COMPARE))
		return true;
	if (target == HOLD_ZERO)
		return page_is_zero((const void *)hva);
	return content != NULL && memcmp((const void *)hva, content, FIRST_LOOK_BYTES) == 0;
}

/** The part of one merge that is in one region. */
struct batch {
	struct region *region;
	uint64_t index;
	unsigned count;
	bool may_split;
	const uint32_t *targets;
	enum outcome *outcomes;
	char (*copies)[PAGE_BYTES]; /* for contents that are read instead of mapped */
	uint8_t *kinds;
	struct hold_slot *slots; /* for targets that are slots, unless the kind is NONE */
};

/** The copies of all batches; worker thread. */
static _Alignas(PAGE_BYTES) char copies[HOLD_PAGES][PAGE_BYTES];

/**
 * Finds pages of zeros that no longer need a hold: when the kernel splits a 2 MiB page it puts its own zero page in
 * place of small pages full of zeros, by itself.
 */
static void take_given_back(struct batch *batch)
{
	uint64_t start = region_hva(batch->region, batch->index), walked;
	struct page_region ranges[HOLD_PAGES];
	int found = pagemap_scan(start, start + batch->count * PAGE_BYTES, ranges, HOLD_PAGES, &walked);

	for (int r = 0; r < found; r++) {
		uint64_t first = (ranges[r].start - start) / PAGE_BYTES, end = (ranges[r].end - start) / PAGE_BYTES;

		if (!(ranges[r].categories & PAGE_IS_PFNZERO))
			continue;
		for (uint64_t i = first; i < end; i++) {
			if (batch->outcomes[i] != OUTCOME_BUSY || batch->targets[i] != HOLD_ZERO ||
			    batch->region->state[batch->index + i] != PAGE_ANONYMOUS)
				continue;
			page_set_state(batch->region, batch->index + i, PAGE_ZEROED);
			batch->outcomes[i] = OUTCOME_MERGED;
		}
	}
}

static bool wants_slot(const struct batch *batch, unsigned i)
{
	return batch->kinds[i] != KIND_NONE && batch->targets[i] != HOLD_ZERO;
}

/** Length of the run of pages from @first on that want consecutive slots of one window; 0 if @first wants none. */
static unsigned slot_run(const struct batch *batch, unsigned first)
{
	unsigned end = first;

	for (; end < batch->count && wants_slot(batch, end); end++)
		if (batch->targets[end] != batch->targets[first] + (end - first) ||
		    (end > first && batch->targets[end] % VIEW_WINDOW_SLOTS == 0))
			break;
	return end - first;
}

/** Prefetches for the first look at page @i: one cache line of the page, and one of the slot. */
static void prefetch_look(const struct batch *batch, unsigned i)
{
	if (i >= batch->count)
		return;
	__builtin_prefetch((const void *)region_hva(batch->region, batch->index + i));
	if (wants_slot(batch, i))
		__builtin_prefetch(batch->slots[i].content);
}

static void leave(struct batch *batch, unsigned i, enum outcome outcome)
{
	batch->kinds[i] = KIND_NONE;
	batch->outcomes[i] = outcome;
}

/** Finds the contents of the slots, before any hold. If a content is not available, the page is busy. */
static void find_contents(struct batch *batch)
{
	for (unsigned first = 0, run; first<batch->count; first += run> 0 ? run : 1) {
		const void *content;

		run = slot_run(batch, first);
		if (run == 0)
			continue;
		run = view_content(batch->targets[first], run, batch->copies[first], &content);
		if (run == 0)
			leave(batch, first, OUTCOME_BUSY);
		for (unsigned i = 0; i < run; i++)
			batch->slots[first + i].content = (const char *)content + i * PAGE_BYTES;
	}
	if (view_is_true())
		return;
	for (unsigned i = 0; i < batch->count; i++)
		if (wants_slot(batch, i))
			leave(batch, i, OUTCOME_BUSY);
}

static void sort_out(struct batch *batch)
{
	uint64_t entries[HOLD_PAGES];
	bool busy_zeros = false;

	if (pagemap_read(region_hva(batch->region, batch->index), batch->count, entries) < 0)
		memset(entries, 0, sizeof(entries));
	for (unsigned i = 0; i < batch->count; i++) {
		look_forget(&batch->region->looks[batch->index + i]);
		batch->kinds[i] =
			(uint8_t)kind_of(batch->region, batch->index + i, entries[i], &batch->outcomes[i]);
		if (batch->kinds[i] == KIND_NONE && batch->outcomes[i] == OUTCOME_BUSY &&
		    batch->targets[i] == HOLD_ZERO)
			busy_zeros = true;
	}
	find_contents(batch);
	for (unsigned i = 0; i < batch->count; i++) {
		prefetch_look(batch, i + LOOK_AHEAD_PAGES);
		if (batch->kinds[i] != KIND_NONE && !looks_equal(region_hva(batch->region, batch->index + i),
								 batch->targets[i], batch->slots[i].content))
			leave(batch, i, OUTCOME_DIFFERS);
	}
	if (busy_zeros)
		take_given_back(batch);
}

/** Leaves pages inside 2 MiB pages alone, if these have to stay whole. */
static void keep_blocks(struct batch *batch)
{
	uint64_t start = region_hva(batch->region, batch->index), walked;
	struct page_region ranges[HOLD_PAGES];
	int found;

	if (batch->may_split)
		return;
	found = pagemap_scan(start, start + batch->count * PAGE_BYTES, ranges, HOLD_PAGES, &walked);
	for (unsigned i = 0; found < 0 && i < batch->count; i++) /* unknown: split nothing */
		batch->kinds[i] = KIND_NONE;
	for (int r = 0; r < found; r++) {
		uint64_t first = (ranges[r].start - start) / PAGE_BYTES, end = (ranges[r].end - start) / PAGE_BYTES;

		for (uint64_t i = first; i < end && (ranges[r].categories & PAGE_IS_HUGE); i++) {
			if (batch->kinds[i] != KIND_NONE)
				batch->outcomes[i] = OUTCOME_HUGE;
			batch->kinds[i] = KIND_NONE;
		}
	}
}

static bool continues_run(const struct batch *batch, unsigned i)
{
	if (batch->kinds[i] != batch->kinds[i - 1])
		return false;
	return batch->targets[i] == HOLD_ZERO ? batch->targets[i - 1] == HOLD_ZERO
					      : batch->targets[i] == batch->targets[i - 1] + 1;
}

/**
 * Whether holding these pages breaks up a 2 MiB page, which becomes a mapping of its own if its neighbours are not
 * broken.
 */
static bool breaks_block(const struct batch *batch, unsigned first, unsigned end)
{
	return block_may_be_huge(*region_block(batch->region, batch->index + first)) ||
	       block_may_be_huge(*region_block(batch->region, batch->index + end - 1));
}

/** Drops runs that are not worth their mappings as these get scarce. */
static void drop_short_runs(struct batch *batch)
{
	for (unsigned first = 0, end; first < batch->count; first = end) {
		bool free_of_cost = batch->targets[first] == HOLD_ZERO && batch->kinds[first] == KIND_ANONYMOUS;

		for (end = first + 1; end < batch->count && continues_run(batch, end); end++)
			;
		free_of_cost = free_of_cost && !breaks_block(batch, first, end);
		if (batch->kinds[first] == KIND_NONE || free_of_cost || mappings_allow(end - first))
			continue;
		for (unsigned i = first; i < end; i++)
			leave(batch, i, OUTCOME_FULL);
	}
}

/** Maps the slots' contents, which the holds then move into place. */
static void stage(struct batch *batch)
{
	for (unsigned first = 0, run; first < batch->count; first += run) {
		long start;

		run = slot_run(batch, first);
		if (run == 0) {
			run = 1;
			continue;
		}
		start = template_stage(batch->region, batch->targets[first], run);
		for (unsigned i = 0; i < run; i++)
			if (sys_is_error(start))
				leave(batch, first + i, start == -ENOENT ? OUTCOME_BUSY : OUTCOME_FULL);
			else
				batch->slots[first + i].staged = (uint64_t)start + i * PAGE_BYTES;
	}
}

static bool is_left_over(const struct batch *batch, unsigned i)
{
	return batch->outcomes[i] != OUTCOME_MERGED && template_is_left(batch->slots[i].staged);
}

static void unstage(const struct batch *batch)
{
	for (unsigned first = 0, run; first < batch->count; first += run) {
		uint64_t start = batch->slots[first].staged;

		run = 1;
		if (!is_left_over(batch, first))
			continue;
		while (first + run < batch->count && is_left_over(batch, first + run) &&
		       batch->slots[first + run].staged == start + run * PAGE_BYTES)
			run++;
		template_unstage(start, run);
	}
}

/** Diverged pages that will be held together. */
struct collected {
	struct hold_run runs[HOLD_DIVERGED_RUNS];
	unsigned count, pages;
};

static void hold_collected(struct collected *collected)
{
	if (collected->count > 0)
		hold_diverged(collected->runs, collected->count);
	collected->count = collected->pages = 0;
}

static void collect(struct collected *collected, const struct hold_run *run)
{
	if (collected->count == HOLD_DIVERGED_RUNS || collected->pages + run->count > hold_diverged_length())
		hold_collected(collected);
	collected->runs[collected->count++] = *run;
	collected->pages += run->count;
}

/** Holds anonymous pages, and collects those that have diverged. */
static void hold_or_collect(struct batch *batch, struct collected *collected)
{
	for (unsigned first = 0, end; first < batch->count; first = end) {
		unsigned longest = batch->kinds[first] == KIND_DIVERGED ? hold_diverged_length() : hold_length();
		struct hold_run run = { batch->region, batch->index + first, 0,
					batch->targets + first, batch->slots + first, batch->outcomes + first };

		for (end = first + 1;
		     end < batch->count && end - first < longest && batch->kinds[end] == batch->kinds[first]; end++)
			;
		run.count = end - first;
		if (batch->kinds[first] == KIND_ANONYMOUS)
			hold_anonymous(run.region, run.index, run.count, run.targets, run.slots, run.outcomes);
		else if (batch->kinds[first] == KIND_DIVERGED)
			collect(collected, &run);
	}
}

/** Leaves out pages that a system call of the VMM is accessing; a later call waits for transfers_hold_end(). */
static void leave_touched(struct batch *batch)
{
	uint64_t touched = transfers_hold_begin(region_hva(batch->region, batch->index), batch->count);

	for (; touched != 0; touched &= touched - 1) {
		unsigned i = (unsigned)__builtin_ctzll(touched);

		if (batch->kinds[i] != KIND_NONE)
			batch->outcomes[i] = OUTCOME_BUSY;
		batch->kinds[i] = KIND_NONE;
	}
}

static void merge_batches(struct batch *batches, unsigned count)
{
	struct collected collected = { .count = 0 };

	own_look_at_limits();
	view_begin();
	template_begin();
	for (struct batch *batch = batches; batch < batches + count; batch++) {
		sort_out(batch);
		keep_blocks(batch);
		drop_short_runs(batch);
		stage(batch);
	}
	for (struct batch *batch = batches; batch < batches + count; batch++)
		leave_touched(batch);
	for (struct batch *batch = batches; batch < batches + count; batch++)
		hold_or_collect(batch, &collected);
	hold_collected(&collected);
	hold_empty_scratch();
	transfers_hold_end();
	for (struct batch *batch = batches; batch < batches + count; batch++)
		unstage(batch);
}

/**
 * The part of a merge, from @done on, that is in the region of its first page. @return its number of pages, at least
 * one.
 */
static unsigned batch_init(struct batch *batch, const struct merge *merge, unsigned done)
{
	struct region *region = region_of_page(merge->page + done);

	*batch = (struct batch){ .region = region,
				 .count = merge->count - done,
				 .may_split = merge->may_split,
				 .targets = merge->targets + done,
				 .outcomes = merge->outcomes + done };
	if (region == NULL) {
		batch->outcomes[0] = OUTCOME_GONE;
		return 1;
	}
	batch->index = merge->page + done - region->first_page;
	if (batch->count > region->pages - batch->index)
		batch->count = (unsigned)(region->pages - batch->index);
	return batch->count;
}

void merge_pages(const struct merge *merges, unsigned count)
{
	struct hold_slot slots[HOLD_PAGES] = { { 0 } };
	uint8_t kinds[HOLD_PAGES];
	struct batch batches[MERGES_MAX];
	unsigned found = 0, pages = 0;

	for (const struct merge *merge = merges; merge < merges + count; merge++) {
		/* Page numbers continue from one region to the next, and consecutive orders are done together. */
		for (unsigned done = 0; done < merge->count;) {
			struct batch *batch = &batches[found];

			done += batch_init(batch, merge, done);
			if (batch->region == NULL)
				continue;
			batch->copies = copies + pages;
			batch->kinds = kinds + pages;
			batch->slots = slots + pages;
			pages += batch->count;
			if (++found < MERGES_MAX)
				continue;
			merge_batches(batches, found);
			found = 0;
		}
	}
	if (found > 0)
		merge_batches(batches, found);
}

/** Protected pages are not written, so they need no copies of their own. */
static bool can_be_copied(const struct region *region, uint64_t index)
{
	return page_reads_slot(region->state[index]) && !(region->excluded[index] & EXCLUDED_PROTECTED);
}

int merge_unshare(struct region *region, uint64_t index, uint64_t count)
{
	for (uint64_t at = index, end; at < index + count; at = end) {
		bool shared = can_be_copied(region, at);
		int r;

		for (end = at + 1; end < index + count && can_be_copied(region, end) == shared; end++)
			;
		if (!shared)
			continue;
		do
			r = sys_madvise(region_hva(region, at), (end - at) * PAGE_BYTES, MADV_POPULATE_WRITE);
		while (r == -EINTR || r == -EAGAIN);
		if (r < 0)
			return -ENOMEM;
	}
	return 0;
}
