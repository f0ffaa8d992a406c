/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The file of what people want shared of which VM: read, and written as a whole. No event loop and no state of its own:
 * any thread may call it. It waits for the disk.
 */
#ifndef PAGEFUSE_DAEMON_KEPT_FILE_H
#define PAGEFUSE_DAEMON_KEPT_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "common/vm-identity.h"
#include "protocol/wire.h"

#define KEPT_FORMAT 1              /* of the file */
#define KEPT_BYTES_MAX (16u << 20) /* the same */
#define KEPT_ANY_USER ((uid_t)-1)
#define KEPT_PROBLEM_SIZE 512
#define KEPT_PATH_SIZE 4096

/** A VM that something is kept of. One without a user is root's wish: it was there before the VM. */
struct kept_vm {
	STAILQ_ENTRY(kept_vm) entries;
	char name[WIRE_NAME_MAX];
	uint8_t uuid[UUID_BYTES]; /* all zero: it is known by its name */
	uid_t user;               /* whose VM it is; KEPT_ANY_USER: whoever's, root has said so before it ran */
	enum wire_mode mode;
};

STAILQ_HEAD(kept_vms, kept_vm);

/** Frees all of them. */
void kept_vms_drop(struct kept_vms *vms);
/** @return that of them which stands for the same VM, by user, UUID and name; or NULL. */
struct kept_vm *kept_vms_find(struct kept_vms *vms, const struct kept_vm *vm);
/** @return a copy of @vm that is in @vms; NULL without memory. */
struct kept_vm *kept_vms_add(struct kept_vms *vms, const struct kept_vm *vm);

/**
 * Adds what is in the file to @vms, also part of it if it fails. @ret_file: what was read; st_ino 0: there is none.
 * @error: what is wrong, if the result is not 0. @return 0, -EINVAL, -errno.
 */
int kept_file_read(const char *path, struct kept_vms *vms, struct stat *ret_file, char error[KEPT_PROBLEM_SIZE]);

/**
 * Writes @count VMs in place of what is there: after a crash there is the one or the other, and after 0 was returned
 * the new one. @file: as it was read or written last; becomes what is there from now on, if that is another one.
 * @return 0, -ESTALE if somebody else has changed it and so nothing was written, -errno.
 */
int kept_file_write(const char *path, const struct kept_vm *vms, size_t count, struct stat *file);

#endif
