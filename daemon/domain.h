/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A trust group: VMs that may share pages with each other, and what they share them in. Its store, its engine with the
 * table of hashes, the seed of these hashes and all descriptors that its VMs are given are its own, so that nothing
 * leads from one domain to another. Each user's VMs are in one of their own unless the settings say otherwise
 * (admission.c).
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

#include "daemon/exposure.h"
#include "daemon/fair.h"
#include "daemon/index.h"
#include "daemon/link.h"
#include "daemon/quota.h"
#include "daemon/store.h"
#include "daemon/subuids.h"
#include "engine/engine.h"
#include "protocol/wire.h"

#ifndef DOMAIN_RECHECK_SECONDS
#define DOMAIN_RECHECK_SECONDS 60 /* between looks for memory that stray faults allocated; tests build with another */
#endif

#define DOMAIN_RECHECK_AGAIN_USEC UINT64_C(10000) /* before it goes on where all of it is more than a turn's work */

#define DOMAIN_PRESSED_USEC UINT64_C(60000000) /* between two lines in the log about that */

struct daemon_vm;
struct domain;
struct kept;

#ifndef DOMAINS_MAX
#define DOMAINS_MAX 256u /* each costs mounts, tables and descriptors; tests build with another */
#endif

/** All domains of a daemon, and what they have from it. */
struct domains {
	sd_event *event;
	struct store_settings store;                               /* of each domain */
	const struct engine_settings *engine;                      /* the same; the daemon's */
	struct quota *quota;                                       /* of all domains together; the daemon's */
	struct exposure *exposure;                                 /* the same */
	struct fair *fair;                                         /* loop time of users and domains; the same */
	struct subuids *subuids;                                   /* users that count as one; the same */
	const struct kept *kept;                                   /* modes that users have set; the daemon's */
	const unsigned *preload_mode;                              /* enum wire_mode where none is said; the same */
	char directory[STORE_DIRECTORY_MAX + 1 - WIRE_DOMAIN_MAX]; /* in which each has one of its own */
	int lock;                                                  /* of the directory; -1: not open */
	unsigned count;
	bool had_vm;                       /* in any domain, ever */
	bool said_userfaultfd;             /* that there is none */
	struct index vm_names, vm_serials; /* of VMs that have a name, or a connection */
	struct index vm_own_names;         /* by own_name */
	/*
	 * A VM of some domain is gone: no process can read the store through its view any more. The domain must not be
	 * closed from here.
	 */
	void (*vm_gone)(void *daemon);
	void *daemon;
	SLIST_HEAD(, domain)
	list;
};

struct domain {
	SLIST_ENTRY(domain)
	entries;
	struct domains *domains;
	char name[WIRE_DOMAIN_MAX]; /* and of its directory */
	bool stays;                 /* also without VMs: the domain of the daemon's own user */
	struct quota_user *user;    /* the user whose VM was the first in it; NULL: there was none */
	sd_event *event;            /* the daemon's */
	struct store *store;
	struct engine *engine;
	int userfaultfd; /* of /dev/userfaultfd, passed to every VMM; -1 if there is none */
	sd_event_source *recheck, *pump, *tick;
	uint64_t ticked_usec; /* when its engine's clock was advanced last, by clock_now_usec(); 0: not yet */

	struct fair_share share; /* its engine's share of loop time */

	unsigned orders_left;  /* that may be passed on in this turn of the pump */
	uint32_t orders_place; /* engine_next_ready()'s cursor: where that goes on in its next turn */

	TAILQ_HEAD(daemon_vm_list, daemon_vm) vms;
	unsigned vm_count;             /* of vms */
	LIST_HEAD(, link) links;       /* of those that are connected */
	struct daemon_vm_list stalled; /* those whose link holds an order that it could not pass on */
	uint64_t rings_bytes;          /* memory that their rings occupied at the last look at each */

	uint32_t old_segments; /* that the store had when it was opened */
	unsigned unaccounted;  /* VMs that may map the old store and have not reported which slots */
	bool accounted;        /* the engine was told that there are none left */

	struct quota_numbers numbers; /* of pages: what its users have of them */
	uint32_t segments_max;        /* that its store may have */
	bool recheck_soon;            /* the recheck was brought forward, as the store is pressed */
	uint64_t said_pressed_usec;   /* when that was logged last; 0: never */
	uint64_t stored_pages;        /* of its engine, as they are counted in the quota */
	uint64_t exposed_pages;       /* the same, in the exposure of all domains */
	enum engine_room said_room;   /* the last logged state of room in the store */
};

/** Whether VMMs are sent a userfaultfd: whether a domain that is opened now would have one. Any thread. */
bool domain_lends_userfaultfd(void);

/**
 * Takes the directory @directory for the stores of all domains. @domains: event, settings and callback are set; nothing
 * is open yet. Logs errors. @return 0, -EBUSY if another daemon has it, -errno.
 */
int domains_open(struct domains *domains, const char *directory);
/**
 * Releases the directory; no domain is left. Also for one that was not opened. @return whether something had to stay in
 * it.
 */
bool domains_close(struct domains *domains);
/** Names of stores that an earlier daemon left: calls @found for each. @return 0 or -errno. */
int domains_each_left(struct domains *domains, void (*found)(struct domains *domains, const char *name));

/**
 * Adds domain @name: opens its store and makes an engine for it. Logs errors.
 * @return 0, -ENOSPC (DOMAINS_MAX), -errno: then there is no such domain.
 */
int domain_open(struct domains *domains, const char *name, struct domain **ret);
/** Removes a domain without VMs. @return whether its store stays, as a process maps it. */
bool domain_close(struct domain *domain);

/** @return the domain of that name, or NULL. */
struct domain *domain_find(const struct domains *domains, const char *name);
/** Takes a reference to the account of user @uid: see quota.h, and subuids.h. @return NULL without memory. */
struct quota_user *domains_account(const struct domains *domains, uid_t uid);
/** @user now counts as the one that had the domain made, in place of the earlier one. */
void domain_charge(struct domain *domain, struct quota_user *user);
/** The name of the domain for VMs of user @uid that the settings put in no other. */
void domain_name_of_user(char ret[WIRE_DOMAIN_MAX], uid_t uid);

/** Schedules passing on orders and advancing the engine's clock, at the end of this turn of the loop. */
void domain_schedule_pump(struct domain *domain);

/** Counts what its engine did just now as done in this turn of the loop. */
void domain_note_steps(struct domain *domain);

/** Whether any domain has a VM. */
bool domains_have_vm(const struct domains *domains);

/** A VM is gone, or all that it maps is known. Tells the daemon, and the engine if it was the last unaccounted VM. */
void domain_vm_gone(struct domain *domain);

/**
 * Logs that the store has no room for new pages. That it has room again is logged only if @recheck, since it may change
 * often.
 */
void domain_look_for_room(struct domain *domain, bool recheck);

/** Brings the exposure of all domains up to date with this one's. @ret: its own. A look at each VM. */
void domain_count_exposed(struct domain *domain, struct engine_exposure *ret);

/** The connection of one of its VMs begins; reports that were taken in may have used more of its rings; it ends. */
void domain_add_link(struct domain *domain, struct link *link);
void domain_look_at_rings(struct domain *domain, struct link *link);
void domain_remove_link(struct domain *domain, struct link *link);

#endif
