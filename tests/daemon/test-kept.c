/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/kept.h"

#define UUID "6ba7b810-9dad-11d1-80b4-00c04fd430c8"

static char directory[64], path[96], subuids_path[96];
static struct subuids subuids;
static sd_event *event;

static int set_up(void **state)
{
	(void)state;
	snprintf(directory, sizeof(directory), "/tmp/pagefuse-kept-XXXXXX");
	if (mkdtemp(directory) == NULL || sd_event_new(&event) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/deep/er/vms.json", directory);
	snprintf(subuids_path, sizeof(subuids_path), "%s/subuid", directory);
	subuids_init(&subuids, subuids_path);
	return 0;
}

static void remove_at(const char *below)
{
	char name[128];

	snprintf(name, sizeof(name), "%s/%s", directory, below);
	(void)remove(name);
}

static int tear_down(void **state)
{
	(void)state;
	remove_at("deep/er/vms.json");
	remove_at("deep/er");
	remove_at("deep");
	remove_at("subuid");
	subuids_done(&subuids);
	event = sd_event_unref(event);
	return rmdir(directory);
}

static void write_file(const char *name, const char *text)
{
	FILE *file = fopen(name, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void write_text(const char *text)
{
	snprintf(path, sizeof(path), "%s/deep", directory);
	write_file(path, text);
}

/* What it says of a file with @text, which stays as it is. */
static void expect_problem(const char *text, const char *problem)
{
	const uint8_t none[UUID_BYTES] = { 0 };
	char now[4096] = "";
	struct kept kept;
	FILE *file;

	write_text(text);
	assert_int_equal(kept_open(&kept, event, &subuids, path), 0);
	if (strstr(kept.problem, problem) == NULL || strstr(kept.problem, path) == NULL)
		fail_msg("%s: \"%s\", not \"%s\"", text, kept.problem, problem);
	assert_null(kept_find(&kept, 7, none, "a"));
	assert_int_equal(kept_set_named(&kept, 7, "b", WIRE_MODE_OFF), 0);
	kept_close(&kept);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_true(fread(now, 1, sizeof(now) - 1, file) == strlen(text));
	fclose(file);
	assert_string_equal(now, text);
}

#define LIST(vms) "{\"format\": 1, \"vms\": [" vms "]}"

static void test_damaged(void **state)
{
	(void)state;
	expect_problem("", "line 1: ");
	expect_problem("{", "line 1: ");
	expect_problem("[]", "an object with a number \"format\"");
	expect_problem("{\"format\": 1}", "a list \"vms\"");
	expect_problem("{\"format\": \"1\", \"vms\": []}", "a number \"format\"");
	expect_problem("{\"format\": 2, \"vms\": []}", "it is of format 2, but pagefused");
	expect_problem(LIST("7"), "VM 1 of the list: it has to be an object");
	expect_problem(LIST("{\"name\": \"a\"}"), "\"mode\" is missing");
	expect_problem(LIST("{\"mode\": \"off\"}"), "\"name\" is missing");
	expect_problem(LIST("{\"name\": \"a b\", \"mode\": \"off\"}"), "no blanks");
	expect_problem(LIST("{\"name\": \"\", \"mode\": \"off\"}"), "no blanks");
	expect_problem(LIST("{\"name\": \"a\", \"mode\": \"on\"}"), "\"mode\" has to be off, zero, hints or full");
	expect_problem(LIST("{\"name\": \"a\", \"mode\": \"off\", \"user\": -1}"), "\"user\" has to be a user's");
	expect_problem(LIST("{\"name\": \"a\", \"mode\": \"off\", \"user\": 4294967295}"), "a user's number");
	expect_problem(LIST("{\"name\": \"a\", \"mode\": \"off\", \"uuid\": \"1\"}"), "\"uuid\" has to be one");
	expect_problem(LIST("{\"name\": \"a\", \"mode\": \"off\", \"age\": 7}"), "\"age\" is not known");
	expect_problem(LIST("{\"name\": \"a\", \"mode\": \"off\"}, {\"name\": \"a\", \"mode\": \"full\"}"),
		       "VM 2 of the list: \"a\" is there already");
	expect_problem("{\"format\": 1, \"format\": 1, \"vms\": []}", "duplicate");
}

/* What somebody else can change decides nothing. */
static void test_owner(void **state)
{
	struct kept kept;

	(void)state;
	if (geteuid() != 0)
		skip();
	write_text(LIST("{\"name\": \"a\", \"mode\": \"full\"}"));
	assert_int_equal(chown(path, 65534, 65534), 0);
	assert_int_equal(kept_open(&kept, event, &subuids, path), 0);
	assert_non_null(strstr(kept.problem, "it has to belong to this user or to root"));
	assert_true(STAILQ_EMPTY(&kept.vms.list));
	assert_int_equal(chown(path, 0, 0), 0);
	assert_int_equal(kept_reload(&kept), 0);
	assert_false(STAILQ_EMPTY(&kept.vms.list));
	kept_close(&kept);
}

static const struct kept_vm *find(const struct kept *kept, uid_t user, const char *uuid, const char *name)
{
	uint8_t bytes[UUID_BYTES] = { 0 };

	if (uuid)
		assert_int_equal(uuid_parse(uuid, bytes), 0);
	return kept_find(kept, user, bytes, name);
}

static void expect_mode(const struct kept *kept, uid_t user, const char *uuid, const char *name, unsigned mode)
{
	const struct kept_vm *vm = find(kept, user, uuid, name);

	assert_int_equal(vm ? vm->mode : 0, mode);
}

/* The user's own before root's, a UUID before a name; written, and read again the same. */
static void test_order(void **state)
{
	struct kept_vm by_uuid = { .name = "a", .user = 7 };
	struct kept kept;

	(void)state;
	assert_int_equal(uuid_parse(UUID, by_uuid.uuid), 0);
	assert_int_equal(kept_open(&kept, event, &subuids, path), 0);
	assert_int_equal(kept_set_named(&kept, KEPT_ANY_USER, "a", WIRE_MODE_OFF), 0);
	expect_mode(&kept, 7, NULL, "a", WIRE_MODE_OFF);
	expect_mode(&kept, 7, UUID, "a", WIRE_MODE_OFF);
	expect_mode(&kept, 7, NULL, "b", 0);
	assert_int_equal(kept_set_named(&kept, 7, "a", WIRE_MODE_ZERO), 0);
	expect_mode(&kept, 7, UUID, "a", WIRE_MODE_ZERO);
	expect_mode(&kept, 8, UUID, "a", WIRE_MODE_OFF);
	assert_int_equal(kept_set(&kept, &by_uuid, WIRE_MODE_HINTS), 0);
	kept_close(&kept);
	assert_int_equal(kept_open(&kept, event, &subuids, path), 0);
	assert_string_equal(kept.problem, "");
	expect_mode(&kept, 7, UUID, "b", WIRE_MODE_HINTS);
	expect_mode(&kept, 7, UUID, "a", WIRE_MODE_HINTS);
	expect_mode(&kept, 7, NULL, "a", WIRE_MODE_ZERO);
	expect_mode(&kept, 8, UUID, "a", WIRE_MODE_OFF);
	/* Root speaks for all of a name. */
	assert_int_equal(kept_set_named(&kept, KEPT_ANY_USER, "a", WIRE_MODE_FULL), 0);
	expect_mode(&kept, 7, UUID, "b", WIRE_MODE_FULL);
	expect_mode(&kept, 7, NULL, "a", WIRE_MODE_FULL);
	assert_int_equal(kept_forget(&kept, 7, "b", by_uuid.uuid), 1);
	expect_mode(&kept, 7, UUID, "b", 0);
	assert_int_equal(kept_forget(&kept, KEPT_ANY_USER, "a", (const uint8_t[UUID_BYTES]){ 0 }), 2);
	expect_mode(&kept, 7, UUID, "a", 0);
	kept_close(&kept);
}

/* @return how many VMs more are kept of @user, up to @most. */
static unsigned fill(struct kept *kept, uid_t user, unsigned most)
{
	static unsigned number;
	char name[32];
	unsigned count = 0;

	for (int r = 0; r == 0 && count < most; count += r == 0) {
		snprintf(name, sizeof(name), "vm-%u", number++);
		r = kept_set_named(kept, user, name, WIRE_MODE_OFF);
		assert_true(r == 0 || r == -EDQUOT);
	}
	return count;
}

/* Users have limits, each and together; root has none. Who comes late finds something left for a long time. */
static void test_limits(void **state)
{
	struct kept kept;
	unsigned all = 1, users = 1, count;

	(void)state;
	assert_int_equal(kept_open(&kept, event, &subuids, ""), 0);
	assert_non_null(strstr(kept.problem, "there is no place for it"));
	assert_int_equal(kept_set_named(&kept, 1, "mine", WIRE_MODE_OFF), 0);
	assert_int_equal(fill(&kept, KEPT_ANY_USER, 10), 10);
	assert_int_equal(fill(&kept, 0, 2 * KEPT_PER_USER), 2 * KEPT_PER_USER);
	for (; (count = fill(&kept, 1 + users, KEPT_MAX)) > 0; users++) {
		assert_true(count == KEPT_PER_USER || count == (KEPT_MAX - all + 1) / 2);
		all += count;
	}
	assert_int_equal(all, KEPT_MAX);
	assert_in_range(users, KEPT_MAX / KEPT_PER_USER + 8, 2 * KEPT_MAX / KEPT_PER_USER + 2);
	assert_int_equal(kept_set_named(&kept, 1, "more", WIRE_MODE_OFF), -EDQUOT);
	assert_int_equal(kept_set_named(&kept, 1, "mine", WIRE_MODE_FULL), 0);
	assert_int_equal(kept_set_named(&kept, KEPT_ANY_USER, "more", WIRE_MODE_OFF), 0);
	kept_close(&kept);
}

/* Whoever has a range of user numbers has no more by them. */
static void test_range_of_numbers(void **state)
{
	struct kept kept;

	(void)state;
	write_file(subuids_path, "somebody:100000:65536\nother:165536:65536\n");
	assert_int_equal(kept_open(&kept, event, &subuids, ""), 0);
	for (uid_t i = 0; i < 8; i++)
		assert_int_equal(fill(&kept, 100000 + i * 8000, KEPT_PER_USER / 8), KEPT_PER_USER / 8);
	assert_int_equal(fill(&kept, 165535, 1), 0);
	assert_int_equal(fill(&kept, 165536, 1), 1);
	assert_int_equal(fill(&kept, 1000, 1), 1);
	kept_close(&kept);
}

/* What is said while the file cannot be read goes before what is in it once it can. */
static void test_said_meanwhile(void **state)
{
	struct kept kept;

	(void)state;
	write_text("{");
	assert_int_equal(kept_open(&kept, event, &subuids, path), 0);
	assert_int_equal(kept_set_named(&kept, 7, "a", WIRE_MODE_ZERO), 0);
	assert_int_equal(kept_set_named(&kept, 7, "b", WIRE_MODE_OFF), 0);
	write_text(LIST("{\"name\": \"a\", \"user\": 7, \"mode\": \"full\"}, {\"name\": \"c\", \"mode\": \"hints\"}"));
	assert_int_equal(kept_reload(&kept), 0);
	for (unsigned times = 0; times < 2; times++) {
		expect_mode(&kept, 7, NULL, "a", WIRE_MODE_ZERO);
		expect_mode(&kept, 7, NULL, "b", WIRE_MODE_OFF);
		expect_mode(&kept, 7, NULL, "c", WIRE_MODE_HINTS);
		kept_close(&kept);
		assert_int_equal(kept_open(&kept, event, &subuids, path), 0);
	}
	kept_close(&kept);
}

#define MANY 60000u

static enum wire_mode mode_of(unsigned i)
{
	return i % 2 ? WIRE_MODE_ZERO : WIRE_MODE_OFF;
}

static void expect_many(const struct kept *kept, unsigned of, unsigned forgotten)
{
	char uuid[UUID_TEXT], name[32];

	for (unsigned i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "vm-%u", i);
		snprintf(uuid, sizeof(uuid), "6ba7b810-9dad-11d1-80b4-%012x", i + 1);
		expect_mode(kept, i, i % 2 ? uuid : NULL, i % 2 ? "" : name,
			    i % of == forgotten ? 0 : mode_of(i));
	}
}

/* Of root's there may be as many as the file can hold: each is found, none twice, and what is forgotten is no more. */
static void test_many(void **state)
{
	const uint8_t none[UUID_BYTES] = { 0 };
	struct kept kept;
	char name[32];
	FILE *file;

	(void)state;
	write_text("");
	file = fopen(path, "w");
	assert_non_null(file);
	fputs("{\"format\": 1, \"vms\": [", file);
	for (unsigned i = 0; i < MANY; i++) {
		fprintf(file, "%s{\"name\": \"vm-%u\", \"user\": %u, \"mode\": \"%s\"", i ? "," : "", i, i,
			wire_mode_name(mode_of(i)));
		if (i % 2)
			fprintf(file, ", \"uuid\": \"6ba7b810-9dad-11d1-80b4-%012x\"", i + 1);
		fputc('}', file);
	}
	fputs("]}", file);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(kept_open(&kept, event, &subuids, path), 0);
	assert_string_equal(kept.problem, "");
	expect_many(&kept, MANY, MANY);
	for (unsigned i = 3; i < MANY; i += 1000) {
		snprintf(name, sizeof(name), "vm-%u", i);
		assert_int_equal(kept_forget(&kept, i, name, none), 1);
		assert_int_equal(kept_forget(&kept, i, name, none), 0);
	}
	expect_many(&kept, 1000, 3);
	kept_close(&kept);
	assert_int_equal(kept_open(&kept, event, &subuids, path), 0);
	expect_many(&kept, 1000, 3);
	kept_close(&kept);
}

static void test_uuid(void **state)
{
	static const char *const bad[] = {
		"",
		"6ba7b810",
		"6ba7b8109dad11d180b400c04fd430c8",
		"6ba7b810-9dad-11d1-80b4-00c04fd430c",
		"6ba7b810-9dad-11d1-80b4-00c04fd430c89",
		"6ba7b810-9dad-11d1-80b4-00c04fd430cg",
		"00000000-0000-0000-0000-000000000000",
		"6ba7b810-9dad-11d1-80b400-c04fd430c8",
	};
	char *qemu[] = { "/usr/bin/qemu-system-x86_64", "-uuid", UUID, "--name", "guest=a,,b,process=c", NULL };
	char *other[] = { "vmm", "-uuid", UUID, NULL };
	char text[UUID_TEXT], name[WIRE_NAME_MAX];
	uint8_t uuid[UUID_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(uuid_parse(bad[i], uuid), -EINVAL);
		assert_false(uuid_is_set(uuid));
	}
	assert_int_equal(uuid_parse("6BA7B810-9DAD-11D1-80B4-00C04FD430C8", uuid), 0);
	uuid_text(uuid, text);
	assert_string_equal(text, UUID);
	assert_true(vm_identity_uuid(qemu, uuid));
	uuid_text(uuid, text);
	assert_string_equal(text, UUID);
	assert_false(vm_identity_uuid(other, uuid));
	vm_identity_name(qemu, 7, name, sizeof(name));
	assert_string_equal(name, "a,b");
	vm_identity_name(other, 7, name, sizeof(name));
	assert_string_equal(name, "vmm-7");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_damaged, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_owner, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_limits, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_range_of_numbers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_said_meanwhile, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_many, set_up, tear_down),
		cmocka_unit_test(test_uuid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
