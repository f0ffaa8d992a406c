/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernel says which process a peer is: its user and pid at the moment it connected. What the process says of itself
 * counts only within the limits that these set.
 */
#include "daemon/admission.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cgroup.h"
#include "daemon/log.h"
#include "daemon/pump.h"

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

/* ---- domains ---- */

int admission_open_domain(struct domains *domains, const char *name, struct domain **ret)
{
	int r;

	*ret = domain_find(domains, name);
	if (*ret)
		return 0;
	r = domain_open(domains, name, ret);
	if (r < 0)
		return r;
	r = daemon_vm_adopt_all(*ret);
	if (r == 0)
		r = pump_start(*ret);
	if (r == 0)
		return 0;
	log_peer(LOG_NOBODY, LOG_ERR, "cannot open domain %s: %s", name, strerror(-r));
	while (!TAILQ_EMPTY(&(*ret)->vms))
		daemon_vm_free(TAILQ_FIRST(&(*ret)->vms));
	domain_close(*ret);
	return r;
}

/* ---- which one ---- */

/* The supplementary groups, as they were when it connected; to be freed. */
static gid_t *read_groups(int socket, unsigned *ret_count)
{
	socklen_t size = 0;
	gid_t *groups;

	*ret_count = 0;
	if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) == 0 || errno != ERANGE)
		return NULL; /* it has none, or the kernel does not tell */
	groups = malloc(size);
	if (groups && getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups, &size) == 0)
		*ret_count = size / sizeof(*groups);
	return groups;
}

static int choose_for(const struct admission *admission, const struct rules_process *process, const char *wanted,
		      char ret[WIRE_DOMAIN_MAX])
{
	const char *first;

	domain_name_of_user(ret, process->uid);
	if (*wanted == 0) {
		first = rules_first(admission->rules, process);
		if (first)
			snprintf(ret, WIRE_DOMAIN_MAX, "%s", first);
		return 0;
	}
	if (process->uid != 0 && process->uid != geteuid() && strcmp(wanted, ret) != 0 &&
	    !rules_fit(admission->rules, wanted, process))
		return -EACCES;
	snprintf(ret, WIRE_DOMAIN_MAX, "%s", wanted);
	return 0;
}

/* ---- who may come ---- */

static bool is_allowed(const struct admission *admission, const struct admission_peer *peer,
		       bool (*judge)(const struct access *access, const struct access_who *who))
{
	struct access_who who = { .uid = peer->credentials->uid, .gid = peer->credentials->gid };
	gid_t *groups = read_groups(peer->socket, &who.count);
	bool is;

	who.groups = groups;
	is = judge(admission->access, &who);
	free(groups);
	return is;
}

bool admission_is_member(const struct admission *admission, const struct admission_peer *peer)
{
	return is_allowed(admission, peer, access_may_take_part);
}

bool admission_sees_all(const struct admission *admission, const struct admission_peer *peer)
{
	return is_allowed(admission, peer, access_sees_all);
}

static int may_take_part(const struct admission *admission, const struct admission_peer *peer, const char *what,
			 char ret_reason[ADMISSION_REASON_SIZE])
{
	if (admission_is_member(admission, peer))
		return 0;
	snprintf(ret_reason, ADMISSION_REASON_SIZE,
		 "user %u may not %s: only root and members of the group that [access] names may",
		 (unsigned)peer->credentials->uid, what);
	return -EACCES;
}

int admission_may_ask(const struct admission *admission, const struct admission_peer *peer,
		      char ret_reason[ADMISSION_REASON_SIZE])
{
	if (admission->access->status == ACCESS_STATUS_ALL)
		return 0;
	return may_take_part(admission, peer, "ask", ret_reason);
}

/* ---- VMs ---- */

static int choose(const struct admission *admission, const struct admission_peer *peer, const struct wire_hello *hello,
		  char ret[WIRE_DOMAIN_MAX], char ret_reason[ADMISSION_REASON_SIZE])
{
	char cgroup[1024];
	unsigned count;
	gid_t *groups = read_groups(peer->socket, &count);
	struct rules_process process = {
		.uid = peer->credentials->uid,
		.gid = peer->credentials->gid,
		.groups = groups,
		.group_count = count,
		.cgroup = cgroup,
		.name = hello->name,
	};
	int r;

	/* The data belongs to this process if it is still alive after the read, which is checked there. */
	cgroup_path("", peer->credentials->pid, cgroup, sizeof(cgroup));
	r = choose_for(admission, &process, hello->domain, ret);
	free(groups);
	if (r < 0)
		snprintf(ret_reason, ADMISSION_REASON_SIZE,
			 "user %u may not have VM %s in domain %s: no section [domain %s] of the settings fits",
			 (unsigned)peer->credentials->uid, hello->name, hello->domain, hello->domain);
	return r;
}

static void end_connection(struct daemon_vm *vm)
{
	if (!daemon_vm_is_connected(vm))
		return;
	log_peer(vm->user->uid, LOG_NOTICE, "VM %s connects again: its older connection ends", daemon_vm_describe(vm));
	vm->connection.end(vm->connection.session);
}

/* The process already maps this domain's store, so it stays in it, whatever domain it would get today. */
static bool belongs(const struct daemon_vm *vm, const struct wire_hello *hello)
{
	return hello->store != 0 && hello->store == store_identity(vm->domain->store);
}

/* The domains of one user do not use up all that there can be. */
static int may_open(const struct domains *domains, uid_t uid, const char *name, char ret_reason[ADMISSION_REASON_SIZE])
{
	struct quota_user *user;
	int r = 0;

	if (domain_find(domains, name))
		return 0;
	user = domains_account(domains, uid);
	if (user == NULL) {
		snprintf(ret_reason, ADMISSION_REASON_SIZE, "the daemon is out of memory");
		return -ENOMEM;
	}
	if (!quota_user_may_have_domain(user, DOMAINS_MAX - domains->count)) {
		snprintf(ret_reason, ADMISSION_REASON_SIZE,
			 "cannot open domain %s: user %u has %u, and of %u in all %u are left for others", name,
			 (unsigned)uid, user->domains, DOMAINS_MAX, DOMAINS_MAX - domains->count);
		r = -EDQUOT;
	}
	quota_user_put(user);
	return r;
}

static int add(struct domains *domains, const struct admission_peer *peer, const char *name, struct daemon_vm **ret,
	       char ret_reason[ADMISSION_REASON_SIZE])
{
	struct domain *domain;
	int r = may_open(domains, peer->credentials->uid, name, ret_reason);

	if (r < 0)
		return r;
	r = admission_open_domain(domains, name, &domain);
	if (r < 0) {
		snprintf(ret_reason, ADMISSION_REASON_SIZE, "cannot open domain %s: %s%s", name, strerror(-r),
			 r == -ENOSPC ? " (too many domains)" : "");
		return r;
	}
	r = daemon_vm_add(domain, peer->credentials, peer->pidfd, ret);
	if (r == 0)
		return 0;
	domain_vm_gone(domain); /* the domain may be empty, and then has to be closed */
	snprintf(ret_reason, ADMISSION_REASON_SIZE, "cannot identify the process: %s", strerror(-r));
	return r;
}

int admission_take(const struct admission *admission, const struct admission_peer *peer, const struct wire_hello *hello,
		   struct daemon_vm **ret, char ret_reason[ADMISSION_REASON_SIZE])
{
	char name[WIRE_DOMAIN_MAX];
	struct daemon_vm *known;
	int r = may_take_part(admission, peer, "share memory", ret_reason);

	if (r < 0)
		return r;
	r = daemon_vm_find(admission->domains, peer->credentials, peer->pidfd, &known);
	if (r < 0) {
		snprintf(ret_reason, ADMISSION_REASON_SIZE, "cannot identify the process: %s", strerror(-r));
		return r;
	}
	if (known && belongs(known, hello))
		memcpy(name, known->domain->name, sizeof(name));
	else
		r = choose(admission, peer, hello, name, ret_reason);
	if (r < 0)
		return r;
	if (known)
		end_connection(known);
	if (known && strcmp(known->domain->name, name) == 0) {
		r = daemon_vm_set_user(known, peer->credentials->uid); /* one that was adopted may have hidden it */
		if (r < 0) {
			snprintf(ret_reason, ADMISSION_REASON_SIZE, "the daemon is out of memory");
			return r;
		}
		*ret = known;
		return 0;
	}
	if (known && (r = daemon_vm_leave(known)) < 0) {
		snprintf(ret_reason, ADMISSION_REASON_SIZE,
			 "what it shared in domain %s is read still, and has to be given back first",
			 known->domain->name);
		return r;
	}
	return add(admission->domains, peer, name, ret, ret_reason);
}

int admission_try(const struct admission *admission, const struct admission_peer *peer, const char *name,
		  const char *domain, char ret_domain[WIRE_DOMAIN_MAX], char ret_reason[ADMISSION_REASON_SIZE])
{
	struct wire_hello hello = { 0 };
	int r = may_take_part(admission, peer, "share memory", ret_reason);

	if (r < 0)
		return r;
	snprintf(hello.name, sizeof(hello.name), "%s", name);
	snprintf(hello.domain, sizeof(hello.domain), "%s", domain);
	return choose(admission, peer, &hello, ret_domain, ret_reason);
}
