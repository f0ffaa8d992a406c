/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which disk images pages were read from, as a VMM tells: what is told last counts, until the pages are something else;
 * what is told of pages that it does not have costs nothing; and what is no name ends the connection.
 *
 * images control   with a daemon that takes what is told of any page: it costs memory
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define PAGES 512u
#define STRANGE 8192u /* blocks of pages that no region has: what a page of each would cost */
#define STRANGE_BYTES (STRANGE * 16384LL)

static struct instance instance;

static void name(const struct fake_link *link, uint32_t number, const char *label)
{
	struct wire_image message = { .image = number };

	memcpy(message.label, label, strlen(label));
	wire_header_init(&message.header, WIRE_IMAGE, sizeof(message));
	test_check(wire_send(link->socket, &message, sizeof(message), NULL, 0) == 0, "send: %s", strerror(errno));
}

static void join(struct fake_link *link)
{
	test_check(fake_link_open(link, instance.socket, "reader", WIRE_MODE_HINTS, 0) == 0, "no welcome");
	fake_link_post(link, REPORT_REGION_ADD, 1, 1, PAGES);
	fake_link_post(link, REPORT_READY, 1, 1, 0);
	instance_await(&instance, "reader", "ram_bytes", PAGES * PAGE_BYTES);
}

static long long number(const json_t *object, const char *field)
{
	return (long long)json_integer_value(json_object_get(object, field));
}

/* How many pages of the image are told of. 0: it is not told of. */
static long long pages_of(const json_t *reply, const char *label)
{
	const json_t *module;
	size_t i;

	json_array_foreach(json_object_get(reply, "modules"), i, module) {
		if (strcmp(json_string_value(json_object_get(module, "label")), label) != 0)
			continue;
		test_check(strcmp(json_string_value(json_object_get(module, "kind")), "disk-image") == 0, "%s is a %s",
			   label, json_string_value(json_object_get(module, "kind")));
		test_check(number(module, "vms") == 1, "%s is in %lld VMs", label, number(module, "vms"));
		return number(module, "pages");
	}
	return 0;
}

/* Waits until so many pages of the two images are told of, and nothing else. */
static void await(long long base, long long overlay)
{
	uint64_t last = test_now_msec() + TEST_DEADLINE_SECONDS * 1000;
	long long is_base, is_overlay, named;

	do {
		json_t *reply = instance_ask(&instance, "{\"command\":\"modules\"}");

		is_base = pages_of(reply, "/base.qcow2");
		is_overlay = pages_of(reply, "/overlay.qcow2");
		named = number(json_object_get(reply, "named"), "pages");
		json_decref(reply);
		test_check(test_now_msec() < last, "%lld and %lld pages of %lld, not %lld and %lld", is_base,
			   is_overlay, named, base, overlay);
	} while (is_base != base || is_overlay != overlay || named != base + overlay);
}

static void post_noted(struct fake_link *link, uint32_t page)
{
	const struct ring_record record = {
		.op = REPORT_HASH, .flags = RING_NOTED, .count = 1, .page = page, .value = page
	};

	fake_link_post_record(link, &record);
}

static void check_told(struct fake_link *link)
{
	fake_link_post(link, REPORT_SOURCE, 1, 64, 1);
	fake_link_post(link, REPORT_SOURCE, 101, 64, 2);
	await(0, 0); /* nobody knows what they are called */
	name(link, 1, "/base.qcow2");
	name(link, 2, "/overlay.qcow2");
	await(64, 64);
	fake_link_post(link, REPORT_SOURCE, 33, 64, 2);
	await(32, 128);
	post_noted(link, 40); /* read from somewhere else */
	await(32, 127);
	post_noted(link, 1);
	fake_link_post(link, REPORT_SOURCE, 1, 1, 2);
	await(31, 128);
	name(link, 2, "/base.qcow2"); /* one that has two numbers is told of as one, once for the VM */
	await(31 + 128, 0);
	name(link, 2, "/overlay.qcow2");
	await(31, 128);
}

static long long memory_bytes(void)
{
	json_t *reply = instance_ask(&instance, "{\"command\":\"status\"}");
	long long bytes = number(json_object_get(reply, "daemon"), "memory_bytes");

	json_decref(reply);
	return bytes;
}

static void tell_strange(struct fake_link *link)
{
	fake_link_post(link, REPORT_SOURCE, PAGES, 2, 1); /* the second one is behind the end */
	for (uint32_t i = 1; i <= STRANGE; i++)
		fake_link_post(link, REPORT_SOURCE, i * 16384, 1, 1);
	fake_link_post(link, REPORT_SOURCE, PAGES, 1, 1);
}

static void check_strange(struct fake_link *link)
{
	long long before = memory_bytes();

	tell_strange(link);
	await(32, 128);
	test_check(memory_bytes() - before < STRANGE_BYTES / 4, "it costs %lld KiB", (memory_bytes() - before) >> 10);
}

static void check_control(struct fake_link *link)
{
	uint64_t last = test_now_msec() + TEST_DEADLINE_SECONDS * 1000;
	long long before = memory_bytes();

	tell_strange(link);
	while (memory_bytes() - before < STRANGE_BYTES / 2)
		test_check(test_now_msec() < last, "it costs %lld KiB only", (memory_bytes() - before) >> 10);
}

static void check_gone(struct fake_link *link)
{
	fake_link_post(link, REPORT_REGION_REMOVE, 1, 1, 0);
	await(0, 0);
	fake_link_post(link, REPORT_REGION_ADD, PAGES + 1, 1, 64);
	fake_link_post(link, REPORT_SOURCE, 1, 1, 1);
	fake_link_post(link, REPORT_SOURCE, PAGES + 1, 64, 1);
	await(64, 0);
	fake_link_close(link);
	instance_await_disconnected(&instance, "reader");
	await(0, 0);
}

/* What an earlier connection has said does not count. */
static void check_anew(void)
{
	struct fake_link link;

	join(&link);
	fake_link_post(&link, REPORT_SOURCE, 1, 64, 1);
	await(0, 0);
	name(&link, 1, "/base.qcow2");
	await(64, 0);
	fake_link_close(&link);
	instance_await_disconnected(&instance, "reader");
}

static void expect_dropped(struct fake_link *link, const char *what)
{
	char buffer[256];
	ssize_t size;

	do {
		test_check(test_readable(link->socket), "not dropped: %s", what);
		size = recv(link->socket, buffer, sizeof(buffer), MSG_DONTWAIT);
	} while (size > 0);
	fake_link_close(link);
	instance_await_disconnected(&instance, "reader");
}

static void check_malformed(void)
{
	struct fake_link link;

	join(&link);
	name(&link, 1, "/a\033[31m");
	expect_dropped(&link, "an escape sequence as name");
	join(&link);
	name(&link, RING_IMAGES_MAX + 1, "/a");
	expect_dropped(&link, "one image too many");
	join(&link);
	fake_link_post(&link, REPORT_SOURCE, 1, 1, RING_IMAGES_MAX + 1);
	expect_dropped(&link, "a page of one image too many");
}

int main(int argc, char **argv)
{
	struct fake_link link;

	test_begin(argc, argv);
	instance_init(&instance);
	instance_start(&instance);
	join(&link);
	if (test_wants("control")) {
		check_control(&link);
		fake_link_close(&link);
		instance_done(&instance);
		return 0;
	}
	check_told(&link);
	check_strange(&link);
	check_gone(&link);
	check_anew();
	check_malformed();
	instance_done(&instance);
	return 0;
}
