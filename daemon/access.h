/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who may come: who may take part, that is have VMs and be given descriptors of a store and a userfaultfd, who may ask
 * for the status, and who sees in it what others have. Plain data: what is known of a peer is handed in.
 */
#ifndef PAGEFUSE_DAEMON_ACCESS_H
#define PAGEFUSE_DAEMON_ACCESS_H

#include <stdbool.h>
#include <sys/types.h>

#define ACCESS_GROUP_SIZE 32

enum access_status {
	ACCESS_STATUS_GROUP, /* who may take part may ask */
	ACCESS_STATUS_ALL,   /* anybody may ask, about what is his */
};

struct access_settings {
	char group[ACCESS_GROUP_SIZE];     /* who takes part: name, number, or "*": anybody */
	char observers[ACCESS_GROUP_SIZE]; /* who sees everything: the same */
	unsigned status;                   /* enum access_status */
};

/** Whom a setting names, besides root and the daemon's own user. */
struct access_group {
	bool anybody;
	bool exists; /* else nobody */
	gid_t id;
};

/** Settings, looked up. */
struct access {
	struct access_group members, observers;
	enum access_status status;
};

/** Who somebody is, by the kernel. */
struct access_who {
	uid_t uid;
	gid_t gid;
	const gid_t *groups; /* the supplementary ones */
	unsigned count;
};

/**
 * Looks the groups up. A daemon that is not root's is for its own user, whatever the settings say. Logs that there is
 * no group of members.
 */
void access_look_up(struct access *ret, const struct access_settings *settings);

/** The mode of the socket; *@ret_group: its group, or -1 to leave that as it is. */
mode_t access_socket_mode(const struct access *access, gid_t *ret_group);

bool access_may_take_part(const struct access *access, const struct access_who *who);
/** Whether all VMs and domains are shown to @who, as they are to root. It lets him steer none. */
bool access_sees_all(const struct access *access, const struct access_who *who);

#endif
