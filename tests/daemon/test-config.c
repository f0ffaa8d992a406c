/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/page.h"
#include "daemon/config.h"

static char path[64];

/* A file with @text. Its descriptor stays open: it is the file's name. */
static const char *file_of(const char *text)
{
	int fd = memfd_create("config", MFD_CLOEXEC);

	assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return path;
}

/* The table's defaults, and those of an engine that nobody has configured. */
static void test_defaults(void **state)
{
	struct engine_settings engine;
	struct config config;

	(void)state;
	config_default(&config);
	engine_settings_default(&engine);
	assert_int_equal(config.budgets[MEMORY_HIGH].interval_seconds, engine.scan_interval_seconds);
	assert_int_equal(config.budgets[MEMORY_LOW].interval_seconds, 10);
	assert_int_equal(config.engine.audit_interval_seconds, engine.audit_interval_seconds);
	assert_int_equal(config.budgets[MEMORY_HIGH].cpu_percent, engine.scan_cpu_percent);
	assert_int_equal(config.budgets[MEMORY_CLEAR].cpu_percent, engine.scan_cpu_percent);
	assert_int_equal(config.engine.vm_slots_max, engine.vm_slots_max);
	assert_int_equal(config.engine.vm_ram_bytes_max, engine.vm_ram_bytes_max);
	assert_int_equal(config.engine.segments_max, engine.segments_max);
	assert_int_equal(config.store.kind, STORE_AUTO);
	assert_string_equal(config.store.size, "50%");
	assert_int_equal(config.connections_per_user, 1024);
	assert_string_equal(config.access.group, "pagefuse");
	assert_int_equal(config.access.status, ACCESS_STATUS_GROUP);
	assert_int_equal(config.engine.dense_pages, engine.dense_pages);
	assert_int_equal(config.large_scans, engine.large_scans);
	assert_int_equal(config.large_hints, engine.large_hints);
	assert_string_equal(config.memory.source, "host");
	assert_int_equal(config.memory.min_free.bytes + config.memory.min_free.percent, 0);
	assert_int_equal(config.exposure.bytes + config.exposure.percent, 0);
	assert_int_equal(config.memory.thresholds.high, 400);
	assert_int_equal(config.memory.thresholds.low, 16);
	assert_int_equal(config.memory.back_seconds, 600);
	assert_false(config.engine.large_back);
}

static void test_memory(void **state)
{
	struct config config;
	char error[256];

	(void)state;
	assert_int_equal(config_load(&config,
				     file_of("[memory]\nsource = /sys/fs/cgroup/a b.slice\nmin_free = 2G\n"
					     "high_percent = 300\nlow_percent = 0\nlarge_pages = keep\n"
					     "large_pages_hints = dense\ndense_pages = 512\nstall_msec = 0\n"
					     "large_pages_back_seconds = 5\nlarge_pages_back_shared = 7\n"),
				     error, sizeof(error)),
			 0);
	assert_string_equal(config.memory.source, "/sys/fs/cgroup/a b.slice");
	assert_int_equal(config.memory.min_free.bytes, UINT64_C(2) << 30);
	assert_int_equal(config.memory.thresholds.high, 300);
	assert_int_equal(config.memory.thresholds.low, 0);
	assert_int_equal(config.memory.stall_msec, 0);
	assert_int_equal(config.memory.back_seconds, 5);
	assert_int_equal(config.engine.large_back_pages, 7);
	assert_int_equal(config.large_scans, ENGINE_LARGE_KEEP);
	assert_int_equal(config.large_hints, ENGINE_LARGE_DENSE);
	assert_int_equal(config.engine.dense_pages, 512);
	assert_int_equal(config_load(&config, file_of("[memory]\nmin_free = 5%\n"), error, sizeof(error)), 0);
	assert_int_equal(config.memory.min_free.percent, 5);
	assert_int_equal(config.memory.min_free.bytes, 0);
	assert_int_equal(config_load(&config, file_of("[memory]\nexposure_max = 16G\n"), error, sizeof(error)), 0);
	assert_int_equal(config.exposure.bytes, UINT64_C(16) << 30);
	assert_int_equal(config_load(&config, file_of("[memory]\nexposure_max = 80%\n"), error, sizeof(error)), 0);
	assert_int_equal(config.exposure.percent, 80);
	assert_int_equal(config.exposure.bytes, 0);
}

static void test_good(void **state)
{
	struct config config;
	char error[256];

	(void)state;
	assert_int_equal(config_load(&config,
				     file_of("[scan]\ninterval_seconds = 0\naudit_interval_seconds=604800\n"
					     "; one\ncpu_percent = 100\nsoft_interval_seconds = 7\n"
					     "hard_cpu_percent = 45\n[store]\nkind = memfd\nsize = 1m\n"
					     "[limits]\nvm_store_size = 8K\nvm_ram_size = 3T\n"),
				     error, sizeof(error)),
			 0);
	assert_int_equal(config.budgets[MEMORY_HIGH].interval_seconds, 0);
	assert_int_equal(config.budgets[MEMORY_SOFT].interval_seconds, 7);
	assert_int_equal(config.budgets[MEMORY_HARD].cpu_percent, 45);
	assert_int_equal(config.engine.audit_interval_seconds, 604800);
	assert_int_equal(config.budgets[MEMORY_HIGH].cpu_percent, 100);
	assert_int_equal(config.store.kind, STORE_MEMFD);
	assert_string_equal(config.store.size, "1m");
	assert_int_equal(config.engine.vm_slots_max, 2);
	assert_int_equal(config.engine.vm_ram_bytes_max, UINT64_C(3) << 40);
	assert_int_equal(config.connections_per_user, 1024);
}

static void test_bad(void **state)
{
	static const struct {
		const char *text, *said;
	} cases[] = {
		{ "[scan]\ncpu_percent = 0\n", ":2: cpu_percent = \"0\": should be a number from 1 to 100" },
		{ "[scan]\ncpu_percent = 5 %\n", "should be a number from 1 to 100" },
		{ "[scan]\nlow_interval_seconds = 0\n", "should be a number from 1 to 604800" },
		{ "[scan]\nclear_cpu_percent = 101\n", "should be a number from 1 to 100" },
		{ "[scan]\ninterval_seconds = 604801\n", "should be a number from 0 to 604800" },
		{ "[store]\nsize = 1023K\n", "should be a size of at least 1M" },
		{ "[store]\nsize = 0%\n", "or a share of RAM from 1% to 100%" },
		{ "[store]\nkind = \n", "should be one of auto, tmpfs or memfd" },
		{ "[limits]\nvm_store_size = 4095\n", "should be a size of at least 4K" },
		{ "[limits]\nvm_ram_size = 16777216T\n", "should be a size of at least 4K" },
		{ "cpu_percent = 5\n", "there is no setting \"cpu_percent\" in section []" },
		{ "[scan]\nkind = auto\n", "there is no setting \"kind\" in section [scan]" },
		{ "[scan\n", "not of the form" },
		{ "[access]\ngroup = a b\n", "should be a group's name or number, or a star for anybody" },
		{ "[access]\ngroup = 4294967295\n", "should be a group's name or number, or a star for anybody" },
		{ "[access]\nstatus = none\n", "should be one of group or all" },
		{ "[memory]\nsource = cgroup\n", ":2: source = \"cgroup\": should be host, or the path of" },
		{ "[memory]\nmin_free = 51%\n", "should be auto, a size of at least 4K, such as 2G, or a share from" },
		{ "[memory]\nmin_free = 0\n", "should be auto, a size" },
		{ "[memory]\nmin_free = automatic\n", "should be auto, a size" },
		{ "[memory]\nexposure_max = 0\n", "should be none, a size of at least 4K, such as 16G, or a share of" },
		{ "[memory]\nexposure_max = 0%\n", "or a share of what is free, from 1% to 1000%" },
		{ "[memory]\nexposure_max = 1001%\n", "should be none, a size" },
		{ "[memory]\nexposure_max = some\n", "should be none, a size" },
		{ "[memory]\nhigh_percent = 1\n", "should be a number from 2 to 10000" },
		{ "[memory]\ninterval_msec = 99\n", "should be a number from 100 to 600000" },
		{ "[memory]\nstall_msec = 2001\n", "should be a number from 0 to 2000" },
		{ "[memory]\nlarge_pages = never\n", "should be one of keep, dense or always" },
		{ "[memory]\ndense_pages = 513\n", "should be a number from 1 to 512" },
		{ "[memory]\nsoft_percent = 100\n", "[memory] clear_percent is 100, and soft_percent 100" },
		{ "[memory]\nhigh_percent = 50\n", "each has to be less than the one before" },
		{ "[domain a/b]\nuser = 0\n", "\"a/b\" cannot be a domain's name" },
		{ "[domain ..]\nuser = 0\n", "cannot be a domain's name" },
		{ "[domain a]\nusers = 0\n", "should be one of user, group, cgroup or name" },
		{ "[domain a]\nuser = no-such-user-here\n", ":2: user = \"no-such-user-here\": there is no such user" },
		{ "[domain a]\ngroup = 1x\n", "there is no such group" },
		{ "[domain a]\nuser =\n", "user has no pattern" },
		{ "[domain a]\nname = *\n", "everybody can choose a VM's name" },
	};
	struct config config = { .connections_per_user = 77 };
	char error[256];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_equal(config_load(&config, file_of(cases[i].text), error, sizeof(error)), -EINVAL);
		assert_non_null(strstr(error, cases[i].said));
		assert_int_equal(config.connections_per_user, 77); /* untouched */
	}
}

static void on_rules(const struct config_change *change)
{
	assert_string_equal(change->section, "domain");
	assert_true(change->applied);
}

static bool fit(const struct config *config, const char *domain, uid_t uid, gid_t group, const char *cgroup,
		const char *name)
{
	const struct rules_process process = {
		.uid = uid, .gid = 1, .groups = &group, .group_count = 1, .cgroup = cgroup, .name = name
	};

	return rules_fit(&config->rules, domain, &process);
}

static void test_rules(void **state)
{
	const struct rules_process process = { .uid = 9, .gid = 1, .cgroup = "/machine.slice/a.scope", .name = "b" };
	struct config config, changed;
	char error[256];

	(void)state;
	assert_int_equal(config_load(&config,
				     file_of("[domain web]\nuser = 7, root\nname = web-*\n[domain team]\ngroup = 20\n"
					     "[domain vms]\nuser = *\ncgroup = /machine.slice/* /a\n"
					     "[domain team]\ngroup = 21\n"),
				     error, sizeof(error)),
			 0);
	assert_true(fit(&config, "web", 7, 1, "", "web-1") && fit(&config, "web", 0, 1, "", "web-1"));
	assert_false(fit(&config, "web", 7, 1, "", "db") || fit(&config, "web", 8, 1, "", "web-1"));
	assert_true(fit(&config, "team", 7, 20, "", "x") && fit(&config, "team", 7, 21, "", "x"));
	assert_false(fit(&config, "team", 0, 22, "", "x") || fit(&config, "other", 0, 20, "", "x"));
	assert_true(fit(&config, "vms", 7, 1, "/a", "x") && fit(&config, "vms", 7, 1, "/machine.slice/b/c", "x"));
	assert_false(fit(&config, "vms", 7, 1, "/user.slice/machine.slice/b", "x"));
	assert_false(fit(&config, "vms", 7, 1, "", "x"));
	assert_string_equal(rules_first(&config.rules, &process), "vms");
	config_default(&changed);
	assert_null(rules_first(&changed.rules, &process));
	assert_int_equal(config_change(&changed, &config, on_rules), 1);
	assert_string_equal(rules_first(&changed.rules, &process), "vms");
	assert_int_equal(config_change(&changed, &config, on_rules), 0);
}

static void test_unreadable(void **state)
{
	struct config config = { .connections_per_user = 77 };
	char error[256];

	(void)state;
	assert_int_equal(config_load(&config, "/proc/self/no/such/file", error, sizeof(error)), -ENOENT);
	assert_non_null(strstr(error, "/proc/self/no/such/file: No such file"));
	assert_int_equal(config_load(&config, "/proc/self", error, sizeof(error)), -EISDIR);
	assert_non_null(strstr(error, "/proc/self: Is a directory"));
	assert_int_equal(config.connections_per_user, 77);
}

static unsigned applied, left;

static void on_change(const struct config_change *change)
{
	*(change->applied ? &applied : &left) += 1;
	if (strcmp(change->name, "connections_per_user") == 0) {
		assert_string_equal(change->before, "1024");
		assert_string_equal(change->after, "9");
		assert_true(change->applied);
	} else if (strcmp(change->name, "vm_store_size") == 0) {
		assert_string_equal(change->section, "limits");
		assert_string_equal(change->before, "64G");
		assert_string_equal(change->after, "96M");
		assert_true(change->applied);
	} else {
		assert_string_equal(change->section, "store");
		assert_string_equal(change->name, "kind");
		assert_false(change->applied);
	}
}

static void test_change(void **state)
{
	struct config config, wanted;

	(void)state;
	config_default(&config);
	config_default(&wanted);
	assert_int_equal(config_change(&config, &wanted, on_change), 0);
	wanted.connections_per_user = 9;
	wanted.engine.vm_slots_max = (96 << 20) / PAGE_BYTES;
	wanted.store.kind = STORE_MEMFD;
	assert_int_equal(config_change(&config, &wanted, on_change), 3);
	assert_int_equal(applied, 2);
	assert_int_equal(left, 1);
	assert_int_equal(config.connections_per_user, 9);
	assert_int_equal(config.engine.vm_slots_max, (96 << 20) / PAGE_BYTES);
	assert_int_equal(config.store.kind, STORE_AUTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_unreadable),
		cmocka_unit_test(test_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
