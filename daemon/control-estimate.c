/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The request "estimate". The engines make estimates, one domain after the other, while a request waits for them: each
 * request starts the next missing one, and replies when all are there. The reply is made from finished estimates, which
 * do not change even if their domains do meanwhile. With "look" the request first has VMs looked at in the same way,
 * all at once.
 *
 * The reply lists VMs, then pairs of VMs. Pairs are gone through together with the VMs: with each VM those that it
 * forms with the VMs after it. The largest pairs are kept in a heap.
 */
#include <stdlib.h>
#include <string.h>

#include "daemon/clock.h"
#include "daemon/control-internal.h"

/* An estimate that the reply is of. */
struct asked_domain {
	char name[WIRE_DOMAIN_MAX];
	struct engine_estimate *estimate;
	struct engine_estimate_summary summary;
	uint32_t seen; /* VMs in the estimate that the asking user may see */
	bool sees_all; /* these are all */
};

struct asked_vm {
	char name[WIRE_NAME_MAX];
	const struct asked_domain *domain;
	enum wire_mode mode;
	uint32_t row;
	bool known; /* it has a row */
	bool named; /* the request names this VM */
};

struct asked_pair {
	uint32_t a, b; /* indices */
	struct engine_pair_estimate figures;
};

struct estimate_request {
	uint64_t since_usec, now_usec; /* since: as the reply has it */
	uint64_t looked_usec;          /* when the last requested look ended: earlier estimates do not count */
	uint64_t done_pages, total_pages;
	bool all;                                              /* no VM was named */
	const struct daemon_vm *named[CONTROL_ESTIMATE_NAMES]; /* valid only while the reply is begun */
	size_t named_count;
	struct asked_domain *domains;
	size_t domain_count;
	struct asked_vm *vms; /* VMs in these domains that the asking user may see, domain by domain */
	size_t vm_count;
	struct asked_pair *pairs; /* the largest: a heap, the smallest of them at its top */
	size_t pair_count, most_pairs, pairs_left_out;
};

void control_estimate_free(struct estimate_request *asked)
{
	if (asked == NULL)
		return;
	for (size_t i = 0; i < asked->domain_count; i++)
		engine_drop_estimate(asked->domains[i].estimate);
	free(asked->domains);
	free(asked->vms);
	free(asked->pairs);
	free(asked);
}

/* ---- the largest pairs ---- */

/* By common pages; of equal pairs the earlier one counts as larger. @return < 0: @a is smaller. */
static int compare(const struct asked_pair *a, const struct asked_pair *b)
{
	if (a->figures.common_pages != b->figures.common_pages)
		return a->figures.common_pages < b->figures.common_pages ? -1 : 1;
	if (a->a != b->a)
		return a->a > b->a ? -1 : 1;
	return a->b > b->b ? -1 : a->b < b->b;
}

static int larger_first(const void *a, const void *b)
{
	return compare(b, a);
}

static void swap(struct asked_pair *a, struct asked_pair *b)
{
	struct asked_pair pair = *a;

	*a = *b;
	*b = pair;
}

static void sift_up(struct asked_pair *heap, size_t at)
{
	for (; at > 0 && compare(&heap[at], &heap[(at - 1) / 2]) < 0; at = (at - 1) / 2)
		swap(&heap[at], &heap[(at - 1) / 2]);
}

static void sift_down(struct asked_pair *heap, size_t count)
{
	size_t at = 0;

	for (;;) {
		size_t child = 2 * at + 1;

		if (child + 1 < count && compare(&heap[child + 1], &heap[child]) < 0)
			child++;
		if (child >= count || compare(&heap[child], &heap[at]) >= 0)
			return;
		swap(&heap[child], &heap[at]);
		at = child;
	}
}

static void offer_pair(struct estimate_request *asked, const struct asked_pair *pair)
{
	if (asked->pair_count < asked->most_pairs) {
		asked->pairs[asked->pair_count] = *pair;
		sift_up(asked->pairs, asked->pair_count++);
		return;
	}
	asked->pairs_left_out++;
	if (asked->most_pairs == 0 || compare(pair, &asked->pairs[0]) <= 0)
		return;
	asked->pairs[0] = *pair;
	sift_down(asked->pairs, asked->pair_count);
}

static bool has_pairs(const struct asked_vm *vm)
{
	return vm->known && vm->row < vm->domain->summary.pair_rows;
}

/* Pairs of VM @i with the VMs after it: at most as many as a domain has pairs. */
static void offer_pairs(struct estimate_request *asked, size_t i)
{
	const struct asked_vm *vm = &asked->vms[i], *end = asked->vms + asked->vm_count;

	if (!has_pairs(vm))
		return;
	for (const struct asked_vm *other = vm + 1; other < end && other->domain == vm->domain; other++) {
		struct asked_pair pair = { .a = (uint32_t)i, .b = (uint32_t)(other - asked->vms) };

		if ((!vm->named && !other->named) || !has_pairs(other))
			continue;
		engine_estimate_pair(vm->domain->estimate, vm->row, other->row, &pair.figures);
		if (pair.figures.common_pages > 0)
			offer_pair(asked, &pair);
	}
}

/* ---- the reply ---- */

/*
 * Adds the figures that VMs and domains have in common. Takes @object. What sharing would save is shown only to a user
 * who owns all VMs of the domain: it would reveal contents of VMs that share nothing.
 */
static json_t *add_figures(json_t *object, const struct engine_vm_estimate *figures, bool sees_all)
{
	json_object_set_new(object, "ram_bytes", control_number(figures->ram_pages * PAGE_BYTES));
	json_object_set_new(object, "present_pages", control_number(figures->present_pages));
	json_object_set_new(object, "looked_pages", control_number(figures->looked_pages));
	json_object_set_new(object, "shared_pages", control_number(figures->shared_pages));
	json_object_set_new(object, "zero_pages", control_number(figures->zero_pages));
	json_object_set_new(object, "would_share_pages",
			    sees_all ? control_number(figures->would_share_pages) : json_null());
	json_object_set_new(object, "would_zero_pages", control_number(figures->would_zero_pages));
	json_object_set_new(object, "would_save_pages",
			    sees_all ? control_number(figures->would_share_pages + figures->would_zero_pages)
				     : json_null());
	return object;
}

static json_t *seconds_since(const struct estimate_request *asked, uint64_t usec)
{
	return json_real(asked->now_usec > usec ? (double)(asked->now_usec - usec) / 1e6 : 0);
}

static json_t *vm_item(const struct control_answer *answer, size_t i)
{
	struct estimate_request *asked = answer->estimate;
	const struct asked_vm *vm = &asked->vms[i];
	struct engine_vm_estimate figures;
	json_t *object;

	offer_pairs(asked, i);
	if (!vm->named)
		return json_null();
	object = json_pack("{s:s,s:s,s:s,s:b}", "name", vm->name, "domain", vm->domain->name, "mode",
			   wire_mode_name(vm->mode), "estimated", vm->known);
	if (!vm->known)
		return object;
	engine_estimate_vm(vm->domain->estimate, vm->row, &figures);
	json_object_set_new(object, "looked_seconds",
			    figures.looked_usec ? seconds_since(asked, figures.looked_usec) : json_null());
	return add_figures(object, &figures, vm->domain->sees_all);
}

static json_t *pair_item(const struct control_answer *answer, size_t i)
{
	const struct estimate_request *asked = answer->estimate;
	const struct asked_pair *pair = &asked->pairs[i];

	return json_pack("{s:[s,s],s:s,s:o,s:o}", "names", asked->vms[pair->a].name, asked->vms[pair->b].name, "domain",
			 asked->vms[pair->a].domain->name, "common_pages", control_number(pair->figures.common_pages),
			 "shared_pages", control_number(pair->figures.shared_pages));
}

static void begin_pairs(struct control_answer *answer)
{
	struct estimate_request *asked = answer->estimate;

	if (asked->pair_count > 0)
		qsort(asked->pairs, asked->pair_count, sizeof(*asked->pairs), larger_first);
	fprintf(answer->stream, "],\"pairs_left_out\":%zu,\"pairs\":[", asked->pairs_left_out);
	answer->item = pair_item;
	answer->count = asked->pair_count;
	answer->next_list = NULL;
}

static json_t *domain_object(const struct estimate_request *asked, const struct asked_domain *domain)
{
	const struct engine_estimate_summary *summary = &domain->summary;
	const struct engine_vm_estimate *all = &summary->all;
	json_t *object = json_pack("{s:s,s:o,s:o,s:o,s:o,s:o,s:I}", "name", domain->name, "age_seconds",
				   seconds_since(asked, summary->begun_usec), "vms", control_number(summary->rows),
				   "pair_vms", control_number(summary->pair_rows), "one_in",
				   control_number(summary->one_in), "common_pages",
				   control_number(summary->common_pages), "saved_pages",
				   (json_int_t)(all->shared_pages + all->zero_pages) -
					   (json_int_t)summary->common_pages);

	return add_figures(object, all, domain->sees_all);
}

/* ---- whom it is of ---- */

static bool is_named(const struct estimate_request *asked, const struct daemon_vm *vm)
{
	for (size_t i = 0; i < asked->named_count; i++)
		if (asked->named[i] == vm)
			return true;
	return asked->all;
}

static bool is_seen(const struct control_answer *answer, const struct daemon_vm *vm)
{
	return vm->name[0] && control_may_see(answer->uid, vm);
}

/* Whether a VM in @domain was asked for. */
static bool is_asked(const struct control_answer *answer, const struct domain *domain)
{
	const struct estimate_request *asked = answer->estimate;
	const struct daemon_vm *vm;

	if (!asked->all) {
		for (size_t i = 0; i < asked->named_count; i++)
			if (asked->named[i]->domain == domain)
				return true;
		return false;
	}
	TAILQ_FOREACH(vm, &domain->vms, entries)
		if (is_seen(answer, vm))
			return true;
	return false;
}

static json_t *take_names(struct control_answer *answer, const json_t *names)
{
	struct estimate_request *asked = answer->estimate;
	json_t *name, *problem;
	size_t i;

	if (names && !json_is_array(names))
		return control_error("bad-request", "\"names\" has to be an array of VM names", "names");
	if (json_array_size(names) > CONTROL_ESTIMATE_NAMES)
		return control_error("too-many", "an estimate is of at most 64 VMs by name; without names it is of all",
				     "names");
	json_array_foreach(names, i, name) {
		const struct daemon_vm *vm = control_find_own_vm(answer->control, answer->uid, name, &problem);

		if (vm == NULL)
			return problem;
		asked->named[asked->named_count++] = vm;
	}
	asked->all = asked->named_count == 0;
	return NULL;
}

/* ---- starting estimates ---- */

static bool take_domain(struct estimate_request *asked, const struct domain *domain)
{
	struct engine_estimate *estimate = engine_take_estimate(domain->engine);
	struct asked_domain *place = &asked->domains[asked->domain_count];

	if (estimate)
		engine_estimate_summary(estimate, &place->summary);
	if (estimate == NULL || place->summary.begun_usec < asked->since_usec ||
	    place->summary.begun_usec < asked->looked_usec) {
		engine_drop_estimate(estimate);
		return false;
	}
	place->estimate = estimate;
	memcpy(place->name, domain->name, sizeof(place->name));
	asked->domain_count++;
	return true;
}

static bool any_is_made(const struct domains *domains)
{
	const struct domain *domain;
	uint64_t done, total;

	SLIST_FOREACH(domain, &domains->list, entries)
		if (engine_is_estimating(domain->engine, &done, &total))
			return true;
	return false;
}

/*
 * Takes the finished estimates. Starts a missing one unless the engine is busy with one.
 * @return whether all are there.
 */
static bool take_domains(struct control_answer *answer)
{
	struct estimate_request *asked = answer->estimate;
	const struct domains *domains = answer->control->domains;
	bool busy = any_is_made(domains), missing = false;
	struct domain *domain;

	SLIST_FOREACH(domain, &domains->list, entries) {
		uint64_t done = 0, total = 0;

		if (!is_asked(answer, domain))
			continue;
		if (engine_is_estimating(domain->engine, &done, &total))
			asked->done_pages += done;
		asked->total_pages += total;
		if (take_domain(asked, domain)) {
			asked->done_pages += total - done;
			continue;
		}
		missing = true;
		if (busy || engine_pauses_estimates(domain->engine, asked->now_usec))
			continue;
		engine_want_estimate(domain->engine);
		domain_schedule_pump(domain);
		busy = true;
	}
	return !missing;
}

/* @return whether @vm has been looked at since the request, or cannot be looked at. Otherwise starts the look. */
static bool look_at(struct estimate_request *asked, const struct daemon_vm *vm)
{
	struct engine_vm *engine_vm = vm->connection.engine_vm;
	struct engine_survey survey;

	if (engine_vm == NULL)
		return true;
	engine_survey_state(engine_vm, &survey);
	if (survey.begun_usec >= asked->since_usec) {
		if (survey.ended_usec > asked->looked_usec)
			asked->looked_usec = survey.ended_usec;
	} else if (engine_survey(engine_vm)) {
		asked->done_pages += survey.done_pages;
		asked->total_pages += survey.total_pages;
		domain_schedule_pump(vm->domain);
		return false;
	}
	return true;
}

/* @return whether all requested VMs that passes do not look at have been looked at. */
static bool look_at_all(struct control_answer *answer)
{
	const struct domains *domains = answer->control->domains;
	struct daemon_vm *vm = NULL;
	bool all = true;

	while ((vm = daemon_vm_next(domains, vm)) != NULL)
		if (is_seen(answer, vm) && is_named(answer->estimate, vm))
			all &= look_at(answer->estimate, vm);
	return all;
}

static json_t *not_yet(const struct estimate_request *asked)
{
	return json_pack("{s:b,s:o,s:o,s:o}", "finished", 0, "since", control_number(asked->since_usec), "done_pages",
			 control_number(asked->done_pages), "total_pages", control_number(asked->total_pages));
}

static struct asked_domain *find_domain(const struct estimate_request *asked, const struct domain *domain)
{
	for (size_t i = 0; i < asked->domain_count; i++)
		if (strcmp(asked->domains[i].name, domain->name) == 0)
			return &asked->domains[i];
	return NULL;
}

/* VMs of one domain come one after the other. @return false: no memory. */
static bool see_vms(struct control_answer *answer)
{
	struct estimate_request *asked = answer->estimate;
	const struct domains *domains = answer->control->domains;
	struct asked_domain *place = NULL;
	const struct domain *last = NULL;
	struct daemon_vm *vm = NULL;
	size_t count = 0;

	while ((vm = daemon_vm_next(domains, vm)) != NULL)
		count++;
	asked->vms = calloc(count + 1, sizeof(*asked->vms));
	asked->pairs = calloc(asked->most_pairs + 1, sizeof(*asked->pairs));
	if (asked->vms == NULL || asked->pairs == NULL)
		return false;
	while ((vm = daemon_vm_next(domains, vm)) != NULL) {
		struct asked_vm *seen = &asked->vms[asked->vm_count];
		const struct engine_vm *engine_vm = daemon_vm_engine_vm(vm);

		if (vm->domain != last)
			place = find_domain(asked, vm->domain);
		last = vm->domain;
		if (place == NULL || !is_seen(answer, vm))
			continue;
		seen->domain = place;
		memcpy(seen->name, vm->name, sizeof(seen->name));
		seen->mode = vm->mode;
		seen->named = is_named(asked, vm);
		seen->known = engine_vm && engine_estimate_row(place->estimate, engine_vm, &seen->row);
		place->seen += seen->known;
		asked->vm_count++;
	}
	for (size_t i = 0; i < asked->domain_count; i++) {
		struct asked_domain *domain = &asked->domains[i];

		domain->sees_all = control_sees_all(answer->uid) || domain->seen == domain->summary.left;
	}
	return true;
}

static json_t *reply_head(const struct estimate_request *asked)
{
	json_t *domains = json_array();

	for (size_t i = 0; i < asked->domain_count; i++)
		json_array_append_new(domains, domain_object(asked, &asked->domains[i]));
	return json_pack("{s:b,s:o,s:o}", "finished", 1, "since", control_number(asked->since_usec), "domains",
			 domains);
}

/* An integer from 0 to @most, @fallback if it is missing. @return whether it is one. */
static bool take_number(const json_t *value, uint64_t most, uint64_t fallback, uint64_t *ret)
{
	json_int_t number = json_integer_value(value);

	*ret = value ? (uint64_t)number : fallback;
	return value == NULL || (json_is_integer(value) && number >= 0 && (uint64_t)number <= most);
}

json_t *control_estimate(struct control_answer *answer, const json_t *request)
{
	struct estimate_request *asked = answer->estimate = calloc(1, sizeof(*asked));
	const json_t *look = json_object_get(request, "look");
	json_t *reply;
	uint64_t pairs;

	if (asked == NULL)
		return NULL;
	asked->now_usec = clock_now_usec();
	if (!take_number(json_object_get(request, "since"), asked->now_usec, asked->now_usec, &asked->since_usec))
		return control_error("bad-request", "\"since\" has to be what an earlier reply had", "since");
	if (!take_number(json_object_get(request, "pairs"), CONTROL_ESTIMATE_PAIRS, CONTROL_ESTIMATE_PAIRS_DEFAULT,
			 &pairs))
		return control_error("bad-request", "\"pairs\" has to be a number from 0 to 1000", "pairs");
	asked->most_pairs = pairs;
	reply = take_names(answer, json_object_get(request, "names"));
	if (reply)
		return reply;
	asked->domains = calloc(answer->control->domains->count + 1, sizeof(*asked->domains));
	if (asked->domains == NULL)
		return NULL;
	if (look && !json_is_boolean(look))
		return control_error("bad-request", "\"look\" has to be true or false", "look");
	if ((json_is_true(look) && !look_at_all(answer)) || !take_domains(answer))
		return not_yet(asked);
	if (!see_vms(answer))
		return NULL;
	answer->list = "vms";
	answer->item = vm_item;
	answer->count = asked->vm_count;
	answer->next_list = begin_pairs;
	return reply_head(asked);
}
