/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/daemon.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/page.h"
#include "daemon/admission.h"
#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/vm.h"

static void on_vm_gone(void *user)
{
	struct daemon *daemon = user;

	if (!daemon->ending)
		sd_event_source_set_enabled(daemon->sweep, SD_EVENT_ONESHOT);
	if (domains_have_vm(&daemon->domains))
		return;
	if (daemon->private && daemon->domains.had_vm && !daemon->ending)
		log_info("the last VM is gone");
	if (daemon->ending || (daemon->private && daemon->domains.had_vm))
		sd_event_exit(daemon->event, 0);
}

/* Closes domains that are empty, after the event in which the last VM ended. */
static int on_sweep(sd_event_source *source, void *user)
{
	struct daemon *daemon = user;
	struct domain *domain = SLIST_FIRST(&daemon->domains.list), *next;

	(void)source;
	for (; domain; domain = next) {
		next = SLIST_NEXT(domain, entries);
		if (domain->stays || !TAILQ_EMPTY(&domain->vms))
			continue;
		log_debug("domain %s has no VM any more", domain->name);
		domain_close(domain);
	}
	return 0;
}

static int on_nobody_came(sd_event_source *source, uint64_t usec, void *user)
{
	struct daemon *daemon = user;

	(void)source;
	(void)usec;
	if (daemon->domains.had_vm)
		return 0;
	log_info("no VM has connected for %d seconds", DAEMON_PRIVATE_IDLE_SECONDS);
	return sd_event_exit(daemon->event, 0);
}

/* ---- the memory state ---- */

static enum engine_large at_least(unsigned set, enum engine_large least)
{
	return set > (unsigned)least ? (enum engine_large)set : least;
}

/*
 * While memory is short, 2 MiB pages are split where it pays, or wherever anything can be shared, whatever the setting.
 */
static void set_large_pages(struct daemon *daemon)
{
	struct engine_settings *engine = &daemon->config.engine;
	enum memory_state state = daemon->memory.state;
	enum engine_large least = ENGINE_LARGE_KEEP;

	if (state >= MEMORY_HARD)
		least = ENGINE_LARGE_ALWAYS;
	else if (state >= MEMORY_CLEAR)
		least = ENGINE_LARGE_DENSE;
	engine->large_scans = at_least(daemon->config.large_scans, least);
	engine->large_hints = at_least(daemon->config.large_hints, least);
	engine->large_back = daemon->memory.plentiful;
}

/* The shorter memory is, the more may be done to share; never less than the setting for all states. */
static void set_budget(struct daemon *daemon)
{
	const struct scan_budget *least = &daemon->config.budgets[MEMORY_HIGH];
	const struct scan_budget *here = &daemon->config.budgets[daemon->memory.state];
	struct engine_settings *engine = &daemon->config.engine;

	engine->scan_interval_seconds =
		here->interval_seconds < least->interval_seconds ? here->interval_seconds : least->interval_seconds;
	engine->scan_cpu_percent = here->cpu_percent > least->cpu_percent ? here->cpu_percent : least->cpu_percent;
}

static void tell_engines(struct daemon *daemon)
{
	struct domain *domain;

	SLIST_FOREACH(domain, &daemon->domains.list, entries) {
		engine_change_settings(domain->engine, &daemon->config.engine);
		domain_schedule_pump(domain);
	}
}

static void on_memory_state(void *user)
{
	struct daemon *daemon = user;

	set_large_pages(daemon);
	set_budget(daemon);
	tell_engines(daemon);
}

/* ---- what guests may take of it ---- */

static void say_uncovered(struct daemon *daemon, uint64_t exposed_bytes)
{
	uint64_t cover = memory_watch_cover(&daemon->memory);
	const struct memory_figures *figures = &daemon->memory.figures;
	enum exposure_news news;

	if (!daemon->memory.known) /* which is said by itself */
		return;
	news = exposure_look(&daemon->uncovered, exposed_bytes > cover, exposure_is_covered_well(exposed_bytes, cover),
			     clock_now_usec());
	if (news == EXPOSURE_BEGINS)
		log_warning("if guests write all that they share they take %" PRIu64 " MiB, and there are %" PRIu64
			    " MiB of memory free, and %" PRIu64 " of swap: the host may kill or swap then; leave more "
			    "free, or see [memory] exposure_max",
			    exposed_bytes >> 20, figures->free_bytes >> 20, figures->swap_bytes >> 20);
	if (news == EXPOSURE_ENDS)
		log_notice("what guests take if they write all that they share, %" PRIu64 " MiB, is free again",
			   exposed_bytes >> 20);
}

static void say_held(struct daemon *daemon, uint64_t exposed_bytes, unsigned vms)
{
	enum exposure_news news = exposure_look(&daemon->held, vms > 0, vms == 0, clock_now_usec());

	if (news == EXPOSURE_BEGINS)
		log_warning("nothing new is shared of %u of the VMs: if guests write all that they share they take "
			    "%" PRIu64 " MiB, and [memory] exposure_max is %s, that is %" PRIu64 " MiB, of which each "
			    "has a share",
			    vms, exposed_bytes >> 20, daemon->config.exposure.text,
			    daemon->exposure.limit_pages * PAGE_BYTES >> 20);
	if (news == EXPOSURE_ENDS)
		log_notice("[memory] exposure_max leaves room for all VMs again: they share what is new");
}

static void on_memory_look(void *user)
{
	struct daemon *daemon = user;
	uint64_t exposed_bytes = 0;
	struct domain *domain;
	unsigned held = 0;

	daemon->exposure.limit_pages = exposure_limit_pages(&daemon->config.exposure,
							    memory_watch_cover(&daemon->memory));
	SLIST_FOREACH(domain, &daemon->domains.list, entries) {
		struct engine_exposure exposure;

		domain_count_exposed(domain, &exposure);
		exposed_bytes += exposure.pages * PAGE_BYTES;
		held += exposure.held_vms;
	}
	say_uncovered(daemon, exposed_bytes);
	say_held(daemon, exposed_bytes, held);
}

/* ---- start and stop ---- */

static void on_left(struct domains *domains, const char *name)
{
	struct domain *domain;

	if (admission_open_domain(domains, name, &domain) < 0)
		log_warning("what an earlier daemon left of domain %s stays in %s", name, domains->directory);
}

/* The domain of the daemon's own user is always there, so wrong settings and unsuitable hosts are seen at the start. */
static int start_domains(struct daemon *daemon)
{
	char directory[sizeof(daemon->socket_path) + sizeof(".store")], name[WIRE_DOMAIN_MAX];
	struct domain *domain;
	int r;

	snprintf(directory, sizeof(directory), "%s.store", daemon->socket_path);
	r = domains_open(&daemon->domains, directory);
	if (r < 0)
		return r;
	domain_name_of_user(name, geteuid());
	r = admission_open_domain(&daemon->domains, name, &domain);
	if (r < 0)
		return r;
	domain->stays = true;
	if (store_outlives_daemon(domain->store)) /* then no domain may fall back to memfds */
		daemon->domains.store.kind = STORE_TMPFS;
	r = domains_each_left(&daemon->domains, on_left);
	if (r < 0)
		log_error("cannot look for what an earlier daemon left in %s: %s", directory, strerror(-r));
	return r < 0 ? r : sd_event_source_set_enabled(daemon->sweep, SD_EVENT_ONESHOT);
}

/* What the stores of all domains may take together. Each tmpfs has the same size limit. */
static void set_quota(struct daemon *daemon)
{
	struct store_settings *store = &daemon->domains.store;
	uint64_t bytes;
	unsigned percent;

	config_room(daemon->config.store.size, &percent, &bytes);
	quota_init(&daemon->quota, &daemon->config.quota, percent, bytes);
	bytes = daemon->quota.store_pages * PAGE_BYTES;
	log_info("the stores take %" PRIu64 " MiB at most, all together", bytes >> 20);
	snprintf(store->size, sizeof(store->size), "%" PRIu64, bytes > STORE_SIZE_MIN ? bytes : STORE_SIZE_MIN);
}

/* The new content takes effect at once. */
static void reload_kept(struct daemon *daemon)
{
	struct daemon_vm *vm = NULL;

	int r = kept_reload(&daemon->kept);

	daemon->rereads_kept = r == -EINPROGRESS;
	if (r < 0)
		return;
	while ((vm = daemon_vm_next(&daemon->domains, vm)) != NULL)
		if (vm->name[0] && daemon_vm_update_mode(vm))
			log_notice("VM %s: mode %s from now on", daemon_vm_describe(vm), wire_mode_name(vm->mode));
}

static void on_kept_settled(void *user)
{
	struct daemon *daemon = user;

	sessions_settled(&daemon->sessions);
	if (daemon->rereads_kept)
		reload_kept(daemon);
}

static int start_documents(struct daemon *daemon)
{
	int r = documents_start(&daemon->documents, daemon->event, &daemon->fair);

	if (r < 0)
		log_error("cannot start the thread that makes documents: %s", strerror(-r));
	return r;
}

int daemon_start(struct daemon *daemon)
{
	const uint64_t idle = DAEMON_PRIVATE_IDLE_SECONDS * UINT64_C(1000000);
	int r;

	access_look_up(&daemon->access, &daemon->config.access);
	daemon->domains = (struct domains){
		.event = daemon->event,
		.store = daemon->config.store,
		.engine = &daemon->config.engine,
		.quota = &daemon->quota,
		.exposure = &daemon->exposure,
		.fair = &daemon->fair,
		.subuids = &daemon->subuids,
		.kept = &daemon->kept,
		.preload_mode = &daemon->config.preload_mode,
		.lock = -1,
		.vm_gone = on_vm_gone,
		.daemon = daemon,
	};
	set_quota(daemon);
	subuids_init(&daemon->subuids, DAEMON_SUBUIDS);
	index_init_names(&daemon->domains.vm_names);
	index_init_names(&daemon->domains.vm_own_names);
	index_init_numbers(&daemon->domains.vm_serials);
	daemon->admission = (struct admission){
		.domains = &daemon->domains,
		.access = &daemon->access,
		.rules = &daemon->config.rules,
	};
	daemon->control = (struct control){
		.domains = &daemon->domains,
		.admission = &daemon->admission,
		.memory = &daemon->memory,
		.exposure_max = &daemon->config.exposure,
		.sampler = &daemon->sampler,
		.kept = &daemon->kept,
		.documents = &daemon->documents,
		.socket_path = daemon->socket_path,
		.started_usec = clock_now_usec(),
	};
	daemon->sessions = (struct sessions){
		.event = daemon->event,
		.admission = &daemon->admission,
		.control = &daemon->control,
		.connections_per_user = &daemon->config.connections_per_user,
	};
	daemon->memory = (struct memory_watch){
		.settings = daemon->config.memory,
		.changed = on_memory_state,
		.looked = on_memory_look,
		.context = daemon,
	};
	daemon->agents = (struct agents){ .event = daemon->event, .domains = &daemon->domains };
	r = sd_event_add_defer(daemon->event, &daemon->sweep, on_sweep, daemon);
	if (r >= 0)
		r = kept_open(&daemon->kept, daemon->event, &daemon->subuids, daemon->kept_path);
	daemon->kept.on_settled = on_kept_settled;
	daemon->kept.owner = daemon;
	if (r >= 0)
		r = start_documents(daemon);
	if (r >= 0)
		r = sampler_start(&daemon->sampler, &daemon->domains);
	if (r >= 0)
		r = start_domains(daemon);
	if (r >= 0)
		r = memory_watch_start(&daemon->memory, daemon->event);
	if (r < 0 || !daemon->private)
		return r < 0 ? r : 0;
	r = sd_event_add_time_relative(daemon->event, NULL, CLOCK_MONOTONIC, idle, 0, on_nobody_came, daemon);
	if (r < 0)
		log_error("cannot set a timer: %s", strerror(-r));
	return r < 0 ? r : 0;
}

static void say_change(const struct config_change *change)
{
	if (change->applied)
		log_notice("[%s] %s is %s from now on, it was %s", change->section, change->name, change->after,
			   change->before);
	else
		log_warning("[%s] %s stays %s: that it is to be %s counts once pagefused is started again",
			    change->section, change->name, change->before, change->after);
}

static void reload_config(struct daemon *daemon)
{
	struct config wanted;
	char error[512];

	if (config_load(&wanted, daemon->config_path, error, sizeof(error)) < 0) {
		log_error("%s; the settings stay as they were", error);
		return;
	}
	if (config_change(&daemon->config, &wanted, say_change) == 0)
		log_notice("the settings were read anew: they are what they were");
	memory_watch_change(&daemon->memory, &daemon->config.memory);
	set_large_pages(daemon);
	set_budget(daemon);
	tell_engines(daemon);
}

void daemon_reload(struct daemon *daemon)
{
	reload_config(daemon);
	reload_kept(daemon);
}

/* The socket first: a process that connects from here on shall find no daemon. */
static void stop_serving(struct daemon *daemon)
{
	if (daemon->listener)
		unlink(daemon->socket_path);
	daemon->listener = sd_event_source_disable_unref(daemon->listener);
	agents_end(&daemon->agents);
	sessions_end(&daemon->sessions);
}

static int on_waited_enough(sd_event_source *source, uint64_t usec, void *user)
{
	struct daemon *daemon = user;

	(void)source;
	(void)usec;
	return sd_event_exit(daemon->event, 0);
}

static bool wait_for_dying(struct daemon *daemon)
{
	const uint64_t usec = DAEMON_END_SECONDS * UINT64_C(1000000);

	struct domain *domain;
	bool outlives = false;

	SLIST_FOREACH(domain, &daemon->domains.list, entries)
		if (store_outlives_daemon(domain->store)) {
			daemon_vm_forget_living(domain);
			outlives = outlives || !TAILQ_EMPTY(&domain->vms);
		}
	if (!outlives)
		return false;
	log_info("waiting for what VMs that are dying still map");
	return sd_event_add_time_relative(daemon->event, NULL, CLOCK_MONOTONIC, usec, 0, on_waited_enough, daemon) >= 0;
}

void daemon_end(struct daemon *daemon)
{
	bool again = daemon->ending;

	daemon->ending = true;
	stop_serving(daemon);
	if (again || !wait_for_dying(daemon))
		sd_event_exit(daemon->event, 0);
}

static void stop_domain(const struct daemon *daemon, struct domain *domain)
{
	char name[WIRE_DOMAIN_MAX];

	memcpy(name, domain->name, sizeof(name));
	while (!TAILQ_EMPTY(&domain->vms))
		daemon_vm_free(TAILQ_FIRST(&domain->vms));
	if (domain_close(domain))
		log_notice("VMs still map the store: it stays at %s.store/%s for the next daemon", daemon->socket_path,
			   name);
}

void daemon_stop(struct daemon *daemon)
{
	stop_serving(daemon);
	memory_watch_stop(&daemon->memory);
	sampler_stop(&daemon->sampler);
	documents_stop(&daemon->documents);
	kept_close(&daemon->kept);
	while (!SLIST_EMPTY(&daemon->domains.list))
		stop_domain(daemon, SLIST_FIRST(&daemon->domains.list));
	(void)domains_close(&daemon->domains); /* it stays as long as anything is in it */
	subuids_done(&daemon->subuids);
	daemon->sweep = sd_event_source_disable_unref(daemon->sweep);
}
