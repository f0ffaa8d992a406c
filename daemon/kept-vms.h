/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A set of VMs for which a mode is kept: in the order in which they were added, and found by user, UUID and name. No
 * event loop; the owner of the set locks it.
 */
#ifndef PAGEFUSE_DAEMON_KEPT_VMS_H
#define PAGEFUSE_DAEMON_KEPT_VMS_H

#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "common/vm-identity.h"
#include "protocol/wire.h"

#define KEPT_ANY_USER ((uid_t)-1)

/** A VM for which a mode is kept. Without a user it was set by root before the VM ran. */
struct kept_vm {
	STAILQ_ENTRY(kept_vm) entries;
	char name[WIRE_NAME_MAX];
	uint8_t uuid[UUID_BYTES]; /* all zero: it is known by its name */
	uid_t user;               /* the VM's user; KEPT_ANY_USER: any, root set it before the VM ran */
	enum wire_mode mode;
};

struct kept_vms {
	STAILQ_HEAD(, kept_vm) list;
	void *index; /* tsearch(3)'s, by user, UUID and name */
};

void kept_vms_init(struct kept_vms *vms);
/** Frees all of them. */
void kept_vms_drop(struct kept_vms *vms);
/** Frees all of @vms, and moves those of @from there. */
void kept_vms_replace(struct kept_vms *vms, struct kept_vms *from);

/** @return the entry in @vms that stands for the same VM, by user, UUID and, without a UUID, name; or NULL. */
struct kept_vm *kept_vms_find(const struct kept_vms *vms, const struct kept_vm *vm);
/** @vm: not in @vms yet. @return a copy of it that is; NULL without memory. */
struct kept_vm *kept_vms_add(struct kept_vms *vms, const struct kept_vm *vm);
/** Frees @vm, which is in @vms. */
void kept_vms_remove(struct kept_vms *vms, struct kept_vm *vm);

#endif
