/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who a process is the kernel says: user and pid of the moment at which it connected. What it says itself counts only
 * within what these allow.
 */
#include "daemon/admission.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/pump.h"

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
	log_error("cannot open domain %s: %s", name, strerror(-r));
	while (!TAILQ_EMPTY(&(*ret)->vms))
		daemon_vm_free(TAILQ_FIRST(&(*ret)->vms));
	domain_close(*ret);
	return r;
}

/* ---- VMs ---- */

static void end_connection(struct daemon_vm *vm)
{
	if (!daemon_vm_is_connected(vm))
		return;
	log_peer(LOG_NOTICE, "VM %s connects again: its older connection ends", daemon_vm_describe(vm));
	vm->connection.end(vm->connection.session);
}

/* What it maps already is of this domain: it stays, whatever it would be given today. */
static bool belongs(const struct daemon_vm *vm, const struct wire_hello *hello)
{
	return hello->store != 0 && hello->store == store_identity(vm->domain->store);
}

static int add(struct domains *domains, const struct ucred *peer, int pidfd, const char *name, struct daemon_vm **ret,
	       char ret_reason[ADMISSION_REASON_SIZE])
{
	struct domain *domain;
	int r = admission_open_domain(domains, name, &domain);

	if (r < 0) {
		snprintf(ret_reason, ADMISSION_REASON_SIZE, "cannot open domain %s: %s%s", name, strerror(-r),
			 r == -ENOSPC ? " (too many domains)" : "");
		return r;
	}
	r = daemon_vm_add(domain, peer, pidfd, ret);
	if (r == 0)
		return 0;
	domain_vm_gone(domain); /* it may be empty, and have to be closed */
	snprintf(ret_reason, ADMISSION_REASON_SIZE, "cannot identify the process: %s", strerror(-r));
	return r;
}

int admission_take(struct domains *domains, const struct ucred *peer, int pidfd, const struct wire_hello *hello,
		   struct daemon_vm **ret, char ret_reason[ADMISSION_REASON_SIZE])
{
	char name[WIRE_DOMAIN_MAX];
	struct daemon_vm *known;
	int r = daemon_vm_find(domains, peer, pidfd, &known);

	if (r < 0) {
		snprintf(ret_reason, ADMISSION_REASON_SIZE, "cannot identify the process: %s", strerror(-r));
		return r;
	}
	domain_name_of_user(name, peer->uid);
	if (known)
		end_connection(known);
	if (known && (belongs(known, hello) || strcmp(known->domain->name, name) == 0)) {
		known->uid = peer->uid; /* one that was adopted may have hidden it */
		*ret = known;
		return 0;
	}
	if (known && (r = daemon_vm_leave(known)) < 0) {
		snprintf(ret_reason, ADMISSION_REASON_SIZE,
			 "what it shared in domain %s is read still, and has to be given back first",
			 known->domain->name);
		return r;
	}
	return add(domains, peer, pidfd, name, ret, ret_reason);
}
