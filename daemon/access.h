/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Access rights: which users may take part (have VMs, and receive store descriptors and a userfaultfd), which may ask
 * for the status, and which see the VMs of others in it. Plain data: the caller passes in what it knows of a peer.
 */
#ifndef PAGEFUSE_DAEMON_ACCESS_H
#define PAGEFUSE_DAEMON_ACCESS_H

#include <stdbool.h>
#include <sys/types.h>

#define ACCESS_GROUP_SIZE 32

enum access_status {
	ACCESS_STATUS_GROUP, /* members may take part and ask */
	ACCESS_STATUS_ALL,   /* every user may ask, about its own VMs */
};

struct access_settings {
	char group[ACCESS_GROUP_SIZE];     /* the group that takes part: name, number, or "*" for everybody */
	char observers[ACCESS_GROUP_SIZE]; /* the group that sees the VMs of all users: the same */
	unsigned status;                   /* enum access_status */
};

/** A group named by a setting. Root and the daemon's own user always count as members. */
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

/** A user and its groups, as the kernel reports them. */
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
/** Whether @who is shown all VMs and domains, as root is. It does not allow @who to control any of them. */
bool access_sees_all(const struct access *access, const struct access_who *who);

#endif
