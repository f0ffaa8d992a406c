/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The modes that users have set for VMs, kept in a file from one start of a VM, or of the daemon, to the next. See
 * docs/design/control.md, "What is kept". One thread.
 */
#ifndef PAGEFUSE_DAEMON_KEPT_H
#define PAGEFUSE_DAEMON_KEPT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <systemd/sd-event.h>

#include "daemon/kept-file.h"
#include "daemon/kept-writer.h"
#include "daemon/subuids.h"

#define KEPT_PER_USER 1024 /* VMs for which one user may have a mode kept; root has no limit */
#define KEPT_MAX 8192      /* of all users; who has as many as are left of them gets no more */
/*
 * The disk has other users, so each write has to be paid for with a pause of this many times its own duration, a second
 * at most.
 */
#define KEPT_WRITE_TIMES 10
#define KEPT_WRITE_USEC UINT64_C(1000000)
#define KEPT_AHEAD_USEC UINT64_C(4000000) /* that may be owed before the next one waits */

struct kept {
	struct kept_vms vms;
	struct subuids *subuids; /* ranges of users that count as one for the limits; the owner's */
	char path[4096];         /* empty: modes are kept only while the daemon runs */
	/* Why the file is not written: one line that names it and the way out. Empty: it is. */
	char problem[KEPT_PROBLEM_SIZE];
	bool unread;         /* what is in the file could not be read: it is left as it is */
	struct stat file;    /* as it was read or written last; st_ino 0: there was none */
	uint64_t said;       /* changes so far */
	uint64_t begun;      /* number of the last change given to the writer */
	uint64_t settled;    /* number of the last change that is settled, see kept_is_settled() */
	uint64_t begun_usec; /* when the writer was */
	uint64_t paid_usec;  /* up to then the writes so far have used the disk time that they may have */
	sd_event_source *timer;
	struct kept_writer writer;
	/** More changes are settled. The owner sets it after kept_open(), or leaves it NULL. */
	void (*on_settled)(void *owner);
	void *owner;
};

/**
 * Reads the file at @path, if there is one. One that cannot be used is left as it is, and logged: then nothing is known
 * of it, and nothing written to it. @subuids has to last. @return 0, -ENAMETOOLONG, -errno (no memory, or no timer).
 */
int kept_open(struct kept *kept, sd_event *event, struct subuids *subuids, const char *path);
/** Writes what is still to be written, waits for the disk, and forgets all. Also for one that was not opened. */
void kept_close(struct kept *kept);
/**
 * Reads the file anew. @return 0; -EINPROGRESS: something has to be written before, and it is to be called again when
 * that is settled; else what is known stays, and kept->problem says why.
 */
int kept_reload(struct kept *kept);

/**
 * Whether the first @changes changes, a value that kept->said had, are on the disk, or cannot be written for now, as
 * kept->problem says. That takes as long as the disk does; only kept_close() waits for it.
 */
bool kept_is_settled(const struct kept *kept, uint64_t changes);

/** The mode that is kept for user @user's VM with that UUID, else with that name and no UUID. @return it, or NULL. */
const struct kept_vm *kept_find(const struct kept *kept, uid_t user, const uint8_t uuid[UUID_BYTES], const char *name);

/**
 * Keeps @mode for the VM that @vm describes by user, UUID and name; its mode is not looked at.
 * @return 0, -EDQUOT (KEPT_PER_USER, KEPT_MAX), -ENOMEM. It counts at once; whether it is written is known later.
 */
int kept_set(struct kept *kept, const struct kept_vm *vm, enum wire_mode mode);

/**
 * The same for VMs that do not run, of which only a name is known: all entries of that name that @user may change, and
 * if there are none, a new one. @user KEPT_ANY_USER: may change all.
 */
int kept_set_named(struct kept *kept, uid_t user, const char *name, enum wire_mode mode);

/**
 * Removes the entries with that name, or with that UUID if it is set, that @user may change.
 * @return how many there were.
 */
unsigned kept_forget(struct kept *kept, uid_t user, const char *name, const uint8_t uuid[UUID_BYTES]);

#endif
