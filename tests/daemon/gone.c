/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * VMs that end with more than can be given back at once are listed until it is: whoever sees no VM sees no page in the
 * store either.
 */
#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define PAGES 8192u /* more than go at once */

static struct instance instance;

static void start(struct fake_vmm *ret, const char *name)
{
	const struct fake_options options = { .name = name, .pages = PAGES, .common = PAGES };

	*ret = fake_start(instance.socket, &options);
}

static long long host(json_t *status, const char *field)
{
	return json_integer_value(json_object_get(json_object_get(status, "host"), field));
}

/* @return whether no VM is listed any more. Each look is of one moment. */
static bool none_is_listed(void)
{
	json_t *status = instance_ask(&instance, "{\"command\":\"status\"}");
	bool none = json_array_size(json_object_get(status, "vms")) == 0;

	test_check(!none || (host(status, "common_pages") == 0 && host(status, "store_bytes") == 0),
		   "no VM is listed, and the store has %lld pages, %lld bytes", host(status, "common_pages"),
		   host(status, "store_bytes"));
	json_decref(status);
	return none;
}

static void share(struct fake_vmm *a, struct fake_vmm *b)
{
	test_restart_clock();
	start(a, "one");
	start(b, "two");
	instance_scan(&instance);
	instance_await(&instance, NULL, "shared_pages", 2LL * PAGES);
	test_progress();
}

static void check_listed_until_given_back(void)
{
	struct fake_vmm a, b;

	share(&a, &b);
	fake_kill(&a);
	fake_kill(&b);
	while (!none_is_listed()) /* the watchdog ends it */
		continue;
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	instance_init(&instance);
	instance_settings(&instance, "[scan]\ninterval_seconds = 0\naudit_interval_seconds = 0\n");
	instance_start(&instance);
	check_listed_until_given_back();
	instance_done(&instance);
	return 0;
}
