/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/sampler.h"

#include <stddef.h>

#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/turn.h"
#include "daemon/vm.h"

#define SECOND_USEC UINT64_C(1000000)

static const struct sampler *sampler_of(const struct series_wish *wish)
{
	return (const struct sampler *)((const char *)wish - offsetof(struct sampler, wish));
}

static bool has_domain(const struct series_wish *wish, const struct domain *domain)
{
	(void)wish;
	(void)domain;
	return true;
}

static bool has_vm(const struct series_wish *wish, const struct daemon_vm *vm)
{
	const struct sampler *sampler = sampler_of(wish);

	return sampler->all_vms || samples_any_due(vm->samples, sampler->now_seconds);
}

static bool anything_enabled(const struct sampler *sampler)
{
	const struct daemon_vm *vm = NULL;

	if (samples_any(sampler->host))
		return true;
	while ((vm = daemon_vm_next(sampler->domains, vm)) != NULL)
		if (samples_any(vm->samples))
			return true;
	return false;
}

static void begin_round(struct sampler *sampler)
{
	sampler->now_seconds = clock_now_usec() / SECOND_USEC;
	sampler->all_vms = samples_due(sampler->host, SERIES_VMM_USED, sampler->now_seconds);
	sampler->next = 0;
	sampler->going = series_take(&sampler->view, sampler->domains, &sampler->wish) == 0;
	if (!sampler->going)
		log_warning("no memory for samples of metrics; they are left out for now");
}

static void add_due(struct samples *samples, enum metric_scope scope, const int64_t kb[SERIES_END],
		    uint64_t now_seconds)
{
	for (enum series_id id = 0; id < SERIES_END; id++)
		if (metric_series[id].scope == scope && samples_due(samples, id, now_seconds))
			samples_add(samples, id, now_seconds, kb[id]);
}

/* @return whether the round is over. */
static bool go_on(struct sampler *sampler)
{
	size_t left = sampler->view.count - sampler->next;
	size_t end = sampler->next + (left < SAMPLER_VMS_PER_TURN ? left : SAMPLER_VMS_PER_TURN);

	turn_note(TURN_ITEMS, end - sampler->next);
	for (; sampler->next < end; sampler->next++) {
		const struct daemon_vm *vm = series_look(&sampler->view, sampler->domains, sampler->next);

		if (vm)
			add_due(vm->samples, METRIC_OF_VM, sampler->view.vms[sampler->next].kb, sampler->now_seconds);
	}
	if (sampler->next < sampler->view.count)
		return false;
	add_due(sampler->host, METRIC_OF_HOST, sampler->view.host_kb, sampler->now_seconds);
	return true;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *user)
{
	struct sampler *sampler = user;
	uint64_t next = 0; /* at once, after the other sources' turns */

	(void)usec;
	if (!sampler->going) {
		if (!anything_enabled(sampler))
			return 0;
		begin_round(sampler);
	}
	if (!sampler->going || go_on(sampler)) {
		sampler->going = false;
		series_done(&sampler->view);
		next = (sampler->now_seconds + 1) * SECOND_USEC;
	}
	sd_event_source_set_time(source, next);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int sampler_start(struct sampler *sampler, const struct domains *domains)
{
	int r;

	*sampler = (struct sampler){
		.domains = domains,
		.wish = { .has_domain = has_domain, .has_vm = has_vm },
	};
	r = sd_event_add_time(domains->event, &sampler->timer, CLOCK_MONOTONIC, 0, 1, on_timer, sampler);
	return r < 0 ? r : sd_event_source_set_enabled(sampler->timer, SD_EVENT_OFF);
}

void sampler_stop(struct sampler *sampler)
{
	sampler->timer = sd_event_source_disable_unref(sampler->timer);
	series_done(&sampler->view);
	samples_free(sampler->host);
	sampler->host = NULL;
}

void sampler_wake(struct sampler *sampler)
{
	int enabled = SD_EVENT_OFF;

	/* One that waits for its second comes by itself. */
	if (sd_event_source_get_enabled(sampler->timer, &enabled) >= 0 && enabled == SD_EVENT_OFF) {
		sd_event_source_set_time(sampler->timer, 0);
		sd_event_source_set_enabled(sampler->timer, SD_EVENT_ONESHOT);
	}
}
