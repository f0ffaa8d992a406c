/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The mode that a user has set for a VM, while it runs or before it starts: set and kept. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control-internal.h"
#include "daemon/kept.h"
#include "daemon/log.h"
#include "daemon/vm.h"

/* A wish, and whose. */
struct wish {
	struct kept *kept;
	uid_t user; /* who may be spoken for */
	const char *name;
	bool forget;
	enum wire_mode mode; /* unless it is to be forgotten */
};

static uid_t speaks_for(uid_t uid)
{
	return control_sees_all(uid) ? KEPT_ANY_USER : uid;
}

/* @return 0, or as kept_set(). */
static int keep_for_running(const struct wish *wish, const struct daemon_vm *vm)
{
	struct kept_vm identity = { .user = vm->uid };

	if (wish->forget) {
		kept_forget(wish->kept, wish->user, daemon_vm_own_name(vm), vm->uuid);
		return 0;
	}
	snprintf(identity.name, sizeof(identity.name), "%s", daemon_vm_own_name(vm));
	memcpy(identity.uuid, vm->uuid, sizeof(identity.uuid));
	return kept_set(wish->kept, &identity, wish->mode);
}

static int keep_for_later(const struct wish *wish)
{
	static const uint8_t none[UUID_BYTES];

	if (!wish->forget)
		return kept_set_named(wish->kept, wish->user, wish->name, wish->mode);
	return kept_forget(wish->kept, wish->user, wish->name, none) > 0 ? 0 : -ENOENT;
}

static json_t *error_of(int r, const char *name)
{
	if (r == -EDQUOT)
		return control_error("too-many", "settings are kept of as many VMs as there can be", name);
	if (r == -ENOENT)
		return control_error("unknown-vm", "no VM of this name runs, and nothing is kept for one", name);
	return NULL;
}

static void update(struct daemon_vm *vm)
{
	enum wire_mode before = vm->mode;

	if (daemon_vm_update_mode(vm))
		log_event(LOG_INFO, "VM %s: mode %s from now on, it was %s", daemon_vm_describe(vm),
			  wire_mode_name(vm->mode), wire_mode_name(before));
}

static const char *mode_text(const struct wish *wish, const struct daemon_vm *vm)
{
	if (vm)
		return wire_mode_name(vm->mode);
	return wish->forget ? "" : wire_mode_name(wish->mode);
}

static uint64_t pages_to_unshare(const struct daemon_vm *vm)
{
	return vm && vm->connection.engine_vm ? engine_pages_to_unshare(vm->connection.engine_vm) : 0;
}

bool control_modify_waits(const struct control_answer *answer)
{
	return answer->granted && !kept_is_settled(answer->control->kept, answer->changes);
}

/* The reply is sent once it is known whether the change was written. */
static json_t *gather_granted(struct control_answer *answer)
{
	const struct kept *kept = answer->control->kept;
	json_t *reply = answer->granted;

	if (control_modify_waits(answer))
		return NULL;
	answer->granted = NULL;
	json_object_set_new(reply, "kept",
			    json_boolean(!answer->forgets && kept->path[0] != 0 && kept->problem[0] == 0));
	json_object_set_new(reply, "problem", json_string(kept->problem));
	return reply;
}

static json_t *grant(struct control_answer *answer, const struct wish *wish, struct daemon_vm *vm)
{
	int r = vm ? keep_for_running(wish, vm) : keep_for_later(wish);

	if (r < 0)
		return error_of(r, wish->name);
	if (vm)
		update(vm);
	answer->granted = json_pack("{s:s,s:s,s:b,s:o}", "name", vm ? vm->name : wish->name,
				    "mode", mode_text(wish, vm),
				    "running", vm != NULL,
				    "unsharing_pages", control_number(pages_to_unshare(vm)));
	if (answer->granted == NULL)
		return NULL;
	answer->forgets = wish->forget;
	answer->changes = wish->kept->said;
	answer->gather = gather_granted;
	return json_object();
}

json_t *control_modify(struct control_answer *answer, const struct admission_peer *peer, const json_t *request)
{
	const struct control *control = answer->control;
	const char *text = json_string_value(json_object_get(request, "mode"));
	const json_t *name = json_object_get(request, "name");
	struct wish wish = {
		.kept = control->kept,
		.user = speaks_for(peer->credentials->uid),
		.name = json_string_value(name),
		.forget = json_is_true(json_object_get(request, "forget")),
	};
	int mode = text ? wire_mode_parse(text) : -EINVAL;
	struct daemon_vm *vm;

	if (wish.name == NULL || !wire_name_is_valid(wish.name))
		return control_error("bad-request", "a VM's name has to be a string that can be one",
				     wish.name ? wish.name : "name");
	if (mode < 0 && !wish.forget)
		return control_error("bad-request", "\"mode\" has to be off, zero, hints or full",
				     text ? text : "mode");
	wish.mode = wish.forget ? 0 : (enum wire_mode)mode;
	vm = daemon_vm_named(control->domains, wish.name);
	if (vm && !control_may_see(peer->credentials->uid, vm)) /* another user's VM may have its name */
		vm = daemon_vm_own_named(control->domains, peer->credentials->uid, wish.name);
	if (vm)
		return grant(answer, &wish, vm);
	if (!admission_is_member(control->admission, peer))
		return control_error("not-permitted", "only who may share memory may say what is to be shared",
				     wish.name);
	return grant(answer, &wish, NULL);
}

/* ---- kept ---- */

static json_t *kept_item(const struct control_answer *answer, size_t i)
{
	const struct kept_vm *vm = &answer->kept[i];

	return json_pack("{s:s,s:o,s:o,s:s}", "name", vm->name,
			 "uuid", control_uuid(vm->uuid),
			 "uid", vm->user == KEPT_ANY_USER ? json_null() : json_integer(vm->user),
			 "mode", wire_mode_name(vm->mode));
}

json_t *control_kept(struct control_answer *answer)
{
	const struct kept *kept = answer->control->kept;
	uid_t user = speaks_for(answer->uid);
	const struct kept_vm *vm;
	size_t count = 0;

	STAILQ_FOREACH(vm, &kept->vms.list, entries)
		count++;
	answer->kept = calloc(count + 1, sizeof(*answer->kept));
	if (answer->kept == NULL)
		return NULL;
	STAILQ_FOREACH(vm, &kept->vms.list, entries)
		if (user == KEPT_ANY_USER || vm->user == user)
			answer->kept[answer->count++] = *vm;
	answer->by_thread = true;
	answer->list = "vms";
	answer->item = kept_item;
	return json_pack("{s:s,s:s}", "file", kept->path, "problem", kept->problem);
}
