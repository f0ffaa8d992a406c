/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/daemon/fake-agent.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/support/test.h"

void fake_agent_connect(struct fake_agent *agent, const char *socket_path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (agent->port >= 0)
		close(agent->port);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s.agent", socket_path);
	agent->port = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	test_check(agent->port >= 0 && connect(agent->port, (struct sockaddr *)&address, sizeof(address)) == 0,
		   "%s: %s", address.sun_path, strerror(errno));
	agent_decoder_init(&agent->decoder, AGENT_HOST);
}

const struct agent_header *fake_agent_next(struct fake_agent *agent)
{
	const struct agent_header *frame;
	int r;

	while ((r = agent_decoder_next(&agent->decoder, &frame)) == -EAGAIN) {
		size_t room;
		void *place = agent_decoder_room(&agent->decoder, &room);
		ssize_t bytes;

		test_check(test_readable(agent->port), "the daemon says nothing");
		bytes = read(agent->port, place, room);
		if (bytes <= 0)
			return NULL;
		agent_decoder_add(&agent->decoder, (size_t)bytes);
	}
	test_check(r == 0, "the daemon sends what it must not: %s", strerror(-r));
	return frame;
}

void fake_agent_await_end(struct fake_agent *agent)
{
	const struct agent_header *frame;

	do
		frame = fake_agent_next(agent);
	while (frame != NULL);
}

void fake_agent_say(const struct fake_agent *agent, const struct agent_header *frame)
{
	ssize_t bytes = send(agent->port, frame, frame->length, MSG_NOSIGNAL);

	test_check(bytes == frame->length || (bytes < 0 && (errno == EPIPE || errno == ECONNRESET)), "send: %s",
		   strerror(errno));
}

void fake_agent_say_knock(const struct fake_agent *agent)
{
	struct agent_greeting knock;

	agent_greeting_init(&knock, AGENT_KNOCK, 0, sizeof(knock));
	fake_agent_say(agent, &knock.header);
}

void fake_agent_say_beacon(const struct fake_agent *agent, uint32_t beacon, uint64_t pfn, const uint8_t *bytes)
{
	struct agent_beacon frame = { .beacon = beacon, .pfn = pfn };

	agent_header_init(&frame.header, AGENT_BEACON, agent->session, sizeof(frame));
	memcpy(frame.bytes, bytes, sizeof(frame.bytes));
	fake_agent_say(agent, &frame.header);
}

void fake_agent_say_range(const struct fake_agent *agent, uint32_t batch, uint64_t pfn, uint32_t pages)
{
	fake_agent_say_range_of(agent, batch, 0, pfn, pages);
}

void fake_agent_say_module(const struct fake_agent *agent, uint32_t module, enum agent_kind kind, const char *label)
{
	size_t length = strlen(label);
	struct agent_module head = { .module = module, .kind = kind, .label_bytes = (uint16_t)length };
	union {
		struct agent_module module;
		uint8_t bytes[sizeof(struct agent_module) + AGENT_LABEL_MAX + 8];
	} frame = { .bytes = { 0 } };

	agent_header_init(&head.header, AGENT_MODULE, agent->session, agent_module_bytes(length));
	frame.module = head;
	memcpy(frame.bytes + sizeof(head), label, length);
	fake_agent_say(agent, &frame.module.header);
}

void fake_agent_say_range_of(const struct fake_agent *agent, uint32_t batch, uint32_t module, uint64_t pfn,
			     uint32_t pages)
{
	union {
		struct agent_ranges ranges;
		uint8_t bytes[sizeof(struct agent_ranges) + sizeof(struct agent_range)];
	} frame = { .ranges = { .batch = batch, .count = 1 } };
	const struct agent_range range = { .pfn = pfn, .pages = pages, .module = module };
	struct agent_batch_end end = { .batch = batch, .pages = pages, .is_last = 1 };

	memcpy(frame.bytes + sizeof(frame.ranges), &range, sizeof(range));
	agent_header_init(&frame.ranges.header, AGENT_RANGES, agent->session, sizeof(frame));
	fake_agent_say(agent, &frame.ranges.header);
	agent_header_init(&end.header, AGENT_BATCH_END, agent->session, sizeof(end));
	fake_agent_say(agent, &end.header);
}

bool fake_agent_greet(struct fake_agent *agent, uint64_t gfn, uint64_t pages)
{
	union {
		struct agent_ram ram;
		uint8_t bytes[sizeof(struct agent_ram) + sizeof(struct agent_pages)];
	} ram = { .ram = { .count = 1 } };
	const struct agent_pages range = { gfn, pages };
	struct agent_hello hello = { .instance = 1 };
	const struct agent_header *welcome = fake_agent_next(agent);

	if (welcome == NULL)
		return false;
	test_check(welcome->type == AGENT_WELCOME, "frame %d in place of a welcome", welcome->type);
	agent->session = welcome->session;
	agent_decoder_settle(&agent->decoder, agent->session);
	agent_greeting_init(&hello.greeting, AGENT_HELLO, agent->session, sizeof(hello));
	fake_agent_say(agent, &hello.greeting.header);
	memcpy(ram.bytes + sizeof(ram.ram), &range, sizeof(range));
	agent_header_init(&ram.ram.header, AGENT_RAM, agent->session, sizeof(ram));
	fake_agent_say(agent, &ram.ram.header);
	fake_agent_say_module(agent, 0, AGENT_KIND_FILE, "/lib");
	return true;
}
