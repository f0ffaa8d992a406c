/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What each page of a VM is, in the order of guest physical addresses: for pictures of its memory.
 *
 * Theory of Operation. Memory is divided into cells of equal size at multiples of that size, and for each cell the
 * pages of each kind are counted. Neighbouring cells with equal counts form one run. A reply has RUNS_MAX runs at most
 * and looks at LOOKS_MAX pages; it names the address at which the next reply continues. So its length and the time it
 * takes are bounded, whatever the VM's memory looks like. Pages are looked at a bounded number at a time, and other
 * connections have their turns in between; memory that no report ever mentioned is skipped in steps of a MiB.
 *
 * If another VM is given, its pages are looked at first, and a bitmap notes which slots of the store it maps, for each
 * segment that it maps anything of.
 *
 * So a map does not show a single moment. A VM that ends meanwhile is an error; a VM whose agent starts a new session
 * is looked at again from the beginning.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/page.h"
#include "daemon/agents.h"
#include "daemon/control-internal.h"
#include "daemon/turn.h"

#define LOOKS_PER_TURN 16384u
#define LOOKS_PER_ITEM (LOOKS_PER_TURN / CONTROL_ITEMS_PER_TURN) /* as much work as one item of a reply */
#define LOOKS_MAX (UINT64_C(1) << 26)
#define LOOK_PAGES 512u
#define LOOK_COST 32u             /* work of a step that looks at no page, in pages */
#define ALIKE_PAGES (1u << 26)    /* passed over at once, and */
#define ALIKE_PER_LOOK (1u << 14) /* what that costs */
_Static_assert(LABELS_BLOCK % LOOK_PAGES == 0, "they are of one block");

#ifndef RUNS_MAX /* tests have many cells with few pages */
#define RUNS_MAX 16384u
#endif
#define CELLS_MAX 65536
#define CELLS_DEFAULT 4096
#define CELL_PAGES_MAX (1u << 28)
#define LABELS_TOLD 1000u
/* Numbers of a VM's modules, as in control-modules.c. */
#define IMAGES_FIRST AGENT_SESSION_MODULES_MAX
#define MODULES_MAX (IMAGES_FIRST + RING_IMAGES_MAX)

/* What pages are counted as: enum engine_page_state, and */
#define COMMON ENGINE_PAGE_STATES /* shared, and the other VM maps the same slot */
#define COUNTS (ENGINE_PAGE_STATES + 1)
static const char *const count_names[COUNTS] = {
	[ENGINE_PAGE_SHARED] = "shared",
	[ENGINE_PAGE_ZERO] = "zero",
	[ENGINE_PAGE_HUGE] = "huge",
	[ENGINE_PAGE_BUSY] = "busy",
	[ENGINE_PAGE_DIVERGED] = "diverged",
	[ENGINE_PAGE_PRIVATE] = "private",
	[COMMON] = "common",
};

struct map_run {
	uint64_t cell, cells;
	uint32_t counts[COUNTS]; /* pages, of each cell */
	uint32_t module;         /* the module of most of its shared pages, plus 1; 0: none is known */
};

struct map_module {
	uint64_t shared, common; /* pages */
	uint32_t in_cell;        /* shared pages, common ones among them */
	uint32_t place;          /* in the reply, and 1 */
};

struct map_request {
	uint32_t serial, with_serial; /* of connections; with_serial 0: there is no other VM */
	bool by_page;                 /* the VMM does not report where the guest sees its pages */
	struct wire_range *ranges;    /* in the order of their addresses */
	uint32_t range_count;
	uint64_t begin_gfn;
	uint64_t cell_pages;

	uint64_t with_page;                    /* the other VM's next page; UINT32_MAX: all were looked at */
	uint64_t *mapped[ENGINE_SEGMENTS_MAX]; /* bits: slots that the other VM maps; NULL: there is no other VM */

	/* Where it stands. */
	uint32_t range;
	uint64_t gfn;
	uint64_t looked; /* pages, for this reply */
	bool over, full; /* all was looked at; or this reply is full */
	bool lacks_memory;
	uint64_t cell; /* cell that is being counted; UINT64_MAX: none */
	uint32_t counts[COUNTS];

	struct map_run *runs;
	size_t run_count, run_room;
	uint64_t sums[COUNTS];

	struct map_module *modules; /* MODULES_MAX of them; NULL: no labels are wanted */
	uint32_t *in_cell;          /* modules of pages in this cell */
	uint32_t in_cell_count;
	uint32_t session; /* of the agent's session; 0: there is no agent */
	uint32_t label_count;
	uint64_t named_pages;
	json_t *labels;
};

void control_map_free(struct map_request *asked)
{
	if (asked == NULL)
		return;
	for (uint32_t i = 0; i < ENGINE_SEGMENTS_MAX; i++)
		free(asked->mapped[i]);
	json_decref(asked->labels);
	free(asked->in_cell);
	free(asked->modules);
	free(asked->runs);
	free(asked->ranges);
	free(asked);
}

/* ---- runs ---- */

static bool follows(const struct map_run *run, uint64_t cell, const uint32_t *counts, uint32_t module)
{
	return run->cell + run->cells == cell && run->module == module &&
	       memcmp(run->counts, counts, sizeof(run->counts)) == 0;
}

static bool has_memory(const uint32_t *counts)
{
	uint32_t all = 0;

	for (unsigned i = 0; i < COUNTS; i++)
		all |= i == ENGINE_PAGE_ABSENT ? 0 : counts[i];
	return all != 0;
}

static void add_run(struct map_request *asked, uint64_t cell, uint64_t cells, const uint32_t *counts, uint32_t module)
{
	struct map_run *runs = asked->runs;
	struct map_run run = { .cell = cell, .cells = cells, .module = module };

	if (!has_memory(counts))
		return;
	for (unsigned i = 0; i < COUNTS; i++)
		asked->sums[i] += cells * counts[i];
	if (asked->run_count > 0 && follows(&runs[asked->run_count - 1], cell, counts, module)) {
		runs[asked->run_count - 1].cells += cells;
		return;
	}
	if (asked->run_count == asked->run_room) {
		size_t room = asked->run_room == 0 ? 256 : 2 * asked->run_room;

		runs = reallocarray(runs, room, sizeof(*runs));
		if (runs == NULL) {
			asked->lacks_memory = true;
			return;
		}
		asked->runs = runs;
		asked->run_room = room;
	}
	memcpy(run.counts, counts, sizeof(run.counts));
	runs[asked->run_count++] = run;
}

/* ---- cells ---- */

/* The module of most of the cell's shared pages, plus 1; 0: none is known. */
static uint32_t end_modules(struct map_request *asked)
{
	uint32_t most = 0, found = 0;

	for (uint32_t i = 0; i < asked->in_cell_count; i++) {
		struct map_module *module = &asked->modules[asked->in_cell[i]];

		if (module->in_cell > most || (module->in_cell == most && asked->in_cell[i] + 1 < found)) {
			most = module->in_cell;
			found = asked->in_cell[i] + 1;
		}
		module->in_cell = 0;
	}
	asked->in_cell_count = 0;
	return found;
}

static void end_cell(struct map_request *asked)
{
	if (asked->cell == UINT64_MAX)
		return;
	add_run(asked, asked->cell, 1, asked->counts, end_modules(asked));
	memset(asked->counts, 0, sizeof(asked->counts));
	asked->cell = UINT64_MAX;
}

/* Counts the page at @gfn next. @return whether this reply has room for it. */
static bool go_to(struct map_request *asked, uint64_t gfn)
{
	uint64_t cell = gfn / asked->cell_pages;

	if (cell == asked->cell)
		return true;
	end_cell(asked);
	asked->full = asked->run_count >= RUNS_MAX || asked->looked >= LOOKS_MAX;
	asked->gfn = gfn;
	asked->cell = asked->full ? UINT64_MAX : cell;
	return !asked->full;
}

static void add_alike(struct map_request *asked, uint64_t gfn, uint64_t pages, enum engine_page_state state)
{
	while (pages > 0 && go_to(asked, gfn)) {
		uint64_t offset = gfn % asked->cell_pages, some = asked->cell_pages - offset;

		if (offset == 0 && pages >= some) { /* whole cells, none of whose pages was counted yet */
			asked->counts[state] = (uint32_t)some;
			add_run(asked, asked->cell, pages / some, asked->counts, 0);
			asked->counts[state] = 0;
			asked->cell = UINT64_MAX;
			some = pages - pages % some;
		} else {
			some = pages < some ? pages : some;
			asked->counts[state] += (uint32_t)some;
		}
		gfn += some;
		pages -= some;
		asked->gfn = gfn;
	}
}

static void add_page(struct map_request *asked, unsigned count, uint32_t module)
{
	struct map_module *known;

	asked->counts[count]++;
	if (module == 0 || (count != ENGINE_PAGE_SHARED && count != COMMON))
		return;
	known = &asked->modules[module - 1];
	known->shared++;
	known->common += count == COMMON;
	if (known->in_cell++ == 0)
		asked->in_cell[asked->in_cell_count++] = module - 1;
}

/* ---- looking ---- */

static bool is_mapped(const struct map_request *asked, uint32_t slot)
{
	const uint64_t *bits = asked->mapped[slot / ENGINE_SEGMENT_SLOTS];

	return bits && (bits[slot % ENGINE_SEGMENT_SLOTS / 64] >> slot % 64 & 1) != 0;
}

static void note_slot(struct map_request *asked, uint32_t slot)
{
	uint64_t **bits = &asked->mapped[slot / ENGINE_SEGMENT_SLOTS];

	if (*bits == NULL)
		*bits = calloc(ENGINE_SEGMENT_SLOTS / 64, sizeof(**bits));
	if (*bits == NULL)
		asked->lacks_memory = true;
	else
		(*bits)[slot % ENGINE_SEGMENT_SLOTS / 64] |= UINT64_C(1) << slot % 64;
}

static uint32_t less(uint64_t a, uint64_t b)
{
	return (uint32_t)(a < b ? a : b);
}

/* Looks at some pages of the other VM. @return its share of a turn, in pages. */
static uint32_t look_at_other(struct map_request *asked, struct engine_vm *vm)
{
	enum engine_page_state states[LOOK_PAGES];
	uint32_t slots[LOOK_PAGES], page = (uint32_t)asked->with_page;
	uint32_t count = engine_pages_alike(vm, page, less(ALIKE_PAGES, UINT32_MAX - page), &states[0]);

	if (count > 0) {
		asked->with_page += count;
		return LOOK_COST + count / ALIKE_PER_LOOK;
	}
	count = less(LOOK_PAGES, UINT32_MAX - page);
	engine_page_states(vm, page, count, states, slots);
	for (uint32_t i = 0; i < count; i++)
		if (states[i] == ENGINE_PAGE_SHARED)
			note_slot(asked, slots[i]);
	asked->with_page += count;
	return LOOK_COST + count;
}

/*
 * The module of each of the pages [@page, @page + @count), plus 1. The agent's word takes precedence over the disk
 * image.
 */
static void read_modules(const struct map_request *asked, const struct daemon_vm *vm, uint32_t page, uint32_t count,
			 uint32_t *ret)
{
	static const struct labels none;
	const struct agent_session *session = NULL;
	const struct labels *labels = agents_labels(vm, &session);
	uint16_t modules[LOOK_PAGES], images[LOOK_PAGES];

	memset(ret, 0, count * sizeof(*ret));
	if (asked->modules == NULL)
		return;
	labels_read(labels ? labels : &none, page, count, modules);
	labels_read(&vm->images.labels, page, count, images);
	for (uint32_t i = 0; i < count; i++)
		ret[i] = modules[i] ? modules[i] : images[i] ? IMAGES_FIRST + images[i]
							     : 0;
}

static uint32_t look_at_pages(struct map_request *asked, const struct daemon_vm *vm, uint32_t page, uint32_t count)
{
	enum engine_page_state states[LOOK_PAGES];
	uint32_t slots[LOOK_PAGES], modules[LOOK_PAGES];

	engine_page_states(vm->connection.engine_vm, page, count, states, slots);
	read_modules(asked, vm, page, count, modules);
	for (uint32_t i = 0; i < count && go_to(asked, asked->gfn); i++, asked->gfn++) {
		bool common = states[i] == ENGINE_PAGE_SHARED && is_mapped(asked, slots[i]);

		add_page(asked, common ? (unsigned)COMMON : (unsigned)states[i], modules[i]);
	}
	return LOOK_COST + count;
}

/* Looks at some pages of the VM. @return its share of a turn, in pages. */
static uint32_t look(struct map_request *asked, const struct daemon_vm *vm)
{
	const struct wire_range *range = &asked->ranges[asked->range];
	uint64_t left;
	uint32_t page, count;
	enum engine_page_state state;

	if (asked->range == asked->range_count) {
		end_cell(asked);
		asked->over = true;
		return LOOK_COST;
	}
	if (asked->gfn < range->gfn)
		asked->gfn = range->gfn;
	if (asked->gfn - range->gfn >= range->pages) {
		asked->range++;
		return 1;
	}
	page = range->page + (uint32_t)(asked->gfn - range->gfn);
	left = range->pages - (asked->gfn - range->gfn);
	count = engine_pages_alike(vm->connection.engine_vm, page, less(left, ALIKE_PAGES), &state);
	if (count > 0) {
		add_alike(asked, asked->gfn, count, state);
		return LOOK_COST + count / ALIKE_PER_LOOK;
	}
	count = less(left, LOOK_PAGES - page % LOOK_PAGES);
	return look_at_pages(asked, vm, page, count);
}

/* Begins, or begins anew. */
static void begin(struct map_request *asked)
{
	asked->range = 0;
	asked->gfn = asked->begin_gfn;
	asked->looked = 0;
	asked->over = asked->full = false;
	asked->cell = UINT64_MAX;
	asked->run_count = 0;
	asked->in_cell_count = 0;
	memset(asked->counts, 0, sizeof(asked->counts));
	memset(asked->sums, 0, sizeof(asked->sums));
	if (asked->modules)
		memset(asked->modules, 0, MODULES_MAX * sizeof(*asked->modules));
}

/* Labels from before a new session of the agent are void. */
static void look_at_session(struct map_request *asked, const struct daemon_vm *vm)
{
	const struct agent_session *session = NULL;
	uint32_t id;

	if (asked->modules == NULL)
		return;
	agents_labels(vm, &session);
	id = session ? session->id : 0;
	if (id != asked->session)
		begin(asked);
	asked->session = id;
}

/* ---- the reply ---- */

static json_t *run_item(const struct control_answer *answer, size_t i)
{
	const struct map_request *asked = answer->map;
	const struct map_run *run = &asked->runs[i];
	json_t *object = json_pack("{s:o,s:o}", "address", control_number(run->cell * asked->cell_pages * PAGE_BYTES),
				   "cells", control_number(run->cells));

	for (unsigned k = 0; k < COUNTS; k++)
		if (count_names[k] && run->counts[k] > 0)
			json_object_set_new(object, count_names[k], control_number(run->counts[k]));
	if (run->module > 0 && asked->modules[run->module - 1].place > 0)
		json_object_set_new(object, "label", control_number(asked->modules[run->module - 1].place - 1));
	return object;
}

static json_t *label_item(const struct control_answer *answer, size_t i)
{
	return json_incref(json_array_get(answer->map->labels, i));
}

static void begin_labels(struct control_answer *answer)
{
	fprintf(answer->stream, "],\"labels\":[");
	answer->item = label_item;
	answer->count = json_array_size(answer->map->labels);
	answer->next_list = NULL;
}

struct map_told {
	uint64_t shared;
	uint32_t module;
};

static int by_shared(const void *left, const void *right)
{
	const struct map_told *a = left, *b = right;

	if (a->shared != b->shared)
		return a->shared < b->shared ? 1 : -1;
	return a->module < b->module ? -1 : 1;
}

static void tell_label(struct map_request *asked, const struct daemon_vm *vm, const struct agent_session *session,
		       uint32_t number)
{
	struct map_module *module = &asked->modules[number];
	bool image = number >= IMAGES_FIRST;
	const char *label = image     ? vm->images.names[number - IMAGES_FIRST]
			    : session ? session->modules[number].label
				      : NULL;

	if (label == NULL)
		return;
	json_array_append_new(asked->labels,
			      json_pack("{s:s,s:s,s:o,s:o}", "kind",
					image ? "disk-image" : agent_kind_name(session->modules[number].kind), "label",
					label, "shared_pages", control_number(module->shared), "common_pages",
					control_number(module->common)));
	module->place = (uint32_t)json_array_size(asked->labels);
}

/* Their words, as they are now. @return whether there was memory. */
static bool end_labels(struct map_request *asked, const struct daemon_vm *vm)
{
	const struct agent_session *session = NULL;
	struct map_told *told = calloc(MODULES_MAX, sizeof(*told));

	asked->labels = json_array();
	if (told == NULL || asked->labels == NULL) {
		free(told);
		return false;
	}
	agents_labels(vm, &session);
	for (uint32_t i = 0; i < MODULES_MAX; i++)
		if (asked->modules[i].shared > 0) {
			told[asked->label_count++] = (struct map_told){ asked->modules[i].shared, i };
			asked->named_pages += asked->modules[i].shared;
		}
	qsort(told, asked->label_count, sizeof(*told), by_shared);
	for (uint32_t i = 0; i < asked->label_count && i < LABELS_TOLD; i++)
		tell_label(asked, vm, session, told[i].module);
	free(told);
	return true;
}

static json_t *reply_head(struct control_answer *answer, const struct daemon_vm *vm)
{
	const struct map_request *asked = answer->map;
	json_t *pages = json_object(), *next;

	for (unsigned i = 0; i < COUNTS; i++)
		if (count_names[i] && (i != COMMON || asked->with_serial))
			json_object_set_new(pages, count_names[i], control_number(asked->sums[i]));
	next = asked->full ? control_number(asked->gfn / asked->cell_pages * asked->cell_pages * PAGE_BYTES)
			   : json_null();
	return json_pack("{s:s,s:s,s:o,s:o,s:o,s:o,s:o}", "name", vm->name,
			 "addresses", asked->by_page ? "pages" : "guest-physical",
			 "cell_bytes", control_number(asked->cell_pages * PAGE_BYTES),
			 "next", next,
			 "pages", pages,
			 "labels_count", control_number(asked->label_count),
			 "named_pages", control_number(asked->named_pages));
}

static struct daemon_vm *find(const struct control_answer *answer, uint32_t serial)
{
	struct daemon_vm *vm = daemon_vm_of_serial(answer->control->domains, serial);

	return vm && vm->connection.engine_vm ? vm : NULL;
}

static json_t *gather_map(struct control_answer *answer)
{
	struct map_request *asked = answer->map;
	const struct daemon_vm *vm = find(answer, asked->serial), *with = find(answer, asked->with_serial);
	uint32_t looked = 0;

	if (vm == NULL || (asked->with_serial && with == NULL))
		return control_error("unknown-vm", "it has gone meanwhile", "");
	look_at_session(asked, vm);
	while (!asked->over && !asked->full && !asked->lacks_memory && looked < LOOKS_PER_TURN) {
		uint32_t cost = asked->with_page < UINT32_MAX ? look_at_other(asked, with->connection.engine_vm)
							      : look(asked, vm);

		looked += cost;
		asked->looked += asked->with_page < UINT32_MAX ? 0 : cost;
	}
	turn_note(TURN_ITEMS, looked / LOOKS_PER_ITEM);
	if (asked->lacks_memory)
		return control_error("no-memory", "the daemon is out of memory", "");
	if (!asked->over && !asked->full)
		return NULL;
	if (asked->modules && !end_labels(asked, vm))
		return control_error("no-memory", "the daemon is out of memory", "");
	answer->by_thread = true;
	answer->list = "runs";
	answer->item = run_item;
	answer->count = asked->run_count;
	answer->next_list = asked->modules ? begin_labels : NULL;
	return reply_head(answer, vm);
}

/* ---- the request ---- */

/* The engine's regions, as the VMM does not report the guest's layout. @return whether there was memory. */
static bool take_regions(struct map_request *asked, struct engine_vm *vm)
{
	uint32_t page = 1, room = 0;

	asked->by_page = true;
	while (page < UINT32_MAX) {
		enum engine_page_state state;
		uint32_t pages = engine_region_pages(vm, page);

		if (pages == 0) {
			page += engine_pages_alike(vm, page, UINT32_MAX - page, &state);
			continue;
		}
		if (asked->range_count == room) {
			struct wire_range *ranges;

			room = room == 0 ? 16 : 2 * room;
			ranges = reallocarray(asked->ranges, room, sizeof(*ranges));
			if (ranges == NULL)
				return false;
			asked->ranges = ranges;
		}
		asked->ranges[asked->range_count++] =
			(struct wire_range){ .gfn = page - 1, .page = page, .pages = pages };
		page += pages;
	}
	return true;
}

static bool take_ranges(struct map_request *asked, const struct daemon_vm *vm)
{
	const struct guest_map *map = &vm->guest_map;

	if (map->count == 0)
		return take_regions(asked, vm->connection.engine_vm);
	asked->ranges = calloc(map->count, sizeof(*asked->ranges));
	if (asked->ranges == NULL)
		return false;
	memcpy(asked->ranges, map->ranges, map->count * sizeof(*asked->ranges));
	asked->range_count = map->count;
	return true;
}

/* How many cells of that size have memory in them. */
static uint64_t count_cells(const struct map_request *asked, uint64_t cell_pages)
{
	uint64_t cells = 0, next = 0;

	for (uint32_t i = 0; i < asked->range_count; i++) {
		const struct wire_range *range = &asked->ranges[i];
		uint64_t first = range->gfn / cell_pages, end = (range->gfn + range->pages - 1) / cell_pages + 1;

		first = first < next ? next : first;
		cells += end > first ? end - first : 0;
		next = end > next ? end : next;
	}
	return cells;
}

/* An integer from @least to @most, or @fallback if it is missing. @return whether it is one. */
static bool take_number(const json_t *value, int64_t least, int64_t most, int64_t fallback, uint64_t *ret)
{
	json_int_t number = value ? json_integer_value(value) : fallback;

	*ret = (uint64_t)number;
	return value == NULL || (json_is_integer(value) && number >= least && number <= most);
}

/* @return an error, or NULL. */
static json_t *take_numbers(struct map_request *asked, const json_t *request)
{
	const json_t *labels = json_object_get(request, "labels");
	uint64_t cells, address;

	if (!take_number(json_object_get(request, "cells"), 1, CELLS_MAX, CELLS_DEFAULT, &cells))
		return control_error("bad-request", "\"cells\" has to be a number from 1 to 65536", "cells");
	if (!take_number(json_object_get(request, "cell_pages"), 1, CELL_PAGES_MAX, 0, &asked->cell_pages) ||
	    (asked->cell_pages & (asked->cell_pages - 1)) != 0)
		return control_error("bad-request", "\"cell_pages\" has to be a power of two up to 2^28", "cell_pages");
	if (!take_number(json_object_get(request, "address"), 0, (int64_t)(WIRE_GFN_END * PAGE_BYTES - 1), 0, &address))
		return control_error("bad-request", "\"address\" has to be what an earlier reply had", "address");
	if (labels && !json_is_boolean(labels))
		return control_error("bad-request", "\"labels\" has to be true or false", "labels");
	for (uint64_t pages = 1; asked->cell_pages == 0; pages *= 2)
		if (pages == CELL_PAGES_MAX || count_cells(asked, pages) <= cells)
			asked->cell_pages = pages;
	asked->begin_gfn = address / PAGE_BYTES / asked->cell_pages * asked->cell_pages;
	return NULL;
}

/* The other VM. @return an error, or NULL. */
static json_t *take_other(struct control_answer *answer, const struct daemon_vm *vm, const json_t *name)
{
	json_t *problem;
	const struct daemon_vm *other = control_find_own_vm(answer->control, answer->uid, name, &problem);

	if (other == NULL)
		return problem;
	if (other == vm)
		return control_error("bad-request", "a VM has all of its pages in common with itself; name another one",
				     other->name);
	if (other->domain != vm->domain)
		return control_error("bad-request",
				     "this VM is in another domain, and so has no page in common with it", other->name);
	if (other->connection.engine_vm == NULL)
		return control_error("unknown-vm", "this VM has no connection to pagefused at the moment", other->name);
	answer->map->with_serial = other->connection.serial;
	answer->map->with_page = 1;
	return NULL;
}

json_t *control_map(struct control_answer *answer, const json_t *request)
{
	struct map_request *asked = answer->map = calloc(1, sizeof(*asked));
	const json_t *with = json_object_get(request, "with");
	struct daemon_vm *vm;
	json_t *problem;

	if (asked == NULL)
		return NULL;
	vm = control_find_own_vm(answer->control, answer->uid, json_object_get(request, "name"), &problem);
	if (vm == NULL)
		return problem;
	if (vm->connection.engine_vm == NULL)
		return control_error("unknown-vm", "this VM has no connection to pagefused at the moment", vm->name);
	asked->serial = vm->connection.serial;
	asked->with_page = UINT32_MAX;
	problem = with ? take_other(answer, vm, with) : NULL;
	if (problem == NULL && !take_ranges(asked, vm))
		return NULL;
	problem = problem ? problem : take_numbers(asked, request);
	if (problem)
		return problem;
	if (json_is_true(json_object_get(request, "labels"))) {
		asked->modules = calloc(MODULES_MAX, sizeof(*asked->modules));
		asked->in_cell = calloc(MODULES_MAX, sizeof(*asked->in_cell));
		if (asked->modules == NULL || asked->in_cell == NULL)
			return NULL;
	}
	begin(asked);
	answer->gather = gather_map;
	return json_object();
}
