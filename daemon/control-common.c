/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What requests of all kinds need: values and errors as JSON, and which VMs a user may see. */
#include <jansson.h>
#include <sys/queue.h>
#include <unistd.h>

#include "daemon/control-internal.h"
#include "daemon/domain.h"
#include "daemon/vm.h"

json_t *control_number(uint64_t value)
{
	return json_integer(value > METRIC_VALUE_MAX ? METRIC_VALUE_MAX : (json_int_t)value);
}

json_t *control_uuid(const uint8_t uuid[UUID_BYTES])
{
	char text[UUID_TEXT] = "";

	if (uuid_is_set(uuid))
		uuid_text(uuid, text);
	return json_string(text);
}

json_t *control_error(const char *code, const char *message, const char *value)
{
	return json_pack("{s:{s:s,s:s,s:s}}", "error", "code", code, "message", message, "value", value);
}

bool control_sees_all(uid_t uid)
{
	return uid == 0 || uid == geteuid();
}

bool control_may_see(uid_t uid, const struct daemon_vm *vm)
{
	return control_sees_all(uid) || uid == vm->uid;
}

bool control_may_see_domain(uid_t uid, const struct domain *domain)
{
	const struct daemon_vm *vm;

	if (control_sees_all(uid))
		return true;
	TAILQ_FOREACH(vm, &domain->vms, entries)
		if (vm->name[0] && vm->uid == uid)
			return true;
	return false;
}

struct daemon_vm *control_find_own_vm(const struct control *control, uid_t uid, const json_t *name, json_t **ret_error)
{
	struct daemon_vm *vm;

	if (!json_is_string(name)) {
		*ret_error = control_error("bad-request", "a VM's name has to be a string", "");
		return NULL;
	}
	vm = daemon_vm_named(control->domains, json_string_value(name));
	if (vm == NULL)
		*ret_error = control_error("unknown-vm", "there is no VM of this name; pagefuse list shows them",
					   json_string_value(name));
	else if (!control_may_see(uid, vm))
		*ret_error = control_error("not-permitted", "this VM belongs to another user", json_string_value(name));
	else
		return vm;
	return NULL;
}
