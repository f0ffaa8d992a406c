/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Decides which processes are served and which domain each is in: by its user, by the rules in the settings, and by
 * what it asks for within those.
 */
#ifndef PAGEFUSE_DAEMON_ADMISSION_H
#define PAGEFUSE_DAEMON_ADMISSION_H

#include <sys/socket.h>

#include "daemon/access.h"
#include "daemon/domain.h"
#include "daemon/rules.h"
#include "daemon/vm.h"
#include "protocol/wire.h"

#define ADMISSION_REASON_SIZE 240

/** What is decided by. */
struct admission {
	struct domains *domains;
	const struct access *access;
	const struct rules *rules; /* settings */
};

/** The peer at the other end of a connection. The connection owns the socket and the pidfd. */
struct admission_peer {
	const struct ucred *credentials;
	int socket, pidfd;
};

/**
 * Opens domain @name, unless it is open: with what an earlier daemon left of it, and served by the pump. Logs errors.
 * @return 0, -ENOSPC (DOMAINS_MAX), -errno.
 */
int admission_open_domain(struct domains *domains, const char *name, struct domain **ret);

/** Whether the peer may take part. Otherwise it may at most ask. */
bool admission_is_member(const struct admission *admission, const struct admission_peer *peer);

/** Whether it is shown the VMs and domains of all users. */
bool admission_sees_all(const struct admission *admission, const struct admission_peer *peer);

/** Whether it may ask for the status. @ret_reason: one line for it if not. @return 0 or -EACCES. */
int admission_may_ask(const struct admission *admission, const struct admission_peer *peer,
		      char ret_reason[ADMISSION_REASON_SIZE]);

/**
 * Whether a process would be admitted, and to which domain: asked by a process before it starts the VMM. @name: of the
 * VM; @domain: the one it asks for, or "".
 * @ret_reason: one line if not admitted. @return 0 or -EACCES.
 */
int admission_try(const struct admission *admission, const struct admission_peer *peer, const char *name,
		  const char *domain, char ret_domain[WIRE_DOMAIN_MAX], char ret_reason[ADMISSION_REASON_SIZE]);

/**
 * Finds or adds the VM of the process that has said @hello, in the domain where it belongs: the one whose store it
 * maps; else the one that it asks for, if it may; else the first one whose rules it fits; else its user's. A connection
 * that it has is ended.
 * @ret_reason: one line for the peer, if the result is not 0. @return 0, -EACCES, -errno.
 */
int admission_take(const struct admission *admission, const struct admission_peer *peer, const struct wire_hello *hello,
		   struct daemon_vm **ret, char ret_reason[ADMISSION_REASON_SIZE]);

#endif
