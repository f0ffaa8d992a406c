/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading facts from /proc and /sys, below a directory of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/host-facts.h"

static char root[128];

static void put(const char *path, const char *text)
{
	char full[512];
	FILE *file;

	snprintf(full, sizeof(full), "%s%s", root, path);
	for (char *c = full + strlen(root) + 1; *c != '\0'; c++) {
		if (*c != '/')
			continue;
		*c = '\0';
		mkdir(full, 0755);
		*c = '/';
	}
	file = fopen(full, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static int make_root(void **state)
{
	const char *folder = getenv("TMPDIR");

	(void)state;
	snprintf(root, sizeof(root), "%s/pagefuse-facts-XXXXXX", folder ? folder : "/tmp");
	return mkdtemp(root) == NULL;
}

static int remove_root(void **state)
{
	char command[sizeof(root) + 32];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	return system(command); /* NOLINT(cert-env33-c): a constant */
}

static void test_nothing_there(void **state)
{
	struct host_facts facts;

	(void)state;
	put("/proc/6/cgroup", "4:cpu,memory:/vms/daemon\n3:memory_other:/x\n0::/\n");
	put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
	put("/sys/fs/cgroup/memory/vms/memory.limit_in_bytes", "2147483648\n");
	put("/sys/fs/cgroup/memory/vms/daemon/memory.limit_in_bytes", "9223372036854771712\n");
	host_facts_read(root, 6, &facts);
	assert_int_equal(facts.daemon_memory_limit_bytes, UINT64_C(2) << 30);
	host_facts_read(root, 5, &facts);
	assert_string_equal(facts.kernel_release, "");
	assert_int_equal(facts.kernel.major, 0);
	assert_int_equal(facts.max_map_count, FACT_UNKNOWN);
	assert_int_equal(facts.ksm_run, FACT_UNKNOWN);
	assert_int_equal(facts.ram_bytes, FACT_UNKNOWN);
	assert_int_equal(facts.swap_bytes, FACT_UNKNOWN);
	assert_string_equal(facts.thp, "");
	assert_false(facts.nested_kvm);
	assert_true(facts.daemon_memory_limit_bytes == UINT64_MAX);
}

static void test_all_there(void **state)
{
	struct host_facts facts;

	(void)state;
	put("/proc/sys/kernel/osrelease", "6.12.43-amd64\n");
	put("/proc/sys/vm/max_map_count", "65530\n");
	put("/proc/sys/vm/unprivileged_userfaultfd", "0\n");
	put("/sys/kernel/mm/ksm/run", "1\n");
	put("/proc/meminfo", "MemTotal:       24576000 kB\nMemFree: 1 kB\nSwapTotal:          100 kB\n");
	put("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
	put("/sys/module/kvm_intel/parameters/nested", "N\n");
	put("/sys/module/kvm_amd/parameters/nested", "1\n");
	put("/proc/5/cgroup", "1:name=systemd:/x\n0::/system.slice/pagefused.service\n");
	put("/sys/fs/cgroup/system.slice/memory.max", "1073741824\n");
	put("/sys/fs/cgroup/system.slice/pagefused.service/memory.max", "max\n");
	host_facts_read(root, 5, &facts);
	assert_string_equal(facts.kernel_release, "6.12.43-amd64");
	assert_int_equal(facts.kernel.major, 6);
	assert_int_equal(facts.kernel.minor, 12);
	assert_int_equal(facts.kernel.patch, 43);
	assert_int_equal(facts.max_map_count, 65530);
	assert_int_equal(facts.unprivileged_userfaultfd, 0);
	assert_int_equal(facts.ksm_run, 1);
	assert_int_equal(facts.ram_bytes, INT64_C(24576000) * 1024);
	assert_int_equal(facts.swap_bytes, 102400);
	assert_string_equal(facts.thp, "madvise");
	assert_true(facts.nested_kvm);
	assert_true(facts.daemon_memory_limit_bytes == UINT64_C(1) << 30);
	host_facts_read(root, 0, &facts);
	assert_true(facts.daemon_memory_limit_bytes == UINT64_MAX);
}

static void test_version(void **state)
{
	struct kernel_version version = { 1, 2, 3 };

	(void)state;
	assert_true(kernel_version_parse("6.8", &version));
	assert_int_equal(version.patch, 0);
	assert_false(kernel_version_parse("linux", &version));
	assert_false(kernel_version_parse("", &version));
	assert_int_equal(version.major, 6);
	assert_true(kernel_version_compare((struct kernel_version){ 6, 8, 0 }, (struct kernel_version){ 6, 12, 0 }) <
		    0);
	assert_true(kernel_version_compare((struct kernel_version){ 7, 0, 0 }, (struct kernel_version){ 6, 99, 9 }) >
		    0);
	assert_true(kernel_version_compare(version, version) == 0);
}

/** Whatever this kernel can do, asking it must not fail in unknown ways nor leave descriptors open. */
static void test_probe(void **state)
{
	struct host_facts facts = { 0 };
	int before = dup(0), after;

	(void)state;
	close(before);
	host_facts_probe(&facts);
	after = dup(0);
	close(after);
	assert_int_equal(before, after);
	assert_true(-facts.userfaultfd_error >= 0 && -facts.userfaultfd_error <= 4095);
	assert_true(-facts.userfaultfd_device_error >= 0 && -facts.userfaultfd_device_error <= 4095);
	assert_true(-facts.pagemap_scan_error >= 0 && -facts.pagemap_scan_error <= 4095);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_there),
		cmocka_unit_test(test_all_there),
		cmocka_unit_test(test_version),
		cmocka_unit_test(test_probe),
	};

	return cmocka_run_group_tests(tests, make_root, remove_root);
}
