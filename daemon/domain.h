/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A trust group: VMs that may share pages with each other, and what they share them in. Its store, its engine with the
 * table of hashes, the seed of these hashes and all descriptors that its VMs are given are its own, so that nothing
 * leads from one domain to another. So far a daemon has one.
 *
 * Reports and orders go between its VMs' links and its engine in pump.c; who its VMs are is vm.c's topic.
 */
#ifndef PAGEFUSE_DAEMON_DOMAIN_H
#define PAGEFUSE_DAEMON_DOMAIN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "daemon/link.h"
#include "daemon/store.h"
#include "engine/engine.h"

#ifndef DOMAIN_RECHECK_SECONDS
#define DOMAIN_RECHECK_SECONDS 60 /* between looks for memory that stray faults allocated; tests build with another */
#endif

struct daemon_vm;
struct domain;

/** All domains of a daemon, and what they have from it. */
struct domains {
	sd_event *event;
	/* A VM of some domain is gone: nobody reads any more what it was given. */
	void (*vm_gone)(void *daemon);
	void *daemon;
	SLIST_HEAD(, domain)
	list;
};

struct domain {
	SLIST_ENTRY(domain)
	entries;
	struct domains *domains;
	sd_event *event; /* the daemon's */
	struct store *store;
	struct engine *engine;
	int userfaultfd; /* of /dev/userfaultfd, passed to every VMM; -1 if there is none */
	sd_event_source *recheck, *pump, *tick;

	TAILQ_HEAD(, daemon_vm) vms;
	LIST_HEAD(, link) links; /* of those that are connected */
	bool had_vm;

	uint32_t old_segments; /* that the store had when it was opened */
	unsigned unaccounted;  /* VMs that may map the old store and have not said which slots */
	bool accounted;        /* the engine was told that there is none (any more) */

	enum engine_room said_room; /* what was logged last of the room in the store */
};

/**
 * Adds a domain: opens the store in @directory and makes an engine for it. Logs errors. @return 0 or -errno: then there
 * is no such domain.
 */
int domain_open(struct domains *domains, const char *directory, const struct store_settings *store,
		const struct engine_settings *engine, struct domain **ret);
/** Removes a domain that has no VMs any more. @return whether its store stays, as somebody maps it. */
bool domain_close(struct domain *domain);

/** The domain of user @uid's VMs; so far all are in the same. NULL if there is none. */
struct domain *domain_of_user(const struct domains *domains, uid_t uid);

/** Has orders passed out, and the engine's clock advanced, at the end of this turn of the loop. */
void domain_schedule_pump(struct domain *domain);

/** Whether any domain has a VM, or ever had one. */
bool domains_have_vm(const struct domains *domains);
bool domains_had_vm(const struct domains *domains);

/** A VM is gone, or all that it maps is known: tells the engine if it was the last unaccounted one, and the daemon. */
void domain_vm_gone(struct domain *domain);

/** Logs that the store has no room for new pages; that it has again only if @recheck, since room may come and go. */
void domain_look_for_room(struct domain *domain, bool recheck);

/** Memory that the rings of its VMs occupy. */
uint64_t domain_rings_bytes(const struct domain *domain);

#endif
