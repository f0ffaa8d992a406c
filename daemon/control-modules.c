/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which files, programs and kernels are fused, by the labels that agents in guests gave their pages; and for pages
 * without a label, the disk images that they were read from.
 *
 * Theory of Operation. The pages of one VM after the other are looked at, a bounded number at a time, with turns of
 * other connections in between. Counts are added up by module number of the agent's session; the VM's images are
 * numbered after them. When all pages of a VM were looked at its counts are added to those of other VMs' modules with
 * the same kind and label. If the VM's agent has begun a new session meanwhile, the VM is looked at again from its
 * beginning; a VM that has ended is not counted.
 */
#include <errno.h>
#include <jansson.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/agents.h"
#include "daemon/control-internal.h"
#include "daemon/turn.h"

#define PAGES_PER_TURN 8192u
#define PAGES_PER_ITEM (PAGES_PER_TURN / CONTROL_ITEMS_PER_TURN) /* as much work as one item of a reply */
#define LOOK_PAGES 512u
#define LOOK_COST 32u /* of checking pages for labels, in pages that have one */
_Static_assert(LABELS_BLOCK % LOOK_PAGES == 0, "they are of one block");
/* More of them are counted as one, so that guests cannot fill the daemon's memory with labels. */
#define ROWS_MAX 65536u
#define ROWS_TOLD 1000u /* unless the request says how many */
#define WHOLE 65536u    /* parts of a page, in which savings are added up */
/* Numbers of a VM's modules: those of its agent, then its disk images. */
#define IMAGES_FIRST AGENT_SESSION_MODULES_MAX
#define MODULES_MAX (IMAGES_FIRST + RING_IMAGES_MAX)
#define KIND_IMAGE AGENT_KIND_END /* besides enum agent_kind */

/* The pages of a module, in one VM or in all of them. */
struct modules_sum {
	uint64_t pages, shared_pages; /* named; of these, that have one copy with others */
	uint64_t saved;               /* in WHOLEths of a page */
};

struct modules_row {
	uint32_t kind; /* enum agent_kind, or KIND_IMAGE */
	uint32_t vms;
	uint32_t last_vm; /* that was counted: its place among all, and 1 */
	struct modules_sum sum;
	char label[]; /* terminated */
};

struct modules_request {
	uint32_t *serials; /* of the connections of VMs that are to be looked at */
	uint32_t vm_count, next_vm, vms, vms_with_agent, vms_with_images;
	uint64_t shared_pages; /* of these VMs, named or not */

	/* Of the VM that is being looked at. */
	struct modules_sum *modules; /* MODULES_MAX of them, see IMAGES_FIRST; NULL: none is */
	uint32_t session;            /* of its agent; 0: it has none */
	uint64_t page;               /* next one */

	void *tree; /* of struct modules_row, by kind and label */
	struct modules_row **rows;
	uint32_t row_count, row_room;
	struct modules_sum all, beyond; /* of all rows; of what found no room among them */
	size_t most;                    /* rows that are told */
};

static void free_nothing(void *row)
{
	(void)row;
}

void control_modules_free(struct modules_request *asked)
{
	if (asked == NULL)
		return;
	tdestroy(asked->tree, free_nothing);
	for (uint32_t i = 0; i < asked->row_count; i++)
		free(asked->rows[i]);
	free(asked->rows);
	free(asked->modules);
	free(asked->serials);
	free(asked);
}

static void add(struct modules_sum *to, const struct modules_sum *what)
{
	to->pages += what->pages;
	to->shared_pages += what->shared_pages;
	to->saved += what->saved;
}

/* ---- rows ---- */

static int by_label(const void *left, const void *right)
{
	const struct modules_row *a = left, *b = right;

	return a->kind != b->kind ? (int)a->kind - (int)b->kind : strcmp(a->label, b->label);
}

static int by_saving(const void *left, const void *right)
{
	const struct modules_row *a = *(struct modules_row *const *)left, *b = *(struct modules_row *const *)right;

	if (a->sum.saved != b->sum.saved)
		return a->sum.saved < b->sum.saved ? 1 : -1;
	if (a->sum.pages != b->sum.pages)
		return a->sum.pages < b->sum.pages ? 1 : -1;
	return by_label(a, b);
}

static struct modules_row *row_new(struct modules_request *asked, uint32_t kind, const char *label)
{
	size_t bytes = strlen(label) + 1;
	struct modules_row *row = calloc(1, sizeof(*row) + bytes);

	if (row == NULL)
		return NULL;
	row->kind = kind;
	memcpy(row->label, label, bytes);
	if (asked->row_count == asked->row_room) {
		uint32_t room = asked->row_room == 0 ? 256 : 2 * asked->row_room;
		struct modules_row **rows = reallocarray(asked->rows, room, sizeof(struct modules_row *));

		if (rows == NULL) {
			free(row);
			return NULL;
		}
		asked->rows = rows;
		asked->row_room = room;
	}
	asked->rows[asked->row_count++] = row;
	return row;
}

/* @return 0 or -ENOMEM. */
static int add_module(struct modules_request *asked, uint32_t kind, const char *label, const struct modules_sum *sum)
{
	union {
		struct modules_row row;
		char room[sizeof(struct modules_row) + LABEL_MAX + 1];
	} key;
	struct modules_row *row, **place;

	if (sum->pages == 0)
		return 0;
	add(&asked->all, sum);
	key.row.kind = kind;
	strcpy(key.row.label, label); /* LABEL_MAX at most */
	place = tfind(&key.row, &asked->tree, by_label);
	if (place == NULL && asked->row_count == ROWS_MAX) {
		add(&asked->beyond, sum);
		return 0;
	}
	if (place == NULL) {
		row = row_new(asked, kind, label);
		if (row == NULL || tsearch(row, &asked->tree, by_label) == NULL)
			return -ENOMEM;
	} else {
		row = *place;
	}
	row->vms += row->last_vm != asked->next_vm + 1; /* a VMM may give two of its images the same name */
	row->last_vm = asked->next_vm + 1;
	add(&row->sum, sum);
	return 0;
}

/* ---- looking ---- */

/* The VM is over with. */
static void end_vm(struct modules_request *asked)
{
	free(asked->modules);
	asked->modules = NULL;
	asked->next_vm++;
}

/* All of the VM was looked at. @session: its agent's, or NULL. @return 0 or -ENOMEM. */
static int count_vm(struct modules_request *asked, const struct daemon_vm *vm, const struct agent_session *session)
{
	int r = 0;

	for (uint32_t i = 0; session != NULL && r == 0 && i < session->module_count; i++)
		r = add_module(asked, session->modules[i].kind, session->modules[i].label, &asked->modules[i]);
	for (uint32_t i = 0; i < RING_IMAGES_MAX && r == 0; i++)
		if (vm->images.names[i] != NULL)
			r = add_module(asked, KIND_IMAGE, vm->images.names[i], &asked->modules[IMAGES_FIRST + i]);
	asked->vms_with_agent += session != NULL;
	asked->vms_with_images += vm->images.labels.named > 0;
	end_vm(asked);
	return r;
}

static void look_at(struct modules_request *asked, struct engine_vm *vm, uint32_t page, uint32_t module)
{
	struct modules_sum *sum = &asked->modules[module];
	uint32_t sharers = engine_page_sharers(vm, page);

	sum->pages++;
	if (sharers == 0)
		return;
	sum->shared_pages++;
	sum->saved += sharers == ENGINE_ZERO_SHARERS ? WHOLE : WHOLE - WHOLE / sharers;
}

/* The agent's word takes precedence over the disk image. @return its share of a turn, in pages. */
static uint32_t look_at_pages(struct modules_request *asked, struct engine_vm *vm, const struct labels *by_agent,
			      const struct labels *by_image)
{
	uint16_t modules[LOOK_PAGES], images[LOOK_PAGES];
	uint32_t cost = LOOK_COST;

	labels_read(by_agent, asked->page, LOOK_PAGES, modules);
	labels_read(by_image, asked->page, LOOK_PAGES, images);
	for (uint32_t i = 0; i < LOOK_PAGES; i++) {
		uint32_t page = (uint32_t)asked->page + i;

		if (modules[i] != 0)
			look_at(asked, vm, page, modules[i] - 1u);
		else if (images[i] != 0)
			look_at(asked, vm, page, IMAGES_FIRST + images[i] - 1u);
		cost += (modules[i] | images[i]) != 0;
	}
	asked->page += LOOK_PAGES;
	return cost;
}

/* Begins with a VM, or again if its agent has a new session. @return 0 or -ENOMEM. */
static int begin_vm(struct modules_request *asked, uint32_t session)
{
	if (asked->modules != NULL && asked->session == session)
		return 0;
	free(asked->modules);
	asked->modules = calloc(MODULES_MAX, sizeof(*asked->modules));
	asked->session = session;
	asked->page = 0;
	return asked->modules != NULL ? 0 : -ENOMEM;
}

/* Looks at some pages of the next VM. @return its share of a turn, in pages; -1 without memory. */
static int look(struct modules_request *asked, const struct domains *domains)
{
	static const struct labels none;
	struct daemon_vm *vm = daemon_vm_of_serial(domains, asked->serials[asked->next_vm]);
	const struct agent_session *session = NULL;
	const struct labels *labels;
	uint64_t at, image_at;

	if (vm == NULL || vm->connection.engine_vm == NULL) {
		end_vm(asked);
		return (int)PAGES_PER_ITEM;
	}
	labels = agents_labels(vm, &session);
	if (labels == NULL)
		labels = &none;
	if (begin_vm(asked, session ? session->id : 0) < 0)
		return -1;
	at = labels_seek(labels, asked->page);
	image_at = labels_seek(&vm->images.labels, asked->page);
	asked->page = at < image_at ? at : image_at;
	if (asked->page != UINT64_MAX)
		return (int)look_at_pages(asked, vm->connection.engine_vm, labels, &vm->images.labels);
	return count_vm(asked, vm, session) < 0 ? -1 : (int)LOOK_PAGES;
}

/* ---- the reply ---- */

static int add_sum(json_t *object, const struct modules_sum *sum)
{
	return json_object_set_new(object, "pages", control_number(sum->pages)) |
	       json_object_set_new(object, "shared_pages", control_number(sum->shared_pages)) |
	       json_object_set_new(object, "saved_pages", control_number(sum->saved / WHOLE));
}

static json_t *with_sum(json_t *object, const struct modules_sum *sum)
{
	if (add_sum(object, sum) == 0)
		return object;
	json_decref(object);
	return NULL;
}

static json_t *module_item(const struct control_answer *answer, size_t i)
{
	const struct modules_row *row = answer->modules->rows[i];

	const char *kind = row->kind == KIND_IMAGE ? "disk-image" : agent_kind_name(row->kind);

	return with_sum(json_pack("{s:s,s:s,s:I}", "kind", kind, "label", row->label, "vms", (json_int_t)row->vms),
			&row->sum);
}

/* The rest, which is not listed row by row. */
static json_t *rest_object(const struct modules_request *asked)
{
	struct modules_sum rest = asked->beyond;

	for (size_t i = asked->most; i < asked->row_count; i++)
		add(&rest, &asked->rows[i]->sum);
	return with_sum(json_object(), &rest);
}

static json_t *gather_modules(struct control_answer *answer)
{
	struct modules_request *asked = answer->modules;
	uint32_t looked = 0;

	while (asked->next_vm < asked->vm_count && looked < PAGES_PER_TURN) {
		int pages = look(asked, answer->control->domains);

		if (pages < 0)
			return control_error("no-memory", "the daemon is out of memory", "");
		looked += (uint32_t)pages;
	}
	turn_note(TURN_ITEMS, looked / PAGES_PER_ITEM);
	if (asked->next_vm < asked->vm_count)
		return NULL;
	if (asked->row_count > 0)
		qsort(asked->rows, asked->row_count, sizeof(struct modules_row *), by_saving);
	answer->by_thread = true;
	answer->list = "modules";
	answer->item = module_item;
	answer->count = asked->row_count < asked->most ? asked->row_count : asked->most;
	return json_pack("{s:I,s:I,s:I,s:o,s:o,s:I,s:o}", "vms", (json_int_t)asked->vms,
			 "vms_with_agent", (json_int_t)asked->vms_with_agent,
			 "vms_with_images", (json_int_t)asked->vms_with_images,
			 "shared_pages", control_number(asked->shared_pages),
			 "named", with_sum(json_object(), &asked->all),
			 "modules_count", (json_int_t)asked->row_count,
			 "rest", rest_object(asked));
}

/* Adds @vm to those that are to be looked at. */
static void choose(struct modules_request *asked, struct daemon_vm *vm)
{
	struct engine_vm_counters counters;

	asked->vms++;
	if (!daemon_vm_is_connected(vm) || vm->connection.engine_vm == NULL)
		return;
	engine_vm_counters(vm->connection.engine_vm, &counters);
	asked->shared_pages += counters.shared_pages + counters.zero_pages;
	asked->serials[asked->vm_count++] = vm->connection.serial;
}

json_t *control_modules(struct control_answer *answer, const json_t *request)
{
	const struct domains *domains = answer->control->domains;
	const json_t *name = json_object_get(request, "name"), *most = json_object_get(request, "most");
	struct modules_request *asked = calloc(1, sizeof(*asked));
	struct daemon_vm *vm = NULL;
	json_t *problem;
	size_t count = 1;

	answer->modules = asked;
	if (asked == NULL)
		return NULL;
	if (most && (!json_is_integer(most) || json_integer_value(most) < 0))
		return control_error("bad-request", "\"most\" has to be a number of modules", "most");
	asked->most = most ? (size_t)json_integer_value(most) : ROWS_TOLD;
	if (name && control_find_own_vm(answer->control, answer->uid, name, &problem) == NULL)
		return problem;
	while (!name && (vm = daemon_vm_next(domains, vm)) != NULL)
		count++;
	asked->serials = calloc(count, sizeof(*asked->serials));
	if (asked->serials == NULL)
		return NULL;
	if (name)
		choose(asked, daemon_vm_named(domains, json_string_value(name)));
	while (!name && (vm = daemon_vm_next(domains, vm)) != NULL)
		if (vm->name[0] && control_may_see(answer->uid, vm))
			choose(asked, vm);
	answer->gather = gather_modules;
	return json_object();
}
