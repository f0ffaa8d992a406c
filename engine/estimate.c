/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of Operation. An estimate is made in three walks, after the sample's memory has been touched bit by bit: else
 * many pages of it would be at once, and each costs as much as hundreds of looks. The first walk is over the table:
 * which hints it has, as they alone say the whole key of a small private page. The second is over the pages of all VMs,
 * one VM after the other, and puts into the sample who has which content how often. The third is over the contents in
 * the sample. Let a content have m pages that map a slot, of whatever VM, and p that are private. Sharing all of them
 * would save
 *
 *   p      more if m > 0: the copy is there already
 *   p - 1  more if m = 0 < p
 *
 * which its VMs have in proportion to their private pages. Two VMs that both have a content have one page in common.
 * Zeros need no sample.
 *
 * Where there are more contents than the sample may have it is of one in 2^shift, and all that comes of it counts for
 * 2^shift. The shift is chosen by how many pages are known. If that was too small, as more became known meanwhile, all
 * begins again with the next one.
 *
 * VMs get rows when it begins; who comes later has none. Records of the row of one that has gone count no more.
 */
#include "engine/estimate.h"

#include <stdlib.h>

#include "engine/array.h"
#include "engine/hints.h"
#include "engine/state.h"

/*
 * Pause between two estimates: at least and at most this long, and in between this many times as long as the last one
 * took.
 */
#define ESTIMATE_AGAIN_USEC UINT64_C(100000)
#define ESTIMATE_AGAIN_MAX_USEC UINT64_C(10000000)
#define ESTIMATE_AGAIN_TIMES 9u
#define LOOKS_PER_STEP 16u

#define SHIFT_MAX 28u /* bits of a checksum */
#define PART_BITS 16u /* 2^16 parts of a page: the unit in which a VM's part of the savings is added up */

struct row {
	struct engine_vm_estimate sums; /* what the sample says is of one in 2^shift, until it is over */
	uint64_t parts;                 /* of pages that sharing would save */
	const struct engine_vm *vm;     /* NULL: it has gone */
};

struct pair {
	uint32_t common, shared; /* contents in the sample */
};

struct engine_estimate {
	unsigned references;
	uint64_t serial;
	uint32_t shift;
	struct engine_estimate_summary summary;
	struct row *rows;
	struct pair *pairs; /* of rows a < b: place b (b - 1) / 2 + a */
};

/* ---- estimates ---- */

static size_t pairs_of(uint32_t rows)
{
	return rows > 0 ? (size_t)rows * (rows - 1) / 2 : 0;
}

static struct pair *pair_at(const struct engine_estimate *estimate, uint32_t a, uint32_t b)
{
	return &estimate->pairs[a < b ? pairs_of(b) + a : pairs_of(a) + b];
}

void engine_drop_estimate(struct engine_estimate *estimate)
{
	if (estimate == NULL || --estimate->references > 0)
		return;
	array_free(estimate->rows, estimate->summary.rows, sizeof(struct row));
	array_free(estimate->pairs, pairs_of(estimate->summary.pair_rows) + 1, sizeof(struct pair));
	free(estimate);
}

static struct engine_estimate *estimate_new(uint32_t rows, uint32_t pair_rows)
{
	struct engine_estimate *estimate = calloc(1, sizeof(*estimate));

	if (estimate == NULL)
		return NULL;
	estimate->references = 1;
	estimate->summary.rows = rows;
	estimate->summary.pair_rows = pair_rows;
	estimate->rows = array_new(rows, sizeof(struct row));
	estimate->pairs = array_new(pairs_of(pair_rows) + 1, sizeof(struct pair));
	if (estimate->rows && estimate->pairs)
		return estimate;
	engine_drop_estimate(estimate);
	return NULL;
}

struct engine_estimate *engine_take_estimate(struct engine *engine)
{
	struct engine_estimate *last = engine->estimate.last;

	if (last != NULL)
		last->references++;
	return last;
}

void engine_estimate_summary(const struct engine_estimate *estimate, struct engine_estimate_summary *ret)
{
	*ret = estimate->summary;
}

bool engine_estimate_row(const struct engine_estimate *estimate, const struct engine_vm *vm, uint32_t *ret_row)
{
	const struct estimate_row *place = &vm->estimate_rows[estimate->serial % 2];

	if (place->serial != estimate->serial)
		return false;
	*ret_row = place->row;
	return true;
}

void engine_estimate_vm(const struct engine_estimate *estimate, uint32_t row, struct engine_vm_estimate *ret)
{
	*ret = estimate->rows[row].sums;
}

void engine_estimate_pair(const struct engine_estimate *estimate, uint32_t a, uint32_t b,
			  struct engine_pair_estimate *ret)
{
	const struct pair *pair = pair_at(estimate, a, b);

	*ret = (struct engine_pair_estimate){ .common_pages = (uint64_t)pair->common << estimate->shift,
					      .shared_pages = (uint64_t)pair->shared << estimate->shift };
}

/* ---- beginning ---- */

static uint32_t count_vms(const struct engine *engine)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < engine->vms_end; i++)
		count += engine->vms[i] != NULL;
	return count;
}

static void give_rows(struct engine *engine, struct engine_estimate *making)
{
	uint32_t row = 0;

	for (uint32_t i = 0; i < engine->vms_end; i++) {
		struct engine_vm *vm = engine->vms[i];

		if (vm == NULL)
			continue;
		vm->estimate_rows[making->serial % 2] = (struct estimate_row){ making->serial, row };
		making->rows[row++].vm = vm;
	}
}

/*
 * An upper bound of the contents that are known, and of the records of which VM has one: the pages with a known
 * content.
 */
static uint64_t count_known(const struct engine *engine)
{
	uint64_t pages = 0;

	for (uint32_t i = 0; i < engine->vms_end; i++)
		if (engine->vms[i] != NULL) {
			const struct page_counts *counts = &engine->vms[i]->pages;

			pages += counts->known + counts->of[PAGES_SHARED] + counts->of[PAGES_ORDERED];
		}
	return pages;
}

/* No shift if they all fit; otherwise enough that they fill half of it. */
static uint32_t choose_shift(const struct engine *engine)
{
	uint64_t most = count_known(engine), limit = engine->settings.estimate_contents;
	uint32_t shift = 0;

	while (most > limit && most >> shift > limit / 2)
		shift++;
	return shift;
}

/* @return false: no memory. */
static bool begin_walks(struct engine *engine, uint32_t shift)
{
	struct estimate *estimate = &engine->estimate;

	sample_done(&estimate->sample);
	if (sample_init(&estimate->sample, engine->settings.estimate_contents, shift) < 0)
		return false;
	for (uint32_t i = 0; i < estimate->making->summary.rows; i++) {
		estimate->making->rows[i].sums = (struct engine_vm_estimate){ 0 };
		estimate->making->rows[i].parts = 0;
	}
	estimate->making->shift = shift;
	estimate->phase = ESTIMATE_PREPARES;
	estimate->hint = (struct table_key){ 0 };
	estimate->row = estimate->content = estimate->record = 0;
	estimate->page = 0;
	estimate->done_pages = 0;
	return true;
}

static void give_up(struct estimate *estimate)
{
	engine_drop_estimate(estimate->making);
	estimate->making = NULL;
	sample_done(&estimate->sample);
	estimate->phase = ESTIMATE_NONE;
}

static void begin(struct engine *engine)
{
	struct estimate *estimate = &engine->estimate;
	uint32_t rows = count_vms(engine), most = engine->settings.estimate_pair_vms;

	estimate->making = estimate_new(rows, rows < most ? rows : most);
	if (estimate->making == NULL)
		return;
	estimate->wanted = false;
	estimate->making->serial = ++estimate->serial;
	estimate->making->summary.begun_usec = engine->now_usec;
	give_rows(engine, estimate->making);
	if (!begin_walks(engine, choose_shift(engine)))
		give_up(estimate);
}

/* ---- known contents of pages ---- */

static bool add_hint(void *context, struct table_key key, uint32_t ref)
{
	struct engine *engine = context;
	struct page page;

	if ((ref & REF_SHARED) != 0 || !sample_wants(&engine->estimate.sample, check_of(key.tag)) ||
	    !hints_find(engine, key, ref, &page))
		return true;
	return sample_add_hint(&engine->estimate.sample, key, ref);
}

static bool add_key(struct estimate *estimate, struct table_key key, bool mapped, uint32_t *looks)
{
	if (!sample_wants(&estimate->sample, check_of(key.tag)))
		return true;
	*looks += ESTIMATE_LOOKS_SAMPLED;
	return sample_add(&estimate->sample, estimate->row, key, mapped);
}

static bool add_private(struct estimate *estimate, struct page page, uint32_t state, uint32_t *looks)
{
	uint32_t check = state & PRIVATE_CHECK;

	if (!sample_wants(&estimate->sample, check))
		return true;
	if ((blocks_word(&page.region->blocks, page.index) & READY_VALID) != 0)
		return add_key(estimate, blocks_key(&page.region->blocks, page.index, check), false, looks);
	*looks += ESTIMATE_LOOKS_SAMPLED;
	return sample_add_check(&estimate->sample, estimate->row, check,
				(state & PRIVATE_HINTED) != 0 ? page_global(page) : 0);
}

/* Counts the known content of @page. @return false: the sample is full. */
static bool add_page(struct engine *engine, struct page page, uint32_t *looks)
{
	struct estimate *estimate = &engine->estimate;
	struct engine_vm_estimate *sums = &estimate->making->rows[estimate->row].sums;
	uint32_t state = page.region->state[page.index], check = state & PRIVATE_CHECK;
	bool is_private = state_kind(state) == KIND_PRIVATE;

	if (is_private && (check == CHECK_NEVER || check == CHECK_WRITTEN))
		return true;
	sums->looked_pages++;
	if (is_private && check != CHECK_ZERO)
		return add_private(estimate, page, state, looks);
	if (is_private || state == PAGE_ZERO_ORDERED) {
		sums->would_zero_pages++;
	} else if (state == PAGE_ZERO) {
		sums->zero_pages++;
	} else if (state_kind(state) != KIND_OTHER) { /* its content is being fetched: at rest there is none */
		bool mapped = state_kind(state) == KIND_SHARED;

		sums->shared_pages += mapped;
		return add_key(estimate, slot_key(slots_get(&engine->slots, state & STATE_VALUE)), mapped, looks);
	}
	return true;
}

/* ---- walks; each returns whether it is over, and is cut short by *looks ---- */

static void too_small(struct engine *engine)
{
	uint32_t shift = engine->estimate.sample.shift + 1;

	if (shift > SHIFT_MAX || !begin_walks(engine, shift))
		give_up(&engine->estimate);
}

static bool walk_hints(struct engine *engine, uint32_t *looks)
{
	struct estimate *estimate = &engine->estimate;
	uint32_t before = estimate->sample.content_count;
	/* As many as there are looks left for if each is added. */
	uint32_t places = 1 + (ESTIMATE_LOOKS_PER_TICK - *looks) / (1 + ESTIMATE_LOOKS_SAMPLED), left = places;
	bool over = table_visit(&engine->table, &estimate->hint, &left, add_hint, engine);

	*looks += places - left + (estimate->sample.content_count - before) * ESTIMATE_LOOKS_SAMPLED;
	if (!over && left > 0) /* it stopped for another reason than the number of places */
		too_small(engine);
	return over;
}

static void next_row(struct estimate *estimate)
{
	estimate->row++;
	estimate->page = 0;
}

/* The rest of a region. @return false: the sample was full. */
static bool walk_region(struct engine *engine, struct region *region, uint32_t *looks)
{
	struct estimate *estimate = &engine->estimate;
	uint32_t start = estimate->page > region->first ? estimate->page - region->first : 0;
	struct page page = { region, region_next(region, start) };

	while (page.index < region->pages && *looks < ESTIMATE_LOOKS_PER_TICK) {
		if (!add_page(engine, page, looks))
			return false;
		++*looks;
		page.index = region_next(region, page.index + 1);
	}
	estimate->page = region->first + page.index;
	estimate->done_pages += page.index - start;
	return true;
}

static bool walk_pages(struct engine *engine, uint32_t *looks)
{
	struct estimate *estimate = &engine->estimate;
	struct engine_estimate *making = estimate->making;

	while (estimate->row < making->summary.rows && *looks < ESTIMATE_LOOKS_PER_TICK) {
		const struct engine_vm *vm = making->rows[estimate->row].vm;
		struct region *region = vm ? regions_from(&vm->regions, estimate->page) : NULL;

		++*looks;
		if (region == NULL) {
			next_row(estimate);
		} else if (!walk_region(engine, region, looks)) {
			too_small(engine);
			return false;
		}
	}
	return estimate->row == making->summary.rows;
}

/* The first record from @at (index + 1) on whose VM still exists, NULL if there is none. */
static const struct sample_record *record_at(const struct estimate *estimate, uint32_t at)
{
	while (at > 0 && estimate->making->rows[estimate->sample.records[at - 1].row].vm == NULL)
		at = estimate->sample.records[at - 1].next;
	return at > 0 ? &estimate->sample.records[at - 1] : NULL;
}

/* Divides the savings of one content among the VMs that have it. */
static void count_content(struct estimate *estimate, const struct sample_content *content, uint32_t *looks)
{
	const struct sample_record *first = record_at(estimate, content->first), *record;
	uint64_t mapped = 0, own = 0, saved, left;

	for (record = first; record != NULL; record = record_at(estimate, record->next), ++*looks) {
		mapped += record->mapped;
		own += record->own;
	}
	if (own == 0)
		return;
	saved = own - (mapped == 0);
	left = saved << PART_BITS;
	for (record = first; record != NULL; record = record_at(estimate, record->next)) {
		uint64_t part = (uint64_t)(((__uint128_t)saved << PART_BITS) * record->own / own);

		estimate->making->rows[record->row].parts += part;
		left -= part;
	}
	estimate->making->rows[first->row].parts += left; /* of the rounding */
}

/* @record's VM and all those after it have the content in common. */
static void count_pairs(struct estimate *estimate, const struct sample_record *record, uint32_t *looks)
{
	struct engine_estimate *making = estimate->making;

	for (const struct sample_record *other = record_at(estimate, record->next); other != NULL;
	     other = record_at(estimate, other->next), ++*looks) {
		struct pair *pair;

		if (record->row >= making->summary.pair_rows || other->row >= making->summary.pair_rows)
			continue;
		pair = pair_at(making, record->row, other->row);
		pair->common++;
		pair->shared += record->mapped > 0 && other->mapped > 0;
	}
}

static bool walk_contents(struct engine *engine, uint32_t *looks)
{
	struct estimate *estimate = &engine->estimate;
	const struct sample *sample = &estimate->sample;

	while (estimate->content < sample->content_count && *looks < ESTIMATE_LOOKS_PER_TICK) {
		const struct sample_content *content = &sample->contents[estimate->content];
		const struct sample_record *record;

		++*looks;
		if (estimate->record == 0) {
			count_content(estimate, content, looks);
			estimate->record = content->first;
		}
		record = record_at(estimate, estimate->record);
		if (record != NULL)
			count_pairs(estimate, record, looks);
		estimate->record = record ? record->next : 0;
		estimate->content += estimate->record == 0;
	}
	return estimate->content == sample->content_count;
}

/* ---- the end ---- */

/* Converts @parts of the sample to pages, rounded to the nearest. */
static uint64_t whole_pages(const struct engine_estimate *making, uint64_t parts)
{
	return ((parts << making->shift) + (UINT64_C(1) << (PART_BITS - 1))) >> PART_BITS;
}

/* The VMs' parts add up to whole pages, and so do the pages given to VMs: as in counters.c. */
static void finish_rows(const struct engine *engine, struct engine_estimate *making)
{
	struct engine_vm_estimate *all = &making->summary.all;
	uint64_t parts = 0;

	for (uint32_t i = 0; i < making->summary.rows; i++) {
		struct row *row = &making->rows[i];
		struct engine_vm_counters counters;

		if (row->vm == NULL)
			continue;
		making->summary.left++;
		engine_vm_counters(row->vm, &counters);
		row->sums.ram_pages = counters.ram_pages;
		row->sums.present_pages = counters.present_pages;
		row->sums.looked_usec = row->vm->looked_usec;
		row->sums.would_share_pages =
			whole_pages(making, parts + row->parts) - whole_pages(making, parts);
		parts += row->parts;
		all->ram_pages += row->sums.ram_pages;
		all->present_pages += row->sums.present_pages;
		all->looked_pages += row->sums.looked_pages;
		all->shared_pages += row->sums.shared_pages;
		all->zero_pages += row->sums.zero_pages;
		all->would_share_pages += row->sums.would_share_pages;
		all->would_zero_pages += row->sums.would_zero_pages;
	}
	making->summary.common_pages = engine->slots.common;
}

static uint64_t pause_usec(uint64_t took_usec)
{
	uint64_t usec = took_usec * ESTIMATE_AGAIN_TIMES;

	if (usec < ESTIMATE_AGAIN_USEC)
		return ESTIMATE_AGAIN_USEC;
	return usec < ESTIMATE_AGAIN_MAX_USEC ? usec : ESTIMATE_AGAIN_MAX_USEC;
}

static void finish(struct engine *engine)
{
	struct estimate *estimate = &engine->estimate;
	struct engine_estimate *made = estimate->making;

	finish_rows(engine, made);
	made->summary.ended_usec = engine->now_usec;
	made->summary.one_in = UINT64_C(1) << made->shift;
	for (uint32_t i = 0; i < made->summary.rows; i++)
		made->rows[i].vm = NULL;
	engine_drop_estimate(estimate->last);
	estimate->last = made;
	estimate->making = NULL;
	sample_done(&estimate->sample);
	estimate->phase = ESTIMATE_NONE;
	estimate->next_usec = engine->now_usec + pause_usec(made->summary.ended_usec - made->summary.begun_usec);
}

static void go_on(struct engine *engine, uint32_t *looks)
{
	struct estimate *estimate = &engine->estimate;

	switch (estimate->phase) {
	case ESTIMATE_PREPARES:
		estimate->phase = sample_prepare(&estimate->sample) ? ESTIMATE_HINTS : estimate->phase;
		*looks += ESTIMATE_LOOKS_PREPARED;
		return;
	case ESTIMATE_HINTS:
		estimate->phase = walk_hints(engine, looks) ? ESTIMATE_PAGES : estimate->phase;
		return;
	case ESTIMATE_PAGES:
		estimate->phase = walk_pages(engine, looks) ? ESTIMATE_COUNT : estimate->phase;
		return;
	case ESTIMATE_COUNT:
		if (walk_contents(engine, looks))
			finish(engine);
		return;
	default:
		return;
	}
}

void estimate_tick(struct engine *engine)
{
	struct estimate *estimate = &engine->estimate;
	uint32_t looks = 0;

	if (estimate->phase == ESTIMATE_NONE && estimate->wanted && engine->now_usec >= estimate->next_usec)
		begin(engine);
	while (estimate->phase != ESTIMATE_NONE && looks < ESTIMATE_LOOKS_PER_TICK)
		go_on(engine, &looks);
	engine->steps += looks / LOOKS_PER_STEP;
}

uint64_t estimate_next_usec(const struct engine *engine)
{
	const struct estimate *estimate = &engine->estimate;

	if (estimate->phase != ESTIMATE_NONE)
		return engine->now_usec;
	return estimate->wanted ? estimate->next_usec : UINT64_MAX;
}

void estimate_vm_gone(struct engine *engine, const struct engine_vm *vm)
{
	struct engine_estimate *making = engine->estimate.making;
	uint32_t row;

	if (making != NULL && engine_estimate_row(making, vm, &row))
		making->rows[row].vm = NULL;
}

void estimate_done(struct engine *engine)
{
	give_up(&engine->estimate);
	engine_drop_estimate(engine->estimate.last);
	engine->estimate.last = NULL;
}

static uint64_t bytes_of(const struct engine_estimate *estimate)
{
	if (estimate == NULL)
		return 0;
	return sizeof(*estimate) + estimate->summary.rows * sizeof(struct row) +
	       pairs_of(estimate->summary.pair_rows) * sizeof(struct pair);
}

uint64_t estimate_bytes(const struct engine *engine)
{
	const struct estimate *estimate = &engine->estimate;

	return bytes_of(estimate->making) + bytes_of(estimate->last) + sample_bytes(&estimate->sample);
}

void engine_want_estimate(struct engine *engine)
{
	engine->estimate.wanted = true;
}

bool engine_pauses_estimates(const struct engine *engine, uint64_t now_usec)
{
	return engine->estimate.phase == ESTIMATE_NONE && now_usec < engine->estimate.next_usec;
}

bool engine_is_estimating(const struct engine *engine, uint64_t *ret_done, uint64_t *ret_total)
{
	const struct estimate *estimate = &engine->estimate;
	uint64_t total = 0;

	for (uint32_t i = 0; i < engine->vms_end; i++)
		total += engine->vms[i] != NULL ? engine->vms[i]->regions.pages : 0;
	*ret_total = total;
	*ret_done = estimate->done_pages < total ? estimate->done_pages : total;
	return estimate->wanted || estimate->phase != ESTIMATE_NONE;
}
