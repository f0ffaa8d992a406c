/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The state of memory, by figures from a file: falls, stays, rises; what cannot be read or cannot be true changes
 * nothing, and is said once; so does a cgroup that is gone. SIGHUP changes source and thresholds. And what the state is
 * for: 2 MiB pages stay whole or are split.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define TOTAL_MIB 1024u /* 6 % of it are minFree */

static struct instance instance;
static char figures[128], cgroup[128];

/* Replaced as a whole, so that nobody reads half of it. */
static void write_file(const char *path, const char *text)
{
	char new[160];
	int fd;

	snprintf(new, sizeof(new), "%s.new", path);
	fd = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	test_check(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s: %s", new, strerror(errno));
	close(fd);
	test_check(rename(new, path) == 0, "rename: %s", strerror(errno));
}

/* So much is free, in percent of minFree. */
static void set_free(unsigned percent)
{
	char text[128];

	snprintf(text, sizeof(text), "MemTotal: %u kB\nMemAvailable: %llu kB\n", TOTAL_MIB * 1024,
		 TOTAL_MIB * 1024ULL * 6 * percent / 10000);
	write_file(figures, text);
}

static json_t *memory(void)
{
	json_t *status = instance_ask(&instance, "{\"command\":\"status\"}");
	json_t *object = json_incref(json_object_get(status, "memory"));

	json_decref(status);
	test_check(json_is_object(object), "the status has no memory");
	return object;
}

static bool has(const char *field, const char *wanted)
{
	json_t *object = memory();
	const char *text = json_string_value(json_object_get(object, field));
	bool equal = strcmp(text ? text : "", wanted) == 0;

	json_decref(object);
	return equal;
}

static void await(const char *field, const char *wanted)
{
	uint64_t last = test_patient_msec() + TEST_DEADLINE_SECONDS * 1000;

	while (!has(field, wanted)) {
		test_check(test_patient_msec() < last, "%s does not become \"%s\"", field, wanted);
		poll(NULL, 0, 10);
	}
}

/* The daemon has looked at the figures as they are now: it tells how much is free. */
static void await_free(unsigned percent)
{
	long long wanted = TOTAL_MIB * 1024LL * 6 * percent / 10000 * 1024, last = -1;
	uint64_t end = test_patient_msec() + TEST_DEADLINE_SECONDS * 1000;

	while (last != wanted) {
		json_t *object = memory();

		last = json_integer_value(json_object_get(object, "free_bytes"));
		json_decref(object);
		test_check(test_patient_msec() < end, "%lld bytes are said to be free, not %lld", last, wanted);
		poll(NULL, 0, 10);
	}
}

static void check_step(unsigned percent, const char *state)
{
	set_free(percent);
	await_free(percent);
	test_check(has("state", state), "with %u %% the state is not %s", percent, state);
}

static unsigned count_logged(const char *text)
{
	unsigned count = 0;
	char line[1024];
	FILE *file = fopen(instance.log, "re");

	while (file && fgets(line, sizeof(line), file))
		count += strstr(line, text) != NULL;
	if (file)
		fclose(file);
	return count;
}

static void reload(const char *settings)
{
	char text[512];

	snprintf(text, sizeof(text), "[memory]\ninterval_msec = 100\n%s", settings);
	instance_settings(&instance, text);
	test_check(kill(instance.pid, SIGHUP) == 0, "kill: %s", strerror(errno));
}

static void reload_scan(const char *scan)
{
	char text[512];

	snprintf(text, sizeof(text), "source = %s\n[scan]\n%s", figures, scan);
	reload(text);
}

/* What slow passes may take in this state. */
static void check_budget(int interval_seconds, int cpu_percent)
{
	json_t *object = memory();

	test_check(json_integer_value(json_object_get(object, "scan_interval_seconds")) == interval_seconds &&
			   json_integer_value(json_object_get(object, "scan_cpu_percent")) == cpu_percent,
		   "a pass may not take %d s and %d %%", interval_seconds, cpu_percent);
	json_decref(object);
}

/* The shorter memory is the more they may take, but never less than is set for all states. */
static void check_budgets(void)
{
	check_step(1000, "high");
	check_budget(30, 10);
	check_step(90, "clear");
	check_budget(30, 10);
	check_step(50, "soft");
	check_budget(15, 20);
	check_step(20, "hard");
	check_budget(10, 30);
	check_step(10, "low");
	check_budget(10, 30);
	reload_scan("low_interval_seconds = 3\nlow_cpu_percent = 60\n");
	while (!instance_logged(&instance, "[scan] low_cpu_percent is 60 from now on"))
		poll(NULL, 0, 10);
	check_budget(3, 60);
	reload_scan("interval_seconds = 2\ncpu_percent = 80\n");
	while (!instance_logged(&instance, "[scan] cpu_percent is 80 from now on"))
		poll(NULL, 0, 10);
	check_budget(2, 80);
	reload_scan("interval_seconds = 0\n");
	while (!instance_logged(&instance, "[scan] interval_seconds is 0 from now on"))
		poll(NULL, 0, 10);
	check_budget(0, 30);
	reload_scan("");
	while (!instance_logged(&instance, "[scan] interval_seconds is 30 from now on, it was 0"))
		poll(NULL, 0, 10);
	check_step(1000, "high");
	check_budget(30, 10);
}

static void check_states(void)
{
	check_step(150, "high");
	check_step(90, "clear");
	test_check(instance_logged(&instance, "memory is clear from now on, it was high"), "nothing is said");
	check_step(300, "clear");
	check_step(50, "soft");
	check_step(10, "low");
	test_check(instance_logged(&instance, "warning: memory is low from now on, it was soft"), "nothing is said");
	check_step(20, "low");
	check_step(40, "hard");
	check_step(401, "high");
}

static double state_seconds(void)
{
	json_t *object = memory();
	double seconds = json_real_value(json_object_get(object, "state_seconds"));

	json_decref(object);
	return seconds;
}

/* Until it has looked some times more. */
static void await_looks(void)
{
	double last = state_seconds() + 0.3;

	while (state_seconds() < last)
		poll(NULL, 0, 10);
}

static void check_hostile(void)
{
	static const char *const texts[] = {
		"",
		"MemTotal: 1 kB\n",
		"MemTotal: 1 kB\nMemAvailable: 2 kB\n",
		"MemTotal: 1 kB\nMemAvailable: -1 kB\n",
		"MemTotal: 0 kB\nMemAvailable: 0 kB\n",
		"MemTotal: 99999999999999999 kB\nMemAvailable: 1 kB\n",
	};

	check_step(50, "soft");
	for (unsigned i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		write_file(figures, texts[i]);
		while (has("error", ""))
			poll(NULL, 0, 10);
		await_looks();
		test_check(has("state", "soft"), "figures \"%s\" count", texts[i]);
		set_free(50);
		await("error", "");
		test_check(has("state", "soft"), "the state is another one after figures \"%s\"", texts[i]);
		test_check(count_logged("cannot tell how much memory is free") == i + 1, "it is not said once");
	}
	test_check(unlink(figures) == 0, "unlink: %s", strerror(errno));
	while (!instance_logged(&instance, "No such file or directory; the state stays soft"))
		poll(NULL, 0, 10);
	check_step(500, "high");
}

static void in_cgroup(const char *name, const char *text)
{
	char path[192];

	snprintf(path, sizeof(path), "%s/%s", cgroup, name);
	write_file(path, text);
}

/* One made of files: what the kernel's would say is in the memory that the daemon is allowed. */
static void check_cgroup(void)
{
	static const char *const names[] = { "cgroup.controllers", "memory.max", "memory.current", "memory.stat" };
	char settings[256], path[192];

	test_check(mkdir(cgroup, 0700) == 0, "mkdir: %s", strerror(errno));
	in_cgroup("cgroup.controllers", "memory\n");
	in_cgroup("memory.max", "104857600\n"); /* minFree: 6 MiB */
	in_cgroup("memory.current", "102760448\n");
	in_cgroup("memory.stat", "inactive_file 1048576\nactive_file 0\n");
	snprintf(settings, sizeof(settings), "source = %s\n", cgroup);
	reload(settings);
	await("kind", "cgroup");
	await("state", "soft"); /* 3 MiB are free */
	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(path, sizeof(path), "%s/%s", cgroup, names[i]);
		test_check(unlink(path) == 0, "unlink: %s", strerror(errno));
	}
	test_check(rmdir(cgroup) == 0, "rmdir: %s", strerror(errno));
	while (!instance_logged(&instance, "No such file or directory; the state stays soft"))
		poll(NULL, 0, 10);
	test_check(has("state", "soft"), "the cgroup is gone, and with it the state");
}

/* What is in 2 MiB pages is known while memory is high, and shared once it is clear; and no sooner. */
static void check_large(void)
{
	static const struct fake_options options = {
		.name = "vm", .pages = 1024, .common = 500, .zero = 12, .large = true
	};
	struct fake_vmm a, b;

	a = fake_start(instance.socket, &options);
	b = fake_start(instance.socket, &options);
	instance_await(&instance, NULL, "ready_pages", 2048);
	instance_await(&instance, NULL, "would_save_pages", 500 + 24);
	instance_scan(&instance);
	test_check(instance_host(&instance, "whole_2m") == 4 && instance_host(&instance, "broken_2m") == 0,
		   "2 MiB pages are split while memory is high");
	test_check(instance_host(&instance, "store_bytes") == 0, "the store has something");
	test_check(has("large_pages", "keep"), "2 MiB pages may be split while memory is high");
	check_step(99, "clear");
	test_check(has("large_pages", "dense") && has("large_pages_hints", "dense"), "they may not when it is clear");
	fake_ask(&a, FAKE_AWAIT, 512);
	fake_ask(&b, FAKE_AWAIT, 512);
	instance_await(&instance, NULL, "saved_pages", 500 + 24);
	instance_await(&instance, NULL, "broken_2m", 2);
	test_check(instance_host(&instance, "whole_2m") == 2, "others are split than those that share");
	test_check(instance_host(&instance, "would_save_pages") == 0, "what is shared is counted still");
	test_check(instance_vm(&instance, "vm", "broken_2m") == 1, "a VM's count");
	fake_kill(&a);
	fake_kill(&b);
	check_step(1000, "high");
}

int main(int argc, char **argv)
{
	char settings[256];

	test_begin(argc, argv);
	instance_init(&instance);
	snprintf(figures, sizeof(figures), "%s/figures", instance.directory);
	snprintf(cgroup, sizeof(cgroup), "%s/cgroup", instance.directory);
	snprintf(settings, sizeof(settings), "[memory]\ninterval_msec = 100\nsource = %s\n", figures);
	set_free(1000);
	instance_settings(&instance, settings);
	instance_start(&instance);
	check_states();
	check_budgets();
	check_hostile();
	snprintf(settings, sizeof(settings), "source = %s\nlarge_pages = keep\nlarge_pages_hints = keep\n", figures);
	reload(settings);
	while (!instance_logged(&instance, "[memory] large_pages is keep from now on, it was always"))
		poll(NULL, 0, 10);
	check_large();

	/* The thresholds change while it runs, all at once or none. */
	check_step(150, "high");
	snprintf(settings, sizeof(settings), "source = %s\nclear_percent = 200\n", figures);
	reload(settings);
	await("state", "clear");
	snprintf(settings, sizeof(settings), "source = %s\nclear_percent = 400\n", figures);
	reload(settings);
	while (!instance_logged(&instance, "each has to be less than the one before"))
		poll(NULL, 0, 10);
	check_step(399, "clear");
	snprintf(settings, sizeof(settings), "source = %s\nmin_free = 1M\n", figures);
	reload(settings);
	await("state", "high");
	check_cgroup();
	test_check(unlink(figures) == 0, "unlink: %s", strerror(errno));
	instance_stop(&instance);
	instance_done(&instance);
	return 0;
}
