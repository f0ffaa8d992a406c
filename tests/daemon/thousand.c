/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A thousand VMs connect, share, are scanned and shown, and go, several people asking at once; and no turn of the
 * daemon's loop does more than its bounds say. What is held against them is what turns did, by count; how long the
 * longest took is only printed.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/control.h"
#include "daemon/pump.h"
#include "daemon/session.h"
#include "tests/daemon/attackers.h"
#include "tests/daemon/crowd.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define ASKERS 8u

static struct instance instance;

static long long field(const json_t *status, const char *object, const char *name)
{
	return (long long)json_integer_value(json_object_get(json_object_get(status, object), name));
}

/* All are shown, each once and by a name of its own, and the figures are of one moment. */
static void check_status(const json_t *status)
{
	const json_t *list = json_object_get(status, "vms"), *vm;
	static bool seen[CROWD_VMS + 1];
	long long saved = 0, shared = 0;
	size_t i;

	test_check(json_array_size(list) == CROWD_VMS, "%zu VMs are shown", json_array_size(list));
	memset(seen, 0, sizeof(seen));
	json_array_foreach(list, i, vm) {
		const char *name = json_string_value(json_object_get(vm, "name"));
		unsigned long number = strcmp(name, "vm") == 0 ? 1 : strtoul(name + 3, NULL, 10);

		test_check(number >= 1 && number <= CROWD_VMS && !seen[number], "%s is shown twice", name);
		seen[number] = true;
		saved += json_integer_value(json_object_get(vm, "saved_pages"));
		shared += json_integer_value(json_object_get(vm, "shared_pages"));
	}
	test_check(saved == field(status, "host", "saved_pages"), "the VMs' saved pages add up to %lld", saved);
	test_check(shared == field(status, "host", "shared_pages"), "the VMs' shared pages add up to %lld", shared);
}

static void start_all(void)
{
	crowd_start(&instance);
	instance_await(&instance, NULL, "shared_pages", (long long)CROWD_VMS * CROWD_COMMON);
	instance_await(&instance, NULL, "zero_pages", (long long)CROWD_VMS * CROWD_ZERO);
	crowd_await_shared();
	test_check(instance_host(&instance, "common_pages") <= 2 * CROWD_COMMON, "content is in the store many times");
}

/* One more comes, has as many orders made as there can be, and leaves with them: as often as there are deeds. */
static void have_orders_withdrawn(void)
{
	static const struct attacker_options withdraw = { .attack = ATTACK_WITHDRAW };
	struct attacker attacker = attacker_start(instance.socket, &withdraw);
	uint64_t last = test_patient_msec() + TEST_PATIENCE_SECONDS * 1000;

	while (attacker_deeds(&attacker) < 2) {
		test_check(test_patient_msec() < last, "it does not get orders and leave");
		poll(NULL, 0, 10);
	}
	attacker_stop(&attacker);
	instance_await(&instance, "withdraw", "pid", -1);
}

/* Many people at once, while the VMs are scanned. */
static void ask_at_once(void)
{
	static const char request[] = "{\"command\":\"status\"}";
	pid_t pids[ASKERS];

	for (unsigned i = 0; i < ASKERS; i++) {
		pids[i] = test_fork();
		if (pids[i] == 0) {
			int fd = instance_connect(&instance);

			for (unsigned j = 0; j < 3; j++) {
				json_t *status = instance_ask_on(fd, request, sizeof(request) - 1);

				check_status(status);
				json_decref(status);
			}
			_exit(0);
		}
	}
	instance_scan(&instance);
	for (unsigned i = 0; i < ASKERS; i++)
		test_wait_child(pids[i]);
}

static void check_names(void)
{
	json_t *reply = instance_ask(&instance, "{\"command\":\"scan\",\"names\":[\"vm-1000\",\"vm\",\"vm-500\"]}");

	test_check(json_array_size(json_object_get(reply, "tickets")) == 3, "not all are found by name");
	json_decref(reply);
}

/* All are sampled each second; and shown, from the samples. */
static void check_metrics(void)
{
	static const char set[] = "{\"command\":\"set-metrics\",\"object\":\"*\",\"metrics\":[\"RAM/Usage/Used\","
				  "\"RAM/VMM/Used\",\"Guest/RAM/Usage/Shared\"],\"period\":1,\"samples\":240}";
	static const char query[] = "{\"command\":\"metrics\",\"object\":\"*\",\"metrics\":["
				    "\"Guest/RAM/Usage/Shared\",\"RAM/VMM/Shared\"]}";
	uint64_t last = test_patient_msec() + TEST_DEADLINE_SECONDS * 1000;
	size_t i, sampled = 0;

	json_t *reply = instance_ask(&instance, set);

	test_check(json_array_size(json_object_get(reply, "metrics")) == 2 * CROWD_VMS + 2, "not all can be set up");
	json_decref(reply);
	while (sampled < CROWD_VMS) {
		const json_t *metric;
		long long sum = 0, shared = 0;

		test_check(test_patient_msec() < last, "only %zu VMs are sampled", sampled);
		sampled = 0;
		reply = instance_ask(&instance, query);
		test_check(json_array_size(json_object_get(reply, "metrics")) == CROWD_VMS + 1, "not all are shown");
		json_array_foreach(json_object_get(reply, "metrics"), i, metric) {
			const json_t *values = json_object_get(metric, "values");
			json_int_t value = json_integer_value(json_array_get(values, 0));

			sampled += json_array_size(values) >= 3;
			if (json_is_true(json_object_get(metric, "host")))
				shared = value;
			else
				sum += value;
		}
		test_check(shared == 4LL * CROWD_VMS * CROWD_COMMON && sum == shared,
			   "the VMs share %lld kB, the host %lld", sum, shared);
		json_decref(reply);
	}
}

/* Half a million pairs, of which a thousand are told. */
static void check_estimate(void)
{
	const long long pairs = CROWD_VMS * (CROWD_VMS - 1) / 2;
	uint64_t last = test_patient_msec() + TEST_DEADLINE_SECONDS * 1000;
	json_t *reply = instance_ask(&instance, "{\"command\":\"estimate\",\"pairs\":1000}"), *pair;
	char request[128];
	size_t i;

	while (!json_is_true(json_object_get(reply, "finished"))) {
		test_check(test_patient_msec() < last, "the estimate does not end");
		snprintf(request, sizeof(request), "{\"command\":\"estimate\",\"pairs\":1000,\"since\":%lld}",
			 (long long)json_integer_value(json_object_get(reply, "since")));
		json_decref(reply);
		poll(NULL, 0, 10);
		reply = instance_ask(&instance, request);
	}
	test_check(json_array_size(json_object_get(reply, "vms")) == CROWD_VMS, "not all VMs are estimated");
	test_check(json_array_size(json_object_get(reply, "pairs")) == 1000, "not a thousand pairs");
	test_check(json_integer_value(json_object_get(reply, "pairs_left_out")) == pairs - 1000, "pairs are lost");
	json_array_foreach(json_object_get(reply, "pairs"), i, pair)
		test_check(json_integer_value(json_object_get(pair, "shared_pages")) == CROWD_COMMON,
			   "two do not share");
	json_decref(reply);
}

static void expect_bounded(const json_t *status, const char *name, long long most)
{
	long long done = field(status, "daemon", name);

	printf("%s: %lld of %lld\n", name, done, most);
	test_check(done > 0, "%s is not counted", name);
	test_check(done <= most, "%s is %lld, and at most %lld should be", name, done, most);
}

static void check_turns(void)
{
	json_t *status = instance_ask(&instance, "{\"command\":\"status\"}");

	check_status(status);
	expect_bounded(status, "turn_max_items", CONTROL_ITEMS_PER_TURN);
	expect_bounded(status, "turn_max_packets", SESSION_PACKETS_PER_TURN);
	expect_bounded(status, "turn_max_orders", PUMP_ORDERS_MOST);
	/* Who leaves has the rest of his ring looked at. */
	expect_bounded(status, "turn_max_reports", RING_UP_RECORDS + 2 * PUMP_REPORTS_PER_TURN);
	expect_bounded(status, "turn_max_steps", ENGINE_STEPS_MAX);
	printf("longest turn: %lld us, of CPU time %lld us\n", field(status, "daemon", "turn_max_usec"),
	       field(status, "daemon", "turn_max_cpu_usec"));
	json_decref(status);
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	instance_init(&instance);
	if (geteuid() != 0)
		instance_settings(&instance, CROWD_LIMITS);
	instance_start(&instance);
	start_all();
	ask_at_once();
	check_names();
	have_orders_withdrawn();
	check_metrics();
	check_estimate();
	check_turns();
	crowd_stop();
	instance_await(&instance, NULL, "shared_pages", 0);
	instance_await(&instance, NULL, "store_bytes", 0);
	instance_done(&instance);
	return 0;
}
