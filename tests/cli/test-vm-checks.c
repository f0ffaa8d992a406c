/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* doctor's judgement of VMs, from the daemon's words and a command line. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/vm-checks.h"
#include "protocol/wire.h"

static json_t *good_vm(void)
{
	json_t *vm = json_pack("{s:s, s:i, s:s, s:i, s:i, s:i, s:i, s:b, s:[]}", "name", "web1", "pid", 4711, "mode",
			       "full", "ram_bytes", 1 << 29, "mappings", 1000, "mappings_limit", 65530,
			       "kept_private_pages", 0, "connected", 1, "refused");

	assert_non_null(vm);
	return vm;
}

/** Judges @vm, which it takes over, with a QEMU command line, or none if @arguments is NULL. */
static struct findings judge(json_t *vm, char **arguments)
{
	struct vmm_process process = {
		.pid = getpid(), .arguments = arguments, .readable = true, .preload_mapped = true
	};
	struct findings findings = { 0 };

	vm_checks(vm, arguments ? &process : NULL, &findings);
	json_decref(vm);
	return findings;
}

/** Exactly one finding, of this kind. */
static void expect(struct findings findings, enum severity severity, const char *subject)
{
	if (findings.count != 1)
		fail_msg("%zu findings where one was expected: %s", findings.count, subject);
	assert_int_equal(findings.list[0].severity, severity);
	assert_string_equal(findings.list[0].subject, subject);
	assert_string_equal(findings.list[0].vm, "web1");
	assert_true(strlen(findings.list[0].remedy) > 10);
	findings_done(&findings);
}

static void expect_none(struct findings findings)
{
	if (findings.count > 0)
		fail_msg("%s", findings.list[0].text);
	findings_done(&findings);
}

static void test_good(void **state)
{
	(void)state;
	expect_none(judge(good_vm(), NULL));
}

static void test_refused(void **state)
{
	(void)state;
	/* Every reason there is has its own subject and a remedy. */
	for (uint32_t reason = 1; reason < WIRE_REASON_END; reason++) {
		json_t *refused = json_pack("[{s:s, s:s, s:i}]", "reason", wire_reason_name(reason), "text",
					    wire_reason_text(reason), "bytes", 4096);
		json_t *vm = good_vm();
		struct findings findings;

		json_object_set_new(vm, "refused", refused);
		findings = judge(vm, NULL);
		assert_null(strstr(findings.list[0].remedy, "pagefuse-doctor(1)"));
		expect(findings, SEVERITY_WARNING, wire_reason_name(reason));
	}
	json_t *vm = good_vm();

	json_object_set_new(vm, "refused",
			    json_pack("[{s:s, s:s, s:i}]", "reason", "unheard-of", "text", "?", "bytes", 1));
	json_object_set_new(vm, "ram_bytes", json_integer(0));
	expect(judge(vm, NULL), SEVERITY_ERROR, "refused");
	vm = good_vm();
	json_object_set_new(
		vm, "refused",
		json_pack("[{s:s, s:s, s:i}]", "reason", "no-userfaultfd", "text", "?", "bytes", 1 << 29));
	expect(judge(vm, NULL), SEVERITY_ERROR, "no-userfaultfd");
}

static void test_fields(void **state)
{
	json_t *vm = good_vm();

	(void)state;
	json_object_set_new(vm, "connected", json_false());
	expect(judge(vm, NULL), SEVERITY_WARNING, "not-connected");
	vm = good_vm();
	json_object_set_new(vm, "mappings", json_integer(60000));
	expect(judge(vm, NULL), SEVERITY_WARNING, "map-limit");
	vm = good_vm();
	json_object_set_new(vm, "mappings", json_integer(30000));
	expect_none(judge(vm, NULL));
	vm = good_vm();
	json_object_set_new(vm, "mappings", json_integer(30000));
	json_object_set_new(vm, "no_mapping_pages", json_integer(1));
	expect(judge(vm, NULL), SEVERITY_WARNING, "map-limit");
	vm = good_vm();
	json_object_set_new(vm, "no_mapping_pages", json_integer(1)); /* the limit has been raised since */
	expect_none(judge(vm, NULL));
	vm = good_vm();
	json_object_set_new(vm, "would_save_pages", json_integer((1 << 29) / 4096 / 100)); /* too little for a word */
	expect_none(judge(vm, NULL));
	vm = good_vm();
	json_object_set_new(vm, "would_save_pages", json_integer((1 << 29) / 4096 / 50));
	expect(judge(vm, NULL), SEVERITY_NOTE, "large-pages");
	vm = good_vm();
	json_object_set_new(vm, "kept_private_pages", json_integer(9));
	expect(judge(vm, NULL), SEVERITY_NOTE, "no-swap");
	vm = good_vm();
	json_object_set_new(vm, "exposure_held_pages", json_integer(9)); /* it goes on since */
	expect_none(judge(json_incref(vm), NULL));
	json_object_set_new(vm, "exposure_held", json_true());
	expect(judge(vm, NULL), SEVERITY_WARNING, "exposure");
	vm = good_vm();
	json_object_set_new(vm, "mode", json_string("hints"));
	expect(judge(json_incref(vm), NULL), SEVERITY_NOTE, "mode");
	json_object_set_new(vm, "mode", json_string("zero"));
	expect(judge(vm, NULL), SEVERITY_NOTE, "mode");
	vm = good_vm();
	json_object_set_new(vm, "ram_bytes", json_integer(0));
	expect(judge(vm, NULL), SEVERITY_WARNING, "no-ram");
}

/** Of a VM that shares nothing it is said who wants it so, and how to have it share. */
static void test_off(void **state)
{
	static const struct {
		bool kept, by_settings;
		const char *text;
	} cases[] = {
		{ false, false, "mode off: nothing of it is shared" },
		{ true, false, "mode off, as `pagefuse modifyvm` has kept it: nothing of it is shared" },
		{ false, true,
		  "mode off, as [vms] preload_mode says of VMs that come by the preload alone: nothing of it is "
		  "shared" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		json_t *vm = good_vm();
		struct findings findings;

		json_object_set_new(vm, "mode", json_string("off"));
		json_object_set_new(vm, "mode_kept", json_boolean(cases[i].kept));
		json_object_set_new(vm, "mode_by_settings", json_boolean(cases[i].by_settings));
		findings = judge(vm, NULL);
		assert_string_equal(findings.list[0].text, cases[i].text);
		assert_non_null(strstr(findings.list[0].remedy, "`pagefuse modifyvm web1 --page-fusion on`"));
		expect(findings, SEVERITY_ERROR, "mode");
	}
}

/** The command that is given can be pasted into a shell, whatever the VM is called. */
static void test_name_for_shell(void **state)
{
	static const struct {
		const char *name, *command;
	} cases[] = {
		{ "web-1.example", "web-1.example --mode full" },
		{ "web 1; reboot", "'web 1; reboot' --mode full" },
		{ "it's $HOME", "'it'\\''s $HOME' --mode full" },
		{ "--socket=/tmp/$x", "--mode full -- '--socket=/tmp/$x'" },
		{ "-S/tmp/x", "--mode full -- -S/tmp/x" },
	};
	char command[128];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		json_t *vm = good_vm();
		struct findings findings;

		json_object_set_new(vm, "name", json_string(cases[i].name));
		json_object_set_new(vm, "mode", json_string("zero"));
		findings = judge(vm, NULL);
		snprintf(command, sizeof(command), "`pagefuse modifyvm %s`", cases[i].command);
		assert_int_equal(findings.count, 1);
		assert_string_equal(findings.list[0].vm, cases[i].name);
		assert_non_null(strstr(findings.list[0].remedy, command));
		findings_done(&findings);
	}
}

/** A daemon that leaves everything out, or gets every type wrong, must not confuse anybody. */
static void test_hostile(void **state)
{
	struct findings findings = judge(json_object(), NULL);

	(void)state;
	findings_done(&findings);
	findings =
		judge(json_pack("{s:i, s:s, s:{}, s:s}", "name", 1, "mappings", "many", "refused", "mode", "\033[2J"),
		      NULL);
	findings_done(&findings);
}

static void test_command_line(void **state)
{
	static const struct {
		const char *option, *value, *subject; /* NULL: it does not tell why no memory is offered */
	} cases[] = {
		{ "-machine", "pc,mem-merge=off", "mem-merge" },
		{ "--machine", "mem-merge=off,accel=kvm", "mem-merge" },
		{ "-M", "q35,mem-merge=off", "mem-merge" },
		{ "-machine", "pc,mem-merge=on", NULL },
		{ "-machine", "pc,xmem-merge=off", NULL },
		{ "-object", "memory-backend-ram,id=r,size=1G", NULL },
		{ "-object", "memory-backend-ram,id=r,size=1G,share=on", "shared-mapping" },
		{ "-object", "memory-backend-ram,id=r,merge=off", NULL }, /* QEMU marks it all the same */
		{ "-object", "memory-backend-memfd,id=r,share=off", "file-backed" },
		{ "-object", "memory-backend-file,id=r,mem-path=/x", "file-backed" },
		{ "-object", "{\"qom-type\":\"memory-backend-ram\",\"id\":\"r\",\"share\":true}", "shared-mapping" },
		{ "-object", "{\"qom-type\":\"memory-backend-ram\",\"id\":\"r\",\"share\":false}", NULL },
		{ "-object", "{\"qom-type\":[", NULL },
		{ "-object", "rng-random,share=on", NULL },
		{ "-mem-path", "/x", "file-backed" },
		{ "-overcommit", "mem-lock=on", "locked" },
		{ "-overcommit", "mem-lock=off", NULL },
		{ "-device", "vfio-pci,host=01:00.0", "device-dma" },
		{ "-device", "{\"driver\":\"vfio-pci\",\"host\":\"01:00.0\"}", "device-dma" },
		{ "-device", "vhost-scsi-pci,wwpn=x", "plain-references" },
		{ "-device", "virtio-blk-pci", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *arguments[] = { (char *)"qemu-system-x86_64", (char *)cases[i].option, (char *)cases[i].value,
				      NULL };
		json_t *silent = good_vm();

		json_object_set_new(silent, "ram_bytes", json_integer(0));
		expect(judge(silent, arguments), SEVERITY_WARNING, cases[i].subject ? cases[i].subject : "no-ram");
		expect_none(judge(good_vm(), arguments)); /* its memory is offered, whatever was typed */
	}
}

/** In mounts of its own. @return 0; 1: it is called otherwise; 2: there is no such file system here. */
static int call_hugetlbfs_by_name(void)
{
	static const char *const options[][3] = {
		{ "-mem-path", "", "" },
		{ "-mem-path", "", "/gone" },
		{ "-object", "memory-backend-file,id=r,mem-path=", ",size=1G" },
		{ "-object", "{\"qom-type\":\"memory-backend-file\",\"mem-path\":\"", "\"}" },
	};
	char folder[] = "/tmp/pagefuse-checks-XXXXXX", value[128];
	int wrong = 0;

	if (unshare(CLONE_NEWNS) != 0 || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("pagefuse-test", "/tmp", "tmpfs", 0, NULL) != 0 || mkdtemp(folder) == NULL ||
	    mount("pagefuse-test", folder, "hugetlbfs", 0, NULL) != 0)
		return 2;
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		char *arguments[] = { (char *)"qemu", (char *)options[i][0], value, NULL };
		json_t *silent = good_vm();
		struct findings findings;

		snprintf(value, sizeof(value), "%s%s%s", options[i][1], folder, options[i][2]);
		json_object_set_new(silent, "ram_bytes", json_integer(0));
		findings = judge(silent, arguments);
		wrong |= findings.count != 1 || strcmp(findings.list[0].subject, "hugetlb") != 0;
		findings_done(&findings);
	}
	return wrong;
}

static void test_hugetlbfs(void **state)
{
	pid_t pid = fork();
	int status;

	(void)state;
	if (pid == 0)
		_exit(call_hugetlbfs_by_name());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 2)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

/** What the daemon has said already is not said again from the command line. */
static void test_no_repetition(void **state)
{
	char *arguments[] = { (char *)"qemu-system-x86_64", (char *)"-object", (char *)"memory-backend-ram,share=on",
			      NULL };
	json_t *vm = good_vm();

	(void)state;
	json_object_set_new(vm, "refused",
			    json_pack("[{s:s, s:s, s:i}]", "reason", "shared-mapping", "text", "mapped MAP_SHARED",
				      "bytes", 1));
	expect(judge(vm, arguments), SEVERITY_WARNING, "shared-mapping");
}

static void test_stray(void **state)
{
	static const struct {
		bool readable, mapped, asked, left_to_kernel;
		const char *socket_path, *subject;
		enum severity severity;
	} cases[] = {
		{ false, false, false, false, "", "not-shared", SEVERITY_ERROR },
		{ true, true, true, false, "", "not-connected", SEVERITY_ERROR },
		{ true, true, true, false, "/ours", "not-connected", SEVERITY_ERROR },
		{ true, true, true, false, "/theirs", "other-daemon", SEVERITY_NOTE },
		{ true, true, true, true, "/ours", "seccomp", SEVERITY_ERROR },
		{ true, false, true, false, "/ours", "preload-stripped", SEVERITY_ERROR },
		{ true, false, false, false, "", "preload-missing", SEVERITY_ERROR },
	};
	char *arguments[] = { (char *)"qemu-system-x86_64", NULL };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vmm_process process = { .pid = 4711,
					       .arguments = arguments,
					       .name = "web1",
					       .readable = cases[i].readable,
					       .preload_mapped = cases[i].mapped,
					       .preload_asked = cases[i].asked,
					       .left_to_kernel = cases[i].left_to_kernel };
		struct findings findings = { 0 };

		snprintf(process.socket_path, sizeof(process.socket_path), "%s", cases[i].socket_path);
		stray_vmm_checks(&process, "/ours", SEVERITY_ERROR, &findings);
		expect(findings, cases[i].severity, cases[i].subject);
	}
}

/* A process's environment may be any bytes; JSON has words for them all the same. */
static void test_no_utf8(void **state)
{
	char *arguments[] = { (char *)"qemu-system-x86_64", NULL };
	struct vmm_process process = { .pid = 4711,
				       .arguments = arguments,
				       .name = "web1",
				       .readable = true,
				       .preload_mapped = true,
				       .preload_asked = true,
				       .socket_path = "/their\xe9" };
	struct findings findings = { 0 };
	json_t *json;
	char *text;

	(void)state;
	stray_vmm_checks(&process, "/ours", SEVERITY_ERROR, &findings);
	json = findings_json(&findings);
	assert_non_null(json);
	text = json_dumps(json, 0);
	assert_non_null(text);
	assert_non_null(strstr(text, "/their\\\\xe9"));
	free(text);
	json_decref(json);
	findings_done(&findings);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_off),
		cmocka_unit_test(test_name_for_shell),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_command_line),
		cmocka_unit_test(test_hugetlbfs),
		cmocka_unit_test(test_no_repetition),
		cmocka_unit_test(test_stray),
		cmocka_unit_test(test_no_utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
