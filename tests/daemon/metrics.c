/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Metrics by VirtualBox's names: held against /proc and against what the VMMs map; samples as they were set up, by who
 * may; and nothing that is absurd.
 */
#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define PAGES 600u
#define COMMON 300u
#define ZERO 100u
#define NOBODY 65534

static struct instance instance;

/* The reply, which is the caller's. @rest: of the request, behind the metrics; may be empty. */
static json_t *ask(const char *command, const char *object, const char *names, const char *rest)
{
	char request[512];

	snprintf(request, sizeof(request), "{\"command\":\"%s\",\"object\":\"%s\",\"metrics\":[%s]%s}", command, object,
		 names, rest);
	return instance_ask(&instance, request);
}

static void expect_error(const char *command, const char *object, const char *names, const char *rest, const char *code)
{
	json_t *reply = ask(command, object, names, rest), *error = json_object_get(reply, "error");
	const char *seen = json_string_value(json_object_get(error, "code"));

	test_check(seen && strcmp(seen, code) == 0, "%s of %s of %s with %s: %s, not %s", command, names, object, rest,
		   seen ? seen : "success", code);
	json_decref(reply);
}

/* What a reply says of @metric of a VM, or with NULL of the host. Belongs to the reply; NULL: nothing. */
static const json_t *find(const json_t *reply, const char *vm, const char *metric)
{
	const json_t *found = NULL, *entry;
	size_t i;

	json_array_foreach(json_object_get(reply, "metrics"), i, entry)
		if (strcmp(json_string_value(json_object_get(entry, "metric")), metric) == 0 &&
		    json_is_true(json_object_get(entry, "host")) == (vm == NULL) &&
		    strcmp(json_string_value(json_object_get(entry, "object")), vm ? vm : "host") == 0) {
			test_check(found == NULL, "%s is told twice", metric);
			found = entry;
		}
	return found;
}

/* Its value now. */
static long long value(const char *vm, const char *metric)
{
	char name[64];
	json_t *reply, *values;
	long long result;

	snprintf(name, sizeof(name), "\"%s\"", metric);
	reply = ask("metrics", vm ? vm : "host", name, ",\"now\":true");
	values = json_object_get(find(reply, vm, metric), "values");
	test_check(json_array_size(values) == 1, "%s has %zu values", metric, json_array_size(values));
	result = json_integer_value(json_array_get(values, 0));
	json_decref(reply);
	return result;
}

/* kB of the line that begins so, in a file of /proc. */
static long long proc_kb(const char *path, const char *name)
{
	FILE *file = fopen(path, "re");
	char line[256];
	long long kb = -1;

	test_check(file != NULL, "no %s", path);
	while (kb < 0 && fgets(line, sizeof(line), file))
		if (strncmp(line, name, strlen(name)) == 0)
			kb = strtoll(line + strlen(name), NULL, 10);
	fclose(file);
	test_check(kb >= 0, "no %s in %s", name, path);
	return kb;
}

/* The kernel counts in batches for each CPU, and says so of statm. */
static long long inexact_kb(void)
{
	return 4 * 64 * (sysconf(_SC_NPROCESSORS_CONF) + 1);
}

static void expect_near(const char *what, long long seen, long long really, long long most)
{
	printf("%s: %lld kB, really %lld\n", what, seen, really);
	test_check(llabs(seen - really) <= most, "%s is %lld kB, really %lld", what, seen, really);
}

static void check_against_proc(const struct fake_vmm *vmm)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)vmm->pid);
	expect_near("RAM/Usage/Used", value("vm", "RAM/Usage/Used"), proc_kb(path, "Rss:"), inexact_kb());
	test_check(value(NULL, "RAM/Usage/Total") == proc_kb("/proc/meminfo", "MemTotal:"), "not the host's memory");
	expect_near("RAM/Usage/Free", value(NULL, "RAM/Usage/Free"), proc_kb("/proc/meminfo", "MemAvailable:"),
		    value(NULL, "RAM/Usage/Total") / 4);
}

static void check_values(const struct fake_vmm *a)
{
	json_t *reply = ask("metrics", "*",
			    "\"RAM/Usage/Total\",\"RAM/Usage/Used\",\"RAM/Usage/Free\",\"RAM/VMM/Used\","
			    "\"RAM/VMM/Free\",\"RAM/VMM/Shared\",\"Guest/RAM/Usage/Total\",\"Guest/RAM/Usage/Shared\"",
			    "");
	long long shared = fake_ask(a, FAKE_STATE, 0).shared;

	test_check(json_array_size(json_object_get(reply, "metrics")) == 6 + 2 * 3, "not each metric of each object");
	json_decref(reply);
	test_check(value("vm", "Guest/RAM/Usage/Shared") == shared * 4, "it is not %lld pages that are shared", shared);
	test_check(value(NULL, "RAM/VMM/Shared") == 2 * shared * 4, "the host's is not the sum of the VMs'");
	test_check(value(NULL, "RAM/VMM/Saved") > 0 &&
			   value(NULL, "RAM/VMM/Saved") == instance_host(&instance, "saved_pages") * 4,
		   "it is not what the status says is saved");
	test_check(value("vm", "Guest/RAM/Usage/Total") == PAGES * 4, "not the RAM");
	check_against_proc(a);
	test_check(value(NULL, "RAM/VMM/Used") > value(NULL, "RAM/VMM/Free"), "the VMs use nothing");
}

/* A write is seen at once: the page is the VM's own. */
static void check_falls(const struct fake_vmm *a)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)a->pid);
	json_decref(instance_ask(&instance, "{\"command\":\"modify\",\"name\":\"vm\",\"mode\":\"off\"}"));
	instance_await(&instance, "vm", "shared_pages", 0);
	instance_await(&instance, "vm", "unsharing_pages", 0);
	test_check(value("vm", "Guest/RAM/Usage/Shared") == 0, "what is not shared any more counts as shared");
	test_check(value(NULL, "RAM/VMM/Shared") == COMMON * 4, "the other VM's does not count");
	expect_near("RAM/Usage/Used", value("vm", "RAM/Usage/Used"), proc_kb(path, "Rss:"), inexact_kb());
}

/* ---- samples ---- */

/* Waits until there are @count samples of it. @return the reply with them. */
static json_t *await_samples(const char *object, const char *vm, const char *metric, size_t count)
{
	uint64_t last = test_patient_msec() + TEST_DEADLINE_SECONDS * 1000;
	char name[64];

	snprintf(name, sizeof(name), "\"%s\"", metric);
	for (;;) {
		json_t *reply = ask("metrics", object, name, "");

		if (json_array_size(json_object_get(find(reply, vm, metric), "values")) == count)
			return reply;
		json_decref(reply);
		test_check(test_patient_msec() < last, "there never are %zu samples of %s", count, metric);
		poll(NULL, 0, 20);
	}
}

static void check_setting(const json_t *reply, const char *vm, const char *metric, bool enabled, int period,
			  int samples)
{
	const json_t *entry = find(reply, vm, metric);

	test_check(json_is_true(json_object_get(entry, "enabled")) == enabled, "%s is enabled, or not", metric);
	test_check(json_integer_value(json_object_get(entry, "period")) == period, "%s has another period", metric);
	test_check(json_integer_value(json_object_get(entry, "samples")) == samples, "%s has another number", metric);
}

static void check_samples(void)
{
	const char *shared = "\"Guest/RAM/Usage/Shared\",\"RAM/VMM/Shared\",\"RAM/VMM/Used\"";
	json_t *reply = ask("set-metrics", "*", shared, ",\"period\":1,\"samples\":3"), *values;

	test_check(json_array_size(json_object_get(reply, "metrics")) == 2 + 2, "not all were set up");
	check_setting(reply, "vm-2", "Guest/RAM/Usage/Shared", true, 1, 3);
	check_setting(reply, NULL, "RAM/VMM/Shared", true, 1, 3);
	json_decref(reply);
	json_decref(await_samples("*", "vm", "Guest/RAM/Usage/Shared", 3));
	json_decref(await_samples("*", NULL, "RAM/VMM/Used", 3));
	reply = await_samples("vm-2", "vm-2", "Guest/RAM/Usage/Shared", 3);
	values = json_object_get(find(reply, "vm-2", "Guest/RAM/Usage/Shared"), "values");
	for (size_t i = 0; i < 3; i++)
		test_check(json_integer_value(json_array_get(values, i)) == COMMON * 4, "sample %zu is wrong", i);
	json_decref(reply);

	json_decref(ask("set-metrics", "vm", "\"Guest/RAM/Usage/Shared\"", ",\"enable\":false"));
	reply = await_samples("vm", "vm", "Guest/RAM/Usage/Shared", 1);
	check_setting(reply, "vm", "Guest/RAM/Usage/Shared", false, 1, 3);
	json_decref(reply);
	json_decref(ask("set-metrics", "vm", "\"Guest/RAM/Usage/Shared\"", ",\"enable\":true"));
	reply = await_samples("vm", "vm", "Guest/RAM/Usage/Shared", 2);
	check_setting(reply, "vm", "Guest/RAM/Usage/Shared", true, 1, 3);
	json_decref(reply);
	json_decref(ask("set-metrics", "*", shared, ",\"enable\":false"));
}

static void check_errors(void)
{
	static const char *const settings[] = {
		"",
		",\"period\":0,\"samples\":1",
		",\"period\":-1,\"samples\":1",
		",\"period\":1,\"samples\":0",
		",\"period\":1,\"samples\":241",
		",\"period\":86401,\"samples\":1",
		",\"period\":9223372036854775807,\"samples\":9223372036854775807",
		",\"period\":1.5,\"samples\":1",
		",\"period\":\"1\",\"samples\":1",
		",\"enable\":1",
		",\"enable\":true,\"period\":1",
	};
	const char *shared = "\"RAM/VMM/Shared\"";

	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		expect_error("set-metrics", "host", shared, settings[i], "bad-request");
	expect_error("metrics", "nobody", shared, "", "unknown-vm");
	expect_error("metrics", "host", "\"CPU/Load/User\"", "", "bad-request");
	expect_error("metrics", "vm", "\"Guest/RAM/Usage/Free\"", "", "bad-request");
	expect_error("metrics", "vm", "7", "", "bad-request");
	json_decref(ask("set-metrics", "host", shared, ",\"period\":86400,\"samples\":240"));
	json_decref(ask("set-metrics", "host", shared, ",\"enable\":false"));
}

/* Another user, in a child: his own VM is his to sample, and what he sees of the host is that he has a part in. */
static void check_other_user(void)
{
	const struct fake_options options = { .name = "his", .pages = 4, .uid = NOBODY };
	const char *both = "\"RAM/VMM/Shared\",\"RAM/VMM/Used\",\"Guest/RAM/Usage/Total\"";
	struct fake_vmm vmm;
	json_t *reply;
	pid_t pid;

	if (geteuid() != 0)
		return;
	vmm = fake_start(instance.socket, &options);
	pid = test_fork();
	if (pid == 0) {
		if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
		    setresuid(NOBODY, NOBODY, NOBODY) < 0)
			_exit(1);
		expect_error("metrics", "vm", "\"Guest/RAM/Usage/Total\"", "", "not-permitted");
		expect_error("set-metrics", "vm", "\"Guest/RAM/Usage/Total\"", ",\"enable\":true", "not-permitted");
		expect_error("set-metrics", "host", "\"RAM/VMM/Shared\"", ",\"enable\":true", "not-permitted");
		reply = ask("metrics", "*", both, "");
		test_check(json_array_size(json_object_get(reply, "metrics")) == 3, "not one VM and the host");
		test_check(json_integer_value(json_array_get(
				   json_object_get(find(reply, NULL, "RAM/VMM/Shared"), "values"), 0)) == 0,
			   "he is told what others share");
		json_decref(reply);
		reply = ask("set-metrics", "*", both, ",\"period\":1,\"samples\":2");
		test_check(json_array_size(json_object_get(reply, "metrics")) == 1, "not just his VM is set up");
		check_setting(reply, "his", "Guest/RAM/Usage/Total", true, 1, 2);
		json_decref(reply);
		json_decref(await_samples("his", "his", "Guest/RAM/Usage/Total", 2));
		_exit(0);
	}
	test_wait_child(pid);
	reply = ask("metrics", "*", both, "");
	check_setting(reply, "vm", "Guest/RAM/Usage/Total", false, 0, 0);
	check_setting(reply, NULL, "RAM/VMM/Shared", false, 1, 3);
	json_decref(reply);
	fake_kill(&vmm);
	instance_await(&instance, "his", "pid", -1);
}

int main(int argc, char **argv)
{
	const struct fake_options options = { .name = "vm", .pages = PAGES, .common = COMMON, .zero = ZERO };
	struct fake_vmm a, b;

	test_begin(argc, argv);
	instance_init(&instance);
	instance_start(&instance);
	a = fake_start(instance.socket, &options);
	b = fake_start(instance.socket, &options);
	instance_await(&instance, "vm", "shared_pages", COMMON);
	instance_await(&instance, "vm-2", "shared_pages", COMMON);
	check_errors();
	check_values(&a);
	check_samples();
	check_other_user();
	check_falls(&a);
	/* A VM that dies while it is sampled. */
	json_decref(ask("set-metrics", "*", "\"Guest/RAM/Usage/Shared\",\"RAM/VMM/Used\"",
			",\"period\":1,\"samples\":2"));
	json_decref(await_samples("*", "vm-2", "Guest/RAM/Usage/Shared", 2));
	fake_kill(&a);
	instance_await(&instance, "vm", "pid", -1);
	json_decref(await_samples("*", NULL, "RAM/VMM/Used", 2));
	fake_kill(&b);
	instance_await(&instance, NULL, "store_bytes", 0);
	test_check(value(NULL, "RAM/VMM/Shared") == 0, "nobody is there, and something is shared");
	test_check(value(NULL, "RAM/VMM/Saved") == 0, "nobody is there, and something is saved");
	instance_done(&instance);
	return 0;
}
