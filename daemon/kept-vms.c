/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/kept-vms.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

/* For tsearch(3). */
static int compare(const void *one, const void *other)
{
	const struct kept_vm *a = one, *b = other;
	int difference = (a->user > b->user) - (a->user < b->user);

	if (difference == 0)
		difference = memcmp(a->uuid, b->uuid, UUID_BYTES);
	if (difference == 0 && !uuid_is_set(a->uuid))
		difference = strcmp(a->name, b->name);
	return difference;
}

void kept_vms_init(struct kept_vms *vms)
{
	STAILQ_INIT(&vms->list);
	vms->index = NULL;
}

void kept_vms_drop(struct kept_vms *vms)
{
	tdestroy(vms->index, free);
	kept_vms_init(vms);
}

void kept_vms_replace(struct kept_vms *vms, struct kept_vms *from)
{
	kept_vms_drop(vms);
	STAILQ_CONCAT(&vms->list, &from->list);
	vms->index = from->index;
	kept_vms_init(from);
}

struct kept_vm *kept_vms_find(const struct kept_vms *vms, const struct kept_vm *vm)
{
	struct kept_vm *const *found = tfind(vm, &vms->index, compare);

	return found ? *found : NULL;
}

struct kept_vm *kept_vms_add(struct kept_vms *vms, const struct kept_vm *vm)
{
	struct kept_vm *added = malloc(sizeof(*added));

	if (added == NULL)
		return NULL;
	*added = *vm;
	if (tsearch(added, &vms->index, compare) == NULL) {
		free(added);
		return NULL;
	}
	STAILQ_INSERT_TAIL(&vms->list, added, entries);
	return added;
}

void kept_vms_remove(struct kept_vms *vms, struct kept_vm *vm)
{
	tdelete(vm, &vms->index, compare);
	STAILQ_REMOVE(&vms->list, vm, kept_vm, entries);
	free(vm);
}
