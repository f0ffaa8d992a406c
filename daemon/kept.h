/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What people want shared of which VM, kept in a file from one start of a VM, or of the daemon, to the next. See
 * docs/design/control.md, "What is kept". One thread.
 */
#ifndef PAGEFUSE_DAEMON_KEPT_H
#define PAGEFUSE_DAEMON_KEPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "common/vm-identity.h"
#include "protocol/wire.h"

#define KEPT_FORMAT 1                     /* of the file */
#define KEPT_PER_USER 1024                /* VMs that one user's wishes are kept of; root has no limit */
#define KEPT_MAX 8192                     /* of all users, before they are kept of root's only */
#define KEPT_BYTES_MAX (16u << 20)        /* of the file */
#define KEPT_WRITE_USEC UINT64_C(1000000) /* a write waits for the disk, so there is one in so long, on average */
#define KEPT_WRITES_AT_ONCE 16            /* as many before that counts */
#define KEPT_ANY_USER ((uid_t)-1)
#define KEPT_PROBLEM_SIZE 512

/** A VM that something is kept of. One without a user is root's wish: it was there before the VM. */
struct kept_vm {
	STAILQ_ENTRY(kept_vm) entries;
	char name[WIRE_NAME_MAX];
	uint8_t uuid[UUID_BYTES]; /* all zero: it is known by its name */
	uid_t user;               /* whose VM it is; KEPT_ANY_USER: whoever's, root has said so before it ran */
	enum wire_mode mode;
};

STAILQ_HEAD(kept_vms, kept_vm);

struct kept {
	struct kept_vms vms;
	char path[4096]; /* empty: nothing is kept beyond the daemon's life */
	/* Why the file is not written: one line that names it and the way out. Empty: it is. */
	char problem[KEPT_PROBLEM_SIZE];
	bool unread;        /* what is in the file could not be read: it is left as it is */
	struct stat file;   /* as it was read or written last; st_ino 0: there was none */
	bool dirty;         /* to be written once */
	uint64_t paid_usec; /* until then the writes so far have used up their time */
	sd_event_source *timer;
};

/**
 * Reads the file at @path, if there is one. One that cannot be used is left as it is, and logged: then nothing is known
 * of it, and nothing written to it. @return 0, -ENAMETOOLONG, -errno (without memory, or no timer).
 */
int kept_open(struct kept *kept, sd_event *event, const char *path);
/** Writes what is still to be written, and forgets all. Also for one that was not opened. */
void kept_close(struct kept *kept);
/** Reads the file anew. @return 0; else what is known stays, and kept->problem says why. */
int kept_reload(struct kept *kept);

/** What is kept of user @user's VM with that UUID, else with that name and none. @return it, or NULL. */
const struct kept_vm *kept_find(const struct kept *kept, uid_t user, const uint8_t uuid[UUID_BYTES], const char *name);

/**
 * Keeps @mode for the VM that @vm describes by user, UUID and name; its mode is not looked at.
 * @return 0, -EDQUOT (KEPT_PER_USER, KEPT_MAX), -ENOMEM. That it could not be written is said by kept->problem.
 */
int kept_set(struct kept *kept, const struct kept_vm *vm, enum wire_mode mode);

/**
 * The same for VMs that do not run, of which only a name is known: all of that name that @user may speak for, and if
 * there is none, one by that name. @user KEPT_ANY_USER: may speak for all.
 */
int kept_set_named(struct kept *kept, uid_t user, const char *name, enum wire_mode mode);

/**
 * Nothing is kept any more of those of that name, or with that UUID if it is set, that @user may speak for.
 * @return how many there were.
 */
unsigned kept_forget(struct kept *kept, uid_t user, const char *name, const uint8_t uuid[UUID_BYTES]);

#endif
