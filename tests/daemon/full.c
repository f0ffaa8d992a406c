/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A store that is full: what fits is shared, the status and one line in the log say so, and room that comes is used. */
#include <stdio.h>
#include <string.h>

#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define ROOM 256u /* 1 MiB, some of which is the tmpfs's own */
#define FEW 100u

static const struct fake_options large = { .name = "large", .pages = 3 * ROOM, .common = 3 * ROOM };
static const struct fake_options small = { .name = "small", .pages = FEW, .common = FEW };

static bool is_full(const struct instance *instance)
{
	json_t *status = instance_ask(instance, "{\"command\":\"status\"}");
	bool full = json_is_true(json_object_get(json_object_get(status, "host"), "store_full"));

	json_decref(status);
	return full;
}

static unsigned lines_logged(const struct instance *instance, const char *text)
{
	FILE *file = fopen(instance->log, "re");
	unsigned lines = 0;
	char line[512];

	test_check(file != NULL, "no log");
	while (fgets(line, sizeof(line), file) != NULL)
		lines += strstr(line, text) != NULL;
	fclose(file);
	return lines;
}

int main(int argc, char **argv)
{
	struct instance instance;
	struct fake_vmm a, b;

	test_begin(argc, argv);
	instance_init(&instance);
	instance_settings(&instance, "[store]\nsize = 1M\n");
	instance_start(&instance);
	if (instance_mounts(&instance) == 0) {
		instance_done(&instance);
		test_skip("no tmpfs may be mounted, and a store of memfds has no size");
	}
	test_check(!is_full(&instance), "a store with nothing in it is full");
	a = fake_start(instance.socket, &large);
	b = fake_start(instance.socket, &large);
	fake_ask(&a, FAKE_AWAIT, ROOM / 2);
	fake_ask(&b, FAKE_AWAIT, ROOM / 2);
	for (unsigned i = 0; i < 5; i++)
		instance_scan(&instance); /* each tries again */
	test_check(is_full(&instance), "the status does not say that the store is full");
	test_check(lines_logged(&instance, "the store is full") == 1, "the log says it %u times",
		   lines_logged(&instance, "the store is full"));
	test_check(instance_host(&instance, "common_pages") <= ROOM, "more is shared than there is room for");
	test_check(fake_ask(&a, FAKE_CHECK, 0).damaged == 0 && fake_ask(&b, FAKE_CHECK, 0).damaged == 0,
		   "memory is not what it was");
	fake_kill(&a);
	fake_kill(&b);
	a = fake_start(instance.socket, &small);
	b = fake_start(instance.socket, &small);
	fake_ask(&a, FAKE_AWAIT, FEW);
	fake_ask(&b, FAKE_AWAIT, FEW);
	instance_scan(&instance);
	test_check(!is_full(&instance), "a store with room is full");
	fake_kill(&a);
	fake_kill(&b);
	instance_done(&instance);
	return 0;
}
