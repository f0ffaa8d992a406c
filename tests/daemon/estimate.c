/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What sharing everything would save, as the CLI asks for it: VMs whose contents are known and whose 2 MiB pages stay
 * whole, so that nothing is shared; in two domains, and one of which only zeros are looked for. Nothing is merged for
 * it; and once 2 MiB pages may be split what is saved is what was said.
 */
#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define ALICE 1001
#define BOB 1002
#define NOBODY 65534

static struct instance instance;
static char figures[128];

static void settings(const char *large_pages)
{
	char text[400];

	snprintf(text, sizeof(text),
		 "[memory]\nsource = %s\ninterval_msec = 100\nlarge_pages = %s\nlarge_pages_hints = %s\n"
		 "[domain team]\nuser = %d %d\nname = team-*\n",
		 figures, large_pages, large_pages, ALICE, BOB);
	instance_settings(&instance, text);
}

/* The host of the test has plenty of memory, whatever that of the daemon has. */
static void write_figures(void)
{
	FILE *file;

	snprintf(figures, sizeof(figures), "%s/figures", instance.directory);
	file = fopen(figures, "we");
	test_check(file && fputs("MemTotal: 1048576 kB\nMemAvailable: 1000000 kB\n", file) >= 0 && fclose(file) == 0,
		   "%s: %s", figures, strerror(errno));
}

/* @rest: more members of the request, each with a comma before it. */
static json_t *ask(const char *rest)
{
	char request[512];

	test_check(snprintf(request, sizeof(request), "{\"command\":\"estimate\"%s}", rest) < (int)sizeof(request),
		   "%s is too long", rest);
	return instance_ask(&instance, request);
}

/* One that begins from now on. */
static json_t *estimate(const char *rest)
{
	uint64_t last = test_patient_msec() + TEST_DEADLINE_SECONDS * 1000;
	json_t *reply = ask(rest);
	long long done, total;
	char again[256];

	while (!json_is_true(json_object_get(reply, "finished"))) {
		long long since = (long long)json_integer_value(json_object_get(reply, "since"));

		done = (long long)json_integer_value(json_object_get(reply, "done_pages"));
		total = (long long)json_integer_value(json_object_get(reply, "total_pages"));
		test_check(json_object_get(reply, "error") == NULL, "no estimate: %s", json_dumps(reply, 0));
		test_check(done >= 0 && done <= total, "%lld of %lld pages are done", done, total);
		test_check(test_patient_msec() < last, "the estimate does not end");
		json_decref(reply);
		poll(NULL, 0, 10);
		snprintf(again, sizeof(again), ",\"since\":%lld%s", since, rest);
		reply = ask(again);
	}
	return reply;
}

static json_t *find(const json_t *reply, const char *list, const char *name)
{
	json_t *object;
	size_t i;

	json_array_foreach(json_object_get(reply, list), i, object)
		if (strcmp(json_string_value(json_object_get(object, "name")), name) == 0)
			return object;
	test_fail("%s is missing in %s: %s", name, list, json_dumps(reply, 0));
}

static void expect(const json_t *object, const char *field, long long value)
{
	long long seen = (long long)json_integer_value(json_object_get(object, field));

	test_check(json_is_integer(json_object_get(object, field)) && seen == value, "%s is %lld, not %lld: %s", field,
		   seen, value, json_dumps(object, 0));
}

static void expect_count(const json_t *reply, const char *list, size_t count)
{
	const json_t *array = json_object_get(reply, list);

	test_check(json_is_array(array) && json_array_size(array) == count, "not %zu %s: %s", count, list,
		   json_dumps(reply, 0));
}

static void expect_error(const char *rest, const char *code)
{
	json_t *reply = ask(rest);
	const char *seen = json_string_value(json_object_get(json_object_get(reply, "error"), "code"));

	test_check(seen && strcmp(seen, code) == 0, "%s: %s, not %s", rest, seen ? seen : "no error", code);
	json_decref(reply);
}

static bool has_name(const json_t *names, const char *name)
{
	json_t *entry;
	size_t i;

	json_array_foreach(names, i, entry)
		if (strcmp(json_string_value(entry), name) == 0)
			return true;
	return false;
}

static void expect_pair(const json_t *reply, const char *a, const char *b, long long common, long long shared)
{
	json_t *pair;
	size_t i;

	json_array_foreach(json_object_get(reply, "pairs"), i, pair) {
		const json_t *names = json_object_get(pair, "names");

		if (!has_name(names, a) || !has_name(names, b))
			continue;
		expect(pair, "common_pages", common);
		expect(pair, "shared_pages", shared);
		return;
	}
	test_fail("no pair of %s and %s: %s", a, b, json_dumps(reply, 0));
}

/* The largest come first. */
static void expect_order(const json_t *reply)
{
	long long last = INT64_MAX;
	json_t *pair;
	size_t i;

	json_array_foreach(json_object_get(reply, "pairs"), i, pair) {
		long long common = (long long)json_integer_value(json_object_get(pair, "common_pages"));

		test_check(common <= last, "pair %zu is larger than the one before: %s", i, json_dumps(reply, 0));
		last = common;
	}
}

/* ---- */

static struct fake_vmm start(const char *name, uid_t uid, uint32_t common, enum wire_mode mode)
{
	const struct fake_options options = {
		.name = name, .pages = 1024, .common = common, .zero = 12, .large = true, .uid = uid, .mode = mode
	};

	return fake_start(instance.socket, &options);
}

static void check_all(void)
{
	json_t *reply = estimate(""), *alice;

	expect_count(reply, "domains", 2);
	expect_count(reply, "vms", 5);
	alice = find(reply, "domains", "uid-1001");
	expect(alice, "vms", 4);
	expect(alice, "one_in", 1);
	expect(alice, "shared_pages", 0);
	expect(alice, "saved_pages", 0);
	expect(alice, "would_share_pages", 500 + 300);
	expect(alice, "would_zero_pages", 48);
	expect(alice, "would_save_pages", 500 + 300 + 48);
	expect(find(reply, "domains", "uid-1002"), "would_share_pages", 0);
	expect(find(reply, "vms", "a1"), "looked_pages", 1024);
	test_check(json_is_real(json_object_get(find(reply, "vms", "a1"), "looked_seconds")), "a1 was not looked at");
	expect(find(reply, "vms", "a1"), "would_share_pages", 100 + 300 * 2 / 3);
	expect(find(reply, "vms", "a3"), "would_share_pages", 300 * 2 / 3);
	expect(find(reply, "vms", "bob"), "would_share_pages", 0);
	expect(find(reply, "vms", "bob"), "would_zero_pages", 12);
	expect(find(reply, "vms", "zeros"), "looked_pages", 12);
	expect(find(reply, "vms", "zeros"), "would_save_pages", 12);
	test_check(json_is_null(json_object_get(find(reply, "vms", "zeros"), "looked_seconds")), "zeros was looked at");
	expect(reply, "pairs_left_out", 0);
	expect_count(reply, "pairs", 3);
	expect_pair(reply, "a1", "a2", 500, 0);
	expect_pair(reply, "a1", "a3", 300, 0);
	expect_order(reply);
	json_decref(reply);
}

/* Now zeros is looked at, and has in common what a1 has; that changes nothing but what is known. */
static void check_looked_at(void)
{
	json_t *reply = estimate(",\"names\":[\"zeros\"],\"look\":true"), *zeros = find(reply, "vms", "zeros");
	long long part;

	expect(zeros, "looked_pages", 1024);
	test_check(json_is_real(json_object_get(zeros, "looked_seconds")), "zeros was not looked at");
	part = (long long)json_integer_value(json_object_get(zeros, "would_share_pages"));
	test_check(part == 225 + 133 || part == 225 + 134, "of 300 contents it has 3/4, of 200 2/3: not %lld", part);
	expect(find(reply, "domains", "uid-1001"), "would_share_pages", 300 * 3 + 200 * 2);
	expect(zeros, "would_zero_pages", 12);
	expect_pair(reply, "zeros", "a1", 500, 0);
	expect_pair(reply, "zeros", "a2", 500, 0);
	expect_pair(reply, "zeros", "a3", 300, 0);
	expect_count(reply, "pairs", 3);
	expect_order(reply);
	json_decref(reply);
}

static void check_named(void)
{
	json_t *reply = estimate(",\"names\":[\"a3\"],\"pairs\":1");

	expect_count(reply, "domains", 1);
	expect_count(reply, "vms", 1);
	expect(find(reply, "vms", "a3"), "would_share_pages", 200);
	expect_count(reply, "pairs", 1); /* of two, which are as large */
	expect(reply, "pairs_left_out", 1);
	expect(json_array_get(json_object_get(reply, "pairs"), 0), "common_pages", 300);
	json_decref(reply);
	reply = estimate(",\"pairs\":1"); /* of three */
	expect_pair(reply, "a1", "a2", 500, 0);
	expect(reply, "pairs_left_out", 2);
	json_decref(reply);
	reply = estimate(",\"pairs\":0");
	expect_count(reply, "pairs", 0);
	expect(reply, "pairs_left_out", 3);
	json_decref(reply);
}

static void check_errors(void)
{
	char many[400];
	size_t length = (size_t)sprintf(many, ",\"names\":[\"a1\"");

	for (unsigned i = 0; i < 64; i++)
		length += (size_t)sprintf(many + length, ",\"a1\"");
	strcpy(many + length, "]");
	expect_error(many, "too-many");
	expect_error(",\"names\":\"a1\"", "bad-request");
	expect_error(",\"names\":[1]", "bad-request");
	expect_error(",\"names\":[\"nobody\"]", "unknown-vm");
	expect_error(",\"look\":1", "bad-request");
	expect_error(",\"pairs\":1001", "bad-request");
	expect_error(",\"pairs\":-1", "bad-request");
	expect_error(",\"pairs\":\"1\"", "bad-request");
	expect_error(",\"since\":9007199254740991", "bad-request");
	expect_error(",\"since\":-1", "bad-request");
}

/* In a child. */
static void become(uid_t uid)
{
	if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
		test_fail("cannot become user %u: %s", (unsigned)uid, strerror(errno));
}

static void be_bob(void)
{
	json_t *reply;

	become(BOB);
	expect_error(",\"names\":[\"a1\"]", "not-permitted");
	reply = estimate("");
	expect_count(reply, "domains", 1);
	expect_count(reply, "vms", 1);
	expect_count(reply, "pairs", 0);
	expect(reply, "pairs_left_out", 0);
	expect(find(reply, "vms", "bob"), "looked_pages", 1024);
	_exit(0);
}

static void be_nobody(void)
{
	json_t *reply;

	become(NOBODY);
	reply = estimate("");
	expect_count(reply, "domains", 0);
	expect_count(reply, "vms", 0);
	expect_count(reply, "pairs", 0);
	_exit(0);
}

static void check_permissions(void)
{
	int child = test_fork();

	if (child == 0)
		be_bob();
	test_check(test_wait_child(child) == 0, "another user's estimate is wrong");
	child = test_fork();
	if (child == 0)
		be_nobody();
	test_check(test_wait_child(child) == 0, "the estimate of who has no VM is wrong");
}

static void be_member(uid_t uid, const char *own)
{
	json_t *reply;
	char rest[64];

	become(uid);
	snprintf(rest, sizeof(rest), ",\"names\":[\"%s\"]", own);
	reply = estimate(rest);
	expect(find(reply, "vms", own), "looked_pages", 1024);
	expect(find(reply, "vms", own), "would_zero_pages", 12);
	test_check(json_is_null(json_object_get(find(reply, "vms", own), "would_share_pages")) &&
			   json_is_null(json_object_get(find(reply, "vms", own), "would_save_pages")) &&
			   json_is_null(json_object_get(find(reply, "domains", "team"), "would_share_pages")),
		   "a user is told what others' VMs have: %s", json_dumps(reply, 0));
	expect_count(reply, "pairs", 0);
	_exit(0);
}

/* Two users in a domain: neither learns what is in the other's VM, which shares nothing. */
static void check_others(void)
{
	struct fake_options options = {
		.name = "team-a",
		.pages = 1024,
		.common = 500,
		.zero = 12,
		.large = true,
		.uid = ALICE,
		.domain = "team",
	};
	struct fake_vmm a = fake_start(instance.socket, &options), b;
	json_t *reply;
	int child;

	options.name = "team-b";
	options.uid = BOB;
	options.mode = WIRE_MODE_OFF;
	b = fake_start(instance.socket, &options);
	instance_scan(&instance);
	reply = estimate(",\"names\":[\"team-a\",\"team-b\"],\"look\":true");
	expect(find(reply, "domains", "team"), "would_share_pages", 500);
	expect(find(reply, "vms", "team-b"), "looked_pages", 1024);
	expect_pair(reply, "team-a", "team-b", 500, 0);
	json_decref(reply);
	child = test_fork();
	if (child == 0)
		be_member(ALICE, "team-a");
	test_check(test_wait_child(child) == 0, "what the one user of a domain is told is wrong");
	child = test_fork();
	if (child == 0)
		be_member(BOB, "team-b");
	test_check(test_wait_child(child) == 0, "what the other user of a domain is told is wrong");
	fake_kill(&a);
	fake_kill(&b);
	instance_await(&instance, "team-a", "pid", -1);
	instance_await(&instance, "team-b", "pid", -1);
}

static void nothing_is_merged(long long saved)
{
	test_check(instance_host(&instance, "store_bytes") == 0 && instance_host(&instance, "saved_pages") == saved &&
			   instance_host(&instance, "broken_2m") == 0,
		   "something was merged by an estimate");
}

/* What was said comes true once 2 MiB pages may be split; and then it is what is so. */
static void check_truth(long long saved)
{
	json_t *reply;

	settings("always");
	test_check(kill(instance.pid, SIGHUP) == 0, "kill: %s", strerror(errno));
	instance_await(&instance, NULL, "saved_pages", saved);
	reply = estimate("");
	expect(find(reply, "domains", "uid-1001"), "would_save_pages", 0);
	expect(find(reply, "domains", "uid-1001"), "saved_pages", 900 + 400 + 48);
	expect_pair(reply, "a1", "a2", 500, 500);
	expect_pair(reply, "a3", "zeros", 300, 300);
	json_decref(reply);
}

int main(int argc, char **argv)
{
	struct fake_vmm vmms[5];
	long long saved, said = 0;
	json_t *reply, *domain;
	size_t i;

	test_begin(argc, argv);
	if (geteuid() != 0)
		test_skip("only root can have VMs of several users");
	instance_init(&instance);
	write_figures();
	settings("keep");
	instance_start(&instance);
	vmms[0] = start("a1", ALICE, 500, WIRE_MODE_FULL);
	vmms[1] = start("a2", ALICE, 500, WIRE_MODE_FULL);
	vmms[2] = start("a3", ALICE, 300, WIRE_MODE_FULL);
	vmms[3] = start("zeros", ALICE, 500, WIRE_MODE_ZERO);
	vmms[4] = start("bob", BOB, 500, WIRE_MODE_FULL);
	instance_await(&instance, NULL, "ready_pages", 4 * 1024 + 12);
	saved = instance_host(&instance, "saved_pages");
	check_all();
	check_named();
	check_errors();
	check_permissions();
	check_others();
	nothing_is_merged(saved);
	check_looked_at();
	nothing_is_merged(saved);
	json_decref(instance_ask(&instance, "{\"command\":\"modify\",\"name\":\"zeros\",\"mode\":\"full\"}"));
	instance_scan(&instance);
	nothing_is_merged(saved);
	reply = estimate("");
	json_array_foreach(json_object_get(reply, "domains"), i, domain)
		said += (long long)json_integer_value(json_object_get(domain, "would_save_pages"));
	json_decref(reply);
	check_truth(saved + said);
	fake_kill(&vmms[1]);
	instance_await(&instance, "a2", "pid", -1);
	reply = estimate("");
	expect_count(reply, "vms", 4);
	expect_count(reply, "pairs", 3);
	expect_pair(reply, "a1", "a3", 300, 300);
	json_decref(reply);
	for (i = 0; i < 5; i++)
		if (i != 1)
			fake_kill(&vmms[i]);
	test_check(unlink(figures) == 0, "unlink: %s", strerror(errno));
	instance_stop(&instance);
	instance_done(&instance);
	return 0;
}
