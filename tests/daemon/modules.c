/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * "modules": what agents in two guests have named, added up by label; of other users' VMs nothing, of pages that are
 * something else by now nothing, and of VMs that have gone nothing.
 *
 * modules anew   with a daemon that does not wait for long: whose pages are nearly all something else is asked anew
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/pages.h"
#include "tests/support/test.h"

#define COMMON 96u
#define ZERO 2u
#define UNIQUE 6u
#define PAGES (COMMON + ZERO + UNIQUE)
#define NOBODY 65534

static struct instance instance;

struct vm {
	struct fake_vmm vmm;
	struct fake_agent agent;
};

static const struct agent_header *expect(struct vm *vm, enum agent_type type)
{
	const struct agent_header *frame = fake_agent_next(&vm->agent);

	test_check(frame != NULL && frame->type == type, "frame %d in place of %d", frame ? frame->type : -1, type);
	return frame;
}

/* The guest has its memory from 0 on: page P is frame P - 1. Its beacon is a page that nobody shares. */
static void greet(struct vm *vm)
{
	static _Alignas(64) char bytes[PAGE_BYTES];
	const uint32_t frame = PAGES - 1;

	test_check(fake_agent_greet(&vm->agent, 0, PAGES), "the agent is not welcomed");
	pages_fill(bytes, (uint64_t)vm->vmm.pid << 32 | (frame + 1));
	fake_agent_say_beacon(&vm->agent, 0, frame, (const uint8_t *)bytes);
	test_check(((const struct agent_proof_frame *)(const void *)expect(vm, AGENT_PROOF))->proof == AGENT_PROVED,
		   "the beacon was not found");
	expect(vm, AGENT_CREDIT);
}

/* All common pages are of /lib, and so are the zeros; what is unique is of a program. */
static void name_all(struct vm *vm)
{
	greet(vm);
	fake_agent_say_module(&vm->agent, 1, AGENT_KIND_PROGRAM, "/bin/x");
	fake_agent_say_range_of(&vm->agent, 1, 1, COMMON + ZERO, UNIQUE);
	expect(vm, AGENT_ACK);
	fake_agent_say_range_of(&vm->agent, 2, 0, 0, COMMON + ZERO);
	expect(vm, AGENT_ACK);
}

static void start(struct vm *vm, const char *name)
{
	const struct fake_options options = {
		.name = name, .mode = WIRE_MODE_HINTS, .pages = PAGES, .common = COMMON, .zero = ZERO
	};

	vm->vmm = fake_start(instance.socket, &options);
	instance_await(&instance, name, "ram_bytes", PAGES * PAGE_BYTES);
	vm->agent = fake_take_agent(&vm->vmm);
	name_all(vm);
}

static json_t *ask(const char *arguments)
{
	char request[128];

	snprintf(request, sizeof(request), "{\"command\":\"modules\"%s}", arguments);
	return instance_ask(&instance, request);
}

static void expect_number(const json_t *object, const char *name, long long value)
{
	long long is = (long long)json_integer_value(json_object_get(object, name));

	test_check(is == value, "%s is %lld, not %lld", name, is, value);
}

static void expect_sum(const json_t *object, long long pages, long long shared, long long saved)
{
	expect_number(object, "pages", pages);
	expect_number(object, "shared_pages", shared);
	expect_number(object, "saved_pages", saved);
}

static void expect_module(const json_t *reply, size_t i, const char *label, const char *kind, long long vms)
{
	const json_t *module = json_array_get(json_object_get(reply, "modules"), i);
	const char *is = json_string_value(json_object_get(module, "label"));

	test_check(is != NULL && strcmp(is, label) == 0, "module %zu is %s, not %s", i, is ? is : "not there", label);
	test_check(strcmp(json_string_value(json_object_get(module, "kind")), kind) == 0, "%s is no %s", label, kind);
	expect_number(module, "vms", vms);
}

static const json_t *module(const json_t *reply, size_t i)
{
	return json_array_get(json_object_get(reply, "modules"), i);
}

static void test_both(void)
{
	json_t *reply = ask("");

	expect_number(reply, "vms", 2);
	expect_number(reply, "vms_with_agent", 2);
	expect_number(reply, "modules_count", 2);
	expect_number(reply, "shared_pages", 2 * (COMMON + ZERO));
	expect_module(reply, 0, "/lib", "file", 2);
	expect_sum(module(reply, 0), 2 * (COMMON + ZERO), 2 * (COMMON + ZERO), COMMON + 2 * ZERO);
	expect_module(reply, 1, "/bin/x", "program", 2);
	expect_sum(module(reply, 1), 2 * UNIQUE, 0, 0);
	expect_sum(json_object_get(reply, "named"), 2 * PAGES, 2 * (COMMON + ZERO), COMMON + 2 * ZERO);
	expect_sum(json_object_get(reply, "rest"), 0, 0, 0);
	json_decref(reply);
}

static void test_some(void)
{
	json_t *reply = ask(",\"name\":\"b\",\"most\":1");

	expect_number(reply, "vms", 1);
	expect_number(reply, "modules_count", 2);
	expect_module(reply, 0, "/lib", "file", 1);
	expect_sum(module(reply, 0), COMMON + ZERO, COMMON + ZERO, COMMON / 2 + ZERO);
	test_check(module(reply, 1) == NULL, "more are told than were asked for");
	expect_sum(json_object_get(reply, "rest"), UNIQUE, 0, 0);
	json_decref(reply);
	reply = ask(",\"most\":-1");
	test_check(json_object_get(reply, "error") != NULL, "a number of modules below zero is no error");
	json_decref(reply);
	reply = ask(",\"name\":\"c\"");
	test_check(json_object_get(reply, "error") != NULL, "a VM that is not there is no error");
	json_decref(reply);
}

static void test_other_user(void)
{
	int child = test_fork(), status;

	if (child == 0) {
		json_t *reply;

		fake_become(NOBODY, NOBODY);
		reply = ask("");
		expect_number(reply, "vms", 0);
		expect_number(reply, "shared_pages", 0);
		test_check(json_array_size(json_object_get(reply, "modules")) == 0, "others' modules are told");
		json_decref(reply);
		reply = ask(",\"name\":\"a\"");
		test_check(json_object_get(reply, "error") != NULL, "another user's VM is told of");
		_exit(0);
	}
	status = test_wait_child(child);
	test_check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the other user has found a fault");
}

/* What is written is nothing any more that anybody has named; its twin is the only one left. */
static void test_written(const struct vm *vm)
{
	json_t *reply;

	fake_ask(&vm->vmm, FAKE_WRITE, 3);
	instance_await(&instance, "a", "shared_pages", COMMON - 1);
	reply = ask("");
	expect_module(reply, 0, "/lib", "file", 2);
	expect_sum(module(reply, 0), 2 * (COMMON + ZERO) - 1, 2 * (COMMON + ZERO) - 1, COMMON - 1 + 2 * ZERO);
	json_decref(reply);
}

/* The agent begins anew: nothing of before counts. */
static void test_anew(struct vm *vm)
{
	json_t *reply;

	fake_agent_say_knock(&vm->agent);
	agent_decoder_seek(&vm->agent.decoder);
	greet(vm);
	reply = ask(",\"name\":\"a\"");
	expect_number(reply, "vms_with_agent", 1);
	expect_number(reply, "modules_count", 0);
	json_decref(reply);
}

static void test_gone(struct vm *vm)
{
	json_t *reply;

	close(vm->agent.port);
	fake_kill(&vm->vmm);
	instance_await(&instance, NULL, "shared_pages", COMMON);
	reply = ask("");
	expect_number(reply, "vms_with_agent", 1);
	expect_module(reply, 0, "/lib", "file", 1);
	expect_sum(module(reply, 0), COMMON + ZERO, COMMON + ZERO, ZERO); /* nobody else has a page of it */
	json_decref(reply);
}

/* As after a snapshot's return: the guest has said all, and its agent will not say it again by itself. */
static void test_all_written(struct vm *a, const struct vm *b)
{
	uint32_t session = a->agent.session;
	struct pollfd other = { .fd = b->agent.port, .events = POLLIN };

	for (uint32_t page = 1; page <= COMMON / 2 + UNIQUE + ZERO; page++) /* not yet most of what has a name */
		fake_ask(&a->vmm, FAKE_WRITE, page);
	instance_await(&instance, "a", "shared_pages", COMMON / 2 - UNIQUE - ZERO);
	fake_ask(&a->vmm, FAKE_NEXT_CONTENT, 7);
	agent_decoder_seek(&a->agent.decoder);
	name_all(a);
	test_check(a->agent.session != session, "the session is the same");
	test_check(poll(&other, 1, 0) == 0, "a guest that has lost nothing is told something");
}

int main(int argc, char **argv)
{
	struct vm a, b;

	test_begin(argc, argv);
	instance_init(&instance);
	instance_start(&instance);
	start(&a, "a");
	start(&b, "b");
	instance_await(&instance, "a", "shared_pages", COMMON);
	instance_await(&instance, "b", "shared_pages", COMMON);
	instance_await(&instance, NULL, "zero_pages", 2 * ZERO);
	if (test_wants("anew")) {
		test_all_written(&a, &b);
		close(a.agent.port);
		fake_kill(&a.vmm);
	} else {
		test_both();
		test_some();
		test_other_user();
		test_written(&a);
		test_anew(&a);
		test_gone(&a);
	}
	close(b.agent.port);
	fake_kill(&b.vmm);
	instance_done(&instance);
	return 0;
}
