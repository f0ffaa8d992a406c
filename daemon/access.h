/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who may come: who may take part, that is have VMs and be given descriptors of a store and a userfaultfd, and who may
 * ask for the status. Plain data: what is known of a peer is handed in.
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
	char group[ACCESS_GROUP_SIZE]; /* name, number, or "*": anybody */
	unsigned status;               /* enum access_status */
};

/** Settings, looked up. */
struct access {
	bool anybody;
	bool has_group; /* else only root, and the daemon's own user */
	gid_t group;
	enum access_status status;
};

/**
 * Looks the group up. A daemon that is not root's is for its own user, whatever the settings say. Logs that there is no
 * such group.
 */
void access_look_up(struct access *ret, const struct access_settings *settings);

/** The mode of the socket; *@ret_group: its group, or -1 to leave that as it is. */
mode_t access_socket_mode(const struct access *access, gid_t *ret_group);

/** @groups: the supplementary ones. */
bool access_may_take_part(const struct access *access, uid_t uid, gid_t gid, const gid_t *groups, unsigned count);

#endif
