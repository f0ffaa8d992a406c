/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* RAM beyond [limits] vm_ram_size is left alone and named; the VM stays connected, and others share as before. */
#include <string.h>

#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define PAGES 256u /* 1 MiB */

static const struct fake_options small = { .name = "small", .pages = PAGES, .common = PAGES };
static const struct fake_options large = { .name = "large", .pages = PAGES + 1, .common = PAGES + 1 };

static long long refused_bytes(const struct instance *instance, const char *name)
{
	json_t *status = instance_ask(instance, "{\"command\":\"status\"}"), *vm, *refused;
	long long bytes = 0;
	size_t i, j;

	json_array_foreach(json_object_get(status, "vms"), i, vm)
		json_array_foreach(json_object_get(vm, "refused"), j, refused)
			if (strcmp(json_string_value(json_object_get(vm, "name")), name) == 0 &&
			    strcmp(json_string_value(json_object_get(refused, "reason")), "ram-limit") == 0)
				bytes = json_integer_value(json_object_get(refused, "bytes"));
	json_decref(status);
	return bytes;
}

int main(int argc, char **argv)
{
	struct instance instance;
	struct fake_vmm a, b, c;

	test_begin(argc, argv);
	instance_init(&instance);
	instance_settings(&instance, "[limits]\nvm_ram_size = 1M\n");
	instance_start(&instance);
	c = fake_start(instance.socket, &large);
	a = fake_start(instance.socket, &small);
	b = fake_start(instance.socket, &small);
	fake_ask(&a, FAKE_AWAIT, PAGES);
	fake_ask(&b, FAKE_AWAIT, PAGES);
	instance_await(&instance, NULL, "shared_pages", 2 * PAGES);
	test_check(refused_bytes(&instance, "large") == (PAGES + 1) * PAGE_BYTES, "the status does not name the limit");
	test_check(refused_bytes(&instance, "small") == 0, "RAM within the limit is refused");
	test_check(instance_logged(&instance, "vm_ram_size is reached"), "the daemon does not say what it leaves");
	test_check(fake_ask(&c, FAKE_STATE, 0).connected, "the VM was dropped");
	test_check(fake_ask(&c, FAKE_STATE, 0).shared == 0, "RAM beyond the limit is shared");
	fake_kill(&a);
	fake_kill(&b);
	fake_kill(&c);
	instance_done(&instance);
	return 0;
}
