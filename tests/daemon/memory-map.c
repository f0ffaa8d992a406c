/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The map of a guest's memory: what a VMM tells is answered; what does not fit, or was not agreed on, is refused. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

static struct instance instance;

struct message {
	struct wire_header header;
	struct wire_range ranges[WIRE_RANGES_PER_MESSAGE];
};

static void tell(const struct fake_link *link, uint32_t flags, const struct wire_range *ranges, size_t count)
{
	static struct message message;

	wire_header_init(&message.header, WIRE_MEMORY_MAP, sizeof(message.header) + count * sizeof(*ranges));
	message.header.flags = flags;
	if (count > 0)
		memcpy(message.ranges, ranges, count * sizeof(*ranges));
	test_check(wire_send(link->socket, &message, message.header.length, NULL, 0) == 0, "send: %s", strerror(errno));
}

static void join(struct fake_link *link)
{
	test_check(fake_link_open(link, instance.socket, "mapped", WIRE_MODE_FULL, 0) == 0, "no welcome");
	fake_link_post(link, REPORT_REGION_ADD, 1, 1, 4096);
	fake_link_post(link, REPORT_READY, 1, 1, 0);
	instance_await(&instance, "mapped", "ram_bytes", 4096 * PAGE_BYTES);
}

/* Waits until the daemon says that there are @count ranges. @return them; the caller's. */
static json_t *await_ranges(size_t count)
{
	uint64_t last = test_now_msec() + TEST_DEADLINE_SECONDS * 1000;
	json_t *reply, *ranges;

	for (;;) {
		reply = instance_ask(&instance, "{\"command\":\"memory-map\",\"name\":\"mapped\"}");
		ranges = json_incref(json_object_get(reply, "ranges"));
		json_decref(reply);
		test_check(json_is_array(ranges), "there is no map");
		if (json_array_size(ranges) == count)
			return ranges;
		test_check(test_now_msec() < last, "%zu ranges are answered, not %zu", json_array_size(ranges), count);
		json_decref(ranges);
		usleep(1000);
	}
}

static void expect_range(const json_t *ranges, size_t i, long long gpa, long long bytes, long long page)
{
	const json_t *range = json_array_get(ranges, i);

	test_check(json_integer_value(json_object_get(range, "gpa")) == gpa &&
			   json_integer_value(json_object_get(range, "bytes")) == bytes &&
			   json_integer_value(json_object_get(range, "page")) == page,
		   "range %zu is not what was told", i);
}

static void check_told(void)
{
	static const struct wire_range ranges[] = { { 0, 1, 160 }, { 0x100, 257, 3000 }, { 0xfffe0, 161, 32 } };
	struct fake_link link;
	json_t *answer;

	join(&link);
	json_decref(await_ranges(0));
	tell(&link, WIRE_FIRST, ranges, 3);
	answer = await_ranges(3);
	expect_range(answer, 0, 0, 160 * PAGE_BYTES, 1);
	expect_range(answer, 1, 0x100000, 3000 * PAGE_BYTES, 257);
	expect_range(answer, 2, 0xfffe0000LL, 32 * PAGE_BYTES, 161);
	json_decref(answer);
	tell(&link, WIRE_FIRST | WIRE_MORE, ranges, 1);
	tell(&link, 0, &ranges[2], 1);
	answer = await_ranges(2);
	expect_range(answer, 1, 0xfffe0000LL, 32 * PAGE_BYTES, 161);
	json_decref(answer);
	tell(&link, WIRE_FIRST, ranges, 0);
	json_decref(await_ranges(0));
	fake_link_close(&link);
	instance_await_disconnected(&instance, "mapped");
}

static void expect_dropped(struct fake_link *link, const char *what)
{
	char byte[64];
	ssize_t size;

	do
		size = recv(link->socket, byte, sizeof(byte), 0);
	while (size > 0);
	fake_link_close(link);
	test_check(instance_alive(&instance), "the daemon died of %s", what);
	test_check(instance_logged(&instance, what), "it does not say: %s", what);
}

static void check_refused(void)
{
	static struct wire_range many[WIRE_RANGES_PER_MESSAGE];
	struct fake_link link;
	uint64_t gfn = 0;

	join(&link);
	tell(&link, 0, many, 0);
	expect_dropped(&link, "it does not follow from what was sent before");
	join(&link);
	for (uint32_t sent = 0; sent <= WIRE_RANGES_MAX; sent += WIRE_RANGES_PER_MESSAGE) {
		for (uint32_t i = 0; i < WIRE_RANGES_PER_MESSAGE; i++)
			many[i] = (struct wire_range){ .gfn = gfn + i, .page = 1, .pages = 1 };
		tell(&link, sent == 0 ? WIRE_FIRST | WIRE_MORE : WIRE_MORE, many, WIRE_RANGES_PER_MESSAGE);
		gfn += WIRE_RANGES_PER_MESSAGE;
	}
	expect_dropped(&link, "the map of its memory cannot be taken in: No space left");
}

/* Who has not said to know the message does not send it. */
static void check_not_agreed(void)
{
	struct wire_hello hello = { .page_bytes = PAGE_BYTES, .mode = WIRE_MODE_FULL, .name = "older" };
	struct fake_link link = { .socket = instance_connect(&instance), .ring_fd = -1, .userfaultfd = -1 };

	wire_header_init(&hello.header, WIRE_HELLO, WIRE_HELLO_LEAST);
	test_check(send(link.socket, &hello, WIRE_HELLO_LEAST, MSG_NOSIGNAL) == (ssize_t)WIRE_HELLO_LEAST, "send");
	tell(&link, WIRE_FIRST, NULL, 0);
	expect_dropped(&link, "message 11 is not expected");
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	instance_init(&instance);
	instance_settings(&instance, "[limits]\nclaims = believed\n"); /* there is no RAM behind its regions */
	instance_start(&instance);
	check_told();
	check_refused();
	check_not_agreed();
	instance_done(&instance);
	return 0;
}
