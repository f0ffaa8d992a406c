/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/daemon.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/pump.h"
#include "daemon/vm.h"

static void on_vm_gone(void *user)
{
	struct daemon *daemon = user;

	if (domains_have_vm(&daemon->domains))
		return;
	if (daemon->private && domains_had_vm(&daemon->domains) && !daemon->ending)
		log_info("the last VM is gone");
	if (daemon->ending || (daemon->private && domains_had_vm(&daemon->domains)))
		sd_event_exit(daemon->event, 0);
}

static int on_nobody_came(sd_event_source *source, uint64_t usec, void *user)
{
	struct daemon *daemon = user;

	(void)source;
	(void)usec;
	if (domains_had_vm(&daemon->domains))
		return 0;
	log_info("no VM has connected for %d seconds", DAEMON_PRIVATE_IDLE_SECONDS);
	return sd_event_exit(daemon->event, 0);
}

/* ---- start and stop ---- */

static int start_domain(struct daemon *daemon)
{
	char directory[sizeof(daemon->socket_path) + sizeof(".store")];
	struct domain *domain;
	int r;

	snprintf(directory, sizeof(directory), "%s.store", daemon->socket_path);
	r = domain_open(&daemon->domains, directory, &daemon->config.store, &daemon->config.engine, &domain);
	if (r < 0)
		return r;
	r = daemon_vm_adopt_all(domain);
	if (r == 0)
		r = pump_start(domain);
	if (r < 0)
		log_error("cannot start: %s", strerror(-r));
	return r;
}

int daemon_start(struct daemon *daemon)
{
	const uint64_t idle = DAEMON_PRIVATE_IDLE_SECONDS * UINT64_C(1000000);
	int r;

	daemon->domains = (struct domains){
		.event = daemon->event,
		.vm_gone = on_vm_gone,
		.daemon = daemon,
	};
	daemon->control = (struct control){
		.domains = &daemon->domains,
		.socket_path = daemon->socket_path,
		.started_usec = clock_now_usec(),
	};
	daemon->sessions = (struct sessions){
		.event = daemon->event,
		.domains = &daemon->domains,
		.control = &daemon->control,
		.connections_per_user = &daemon->config.connections_per_user,
	};
	r = start_domain(daemon);
	if (r < 0 || !daemon->private)
		return r;
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

void daemon_reload(struct daemon *daemon)
{
	struct config wanted;
	char error[512];

	if (config_load(&wanted, daemon->config_path, error, sizeof(error)) < 0)
		log_error("%s; the settings stay as they were", error);
	else if (config_change(&daemon->config, &wanted, say_change) == 0)
		log_notice("the settings were read anew: they are what they were");
}

/* First of all the socket: who connects from here on shall find no daemon. */
static void stop_serving(struct daemon *daemon)
{
	if (daemon->listener)
		unlink(daemon->socket_path);
	daemon->listener = sd_event_source_disable_unref(daemon->listener);
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
	while (!TAILQ_EMPTY(&domain->vms))
		daemon_vm_free(TAILQ_FIRST(&domain->vms));
	if (domain_close(domain))
		log_notice("VMs still map the store: it stays at %s.store for the next daemon", daemon->socket_path);
}

void daemon_stop(struct daemon *daemon)
{
	stop_serving(daemon);
	while (!SLIST_EMPTY(&daemon->domains.list))
		stop_domain(daemon, SLIST_FIRST(&daemon->domains.list));
}
