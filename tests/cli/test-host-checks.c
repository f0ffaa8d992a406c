/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* doctor's judgement of hosts: a good one gets no findings, and each fault of a host gets its own. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cli/host-checks.h"
#include "cli/kernel-probe.h"

static const struct host_facts good = {
	.kernel = { 6, 18, 44 },
	.kernel_release = "6.18.44-good",
	.userfaultfd_full = true,
	.userfaultfd_features = PROBE_FEATURE_MOVE | PROBE_FEATURE_WP_SHMEM,
	.max_map_count = 1048576,
	.unprivileged_userfaultfd = 0,
	.ksm_run = 0,
	.ram_bytes = INT64_C(24) << 30,
	.swap_bytes = INT64_C(1) << 30,
	.thp = "madvise",
	.daemon_memory_limit_bytes = UINT64_MAX,
	.user = 1000,
};

/** @facts get exactly one finding, of this kind, whose text or remedy has @part. */
static void expect_finding(const struct host_facts *facts, enum severity severity, const char *subject,
			   const char *part)
{
	struct findings findings = { 0 };

	host_checks(facts, &findings);
	assert_int_equal(findings.count, 1);
	assert_int_equal(findings.list[0].severity, severity);
	assert_string_equal(findings.list[0].subject, subject);
	assert_null(findings.list[0].vm);
	if (strstr(findings.list[0].text, part) == NULL && strstr(findings.list[0].remedy, part) == NULL)
		fail_msg("no '%s' in: %s / %s", part, findings.list[0].text, findings.list[0].remedy);
	findings_done(&findings);
}

static void expect_nothing(const struct host_facts *facts)
{
	struct findings findings = { 0 };

	host_checks(facts, &findings);
	if (findings.count > 0)
		fail_msg("%s: %s", facts->kernel_release, findings.list[0].text);
	findings_done(&findings);
}

static void test_good(void **state)
{
	(void)state;
	expect_nothing(&good);
}

static void test_kernel(void **state)
{
	static const struct {
		const char *release;
		int severity; /* -1: none */
	} kernels[] = {
		{ "5.10.0", SEVERITY_ERROR },
		{ "6.7.12-amd64", SEVERITY_ERROR },
		{ "6.8.0", SEVERITY_WARNING },
		{ "6.12.42", SEVERITY_WARNING },
		{ "6.12.43+deb13", -1 },
		{ "6.12.99", -1 },
		{ "6.13.0", SEVERITY_WARNING },
		{ "6.17.9", SEVERITY_WARNING },
		{ "6.18.19", SEVERITY_WARNING },
		{ "6.18.20", -1 },
		{ "6.19.0-rc1", SEVERITY_WARNING },
		{ "6.19.10", -1 },
		{ "7.0.0", -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(kernels) / sizeof(kernels[0]); i++) {
		struct host_facts facts = good;

		snprintf(facts.kernel_release, sizeof(facts.kernel_release), "%s", kernels[i].release);
		assert_true(kernel_version_parse(facts.kernel_release, &facts.kernel));
		if (kernels[i].severity < 0)
			expect_nothing(&facts);
		else
			expect_finding(&facts, (enum severity)kernels[i].severity, "kernel", kernels[i].release);
	}
}

static void test_userfaultfd(void **state)
{
	struct host_facts facts = good;

	(void)state;
	facts.userfaultfd_error = -ENOSYS;
	expect_finding(&facts, SEVERITY_ERROR, "userfaultfd", "CONFIG_USERFAULTFD");
	facts.userfaultfd_error = -EPERM;
	expect_finding(&facts, SEVERITY_ERROR, "userfaultfd", "Operation not permitted");
	facts.userfaultfd_error = 0;
	facts.userfaultfd_features = PROBE_FEATURE_WP_SHMEM;
	expect_finding(&facts, SEVERITY_ERROR, "userfaultfd", "UFFDIO_MOVE");
	facts.userfaultfd_features = PROBE_FEATURE_MOVE;
	expect_finding(&facts, SEVERITY_WARNING, "userfaultfd", "write-protect");
}

static void test_unprivileged(void **state)
{
	struct host_facts facts = good;

	(void)state;
	facts.userfaultfd_full = false;
	facts.userfaultfd_device_error = -EACCES;
	host_facts_daemon(&facts, NULL);
	expect_finding(&facts, SEVERITY_ERROR, "unprivileged-userfaultfd", "vm.unprivileged_userfaultfd=0");
	expect_finding(&facts, SEVERITY_ERROR, "unprivileged-userfaultfd", "setfacl -m u:1000:rw /dev/userfaultfd");
	facts.user = 0;
	expect_finding(&facts, SEVERITY_ERROR, "unprivileged-userfaultfd", "CAP_SYS_PTRACE");
	facts.user = 1000;
	facts.userfaultfd_device_error = 0;
	host_facts_daemon(&facts, NULL);
	expect_nothing(&facts);
}

/* Who lends one: a daemon of this user's can do what he can, root's what there is, one from elsewhere may. */
static void test_lent(void **state)
{
	static const struct {
		struct ucred peer;
		int device_error;
		bool lent;
	} cases[] = {
		{ { .pid = 7, .uid = 1000 }, -EACCES, false },
		{ { .pid = 7, .uid = 1000 }, 0, true },
		{ { .pid = 7, .uid = 0 }, -EACCES, true },
		{ { .pid = 7, .uid = 0 }, -ENOENT, false },
		{ { .pid = 0, .uid = 0 }, -ENOENT, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct host_facts facts = good;

		facts.userfaultfd_full = false;
		facts.userfaultfd_device_error = cases[i].device_error;
		host_facts_daemon(&facts, &cases[i].peer);
		assert_int_equal(facts.userfaultfd_lent, cases[i].lent);
		if (cases[i].lent) {
			expect_nothing(&facts);
			facts.userfaultfd_error = -EPERM; /* a sandbox forbids the call, and the device needs none */
			expect_nothing(&facts);
		} else {
			expect_finding(&facts, SEVERITY_ERROR, "unprivileged-userfaultfd", "runs as root");
		}
	}
}

/* What another kernel only can cure is told from what a right can. */
static void test_unfit_kernel(void **state)
{
	struct host_facts facts = good;

	(void)state;
	facts.userfaultfd_full = false;
	assert_false(host_kernel_is_unfit(&facts));
	facts.userfaultfd_error = -EPERM;
	facts.userfaultfd_features = 0;
	assert_false(host_kernel_is_unfit(&facts));
	facts.userfaultfd_error = -ENOSYS;
	assert_true(host_kernel_is_unfit(&facts));
	facts.userfaultfd_error = 0;
	assert_true(host_kernel_is_unfit(&facts));
	facts = good;
	facts.pagemap_scan_error = -ENOTTY;
	assert_true(host_kernel_is_unfit(&facts));
}

static void test_pagemap(void **state)
{
	struct host_facts facts = good;

	(void)state;
	facts.pagemap_scan_error = -ENOTTY;
	expect_finding(&facts, SEVERITY_ERROR, "pagemap", "PAGEMAP_SCAN");
	facts.pagemap_scan_error = -ENOENT;
	expect_finding(&facts, SEVERITY_ERROR, "pagemap", "Mount /proc");
}

static void test_max_map_count(void **state)
{
	struct host_facts facts = good;

	(void)state;
	facts.max_map_count = 65530;
	expect_finding(&facts, SEVERITY_WARNING, "max-map-count", "vm.max_map_count=1048576");
	expect_finding(&facts, SEVERITY_WARNING, "max-map-count", "2.56G");
	facts.ram_bytes = INT64_C(2) << 30;
	expect_nothing(&facts);
	facts.ram_bytes = FACT_UNKNOWN;
	expect_nothing(&facts);
	assert_true(max_map_count_for(INT64_MAX) <= INT32_MAX);
}

static void test_others(void **state)
{
	struct host_facts facts = good;

	(void)state;
	facts.ksm_run = 1;
	expect_finding(&facts, SEVERITY_WARNING, "ksm", "/sys/kernel/mm/ksm/run");
	facts.ksm_run = FACT_UNKNOWN;
	expect_nothing(&facts);
	facts.swap_bytes = 0;
	expect_finding(&facts, SEVERITY_NOTE, "swap", "swap");
	facts = good;
	snprintf(facts.thp, sizeof(facts.thp), "always");
	expect_finding(&facts, SEVERITY_NOTE, "thp", "2 MiB");
	facts = good;
	facts.daemon_memory_limit_bytes = UINT64_C(512) << 20;
	expect_finding(&facts, SEVERITY_WARNING, "memory-cgroup", "512M");
	facts = good;
	facts.nested_kvm = true;
	expect_nothing(&facts);
	facts.kernel = (struct kernel_version){ 6, 12, 50 };
	expect_finding(&facts, SEVERITY_WARNING, "nested", "6.13");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_kernel),
		cmocka_unit_test(test_userfaultfd),
		cmocka_unit_test(test_unprivileged),
		cmocka_unit_test(test_lent),
		cmocka_unit_test(test_unfit_kernel),
		cmocka_unit_test(test_pagemap),
		cmocka_unit_test(test_max_map_count),
		cmocka_unit_test(test_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
