/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * All attackers at once against one daemon: of each kind one for each of several users, who may take part, and of those
 * that may only ask further ones. For root. One user is left for honest VMs.
 */
#ifndef PAGEFUSE_TESTS_DAEMON_SIEGE_H
#define PAGEFUSE_TESTS_DAEMON_SIEGE_H

#include "tests/daemon/attackers.h"

#define SIEGE_GROUP 20100u
#define SIEGE_HONEST 20001u
#define SIEGE_ATTACKERS 20010u /* the first of their users */
#define SIEGE_OUTSIDERS 20020u
#define SIEGE_USERS 2u    /* with each kind of attackers */
#define SIEGE_HOARDERS 2u /* further users, who hold connections: the others of the same user would get none */
#define SIEGE_MAX (ATTACK_END * 4)

/** The section of the settings for it. */
#define SIEGE_ACCESS "[access]\ngroup = 20100\nstatus = all\n"

struct siege {
	int nice; /* of each: as nice(2) */
	struct attacker attackers[SIEGE_MAX];
	unsigned count;
};

/** Adds one. */
void siege_add(struct siege *siege, const char *socket, enum attack attack, uid_t uid, gid_t gid);
/** Adds all of them. */
void siege_start(struct siege *siege, const char *socket);
/** Waits until each has done so many deeds more. */
void siege_await(const struct siege *siege, uint64_t more);
/** Prints what they have done, by kind. */
void siege_print(const struct siege *siege);
void siege_end(struct siege *siege);

#endif
