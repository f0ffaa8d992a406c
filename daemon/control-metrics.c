/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The requests "metrics" and "set-metrics". Each item of the reply is one metric of one object. Items are made VM by
 * VM, since the kernel is asked about each process; the host's come last, as they are sums. If only the host's are
 * wanted each VM still has an item, which is null and left out.
 */
#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control-internal.h"
#include "daemon/sampler.h"
#include "daemon/samples.h"
#include "daemon/series.h"

struct metrics_request {
	struct series_wish wish;
	uid_t uid;
	char name[WIRE_NAME_MAX]; /* of the one VM; empty: of host and all VMs, as said by: */
	bool host, vms;
	bool all_vms; /* a sum for the host needs each */
	bool now;     /* no samples */
	bool set;
	unsigned period_seconds, samples; /* to set up; period 0: */
	bool enable;                      /* or disable */
	struct {
		enum series_id ids[SERIES_END];
		size_t count;
	} of_vm, of_host;

	struct series_view view;
};

static const struct metrics_request *request_of(const struct series_wish *wish)
{
	return (const struct metrics_request *)((const char *)wish - offsetof(struct metrics_request, wish));
}

static bool has_domain(const struct series_wish *wish, const struct domain *domain)
{
	return control_may_see_domain(request_of(wish)->uid, domain);
}

static bool is_wanted(const struct metrics_request *asked, const struct daemon_vm *vm)
{
	return asked->vms && control_may_see(asked->uid, vm) &&
	       (asked->name[0] == 0 || strcmp(asked->name, vm->name) == 0);
}

static bool has_vm(const struct series_wish *wish, const struct daemon_vm *vm)
{
	const struct metrics_request *asked = request_of(wish);

	return is_wanted(asked, vm) || (asked->all_vms && control_may_see_domain(asked->uid, vm->domain));
}

/* ---- items ---- */

static int apply(const struct metrics_request *asked, struct samples **samples, enum series_id id)
{
	if (asked->period_seconds > 0)
		return samples_set_up(samples, id, asked->period_seconds, asked->samples);
	if (asked->enable)
		return samples_enable(samples, id);
	samples_disable(*samples, id);
	return 0;
}

/* The collected samples, or else the current value. */
static json_t *values_of(const struct samples *samples, enum series_id id, int64_t now_kb)
{
	json_t *values = json_array();

	for (uint32_t i = 0; i < samples_count(samples, id); i++)
		json_array_append_new(values, json_integer(samples_at(samples, id, i)));
	if (samples_count(samples, id) == 0)
		json_array_append_new(values, json_integer(now_kb));
	return values;
}

/* @samples: NULL if the asking user may not see them. @name: NULL for the host. @return NULL: no memory. */
static json_t *row(const struct control_answer *answer, struct samples **samples, const char *name, enum series_id id,
		   int64_t now_kb)
{
	const struct metrics_request *asked = answer->metrics;
	struct samples_setting setting;
	const struct samples *kept;
	json_t *object;

	assert(samples || !asked->set); /* a request for VMs of others was refused before */
	if (asked->set && apply(asked, samples, id) < 0)
		return NULL;
	if (asked->set)
		sampler_wake(answer->control->sampler);
	kept = samples ? *samples : NULL;
	setting = samples_setting(kept, id);
	object = json_pack("{s:s,s:b,s:s,s:b,s:i,s:i}", "object", name ? name : "host", "host", name == NULL, "metric",
			   metric_series[id].name, "enabled", setting.enabled, "period", (int)setting.period_seconds,
			   "samples", (int)setting.size);
	if (!asked->set)
		json_object_set_new(object, "values", values_of(asked->now ? NULL : kept, id, now_kb));
	return object;
}

static size_t items_of_vm(const struct metrics_request *asked)
{
	return asked->of_vm.count > 0 ? asked->of_vm.count : 1;
}

static json_t *item(const struct control_answer *answer, size_t i)
{
	struct metrics_request *asked = answer->metrics;
	const struct control *control = answer->control;
	size_t at = i / items_of_vm(asked), nth = i % items_of_vm(asked);
	struct daemon_vm *vm;
	enum series_id id;

	if (at >= asked->view.count) {
		id = asked->of_host.ids[i - asked->view.count * items_of_vm(asked)];
		return row(answer, control_sees_all(asked->uid) ? &control->sampler->host : NULL, NULL, id,
			   asked->view.host_kb[id]);
	}
	if (nth == 0 && !asked->set)
		series_look(&asked->view, control->domains, at);
	vm = daemon_vm_named(control->domains, asked->view.vms[at].name); /* turns have gone by since the last item */
	if (vm == NULL || vm->pid != asked->view.vms[at].pid || !is_wanted(asked, vm) || asked->of_vm.count == 0)
		return json_null();
	id = asked->of_vm.ids[nth];
	return row(answer, &vm->samples, vm->name, id, asked->view.vms[at].kb[id]);
}

/* ---- what is asked ---- */

static void add(struct metrics_request *asked, enum series_id id)
{
	bool of_host = metric_series[id].scope == METRIC_OF_HOST;

	if (of_host && asked->host)
		asked->of_host.ids[asked->of_host.count++] = id;
	if (!of_host && asked->vms)
		asked->of_vm.ids[asked->of_vm.count++] = id;
}

/* @return NULL, or an error document. */
static json_t *parse_metrics(struct metrics_request *asked, const json_t *names)
{
	bool wanted[SERIES_END] = { false };
	const json_t *name;
	size_t i;

	if (!json_is_array(names))
		return control_error("bad-request", "\"metrics\" has to be an array of names of metrics", "metrics");
	json_array_foreach(names, i, name) {
		const char *text = json_string_value(name);
		bool known = false;

		for (enum series_id id = 0; text && id < SERIES_END; id++)
			if (strcmp(text, metric_series[id].name) == 0 && metric_series[id].lacks == NULL)
				known = wanted[id] = true;
		if (!known)
			return control_error("bad-request", "there is no such metric, or nobody can tell its value",
					     text ? text : "metrics");
	}
	for (enum series_id id = 0; id < SERIES_END; id++)
		if (wanted[id])
			add(asked, id);
	asked->all_vms = !asked->set && asked->host && wanted[SERIES_VMM_USED];
	return NULL;
}

static json_t *parse_object(struct metrics_request *asked, const struct control_answer *answer, const json_t *object)
{
	const char *text = json_string_value(object);
	json_t *problem;

	asked->host = text && (strcmp(text, "*") == 0 || strcmp(text, "host") == 0);
	asked->vms = text == NULL || strcmp(text, "host") != 0;
	if (asked->host && asked->set && !control_sees_all(answer->uid)) {
		if (!asked->vms)
			return control_error("not-permitted",
					     "samples of the host are kept for root only; query and collect tell its "
					     "values",
					     text);
		asked->host = false;
	}
	if (text && (asked->host || strcmp(text, "*") == 0))
		return NULL;
	if (control_find_own_vm(answer->control, answer->uid, object, &problem) == NULL)
		return problem;
	snprintf(asked->name, sizeof(asked->name), "%s", text);
	return NULL;
}

static bool is_between(const json_t *number, json_int_t most)
{
	return json_is_integer(number) && json_integer_value(number) >= 1 && json_integer_value(number) <= most;
}

static json_t *parse_setting(struct metrics_request *asked, const json_t *request)
{
	const json_t *period = json_object_get(request, "period"), *samples = json_object_get(request, "samples");
	const json_t *enable = json_object_get(request, "enable");

	if (enable && (period || samples || !json_is_boolean(enable)))
		return control_error("bad-request", "\"enable\" has to be true or false, and alone", "enable");
	asked->enable = json_is_true(enable);
	if (enable)
		return NULL;
	if (!is_between(period, SERIES_PERIOD_SECONDS_MAX))
		return control_error("bad-request", "\"period\" has to be seconds from 1 to 86400", "period");
	if (!is_between(samples, SERIES_SAMPLES_MAX))
		return control_error("bad-request", "\"samples\" has to be a number from 1 to 240", "samples");
	asked->period_seconds = (unsigned)json_integer_value(period);
	asked->samples = (unsigned)json_integer_value(samples);
	return NULL;
}

json_t *control_metrics(struct control_answer *answer, const json_t *request, bool set)
{
	struct metrics_request *asked = calloc(1, sizeof(*asked));
	json_t *problem;

	answer->metrics = asked;
	if (asked == NULL)
		return NULL;
	asked->wish = (struct series_wish){ .has_domain = has_domain, .has_vm = has_vm };
	asked->uid = answer->uid;
	asked->set = set;
	asked->now = json_is_true(json_object_get(request, "now"));
	problem = parse_object(asked, answer, json_object_get(request, "object"));
	if (problem == NULL)
		problem = parse_metrics(asked, json_object_get(request, "metrics"));
	if (problem == NULL && set)
		problem = parse_setting(asked, request);
	if (problem)
		return problem;
	asked->vms = asked->vms && asked->of_vm.count > 0;
	if (series_take(&asked->view, answer->control->domains, &asked->wish) < 0)
		return NULL;
	answer->list = "metrics";
	answer->item = item;
	answer->count = asked->view.count * items_of_vm(asked) + asked->of_host.count;
	return json_object();
}

void control_metrics_free(struct metrics_request *asked)
{
	if (asked)
		series_done(&asked->view);
	free(asked);
}
