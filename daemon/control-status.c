/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The request "status". The loop copies the figures of one moment into two arrays of plain numbers, of domains and of
 * VMs, which takes one look at each VM. A thread makes the text from the copy alone, see documents.h.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/control-internal.h"
#include "daemon/domain.h"
#include "daemon/memory-watch.h"
#include "daemon/metrics.h"

/* ---- what is copied ---- */

/* A VM at that moment. */
struct seen_vm {
	char name[WIRE_NAME_MAX], domain[WIRE_DOMAIN_MAX];
	uint8_t uuid[UUID_BYTES];
	pid_t pid;
	uid_t uid;
	enum wire_mode mode;
	bool mode_kept;        /* a user has set this mode for it */
	bool mode_by_settings; /* no user has set a mode for it */
	bool connected, scanning;
	bool counted; /* the engine knows it */
	uint64_t refused_bytes[WIRE_REASON_END];
	struct engine_vm_counters counters;
	struct ring_stats stated;
};

struct seen_domain {
	char name[WIRE_DOMAIN_MAX];
	unsigned vms;
	struct metrics_snapshot figures;
};

struct status_copy {
	size_t domain_count, vm_count;
	struct seen_domain *domains;
	struct seen_vm *vms;
};

static void see_vm(struct daemon_vm *vm, uint64_t now_usec, struct seen_vm *ret)
{
	memcpy(ret->name, vm->name, sizeof(ret->name));
	memcpy(ret->domain, vm->domain->name, sizeof(ret->domain));
	memcpy(ret->uuid, vm->uuid, sizeof(ret->uuid));
	ret->pid = vm->pid;
	ret->uid = vm->uid;
	ret->mode = vm->mode;
	ret->mode_kept = vm->mode_kept;
	ret->mode_by_settings = vm->mode_unsaid && !vm->mode_kept;
	ret->connected = daemon_vm_is_connected(vm);
	ret->scanning = vm->connection.engine_vm && engine_is_scanning(vm->connection.engine_vm);
	ret->counted = daemon_vm_engine_vm(vm) != NULL;
	metrics_take_vm(vm, &ret->counters, &ret->stated);
	memcpy(ret->refused_bytes, vm->refused_bytes, sizeof(ret->refused_bytes));
	if (now_usec - vm->limited.last_usec > DAEMON_VM_LIMITED_USEC)
		ret->refused_bytes[WIRE_REASON_QUOTA] = 0;
}

/* ---- text ---- */

static json_t *metric_value(const struct metrics_snapshot *snapshot, enum metric_id id)
{
	int64_t value = metrics_value(snapshot, id);

	switch (metrics[id].unit) {
	case METRIC_NSEC:
		return json_real((double)value / 1e9);
	case METRIC_FLAG:
		return json_boolean(value);
	default:
		return json_integer(value);
	}
}

/* Puts the metrics of @scope into @object. @return it, or NULL. */
static json_t *add_metrics(json_t *object, const struct metrics_snapshot *snapshot, enum metric_scope scope)
{
	int r = 0;

	for (enum metric_id id = 0; id < METRIC_END; id++)
		if (metrics[id].scope == scope)
			r |= json_object_set_new(object, metrics[id].name, metric_value(snapshot, id));
	if (r == 0)
		return object;
	json_decref(object);
	return NULL;
}

static json_t *daemon_object(const struct control *control, const struct metrics_snapshot *snapshot)
{
	json_t *object = add_metrics(json_pack("{s:i}", "pid", (int)getpid()), snapshot, METRIC_OF_DAEMON);
	json_t *rest = json_pack("{s:s,s:s,s:s}", "version", PAGEFUSE_VERSION, "socket", control->socket_path, "store",
				 store_kind_name(SLIST_FIRST(&control->domains->list)->store));

	json_object_update(object, rest);
	json_decref(rest);
	return object;
}

static json_t *thresholds_object(const struct memory_watch *watch)
{
	const struct memory_thresholds *percent = &watch->settings.thresholds;
	const uint32_t all[] = { percent->high, percent->clear, percent->soft, percent->hard, percent->low };
	json_t *object = json_object();

	for (unsigned i = 0; i < MEMORY_STATES; i++)
		json_object_set_new(object, memory_state_name(i),
				    control_number(memory_threshold_bytes(memory_watch_min_free(watch), all[i])));
	return object;
}

/* An object without figures is null. */
static json_t *memory_object(const struct control *control)
{
	const struct memory_watch *watch = control->memory;
	const struct engine_settings *engine = control->domains->engine;
	uint64_t limit_pages = control->domains->exposure->limit_pages;
	uint64_t now = clock_now_usec();
	json_t *object = json_pack("{s:s,s:f,s:s,s:b}", "state", memory_state_name(watch->state),
				   "state_seconds", (double)(now - watch->since_usec) / 1e6,
				   "source", watch->settings.source,
				   "stalled", now < watch->stalled_until_usec);

	json_object_set_new(object, "large_pages", json_string(engine_large_names[engine->large_scans]));
	json_object_set_new(object, "large_pages_hints", json_string(engine_large_names[engine->large_hints]));
	json_object_set_new(object, "large_pages_back", json_boolean(engine->large_back));
	json_object_set_new(object, "scan_interval_seconds", json_integer(engine->scan_interval_seconds));
	json_object_set_new(object, "scan_cpu_percent", json_integer(engine->scan_cpu_percent));
	json_object_set_new(object, "exposure_max", json_string(control->exposure_max->text));
	if (limit_pages != UINT64_MAX)
		json_object_set_new(object, "exposure_max_bytes", control_number(limit_pages * PAGE_BYTES));
	if (*watch->error != 0)
		json_object_set_new(object, "error", json_string(watch->error));
	if (!watch->known)
		return object;
	json_object_set_new(object, "kind", json_string(memory_kind_name(watch->kind)));
	json_object_set_new(object, "total_bytes", control_number(watch->figures.total_bytes));
	json_object_set_new(object, "free_bytes", control_number(watch->figures.free_bytes));
	json_object_set_new(object, "swap_free_bytes", control_number(watch->figures.swap_bytes));
	json_object_set_new(object, "min_free_bytes", control_number(memory_watch_min_free(watch)));
	json_object_set_new(object, "threshold_bytes", thresholds_object(watch));
	return object;
}

static json_t *refused_object(uint32_t reason, uint64_t bytes)
{
	return json_pack("{s:s,s:s,s:o}", "reason", wire_reason_name(reason),
			 "text", wire_reason_text(reason),
			 "bytes", control_number(bytes));
}

/*
 * How much memory is excluded for a reason. What a VMM reports for all its RAM, or all diverged pages, is capped at the
 * count of those in the same document.
 */
static uint64_t refused_bytes(const struct seen_vm *vm, uint32_t reason)
{
	uint64_t stated = vm->refused_bytes[reason];

	if (stated == 0 || !vm->counted)
		return stated;
	switch (reason) {
	case WIRE_REASON_QUOTA: /* passes try these pages again */
		return stated < vm->counters.ram_pages * PAGE_BYTES ? stated : vm->counters.ram_pages * PAGE_BYTES;
	case WIRE_REASON_NO_SWAP:
		return vm->counters.diverged_pages * PAGE_BYTES;
	case WIRE_REASON_PLAIN_REFERENCES:
	case WIRE_REASON_NO_USERFAULTFD:
	case WIRE_REASON_NO_PAGEMAP:
	case WIRE_REASON_NESTED:
	case WIRE_REASON_UNSEEN_CALLS:
		return vm->counters.ram_pages * PAGE_BYTES;
	default:
		return stated;
	}
}

static json_t *refused_array(const struct seen_vm *vm)
{
	json_t *array = json_array();

	for (uint32_t reason = 1; reason < WIRE_REASON_END; reason++)
		if (refused_bytes(vm, reason) > 0)
			json_array_append_new(array, refused_object(reason, refused_bytes(vm, reason)));
	return array;
}

static json_t *vm_object(const struct seen_vm *vm)
{
	const struct metrics_snapshot snapshot = { .vm = vm->counters, .stated = vm->stated };
	json_t *object = json_pack("{s:s,s:s,s:o,s:i,s:I,s:s,s:b,s:b,s:b,s:b}", "name", vm->name,
				   "domain", vm->domain,
				   "uuid", control_uuid(vm->uuid),
				   "pid", (int)vm->pid,
				   "uid", (json_int_t)vm->uid,
				   "mode", wire_mode_name(vm->mode),
				   "mode_kept", vm->mode_kept,
				   "mode_by_settings", vm->mode_by_settings,
				   "connected", vm->connected,
				   "scanning", vm->scanning);

	object = add_metrics(object, &snapshot, METRIC_OF_VM);
	json_object_set_new(object, "refused", refused_array(vm));
	return object;
}

/* The host's figures, but for those that are not of any domain. */
static json_t *domain_item(const struct control_answer *answer, size_t i)
{
	const struct seen_domain *domain = &answer->status->domains[i];
	json_t *object = add_metrics(json_pack("{s:s,s:i}", "name", domain->name, "vms", (int)domain->vms),
				     &domain->figures, METRIC_OF_HOST);

	json_object_del(object, metrics[METRIC_HOST_OVERHEAD].name);
	json_object_del(object, metrics[METRIC_HOST_UNCOVERED].name);
	return object;
}

static json_t *vm_item(const struct control_answer *answer, size_t i)
{
	return vm_object(&answer->status->vms[i]);
}

static void begin_vms(struct control_answer *answer)
{
	fprintf(answer->stream, "],\"vms\":[");
	answer->item = vm_item;
	answer->count = answer->status->vm_count;
	answer->next_list = NULL;
}

/* ---- the request ---- */

/* @return whether there is memory for all that there are. */
static bool make_room(struct status_copy *copy, const struct domains *domains)
{
	const struct domain *domain;
	size_t vms = 0;

	SLIST_FOREACH(domain, &domains->list, entries)
		vms += domain->vm_count;
	copy->domains = malloc((domains->count + 1) * sizeof(*copy->domains));
	copy->vms = malloc((vms + 1) * sizeof(*copy->vms));
	return copy->domains && copy->vms;
}

/* The domain first, since that has its VMs counted. */
static void see_domain(const struct control_answer *answer, const struct domain *domain, uint64_t now_usec)
{
	struct status_copy *copy = answer->status;
	struct seen_domain *seen = &copy->domains[copy->domain_count++];
	struct daemon_vm *vm;

	memcpy(seen->name, domain->name, sizeof(seen->name));
	seen->vms = 0;
	metrics_take_domain(&seen->figures, domain);
	TAILQ_FOREACH(vm, &domain->vms, entries) {
		if (vm->name[0] == 0)
			continue;
		seen->vms++;
		if (control_may_see(answer->uid, vm))
			see_vm(vm, now_usec, &copy->vms[copy->vm_count++]);
	}
}

/* A user who sees a VM sees its domain. @return what the reply begins with. */
static json_t *copy_all(struct control_answer *answer)
{
	const struct control *control = answer->control;
	struct status_copy *copy = answer->status;
	uint64_t now_usec = clock_now_usec();
	struct metrics_snapshot snapshot;
	const struct domain *domain;

	if (!make_room(copy, control->domains))
		return NULL;
	metrics_take(&snapshot, control->started_usec, control->memory);
	SLIST_FOREACH(domain, &control->domains->list, entries)
		if (control_may_see_domain(answer->uid, domain)) {
			see_domain(answer, domain, now_usec);
			metrics_add_domain(&snapshot, &copy->domains[copy->domain_count - 1].figures);
		}
	answer->list = "domains";
	answer->item = domain_item;
	answer->count = copy->domain_count;
	answer->next_list = begin_vms;
	return json_pack("{s:o,s:o,s:o}", "daemon", daemon_object(control, &snapshot), "host",
			 add_metrics(json_object(), &snapshot, METRIC_OF_HOST),
			 "memory", memory_object(control));
}

json_t *control_status(struct control_answer *answer)
{
	answer->status = calloc(1, sizeof(*answer->status));
	if (answer->status == NULL)
		return NULL;
	answer->by_thread = true;
	answer->copy = copy_all;
	return json_object();
}

void control_status_free(struct status_copy **copy)
{
	if (*copy) {
		free((*copy)->domains);
		free((*copy)->vms);
	}
	free(*copy);
	*copy = NULL;
}
